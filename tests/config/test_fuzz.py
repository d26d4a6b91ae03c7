"""Random edits of a working configuration: each of them runs, or is refused in one line; what belongs to nobody is always refused."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest
import yaml

from recbole_mm.config.keys import KEYS
from recbole_mm.config.known_keys import DERIVED, known_keys
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.recbole_kinds import COMMON_KINDS
from recbole_mm.errors import InputError
from recbole_mm.quick_start import create_dataset, data_preparation

EDITS = 150
WORKING = {
    "epochs": 1, "train_batch_size": 64, "embedding_size": 8, "topk": [3, 5], "metrics": ["Recall", "NDCG"], "valid_metric": "Recall@5",
    "use_gpu": False, "show_progress": False, "state": "WARNING", "learning_rate": 0.01, "eval_args": {"order": "TO"}, "seed": 3,
    "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]}, "val_interval": {"rating": "[2,inf)"},
}  # fmt: skip
OWN = {
    "CLIPRec": {"encoder": "open_clip:tiny", "modalities": ["text"], "encoder_training": "pretrained", "text_field": ["title"]},
    "VBPR": {"feature_files": {"taste": "taste.npy"}, "feature_ids": "taste.txt"},
    "BPR": {},
    "SASRec": {"hidden_size": 8, "inner_size": 8, "n_layers": 1},
    "LightGCN": {"n_layers": 1},
    "NeuMF": {"mlp_hidden_size": [8]},
    "FM": {"eval_args": {"mode": "labeled"}, "metrics": ["AUC"], "valid_metric": "AUC", "threshold": {"rating": 3}},
}
VALUES = (
    0, -1, 1, 3, 1.5, 10**12, float("inf"), float("nan"), "abc", "", "a: b", "[1", "{x", "~", None, True, False, [], [0], [-1, 2], ["x"],
    [None], {}, {"x": 1}, {"rating": 4}, "/no/such/file", "../x", "full", "auto", "none", "Recall@5", "é", [[1]], {1: 2},
)  # fmt: skip
NOBODYS = ("epocs", "xyzzy", "learningrate", "encodr", "top_k", "batchsize", "Epochs", "n_layer", "1", "metric", "seeds")


@dataclass
class Edited:
    """A model, what stands in its file and on its command line, and whether one of the keys belongs to nobody."""

    model: str
    file: dict
    command_line: list[str]
    nobodys: bool = False


def edited(draw: random.Random) -> Edited:
    """One to three random edits of a working configuration."""
    model = draw.choice(list(OWN))
    case = Edited(model, {**WORKING, **OWN[model]}, [])
    for _ in range(draw.choice((1, 1, 2, 3))):
        draw.choices(EDITS_OF, (2, 1, 1, 1, 1, 2, 1, 9))[0](case, draw)
    return case


def _other_value(case: Edited, draw: random.Random) -> None:
    case.file[draw.choice(list(case.file))] = draw.choice(VALUES)


def _new_key(case: Edited, draw: random.Random) -> None:
    case.file[_any_key(draw)] = draw.choice(VALUES)


def _on_the_command_line(case: Edited, draw: random.Random) -> None:
    case.command_line.append(f"--{_any_key(draw)}={draw.choice(VALUES)}")


def _left_out(case: Edited, draw: random.Random) -> None:
    case.file.pop(draw.choice(list(case.file)))


def _misspelt(case: Edited, draw: random.Random) -> None:
    key = draw.choice([key for key in case.file if isinstance(key, str) and len(key) > 4])
    place = draw.randrange(1, len(key) - 1)
    case.file[key[:place] + "q" + key[place:]], case.nobodys = case.file.pop(key), True


def _inside(case: Edited, draw: random.Random) -> None:
    mappings = [key for key, value in case.file.items() if isinstance(value, Mapping) and value]
    if mappings:
        key = draw.choice(mappings)
        inner = draw.choice([*case.file[key], "x", "order", "split", "mode"])
        case.file[key] = {**case.file[key], inner: draw.choice((*VALUES, {"RS": [1, 2]}, {"LS": "x"}, "uni3", "labeled", "RO", "[1,2)"))}


def _of_nobody(case: Edited, draw: random.Random) -> None:
    key, case.nobodys = draw.choice(NOBODYS), True
    if draw.random() < 0.5:
        case.file[key] = draw.choice(VALUES)
    else:
        case.command_line.append(f"--{key}={draw.choice(VALUES)}")


def _near(case: Edited, draw: random.Random) -> None:
    """Another value of the kind that a key of the model has by default."""
    defaults = default_values(case.model)
    key = draw.choice(sorted(defaults))
    value = {**defaults, **case.file}[key]
    if isinstance(value, bool):
        near = [not value]
    elif isinstance(value, int | float):
        near = [0, 1, 2, 3, 7, 20, 0.1, 0.5, 1.0, -1, value * 2]
    elif isinstance(value, str):
        near = [value + "x", value.upper(), *NEAR_WORDS]
    else:
        near = [None, [3], ["title"], [8, 4], *VALUES[:5], {"RS": [8, 1, 1]}, {"distribution": "popularity"}]
    case.file[key] = draw.choice(near)


EDITS_OF = (_other_value, _new_key, _on_the_command_line, _left_out, _misspelt, _inside, _of_nobody, _near)
NEAR_WORDS = ("none", "sum", "mean", "relu", "BPR", "CE", "SSM", "cosine", "adagrad", "uni5", "MRR@3", "title", "rating", "timestamp")
LEFT_ALONE = {
    "model", "dataset", "data_path", "nproc", "resume", "init_from", "cache_dir", "checkpoint_dir", "plugins", "epochs", "pretrain_epochs",
    "finetune_epochs", "gpu_id", "local_rank", "worker", "device", "encoder_compile", "MODEL_TYPE", "MODEL_INPUT_TYPE", "eval_type",
}  # fmt: skip


@lru_cache
def default_values(model: str) -> dict:
    return {key: value for key, value in MultiModalConfig(model, "tiny", None, None, []).final_config_dict.items() if key not in LEFT_ALONE}


def _any_key(draw: random.Random) -> str:
    keys = draw.choice((COMMON_KINDS, KEYS, known_keys()))
    return draw.choice(sorted(set(keys) - LEFT_ALONE - {*DERIVED}))


def write_shop(folder: Path, users: int = 16, items: int = 12) -> Path:
    """A data set of a few interactions with ratings, times, texts and a file of features."""
    import numpy as np

    draw, folder = random.Random(1), folder / "tiny"
    folder.mkdir(parents=True)
    rows = [(u, i, draw.randint(1, 5)) for u in range(users) for i in draw.sample(range(items), 7)]
    lines = (f"u{u}\ti{i}\t{rating}\t{time}\n" for time, (u, i, rating) in enumerate(rows))
    (folder / "tiny.inter").write_text("user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + "".join(lines))
    texts = "".join(f"i{i}\tthing number {i}\n" for i in range(items))
    (folder / "tiny.item").write_text("item_id:token\ttitle:token_seq\n" + texts)
    np.save(folder / "taste.npy", np.random.default_rng(0).normal(size=(items, 4)).astype("float32"))
    (folder / "taste.txt").write_text("".join(f"i{i}\n" for i in range(items)))
    return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    return write_shop(tmp_path_factory.mktemp("fuzz"))


def test_what_is_edited_works(shop):
    for model, own in OWN.items():
        config = MultiModalConfig(model, "tiny", None, {**WORKING, **own, "data_path": str(shop.parent)}, [])
        data_preparation(config, create_dataset(config))


@pytest.mark.parametrize("block", range(5))
def test_random_edits(shop, tmp_path, block):
    draw = random.Random(block)
    refused = 0
    for _ in range(EDITS // 5):
        case = edited(draw)
        file = tmp_path / "edited.yaml"
        file.write_text(yaml.safe_dump({**case.file, "data_path": str(shop.parent)}, allow_unicode=True), encoding="utf-8")
        try:
            config = MultiModalConfig(case.model, "tiny", [str(file)], None, case.command_line)
            data_preparation(config, create_dataset(config))
        except InputError as error:
            assert str(error) and "\n" not in str(error), case
            refused += 1
        except Exception as error:
            pytest.fail(f"{type(error).__name__}: {error} of {case}")
        else:
            assert not case.nobodys, case
    assert 0 < refused < EDITS // 5
