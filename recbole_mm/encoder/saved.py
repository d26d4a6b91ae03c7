"""Encoders in folders that stand alone: nothing else is read, wherever the folder is."""

import copy
import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from recbole_mm.config.modalities import PAIR
from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.cross.attention import CrossAttention
from recbole_mm.encoder.cross.encoder import CrossEncoder
from recbole_mm.encoder.cross.token_states import TokenStates
from recbole_mm.encoder.factory import create_encoder
from recbole_mm.encoder.frozen.layer_states import LayerStates
from recbole_mm.encoder.matryoshka import cut_rows
from recbole_mm.encoder.separate import SeparateEncoder
from recbole_mm.encoder.tuning.adapter import add_adapters, take_adapters
from recbole_mm.encoder.tuning.lora import merge_lora
from recbole_mm.encoder.tuning.multiway_adapter import Bottleneck, add_multiway
from recbole_mm.encoder.tuning.side_encoder import SideEncoder
from recbole_mm.encoder.tuning.side_network import SideNetwork
from recbole_mm.encoder.weights import write_weights
from recbole_mm.errors import InputError, one_line

RECORD, ADAPTERS, SIDE, CROSS = "encoder.json", "adapters.safetensors", "side.safetensors", "cross.safetensors"
ADDED = {"adapter_dim": add_adapters, "multiway_dim": add_multiway}
"""The width of an encoder's adapters in its record -> what adds adapters of that kind."""

FOLDER, OPTIONS = "{folder}", {"image_size", "max_patches", "tokenizer", "prompt"}
"""What stands for the folder in names and options, and the options that ``save_files`` may give: none of them runs code."""


def save_encoder(encoder: ItemEncoder | SideEncoder | CrossEncoder, folder: Path) -> None:
    """Writes an encoder into an empty folder, whatever has trained it; LoRA is merged into its weights. It stays as it is.

    Raises:
        InputError: it cannot be read again from files alone.
    """
    side, cross = (encoder if isinstance(encoder, kind) else None for kind in (SideEncoder, CrossEncoder))
    merged = merge_lora(copy.deepcopy(encoder.encoder if side or cross else encoder).cpu()).eval()
    fingerprint = merged.fingerprint()
    adapters = take_adapters(merged)
    record = {**_save(merged, folder), "fingerprint": fingerprint}
    if merged.row_dim is not None:
        record["row_dim"] = merged.row_dim
    if len(adapters):
        write_weights(adapters, folder / ADAPTERS)
        size = "multiway_dim" if isinstance(adapters[0], Bottleneck) else "adapter_dim"
        record[size] = adapters[0].down.out_features
    if side is not None:
        write_weights(side.network, folder / SIDE)
        record["side"] = {"dim": side.network.dim, "modalities": side.modalities}
    if cross is not None:
        write_weights(cross.attention, folder / CROSS)
        record["cross"] = cross.attention.size
    (folder / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
    del merged
    load_encoder(folder)


def load_encoder(folder: Path) -> ItemEncoder | SideEncoder | CrossEncoder:
    """The encoder that ``save_encoder`` wrote, on the CPU and in eval mode.

    Raises:
        InputError: there is none, or its files do not give the encoder that was saved.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        encoder = _load(record, folder.resolve())
        if "row_dim" in record:
            cut_rows(encoder, record["row_dim"])
        for size in ADDED.keys() & record:
            ADDED[size](encoder, record[size])
            encoder.adapters.load_state_dict(load_file(folder / ADAPTERS))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(f"{folder} holds no readable encoder ({one_line(error)})") from error
    if encoder.fingerprint() != record["fingerprint"]:
        raise InputError(f"{encoder.name} is not the encoder that was saved there: files or versions of its libraries are others")
    encoder.eval()
    if "side" in record:
        encoder = _with_side(encoder, record["side"], folder)
    if "cross" in record:
        encoder = _with_cross(encoder, record["cross"], folder)
    return encoder.requires_grad_(False)


def _with_side(encoder: ItemEncoder, side: dict, folder: Path) -> SideEncoder:
    network = SideNetwork(encoder, LayerStates(encoder, side["modalities"]).widths, side["dim"])
    network.load_state_dict(load_file(folder / SIDE))
    return SideEncoder(encoder, network)


def _with_cross(encoder: ItemEncoder, size: int, folder: Path) -> CrossEncoder:
    attention = CrossAttention(TokenStates(encoder, PAIR).widths, size)
    attention.load_state_dict(load_file(folder / CROSS))
    return CrossEncoder(encoder, attention)


def _save(encoder: ItemEncoder, folder: Path) -> dict[str, object]:
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(encoder, SeparateEncoder):
        return {"parts": {modality: _save(getattr(encoder, modality), folder / modality) for modality in encoder.modalities}}
    name, options = encoder.save_files(folder)
    return {"name": name, "options": options}


def _load(record: dict, folder: Path) -> ItemEncoder:
    if "parts" in record:
        parts = {modality: _load(part, folder / modality) for modality, part in record["parts"].items()}
        return SeparateEncoder(f"separate:image={parts['image'].name},text={parts['text'].name}", **parts).eval()
    if FOLDER not in record["name"] or not set(record["options"]) <= OPTIONS:
        raise ValueError(f"{RECORD} names files or options that no saved encoder has")
    options = {key: _placed(value, folder) for key, value in record["options"].items()}
    with torch.random.fork_rng(devices=[]):
        return create_encoder(_placed(record["name"], folder), **options)


def _placed(value: object, folder: Path) -> object:
    return value.replace(FOLDER, str(folder)) if isinstance(value, str) else value
