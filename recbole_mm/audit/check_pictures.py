"""The pictures: which ones cannot be used, say little, or are the same."""

from collections import Counter

import numpy as np

from recbole_mm.audit.audited_data import AuditedData
from recbole_mm.audit.look_alikes import look_alikes
from recbole_mm.audit.picture_facts import PictureFacts, facts_of_all
from recbole_mm.audit.report import NAMED, Report, named_items
from recbole_mm.data.picture_paths import resolve_image_path
from recbole_mm.errors import InputError

TINY = 32
"""Pixels of the shorter side below which a picture counts as tiny."""
EXTREME_RATIO = 3.0
"""The ratio of the longer to the shorter side above which a picture counts as extreme."""
PLACEHOLDER_SHARE, PLACEHOLDER_ITEMS = 0.01, 5
"""A picture shared by more than this share of the items, and by more items than this, is probably a placeholder."""


def check_pictures(data: AuditedData, report: Report) -> np.ndarray:
    """Checks the pictures. Returns bool (n_items,): the items that have a usable one."""
    none = np.zeros(len(data.tokens), dtype=bool)
    field = data.content.image_field
    if data.table is None or field not in data.table:
        if data.table is not None and "image_field" in data.content.given and field:
            report.add("error", "pictures.no_column", f"the .item file has no column '{field}' (image_field); it has "
                       f"{', '.join(data.table)}", "set image_field to one of them")  # fmt: skip
        return none
    names = [name.strip() for name in data.column(field)]
    folder = data.folder / data.content.image_dir
    named = np.array([bool(name) for name in names], dtype=bool)
    if not named.any():
        return none
    if not folder.is_dir():
        report.add("error", "pictures.no_folder", f"{named.sum():,} items name a picture, but there is no folder {folder} (image_dir)",
                   "set image_dir to the folder that holds the pictures")  # fmt: skip
        return none
    paths, outside = {}, []
    for i in np.flatnonzero(named).tolist():
        try:
            paths[i] = resolve_image_path(folder, names[i])
        except InputError:
            outside.append(i)
    if outside:
        report.add("error", "pictures.outside", f"{len(outside):,} picture paths lead out of {folder}", "a run refuses them: put the "
                   "pictures into image_dir, and name them by their path in that folder",
                   [f"{data.tokens[i]} ({names[i]})" for i in outside])  # fmt: skip
    files = {path: at for at, path in enumerate(dict.fromkeys(paths.values()))}
    seen = facts_of_all(list(files), data.content.show_progress)
    facts = {i: seen[files[path]] for i, path in paths.items()}
    whole = {i: fact for i, fact in facts.items() if fact.reason is None}
    formats = Counter(fact.format for fact in seen if fact.reason is None)
    report.numbers["pictures"].update(named=int(named.sum()), files=len(files), usable=len(whole), formats=dict(formats.most_common()))
    _check_unusable(data, {i: fact for i, fact in facts.items() if fact.reason is not None}, names, int(named.sum()), report)
    _check_odd(data, whole, names, report)
    if whole:
        _check_same(data, whole, report)
    usable = none.copy()
    usable[list(whole)] = True
    return usable


def _check_unusable(data: AuditedData, broken: dict[int, PictureFacts], names: list[str], n_named: int, report: Report) -> None:
    missing = [i for i, fact in broken.items() if fact.reason == "no such file"]
    damaged = [i for i in broken if i not in set(missing)]
    report.numbers["pictures"].update(missing_files=len(missing), unreadable=len(damaged))
    share = data.content.max_broken_images
    too_many = len(broken) > share * n_named
    level = "error" if too_many else "warning"
    limit = "these items count as having no picture"
    if too_many:
        limit = f"a run stops, since max_broken_images allows {share:g} of {n_named:,}"
    if missing:
        report.add(level, "pictures.missing", f"{len(missing):,} pictures are not there", f"{limit}: add the files, or empty their "
                   "image field", [f"{data.tokens[i]} ({names[i]})" for i in missing])  # fmt: skip
    if damaged:
        report.add(level, "pictures.broken", f"{len(damaged):,} pictures cannot be read", f"{limit}: replace them, or empty their image "
                   "field", [f"{data.tokens[i]} ({names[i]}: {broken[i].reason})" for i in damaged])  # fmt: skip


