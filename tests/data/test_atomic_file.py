"""Atomic files: what a cell holds, which lines are rows, and what is said of a file that is none."""

import pytest

from recbole_mm.data.atomic_file import read_atomic_file
from recbole_mm.errors import InputError


def read(tmp_path, text: str | bytes, **options) -> dict[str, list[str]]:
    path = tmp_path / "shop.item"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_atomic_file(path, **options).columns


def test_plain_table_with_bom_crlf_and_blank_end(tmp_path) -> None:
    table = read(tmp_path, '\ufeffitem_id:token\ttitle:token_seq\r\n007\tA 5" pipe\r\n8\t\r\n\r\n\r\n')
    assert table == {"item_id": ["007", "8"], "title": ['A 5" pipe', ""]}
    assert list(table) == ["item_id", "title"]


def test_stray_quotes_are_text(tmp_path) -> None:
    table = read(tmp_path, 'item_id:token\ttitle:token_seq\n1\t"Open\n2\tend"\n3\t"A" and "B"\n4\t"The ""Best"""\n5\t"Wrapped"\n')
    assert table["title"] == ['"Open', 'end"', '"A" and "B"', 'The "Best"', "Wrapped"]


def test_quoted_tabs_and_newlines(tmp_path) -> None:
    table = read(tmp_path, 'item_id:token\ttitle:token_seq\tyear:float\n1\t"a\tb"\t5\n2\t"c\n\nd ""e"""\t6\n\n3\tf\t7\n')
    assert table == {"item_id": ["1", "2", "3"], "title": ["a\tb", 'c\n\nd "e"', "f"], "year": ["5", "6", "7"]}


def test_only_line_feeds_end_a_line(tmp_path) -> None:
    assert read(tmp_path, "item_id:token,t:token\n1,a\u2028b\x0cc\n", field_separator=",")["t"] == ["a\u2028b\x0cc"]


def test_other_encoding(tmp_path) -> None:
    assert read(tmp_path, "item_id:token\tt:token\n1\tcafé\n".encode("latin-1"), encoding="latin-1")["t"] == ["café"]
    with pytest.raises(InputError, match="not utf-8 at byte 27"):
        read(tmp_path, "item_id:token\tt:token\n1\tcafé\n".encode("latin-1"))
    with pytest.raises(InputError, match="unknown encoding"):
        read(tmp_path, "item_id:token\n", encoding="utf-9")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("item_id\ttitle\n", "header cell 'item_id' is not name:type"),
        ("item_id:token,title:token\n", "not name:type.*field_separator"),
        ("item_id:token\titem_id:token\n", "'item_id' appears twice"),
        ("i:token\tt:token\n1\ta\n2\n3\tc\td\n", "line 3 has 1 cells, the header has 2"),
        ('i:token\tt:token\n1\t"a\tb"\n2\tc\td\n', "line 3 has 3 cells, the header has 2"),
        ('i:token\tt:token\n1\t"a\n2\tb\n3\n4\tc\n', "line 4 has 1 cells, the header has 2"),
        ('i:token\tt:token\n1\t"a\tb"\n2\t"c\n', "line 3 has a double quote without its partner"),
    ],
)
def test_bad_tables(tmp_path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"shop.item.*{message}") as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path) -> None:
    with pytest.raises(InputError, match="none.item: cannot be read"):
        read_atomic_file(tmp_path / "none.item")
