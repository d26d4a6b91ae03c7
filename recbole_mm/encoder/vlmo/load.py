"""Makes a released checkpoint's tensors fit a configuration."""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from recbole_mm.encoder.shrink import width_ratio
from recbole_mm.encoder.vlmo import position
from recbole_mm.encoder.vlmo.config import VLMoConfig
from recbole_mm.encoder.weights import misfit, shapes_of, unwrapped
from recbole_mm.errors import InputError

TABLE = "relative_position_bias_table"
IMAGE_INDEX = "relative_position_index"
INDEX_BUFFERS = (IMAGE_INDEX, "text_relative_position_index", "text_imag_relative_position_index")
BLOCKS = "transformer.blocks."
ABSOLUTE = "transformer.pos_embed"
TEXT_POSITIONS = "text_embeddings.position_embeddings.weight"
POSITION_IDS = "text_embeddings.position_ids"
PRETRAIN_HEADS = ("itc_vl_text_proj", "itc_vl_image_proj", "logit_vl_scale", "itm_score", "mlm_score")


def fit(state_dict: Mapping[str, object], wanted: Mapping[str, Tensor], config: VLMoConfig) -> tuple[dict[str, Tensor], VLMoConfig, bool]:
    """See ``VLMo.load_released_state_dict``.

    Args:
        state_dict: the content of a released file.
        wanted: the model's own state dict, for names and shapes.
        config: the model's configuration.

    Returns:
        The tensors to load; the configuration, with the bias table's text positions; whether the pretraining heads are among the tensors.

    Raises:
        InputError: they do not fit.
    """
    try:
        state = unwrapped(state_dict)
    except ValueError as error:
        raise InputError(f"these are no VLMo weights: {error}") from error
    found = source_window(state, config)
    state = {key: value for key, value in state.items() if key not in INDEX_BUFFERS}
    shapes = shapes_of(wanted)
    if TABLE in shapes and found is not None:
        window = found
        text_len = _text_len(state[TABLE], window)
        config = replace(config, bias_text_len=text_len)
        shapes[TABLE] = (position.table_rows(config.window, text_len), shapes[TABLE][1])
        if window != config.window and state[TABLE].shape[1] == shapes[TABLE][1]:
            state[TABLE] = position.resize_bias_table(state[TABLE], window, config.window)
    if ABSOLUTE in shapes and found not in (None, config.window):
        state[ABSOLUTE] = position.resize_absolute(state[ABSOLUTE], config.window)
    _cut_texts(state, config.max_text_len)
    has_heads = any(key.split(".")[0] in PRETRAIN_HEADS for key in state)
    if not has_heads:
        shapes = {key: shape for key, shape in shapes.items() if key.split(".")[0] not in PRETRAIN_HEADS}
    difference = misfit(shapes_of(state), shapes)
    if difference:
        raise InputError(f"the weights do not fit this VLMo: {difference}")
    return state, config, has_heads


def sized(state: Mapping[str, Tensor], config: VLMoConfig) -> VLMoConfig:
    """``config`` with the number of blocks and the width of the experts that the weights have, where they have others: those of a pruned
    encoder do."""
    numbers = {int(key.split(".")[2]) for key in state if key.startswith(BLOCKS)}
    depth, wide = len(numbers), state.get(f"{BLOCKS}0.mlp_imag.fc1.weight")
    if wide is None or wide.shape[1] != config.embed_dim or numbers != set(range(depth)):
        return config
    if len(wide) != int(config.mlp_ratio * config.embed_dim):
        config = replace(config, mlp_ratio=width_ratio(len(wide), config.embed_dim))
    if depth != config.depth:
        start = next((i for i in range(depth) if f"{BLOCKS}{i}.mlp_vl.fc1.weight" in state), depth)
        config = replace(config, depth=depth, vl_start_layer=start)
    return config


def source_window(state: Mapping[str, Tensor], config: VLMoConfig) -> int | None:
    """Patches per side of the pictures that a checkpoint was trained on; None where its tensors do not tell.

    Index buffers and absolute positions tell. A bias table alone has a number of rows that several windows could explain; then the
    window is chosen that leaves ``config``'s text positions, else ``config``'s own window, else the one with the fewest text positions.
    """
    if config.relative_position_bias:
        table = state.get(TABLE)
        if table is None or table.dim() != 2:
            return None
        windows = [w for w in range(1, 2 + math.isqrt(len(table))) if (_text_len(table, w) or 0) >= config.max_text_len]
        index = state.get(IMAGE_INDEX)
        if index is not None and _square(len(index) - 1) in windows:
            return _square(len(index) - 1)
        return min(windows, key=lambda w: (_text_len(table, w) != config.bias_text_len, w != config.window, -w), default=None)
    absolute = state.get(ABSOLUTE)
    return _square(absolute.shape[1] - 1) if absolute is not None and absolute.dim() == 3 else None


def _text_len(table: Tensor, window: int) -> int | None:
    rest = len(table) - position.table_rows(window, 0)
    return rest // 2 if rest >= 0 and rest % 2 == 0 else None


def _square(cells: int) -> int | None:
    side = math.isqrt(max(cells, 0))
    return side if side and side * side == cells else None


def _cut_texts(state: dict[str, Tensor], length: int) -> None:
    if TEXT_POSITIONS in state:
        state[TEXT_POSITIONS] = state[TEXT_POSITIONS][:length]
    state[POSITION_IDS] = torch.arange(length)[None]
