"""Cleaning and joining of item texts."""

import pytest

from recbole_mm.data.text import clean_text, join_fields


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("Tom &amp;amp; Jerry", "Tom & Jerry"),
        ("caf&#233; &#x41;", "café A"),
        ("R&D AT&T ?a=1&copy=2", "R&D AT&T ?a=1&copy=2"),
        ("one<br>two<br/>three</p>", "one two three"),
        ('<a href="x.html">Link</a> &lt;b&gt;bold&lt;/b&gt;', "Link bold"),
        ("a < b and b > c, 1<2, I <3 you", "a < b and b > c, 1<2, I <3 you"),
        ("mail <me@example.com>", "mail <me@example.com>"),
        ("x<style>p {a: b}</style>y<!-- no <b> -->z", "x y z"),
        (" tab\there\r\nline\x00null\x85next\u00a0end\u200b ", "tab here line null next end"),
        ("Kept CASING 日本", "Kept CASING 日本"),
        ("<br>", ""),
        ("", ""),
    ],
)
def test_clean_text(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


def test_clean_text_is_linear_on_unclosed_tags() -> None:
    assert clean_text("<a " * 2000).startswith("<a <a")


@pytest.mark.parametrize(
    ("values", "joined"),
    [
        (["Toy Story (1995)", "A film"], "Toy Story (1995). A film"),
        (["Really?", "Yes!", "Fine."], "Really? Yes! Fine."),
        (['He said "no."', "End"], 'He said "no." End'),
        (["", "  ", "only<br>"], "only"),
        (["日本。", "ok"], "日本。 ok"),
        ([], ""),
        (["", ""], ""),
    ],
)
def test_join_fields(values: list[str], joined: str) -> None:
    assert join_fields(values) == joined
