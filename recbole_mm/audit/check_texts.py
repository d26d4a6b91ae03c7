"""The texts: which ones are empty, short, repeated, or carry traces of their source."""

import re

import numpy as np
import pandas as pd

from recbole_mm.audit.audited_data import AuditedData
from recbole_mm.audit.report import NAMED, Report, named_items
from recbole_mm.data.text import join_fields
from recbole_mm.terminal import Bar

FEW_WORDS = 3
CLIP_TOKENS = 77
TOKENS_PER_WORD = 1.3
"""Of English text in CLIP's vocabulary."""
HTML = re.compile(r"</?[a-zA-Z][^<>]*>|&(?:#\d+|#x[0-9a-fA-F]+|[a-zA-Z]{2,8});")
CONTINUATION = "\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u2013-\u203a\u20ac\u2122"  # UTF-8's continuation bytes, read as cp1252
MOJIBAKE = re.compile(f"[\u00c2\u00c3][{CONTINUATION}]|\u00e2\u20ac|\u00f0\u0178|\ufffd")


def check_texts(data: AuditedData, report: Report) -> np.ndarray:
    """Checks the texts. Returns bool (n_items,): the items that have one."""
    if data.table is None:
        return np.zeros(len(data.tokens), dtype=bool)
    fields = [field for field in data.content.text_fields if field in data.table]
    absent = [field for field in data.content.text_fields if field not in data.table]
    if absent and "text_field" in data.content.given:
        report.add("error", "texts.no_column", f"the .item file has no column '{absent[0]}' (text_field); it has {', '.join(data.table)}",
                   "set text_field to some of them")  # fmt: skip
    if not fields:
        return np.zeros(len(data.tokens), dtype=bool)
    raw = list(zip(*(data.column(field) for field in fields), strict=True))
    bar = Bar(raw, desc="Reading texts", disable=not data.content.show_progress)
    texts = [join_fields(parts) for parts in bar]
    words = np.array([len(text.split()) for text in texts])
    present = words > 0
    numbers = report.numbers["texts"]
    numbers.update(fields=", ".join(fields), items_with_text=int(present.sum()), empty=int((~present).sum()))
    if present.any():
        numbers["words"] = {"min": int(words[present].min()), "median": float(np.median(words[present])), "max": int(words.max())}
    together = ["\n".join(parts) for parts in raw]
    kinds = (
        ("short", "warning", present & (words < FEW_WORDS), f"texts have fewer than {FEW_WORDS} words",
         "add another column to text_field, or complete them"),
        ("long", "info", words * TOKENS_PER_WORD > CLIP_TOKENS, f"texts are probably longer than CLIP's {CLIP_TOKENS} tokens",
         "put the most important column first in text_field; the rest is cut off"),
        ("html", "info", _matches(HTML, together), "texts hold HTML", "nothing: tags and entities are removed when texts are read"),
        ("html_left", "warning", _matches(HTML, texts), "texts still hold HTML after cleaning", "clean them at the source"),
        ("mojibake", "warning", _matches(MOJIBAKE, together), "texts look as if they had been read in the wrong encoding (as in 'CafÃ©')",
         "save them again from the source, in UTF-8"),
    )  # fmt: skip
    for code, level, found, message, action in kinds:
        numbers[code] = int(found.sum())
        if found.any():
            report.add(level, f"texts.{code}", f"{found.sum():,} {message}", action, data.named(found))
    _check_repeated_texts(data, texts, present, report)
    return present


def _matches(pattern: re.Pattern, texts: list[str]) -> np.ndarray:
    return np.array([pattern.search(text) is not None for text in texts], dtype=bool)


def _check_repeated_texts(data: AuditedData, texts: list[str], present: np.ndarray, report: Report) -> None:
    here = pd.Series(np.array(data.tokens, dtype=object)[present])
    found = [group.tolist() for _, group in here.groupby(np.array(texts, dtype=object)[present]) if len(group) > 1]
    found.sort(key=len, reverse=True)
    report.numbers["texts"]["duplicates"] = {"items": sum(map(len, found)), "groups": len(found)}
    if found:
        shown = "; ".join(named_items(group) for group in found[:NAMED])
        report.add("warning", "texts.duplicate", f"{sum(map(len, found)):,} items in {len(found):,} groups have the same text: {shown}",
                   "this is fine for variants of one product; if it is boilerplate, name another column in text_field")  # fmt: skip
