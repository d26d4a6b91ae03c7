"""The form of a grid file: what it may hold, and the settings of every cell that it spans."""

import itertools
from collections.abc import Iterator, Mapping

from recbole_mm.errors import InputError, listed, nearest

PARTS = ("settings", "models", "grids")
OF_ALL = ("metric", "reference", "search", "trials")
TESTED_ALIKE = ("topk", "metrics")


def check_form(content: Mapping, name: str) -> None:
    """Raises InputError: a part of the file is no mapping, or a key is nearly the name of a part."""
    if not content:
        raise InputError(f"{name} is empty: it needs dataset and model")
    for part in ("settings", "models"):
        if not isinstance(content.get(part, {}), Mapping):
            raise InputError(f"{name}: {part} must hold `key: value` lines")
    for model, settings in content.get("models", {}).items():
        if not isinstance(settings, Mapping):
            raise InputError(f"{name}: models: {model} must hold `key: value` lines")
    blocks = content.get("grids", [])
    if not (isinstance(blocks, list) and all(isinstance(block, Mapping) for block in blocks)):
        raise InputError(f"{name}: grids must be a list of grids")
    for block in blocks:
        misplaced = [key for key in (*OF_ALL, "grids") if key in block]
        if misplaced:
            raise InputError(f"{name}: {', '.join(misplaced)} cannot stand in one of the grids, because it is about all of them")
        check_form({**block, "grids": []}, name)
    for key, value in content.items():
        hint = "" if key in (*PARTS, *OF_ALL) or isinstance(key, str) and key in ("model", "metrics") else nearest(
            str(key), (*PARTS, *OF_ALL), cutoff=0.85)  # fmt: skip
        if hint:
            raise InputError(f"{name}: there is no '{key}'{hint}")
        if key in TESTED_ALIKE and isinstance(value, list):
            raise InputError(f"{name}: a list at the top, as of {key}, spans the grid, and all cells must be tested alike: put {key} below "
                             "settings")  # fmt: skip
        if value == [] and key not in PARTS:
            raise InputError(f"{name}: {key} is an empty list, which spans nothing; the one value [] is written [[]]")


def combinations(content: Mapping) -> Iterator[tuple[list[str], dict]]:
    """The spanning keys and all settings of every cell. What stands in one of the ``grids`` goes before what stands around them; settings
    of a model go before the spanning keys, and these before the settings for all."""
    common = {key: value for key, value in content.items() if key not in OF_ALL and key != "grids"}
    for block in content.get("grids") or [{}]:
        own = {key: value for key, value in {**common, **block}.items() if key not in PARTS}
        settings = {**common.get("settings", {}), **block.get("settings", {})}
        models = (common.get("models", {}), block.get("models", {}))
        for values in itertools.product(*(value if isinstance(value, list) else [value] for value in own.values())):
            chosen = dict(zip(own, values, strict=True))
            of_model = [some.get(chosen.get("model", settings.get("model")), {}) for some in models]
            yield [key for key in own if key in block or isinstance(own[key], list)], {**settings, **chosen, **of_model[0], **of_model[1]}


def check_models(content: Mapping, models: list) -> None:
    """Raises InputError: settings for a model that is not in the grid."""
    named = {name for block in (content, *content.get("grids", [])) for name in block.get("models", {})}
    others = [f"{name}{nearest(str(name), map(str, models))}" for name in named if name not in models]
    if others:
        raise InputError(f"models: {', '.join(sorted(others))} is none of the grid's models ({listed(map(str, models))})")
