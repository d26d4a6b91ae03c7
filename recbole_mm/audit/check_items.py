"""What the items have: pictures, texts, both or neither."""

import numpy as np

from recbole_mm.audit.audited_data import AuditedData
from recbole_mm.audit.report import Report


def check_items(data: AuditedData, has_picture: np.ndarray, has_text: np.ndarray, report: Report) -> None:
    """Counts items by what they have.

    Args:
        has_picture, has_text: bool (n_items,), the items with a usable picture or text.
    """
    numbers = report.numbers["items"]
    kinds = {
        "with_picture": has_picture, "with_text": has_text, "with_both": has_picture & has_text, "picture_only": has_picture & ~has_text,
        "text_only": has_text & ~has_picture, "with_neither": ~has_picture & ~has_text,
    }  # fmt: skip
    numbers["catalogue"] = len(data.tokens)
    for name, mask in kinds.items():
        numbers[name] = {
            "items": int(mask.sum()), "share_of_items": float(mask.mean()),
            "share_of_interactions": float(data.counts[mask].sum() / max(data.counts.sum(), 1)),
        }  # fmt: skip
    bare = kinds["with_neither"]
    if bare.any() and data.table is not None and not data.config["feature_files"]:
        report.add("warning", "items.bare", f"{bare.sum():,} of {len(bare):,} items have neither picture nor text", "only their ids tell "
                   "them apart: complete them, or filter them out", data.named(bare))  # fmt: skip
