"""Item texts: cleaning them for a text encoder, and joining the fields of an item."""

import html
import re
from collections.abc import Sequence

_ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*)(?:;|(?![A-Za-z0-9=;]))")
_UNSEEN = re.compile(r"<!--.*?-->|<(script|style)\b[^<>]*>.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9]*(?:[\s/][^<>]*)?>")
_ZERO_WIDTH = re.compile("[\u00ad\u200b\ufeff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CLOSING = "\"')]}»”’"
_PUNCTUATION = tuple(".!?…:;,。！？：；，、")


def clean_text(text: str) -> str:
    """The plain words of a scraped text. Entities are resolved, also those that were escaped twice. Tags, control characters and runs of
    whitespace become one space, and the ends are stripped. Casing is kept, and so is a "<" that opens no tag ("a < b")."""
    return _one_line(_TAG.sub(" ", _UNSEEN.sub(" ", _without_entities(text))))


def one_line_of(text: str) -> str:
    """A text on one line, as people read it. Entities are resolved as in ``clean_text``; tags stay, as text."""
    return _one_line(_without_entities(text))


def join_fields(values: Sequence[str]) -> str:
    """Joins the fields of an item into one text. Each is cleaned, empty ones are dropped, and a field that does not end in punctuation
    gets a full stop if another follows: `["Toy Story (1995)", "A film"]` becomes "Toy Story (1995). A film"."""
    *leading, last = [part for part in map(clean_text, values) if part] or [""]
    return " ".join([*(part if part.rstrip(_CLOSING).endswith(_PUNCTUATION) else part + "." for part in leading), last])


def _without_entities(text: str) -> str:
    for _ in range(3):
        resolved = _ENTITY.sub(lambda match: html.unescape(match.group()), text)
        if resolved == text:
            break
        text = resolved
    return text


def _one_line(text: str) -> str:
    return " ".join(_CONTROL.sub(" ", _ZERO_WIDTH.sub("", text)).split())
