"""What the items have: pictures, texts, both, neither."""

import numpy as np

from recbole_mm.audit.audited_data import AuditedData
from recbole_mm.audit.report import Report


def check_items(data: AuditedData, picture: np.ndarray, text: np.ndarray, report: Report) -> None:
    """``picture``, ``text``: bool (n_items,), which items have one that can be used."""
    numbers = report.numbers["items"]
    kinds = {
        "with_picture": picture, "with_text": text, "with_both": picture & text, "picture_only": picture & ~text,
        "text_only": text & ~picture, "with_neither": ~picture & ~text,
    }  # fmt: skip
    numbers["catalogue"] = len(data.tokens)
    for name, mask in kinds.items():
        numbers[name] = {
            "items": int(mask.sum()), "share_of_items": float(mask.mean()),
            "share_of_interactions": float(data.counts[mask].sum() / max(data.counts.sum(), 1)),
        }  # fmt: skip
    bare = kinds["with_neither"]
    if bare.any() and data.table is not None and not data.config["feature_files"]:
        report.add("warning", "items.bare", f"{bare.sum():,} of {len(bare):,} items have neither picture nor text", "they are told apart "
                   "by their ids alone: complete them, or filter them out", data.named(bare))  # fmt: skip
