"""A shop whose pictures and texts say the same thing, and ways to fine-tune on it."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from recbole.utils import init_seed

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.encoder.build_encoder import build_encoder
from recbole_mm.encoder.settings import EncoderSettings
from recbole_mm.finetune.choose_objectives import ObjectiveChooser
from recbole_mm.finetune.finetune_encoder import TunedEncoder, finetune_encoder
from recbole_mm.finetune.held_out import HeldOut
from recbole_mm.finetune.loop import FinetuningLoop
from recbole_mm.finetune.settings import FinetuneSettings
from recbole_mm.finetune.units import Units
from recbole_mm.items.inputs import EncoderInputs
from recbole_mm.items.raw_items import RawItems
from recbole_mm.testing.planted import settings
from recbole_mm.training.loaders import training_dataset

COLOURS = {
    "red": (210, 30, 30), "green": (30, 170, 50), "blue": (30, 50, 210), "yellow": (230, 220, 40),
    "black": (15, 15, 15), "white": (240, 240, 240), "pink": (240, 130, 190), "brown": (110, 65, 25),
}  # fmt: skip
QUICK = {"finetune_epochs": 4, "finetune_batch_size": 17, "finetune_warmup_steps": 3, "finetune_valid_ratio": 0.2}


def write_shop(folder: Path, n_items: int = 64, n_users: int = 24, seed: int = 0) -> Path:
    """Item i has one of eight colours, in its picture, in its text and as its category, and one of four kinds, each of two colours that
    do not look alike; user u consumes items of one colour."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    names = list(COLOURS)
    lines = ["item_id:token\ttitle:token_seq\timage:token\tcolour:token\tkind:token"]
    for i in range(n_items):
        name = names[i % len(names)]
        pixels = np.clip(np.array(COLOURS[name]) + rng.integers(-30, 31, (32, 32, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        lines.append(f"i{i}\ta {name} shirt number {i}\t{i}.png\t{name}\tkind {i % 4}")
    (folder / f"{folder.name}.item").write_text("\n".join(lines) + "\n")
    rows = ["user_id:token\titem_id:token\ttimestamp:float"]
    for u in range(n_users):
        own = range(u % len(names), n_items, len(names))
        rows += [f"u{u}\ti{i}\t{t}" for t, i in enumerate(rng.permutation(list(own))[:10])]
    (folder / f"{folder.name}.inter").write_text("\n".join(rows) + "\n")
    return folder


def configured(folder: Path, cache: Path, **keys) -> MultiModalConfig:
    keys = {**QUICK, "encoder_training": "finetuned", "cache_dir": str(cache), **keys}
    return MultiModalConfig("CLIPRec", folder.name, config_dict=settings(folder, **keys))


def training(config: MultiModalConfig):
    """The training part of the split that a run has."""
    init_seed(config["seed"], config["reproducibility"])
    return training_dataset(config)


def tuned(folder: Path, cache: Path, **keys) -> TunedEncoder:
    """Fine-tuned, or found in the cache."""
    config = configured(folder, cache, **keys)
    encoder = build_encoder(EncoderSettings.from_config(config))
    return finetune_encoder(FinetuneSettings.from_config(config), training(config), encoder)


def staged(folder: Path, cache: Path, **keys) -> FinetuningLoop:
    """About to be fine-tuned in full."""
    config = configured(folder, cache, **keys)
    dataset, encoder = training(config), build_encoder(EncoderSettings.from_config(config))
    parts = [m for m in encoder.modalities if m in dataset.content.modalities]
    inputs, chosen = EncoderInputs(encoder, dataset.content, parts), FinetuneSettings.from_config(config).for_encoder(encoder)
    items, units = RawItems(encoder, inputs, chunk_size=chosen.chunk_size), Units(inputs)
    held_out = HeldOut(encoder, dataset, units, chosen)
    objectives = ObjectiveChooser(encoder, dataset, units, held_out.split.trained, chosen).choose()
    return FinetuningLoop(items, units, objectives, held_out, chosen)


def weights(encoder: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in encoder.state_dict().items()}
