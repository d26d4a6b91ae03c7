"""Lines and tables of the screen look the same in a file; bars are on terminals alone, and gone when they are done."""

import re
import sys

import pytest
from rich.table import Table

from recbole_mm.terminal import Bar, console, end_bars, plain, say, show
from tests.conftest import Terminal

BAR = re.compile("[━╸╺█]")


def test_no_bar_where_the_output_is_no_terminal(capsys):
    assert [*Bar([1, 2, 3], "Counting")] == [1, 2, 3]
    with Bar(desc="Waiting") as bar:
        bar.update()
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_gone_when_it_is_done(terminal):
    with Bar(desc="Outer", total=2) as outer:
        for _ in range(2):
            assert [*Bar(range(2), "\x1b[1;35mInner     0\x1b[0m")] == [0, 1]
            outer.update()
    written = terminal.getvalue()
    assert "Outer" in written and "Inner 0" in written and BAR.search(written)
    assert Bar._shared is None and written.rstrip("\r\n").endswith("\x1b[?25h"), "the cursor is back"


def test_lines_are_written_above_a_bar(terminal):
    with Bar(desc="Working", total=1):
        show("a line")
    assert re.search(r"\x1b\[2Ka line\s*\n", terminal.getvalue())


def test_a_disabled_bar_shows_nothing(terminal):
    assert [*Bar([1], "Counting", disable=True)] == [1] and terminal.getvalue() == ""


def test_an_error_leaves_no_bar(terminal):
    bar = iter(Bar([1, 2], "Counting"))
    next(bar)
    end_bars()
    assert Bar._shared is None and [*bar] == [2]


def test_a_line_is_logged_as_it_is_shown(caplog):
    caplog.set_level("INFO")
    table = Table("metric", "test")
    table.add_row("recall@10", "0.5000")
    say("a line")
    say(table, result=True)
    line, of_table = caplog.records
    assert line.getMessage() == line.shown == "a line" and not line.result
    assert of_table.shown is table and of_table.result and re.search(r"recall@10.*0\.5000", of_table.getMessage())
    assert plain(table) == of_table.getMessage() and "\x1b" not in plain(table)


def test_long_lines_stay_whole_where_the_output_is_no_terminal(capsys):
    show("word " * 50 + "[bold]end[/bold]")
    assert capsys.readouterr().out == "word " * 50 + "[bold]end[/bold]\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_other_encodings_than_utf_8(encoding, monkeypatch, tmp_path):
    table = Table("métrique")
    table.add_row("0.5")
    with open(tmp_path / "out", "w", encoding=encoding) as out:
        monkeypatch.setattr("sys.stdout", out)
        show("\N{GREEK SMALL LETTER ALPHA}-shop")
        show(table)
    shown = (tmp_path / "out").read_text(encoding=encoding)
    assert shown.startswith("?-shop") and "0.5" in shown


def test_the_console_follows_the_standard_output(capsys, monkeypatch):
    assert console().file is sys.stdout
    monkeypatch.setattr("sys.stdout", Terminal())
    assert console().file is sys.stdout and console().is_terminal