def _check_odd(data: AuditedData, facts: dict[int, PictureFacts], names: list[str], report: Report) -> None:
    """Pictures that can be read but look wrong."""
    sizes = {i: f"{fact.size[0]} x {fact.size[1]}" for i, fact in facts.items()}
    kinds = (
        ("tiny", "warning", lambda fact: min(fact.size) < TINY, sizes, f"pictures are smaller than {TINY} pixels a side",
         "use larger ones, or empty their image field: an encoder sees a blur"),
        ("extreme_ratio", "warning", lambda fact: max(fact.size) > EXTREME_RATIO * min(fact.size), sizes,
         f"pictures are more than {EXTREME_RATIO:g} times as long as wide", "crop or pad them: an encoder sees only their middle"),
        ("one_colour", "warning", lambda fact: fact.plain, names, "pictures are (nearly) of one colour",
         "look at them: for a placeholder, an empty image field is better"),
        ("wrong_extension", "info", lambda fact: not fact.right_name, {i: fact.format for i, fact in facts.items()},
         "pictures have another format than their name says", "nothing: the content decides"),
    )  # fmt: skip
    for code, level, odd, detail, message, action in kinds:
        found = [i for i, fact in facts.items() if odd(fact)]
        report.numbers["pictures"][code] = len(found)
        if found:
            report.add(level, f"pictures.{code}", f"{len(found):,} {message}", action, [f"{data.tokens[i]} ({detail[i]})" for i in found])


def _check_same(data: AuditedData, facts: dict[int, PictureFacts], report: Report) -> None:
    """Groups of items whose pictures have the same bytes, or are nearly identical."""
    ids = np.array(list(facts))
    by_bytes = np.unique([facts[i].digest for i in ids], return_inverse=True)[1]
    distinct = [facts[i] for i in ids[np.unique(by_bytes, return_index=True)[1]]]
    groups = look_alikes(np.stack([fact.thumbnail for fact in distinct]))
    plain = np.array([fact.plain for fact in distinct])
    by_eye = np.where(plain, len(groups) + np.arange(len(groups)), groups)[by_bytes]
    numbers, largest = report.numbers["pictures"], max(PLACEHOLDER_ITEMS, PLACEHOLDER_SHARE * len(ids))
    byte_groups, all_groups = _groups(data, ids, by_bytes), _groups(data, ids, by_eye)
    eye_groups = [group for group in all_groups if group not in byte_groups]
    for code, found, what in (("duplicate", byte_groups, "have the same file content"), ("look_alike", eye_groups, "are nearly identical")):
        members = sum(map(len, found))
        numbers[f"{code}s"] = {"items": members, "groups": len(found)}
        if found:
            shown = "; ".join(named_items(group) for group in found[:NAMED])
            message = f"{members:,} items in {len(found):,} groups have pictures that {what}: {shown}"
            report.add("warning" if code == "duplicate" else "info", f"pictures.{code}", message,
                       "this is fine for variants of one product; otherwise find out which item the picture belongs to")  # fmt: skip
    for group in all_groups:
        if len(group) > largest:
            report.add("warning", "pictures.placeholder", f"one picture is shared by {len(group):,} items: a placeholder?",
                       "look at it; if it is one, empty the image field of these items, so that they count as having no picture",
                       group)  # fmt: skip


def _groups(data: AuditedData, ids: np.ndarray, keys: np.ndarray) -> list[list[str]]:
    """The item tokens of every group of two or more, the largest group first."""
    order = np.argsort(keys, kind="stable")
    parts = np.split(ids[order], np.flatnonzero(np.diff(keys[order])) + 1)
    return [[data.tokens[i] for i in part] for part in sorted(parts, key=len, reverse=True) if len(part) > 1]
