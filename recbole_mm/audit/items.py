"""What the items have: pictures, texts, both, neither."""

import numpy as np

from recbole_mm.audit.report import Report
from recbole_mm.audit.shop import Shop


def audit_items(shop: Shop, picture: np.ndarray, text: np.ndarray, report: Report) -> None:
    """``picture``, ``text``: bool (n_items,), which items have one that can be used."""
    numbers = report.numbers["items"]
    kinds = {
        "with_picture": picture, "with_text": text, "with_both": picture & text, "picture_only": picture & ~text,
        "text_only": text & ~picture, "with_neither": ~picture & ~text,
    }  # fmt: skip
    numbers["catalogue"] = len(shop.tokens)
    for name, mask in kinds.items():
        numbers[name] = {
            "items": int(mask.sum()), "share_of_items": float(mask.mean()),
            "share_of_interactions": float(shop.counts[mask].sum() / max(shop.counts.sum(), 1)),
        }  # fmt: skip
    bare = kinds["with_neither"]
    if bare.any() and shop.table is not None and not shop.config["feature_files"]:
        report.add("warning", "items.bare", f"{bare.sum():,} of {len(bare):,} items have neither picture nor text", "they are told apart "
                   "by their ids alone: complete them, or filter them out", shop.named(bare))  # fmt: skip
