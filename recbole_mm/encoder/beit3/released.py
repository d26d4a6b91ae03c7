"""Makes released weights fit a configuration."""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_mm.encoder.beit3.config import BEiT3Config
from recbole_mm.encoder.shrink import width_ratio
from recbole_mm.encoder.weights import unwrapped
from recbole_mm.errors import InputError

IMAGE_POSITIONS = "beit3.encoder.embed_positions.A.weight"
TEXT_POSITIONS = "beit3.encoder.embed_positions.B.weight"
BLOCKS = "beit3.encoder.layers."
OTHER_TASKS = ("mlm_head.", "mim_head.", "head.")
EXTRA = 3
"""Rows of the image positions before the patches': two reserved ones and [CLS]."""


def fitted(state_dict: Mapping, config: BEiT3Config) -> tuple[dict[str, Tensor], BEiT3Config]:
    """A file's weights, under the names and at the resolution of ``config``; and ``config`` with what the file decides: the length of the
    text's position table (and so of the longest text), and whether there are contrastive projections and a pooler. Nothing else is
    checked.

    Raises:
        InputError: the file has no weights, or its image positions are no square grid.
    """
    try:
        state = {key: value for key, value in unwrapped(state_dict).items() if not key.startswith(OTHER_TASKS)}
    except ValueError as error:
        raise InputError(f"these are not the weights of a BEiT-3: {error}") from error
    heads = bool({"vision_head.weight", "language_head.weight"} & set(state)) or TEXT_POSITIONS not in state
    pooler = any(key.startswith("pooler.") for key in state)
    config = replace(config, heads=heads, pooler=pooler)
    if not heads:
        state.setdefault("logit_scale", torch.tensor(math.log(1 / 0.07)))
    positions = state.get(TEXT_POSITIONS)
    if positions is not None and positions.dim() == 2 and len(positions) > 4:
        config = replace(config, max_positions=len(positions), max_text_len=min(config.max_text_len, len(positions) - 2))
    table = state.get(IMAGE_POSITIONS)
    if table is not None and table.dim() == 2 and len(table) != EXTRA + config.num_patches:
        state[IMAGE_POSITIONS] = resized_positions(table, config.image_size // config.patch_size)
    return state, config


def sized(state: Mapping[str, Tensor], config: BEiT3Config) -> BEiT3Config:
    """``config`` with the number of blocks and the width of the feed-forward experts that the weights have, where they have others: those
    of a pruned encoder do."""
    numbers = {int(key.split(".")[3]) for key in state if key.startswith(BLOCKS)}
    wide = state.get(f"{BLOCKS}0.ffn.A.fc1.weight")
    if wide is None or wide.shape[1] != config.embed_dim or numbers != set(range(len(numbers))):
        return config
    ratio = config.mlp_ratio if len(wide) == config.ffn_dim else width_ratio(len(wide), config.embed_dim)
    return replace(config, depth=len(numbers), mlp_ratio=ratio)


def native_image_size(state: Mapping[str, Tensor], config: BEiT3Config) -> int:
    """The side in pixels of the pictures that the weights were trained on; that of ``config`` if they have no image positions.

    Raises:
        InputError: the positions are no square grid.
    """
    table = state.get(IMAGE_POSITIONS)
    return config.image_size if table is None else _grid_side(table) * config.patch_size


def resized_positions(table: Tensor, side: int) -> Tensor:
    """Image positions (3 + a * a, D) -> (3 + side * side, D): the grid bicubically (align_corners=False); the first rows stay."""
    old = _grid_side(table)
    table = table.to(torch.promote_types(table.dtype, torch.float32))
    grid = table[EXTRA:].unflatten(0, (old, old)).permute(2, 0, 1)[None]
    grid = F.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
    return torch.cat([table[:EXTRA], grid[0].flatten(1).T])


def _grid_side(table: Tensor) -> int:
    patches = table.shape[0] - EXTRA if table.dim() == 2 else 0
    side = math.isqrt(max(patches, 0))
    if side < 1 or side * side != patches:
        raise InputError(f"{IMAGE_POSITIONS} is {tuple(table.shape)}, whose rows are not {EXTRA} and a square grid's")
    return side
