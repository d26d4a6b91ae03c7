"""Ready-made feature files: do their rows belong to these items, and are they features?"""

from collections import Counter
from pathlib import Path

import numpy as np

from recbole_mm.audit.audited_data import AuditedData
from recbole_mm.audit.feature_statistics import Statistics, measure
from recbole_mm.audit.report import NAMED, Report
from recbole_mm.errors import InputError
from recbole_mm.feature.formats import Rows, open_rows
from recbole_mm.feature.row_faults import CONSTANT, FAULTS, ZERO
from recbole_mm.feature.row_tokens import row_tokens

RUN_STOPS = "until then a run stops"


def check_features(data: AuditedData, report: Report) -> None:
    for modality, file in (data.config["feature_files"] or {}).items():
        path = data.folder / file
        try:
            rows, tokens = _rows_and_tokens(data, modality, path)
            _check_tokens(data, modality, tokens, report)
            measured = measure(rows, modality, path, data.content.show_progress)
        except InputError as error:
            report.add("error", "features.unusable", f"{modality}: {error}", "a run stops with this message")
            continue
        numbers = report.numbers["features"][modality]
        numbers |= {"rows": rows.count, "dims": rows.width, "dtype": _dtype(path), **measured.numbers()}
        _check_values(data, modality, tokens, measured, report)


def _rows_and_tokens(data: AuditedData, modality: str, path: Path) -> tuple[Rows, list[str]]:
    ids, field = data.config["feature_ids"], data.config["ITEM_ID_FIELD"]
    rows = open_rows(path, modality, field)
    if rows.tokens is not None:
        return rows, rows.tokens
    ids = ids.get(modality) if isinstance(ids, dict) else ids
    return rows, row_tokens(path, rows.count, ids, data.folder, field, set(data.tokens))


def _check_tokens(data: AuditedData, modality: str, tokens: list[str], report: Report) -> None:
    """Which items the rows belong to. Rows are found by token, so their order is reported but is no fault."""
    known, there = set(data.tokens), set(tokens)
    without = [token for token in data.tokens if token not in there]
    foreign = [token for token in tokens if token not in known]
    order = data.table[data.config["ITEM_ID_FIELD"]] if data.table else data.tokens
    differs = next((i for i, (a, b) in enumerate(zip(tokens, order, strict=False)) if a != b), None)
    said = "as the items" if differs is None else f"differs from the items from row {differs} on: {tokens[differs]}, not {order[differs]}"
    report.numbers["features"][modality] = {
        "items_without": {"items": len(without), "share_of_items": len(without) / max(len(data.tokens), 1)},
        "rows_of_no_item": len(foreign),
        "order": said,
    }
    if without:
        most = 2 * len(without) > len(data.tokens)
        has = f"; the file has {', '.join(foreign[:NAMED]) or 'no others'}" if most else ""
        report.add("error" if most else "warning", "features.items_without", f"{modality}: {len(without):,} of {len(data.tokens):,} items "
                   f"have no row{has}", "it is the wrong file, or it names items differently" if most else
                   "these items count as missing the modality (see the key missing)", without)  # fmt: skip
    if foreign:
        report.add("info", "features.foreign", f"{modality}: {len(foreign):,} rows belong to items that are not in the catalogue",
                   "nothing: they are not read", foreign)  # fmt: skip
    twice = [token for token, n in Counter(tokens).items() if n > 1]
    if twice:
        report.add("error", "features.duplicate_token", f"{modality}: {len(twice):,} items have more than one row",
                   f"keep the right one of each; {RUN_STOPS}", twice)  # fmt: skip


def _check_values(data: AuditedData, modality: str, tokens: list[str], measured: Statistics, report: Report) -> None:
    known, names = set(data.tokens), np.array(tokens, dtype=object)
    here = np.array([token in known for token in tokens])
    kinds = (
        ("not_finite", "error", ~measured.finite, "have NaN or infinite numbers", f"compute them again; {RUN_STOPS}"),
        (ZERO, "warning", measured.zero, *FAULTS[ZERO]),
        (CONSTANT, "warning", measured.constant, *FAULTS[CONSTANT]),
    )
    for code, level, mask, message, action in kinds:
        found = names[mask & here].tolist()
        if found:
            report.add(level, f"features.{code}", f"{modality}: the features of {len(found):,} items {message}", action, found)
    if len(measured.duplicates):
        found = names[measured.duplicates].tolist()
        report.add("warning", "features.duplicate", f"{modality}: {len(found):,} rows have the same numbers as another row",
                   "this is fine for items with the same content; otherwise compute them again", found)  # fmt: skip
    if measured.constant_columns:
        report.add("info", "features.constant_columns", f"{modality}: {measured.constant_columns:,} of {measured.width:,} columns are the "
                   "same for every item", "nothing: they carry no information, but cost little")  # fmt: skip


def _dtype(path: Path) -> str:
    """The type of the numbers in the file."""
    if path.suffix.lower() == ".npy":
        return str(np.load(path, mmap_mode="r", allow_pickle=False).dtype)
    if path.suffix.lower() == ".safetensors":
        from safetensors import safe_open

        with safe_open(str(path), framework="np") as file:
            names = list(file.keys())
            return file.get_slice("features" if "features" in names else names[0]).get_dtype()
    return "list of floats" if path.is_file() else "one .npy file per item"
