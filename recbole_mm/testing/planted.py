"""A tiny shop with a known right answer, and configurations for quick runs on it."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from recbole.utils import init_seed
from safetensors.numpy import save_file

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.quick_start import build_model
from recbole_mm.training.loaders import create_dataset, data_preparation

COLOURS = ((200, 30, 30), (30, 60, 200))
WORDS = ("leather boots for the mountain", "silk dress for the evening")
N_USERS, N_ITEMS, PER_USER = 40, 48, 10


def write_planted(folder: Path, n_users: int = N_USERS, n_items: int = N_ITEMS, missing: bool = False, seed: int = 0) -> Path:
    """Two visual x two textual styles: item i has colour i % 2 and words i // 2 % 2, and user u interacts with items of colour
    u % 2 and words u // 2 % 2 alone. ``missing`` takes every 7th picture and every 5th text away."""
    rng = np.random.default_rng(seed)
    write_items(folder, n_items, missing, rng)
    tastes = [[i for i in range(n_items) if style(i) == style(u)] for u in range(n_users)]
    write_histories(folder, [rng.permutation(own)[:PER_USER] for own in tastes])
    return folder


def write_sequences(folder: Path, n_users: int = N_USERS, n_items: int = N_ITEMS, missing: bool = False, seed: int = 0) -> Path:
    """The same items in another shop. User u interacts with items of words u // 2 % 2 alone, a third of all items, and each of them has the
    colour that the one before it has not."""
    rng = np.random.default_rng(seed)
    write_items(folder, n_items, missing, rng)
    write_histories(folder, [alternating(range(n_items), u, rng)[: n_items // 3] for u in range(n_users)])
    return folder


def alternating(items: Iterable[int], first: int, rng: np.random.Generator) -> list[int]:
    """Those of the items that have the words of item ``first``, in a random order in which colours alternate, beginning with its own. There
    must be equally many of each style."""
    order = rng.permutation(list(items))
    return np.stack([order[style(order) == wanted] for wanted in (style(first), recoloured(first))], axis=1).flatten().tolist()


def style(item: int | np.ndarray) -> int | np.ndarray:
    """0 to 3: item i has colour i % 2 and words i // 2 % 2."""
    return item % 4


def recoloured(item: int) -> int:
    """The style that has the words of an item, and the other colour."""
    return style(item) ^ 1


def write_items(folder: Path, n_items: int, missing: bool, rng: np.random.Generator) -> None:
    """The .item file of a planted shop, and its pictures."""
    (folder / "images").mkdir(parents=True)
    lines = ["item_id:token\ttitle:token_seq\tdescription:token_seq\timage:token"]
    for i in range(n_items):
        colour, words = COLOURS[i % 2], WORDS[i // 2 % 2]
        picture = np.clip(np.array(colour) + rng.integers(-25, 26, (32, 32, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / "images" / f"{i}.png")
        image, text = f"{i}.png", words
        if missing:
            image, text = ("" if i % 7 == 0 else image), ("" if i % 5 == 0 else text)
        lines.append(f"i{i}\t{text}\t\t{image}")
    (folder / f"{folder.name}.item").write_text("\n".join(lines) + "\n")


def write_histories(folder: Path, histories: Iterable[Iterable[int]]) -> None:
    """The .inter file of a planted shop: the items of user u0, u1, ... in the order of time."""
    rows = [f"u{u}\ti{i}\t{t}" for u, items in enumerate(histories) for t, i in enumerate(items)]
    (folder / f"{folder.name}.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n")


def write_features(
    folder: Path, names: tuple[str, ...] = ("a", "b", "c"), width: int = 8, seed: int = 0, missing: bool = False
) -> dict[str, str]:
    """Feature files of a planted data set, as the key ``feature_files`` takes them: the first modality shows the item's colour, the
    second its words, further ones nothing. ``.safetensors`` with ``item_tokens``, items in a random order. ``missing`` leaves every 7th
    item out of the first file, and every 5th one out of the others."""
    rng = np.random.default_rng(seed)
    n_items = len((folder / f"{folder.name}.item").read_text().splitlines()) - 1
    files = {}
    for place, name in enumerate(names):
        order = rng.permutation(n_items)
        styles = (order % 2, order // 2 % 2, np.zeros(n_items, dtype=int))[min(place, 2)]
        rows = np.eye(2)[styles] @ rng.normal(size=(2, width)) + 0.1 * rng.normal(size=(n_items, width))
        file = folder / f"{name}.safetensors"
        here = order % (5 if place else 7) > 0 if missing else order >= 0
        save_file({"features": rows[here].astype(np.float32)}, file, {"item_tokens": json.dumps([f"i{i}" for i in order[here]])})
        files[name] = file.name
    return files


def settings(folder: Path, **keys) -> dict:
    """A configuration for a few quick epochs of CLIPRec on ``folder``."""
    return {
        "data_path": str(folder.parent), "encoder": "open_clip:tiny", "epochs": 3, "train_batch_size": 64, "show_progress": False,
        "use_gpu": False, "state": "WARNING", "topk": [5, 10], "valid_metric": "Recall@10", "metrics": ["Recall", "NDCG"], **keys,
    }  # fmt: skip


def built(folder: Path, model: str = "CLIPRec", **keys):
    """config, model, train / valid / test loaders of a configuration, untrained."""
    config = MultiModalConfig(model, folder.name, config_dict=settings(folder, **keys))
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    loaders = data_preparation(config, dataset)
    return config, build_model(config, loaders[0]), *loaders
