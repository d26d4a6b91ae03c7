"""Says in a configuration of transformers that a model has fewer blocks and narrower feed-forward parts."""

from collections.abc import Iterator

from recbole_mm.encoder.shrink import Kept, require_words
from recbole_mm.encoder.traced import TracedEncoder
from recbole_mm.errors import InputError

DEPTHS = ("num_hidden_layers",)
"""The number of blocks; where a model has another name for it, transformers knows it by this one as well."""
WIDTHS = ("intermediate_size", "hidden_dim", "ffn_dim", "d_ff", "n_inner")
RATIO = "mlp_ratio"
"""The width of feed-forward parts as a multiple of ``hidden_size``."""
PER_BLOCK = ("layer_types", "mlp_layer_types")
"""Lists with an entry for each block."""


def resize_config(encoder: TracedEncoder, stack: str, depth: int, kept: Kept) -> None:
    """Changes the configurations that a model reads, in place.

    Args:
        stack: the name of the list of its ``depth`` blocks.

    Raises:
        InputError: no key of theirs holds one of the sizes.
    """
    for config in _configs(encoder, stack):
        key = next((key for key in DEPTHS if getattr(config, key, None) == depth), None)
        sizes = {require_words(encoder.name, key, "the number of its blocks", DEPTHS): len(kept.blocks)}
        if kept.units:
            part = kept.units[0][0]
            sizes |= _width(encoder.name, config, part.width, part.dim, kept)
        sizes |= {key: [getattr(config, key)[i] for i in kept.blocks] for key in PER_BLOCK if getattr(config, key, None)}
        if hasattr(config, "stage_names"):
            names = config.stage_names[: len(kept.blocks) + 1]
            sizes |= {"stage_names": names, "_out_features": names[-1:], "_out_indices": [len(kept.blocks)]}
        for key, value in sizes.items():
            try:
                setattr(config, key, value)
            except Exception as error:  # newer versions check types, of which some are narrower than what the model computes with
                raise InputError(f"{encoder.name} cannot be pruned: its configuration takes no {key} {value}; try other shares") from error


def _width(label: str, config: object, width: int, dim: int, kept: Kept) -> dict[str, int | float]:
    key = next((key for key in WIDTHS if getattr(config, key, None) == width), None)
    if key is None and int(getattr(config, "hidden_size", 0) * (getattr(config, RATIO, None) or 0)) == width:
        return {RATIO: int(kept.ratio) if kept.ratio == int(kept.ratio) else kept.ratio}
    return {require_words(label, key, "the width of feed-forward parts", (*WIDTHS, RATIO)): kept.width}


def _configs(encoder: TracedEncoder, stack: str) -> Iterator[object]:
    """The configurations of the modules that hold the list: the innermost one's and those of the same kind, which may be copies."""
    steps = stack.split(".")
    path = [encoder.get_submodule(".".join(steps[:i])) for i in range(1, len(steps) + 1)]
    found = [module.config for module in path if hasattr(module, "config")]
    found += [part for config in found for part in vars(config).values()]
    inner = next(type(module.config) for module in reversed(path) if hasattr(module, "config"))
    found += [module.config for module in encoder.modules() if hasattr(module, "config")]
    yield from {id(config): config for config in found if type(config) is inner}.values()
