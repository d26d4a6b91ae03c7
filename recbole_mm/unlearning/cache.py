"""The cache of a data set without the forgotten."""

from collections.abc import Collection
from logging import getLogger
from pathlib import Path

from recbole_mm.data.column_cache import COLUMNS, forget_columns
from recbole_mm.data.content import cache_folders
from recbole_mm.data.forget_pictures import forget_pictures
from recbole_mm.disk import locked, remove_left
from recbole_mm.errors import one_line
from recbole_mm.items.forget_rows import digests_of, forget_rows
from recbole_mm.items.inputs import PARTS
from recbole_mm.unlearning.contents import Contents
from recbole_mm.unlearning.names import Names
from recbole_mm.unlearning.own_files import atomic_files, atomic_that_hold

STORES = ("features", "states")


def forget_in_cache(config, folder: Path, names: Names) -> dict[str, int]:
    """Takes the forgotten out of the cache of a data set, whichever runs have filled it: feature vectors, hidden states and tokens of
    encoders, pictures, and the columns of large files. What kept items share with them stays. Processes that use the cache meanwhile find
    all the rest.

    Tuned and distilled encoders name nobody and stay. Files of the data set itself are not touched; as long as one of them holds the
    forgotten, the cache keeps no columns of it.

    Args:
        config: of the run, ours or RecBole's.
        folder: the data set's.

    Returns:
        How much was taken out: ``features``, ``states``, ``pictures``, and files of ``columns``.
    """
    caches = [Path(config["cache_dir"])] if config["cache_dir"] else cache_folders(folder / ".recbole_mm")
    gone, there = dict.fromkeys((*STORES, "pictures", "columns"), 0), [cache for cache in caches if cache.is_dir()]
    atomic, holding = atomic_files(config, folder), atomic_that_hold(config, folder, names) if there else []
    for cache in there:
        try:
            found = {**_forget_contents(cache, Contents(config, folder, cache, names.items), names.items),
                     "columns": forget_columns(cache / COLUMNS, atomic, holding)}  # fmt: skip
        except PermissionError as error:
            getLogger(__name__).warning(f"{cache} cannot be written and may still hold the forgotten ({one_line(error)})")
            continue
        remove_left(cache)
        gone = {kind: n + found[kind] for kind, n in gone.items()}
    return gone


def _forget_contents(cache: Path, contents: Contents, items: Collection[str]) -> dict[str, int]:
    """Takes rows and pictures out of a cache."""
    stale, gone = set(), dict.fromkeys(STORES, 0)
    for kind in STORES:
        for store in sorted(cache.glob(f"{kind}/*/*")):
            if store.name in PARTS and store.is_dir():
                with locked(store.parent / "fill.lock", f"encoding items into {store.parent}"):
                    stale |= _pictures(store.name, digests_of(store, items))
                    gone[kind] += forget_rows(store, items, contents.of_forgotten(store.name), contents.of_kept(store.name))
    digests = (stale | contents.of_forgotten("image")) - contents.of_kept("image").keys()
    return {**gone, "pictures": forget_pictures(cache, digests, contents.pictures)}


def _pictures(modality: str, digests: set[str]) -> set[str]:
    """The digests of the pictures among the contents of a modality."""
    place = PARTS[modality].index("image") if "image" in PARTS[modality] else None
    return set() if place is None else {digest[32 * place : 32 * (place + 1)] for digest in digests}
