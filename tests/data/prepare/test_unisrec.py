"""``recbole-mm prepare --source=unisrec``, and the same files read as they are: the same rows, parts and numbers."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors import safe_open

from recbole_mm.cli import main
from recbole_mm.data.atomic_file import read_atomic_file
from recbole_mm.data.prepare.options import parse
from recbole_mm.data.prepare.pipeline import prepare
from recbole_mm.data.prepare.sequences import sequences_of
from recbole_mm.testing.planted import built

HEAD = "user_id:token\titem_id_list:token_seq\titem_id:token"
N_ITEMS, MOST = 20, 6
"""How many items there are, and how long histories are in the files."""


def draw(folder: Path, names: bool = True, backwards: bool = True) -> dict[str, list[int]]:
    """A folder as UniSRec's preprocessing writes it, with shorter histories; it has the training rows of a user backwards. Returns the
    sequences, some of which are longer than a history, and some of which come back to an item."""
    chance = random.Random(0)
    sequences = {str(u): [*chance.sample(range(N_ITEMS), N_ITEMS)[: chance.randint(5, 12)], u % 3] for u in range(12)}
    sequences["12"] = list(range(N_ITEMS))
    files: dict[str, list[str]] = {"train": [HEAD], "valid": [HEAD], "test": [HEAD]}
    for user, items in sequences.items():
        ends = range(1, len(items))
        for end in reversed(ends) if backwards else ends:
            part = "test" if end == len(items) - 1 else "valid" if end == len(items) - 2 else "train"
            files[part].append(f"{user}\t{' '.join(map(str, items[max(0, end - MOST) : end]))}\t{items[end]}")
    folder.mkdir(parents=True)
    for part, rows in files.items():
        (folder / f"{folder.name}.{part}.inter").write_text("\n".join(rows) + "\n")
    if names:
        (folder / f"{folder.name}.item2index").write_text("".join(f"B{i:03}\t{i}\n" for i in range(N_ITEMS)))
        (folder / f"{folder.name}.user2index").write_text("".join(f"A{u}\t{u}\n" for u in range(13)))
    rows = [f'{f"B{i:03}" if names else i}\tThing "{i}", for the house.' for i in range(1, N_ITEMS)]
    (folder / f"{folder.name}.text").write_text("\n".join(["item_id:token\ttext:token_seq", *rows]) + "\n")
    return sequences


def made(folder: Path, *arguments: str):
    """The summary, and the folder that was made."""
    output = folder.parents[1] / "data" / "toy"
    return prepare(parse(["--source=unisrec", f"--input={folder}", f"--output={output}", "--overwrite", *arguments])), output


@pytest.mark.parametrize("backwards", [True, False])
def test_whole_sequences_come_back_in_order(tmp_path, backwards):
    sequences = draw(tmp_path / "in" / "Toy", backwards=backwards)
    summary, output = made(tmp_path / "in" / "Toy")
    table = read_atomic_file(output / "toy.inter").columns
    found: dict[str, list[str]] = {}
    for user, item, time in zip(table["user_id"], table["item_id"], table["timestamp"], strict=True):
        assert int(time) == len(found.setdefault(user, []))
        found[user].append(item)
    assert found == {f"A{user}": [f"B{item:03}" for item in items] for user, items in sequences.items()}
    n = sum(map(len, sequences.values()))
    assert (summary.interactions, summary.users, summary.items, summary.rows) == (n, 13, N_ITEMS, n - 13)
    assert (summary.items_with_text, summary.items_without_metadata) == (N_ITEMS - 1, 1) and not summary.notes + summary.warnings
    items = read_atomic_file(output / "toy.item").columns
    assert items["item_id"] == [f"B{i:03}" for i in range(N_ITEMS)] and items["title"][:2] == ["", 'Thing "1", for the house.']


def rows_of(part, most: int | None = None) -> set[tuple]:
    """User, history and what follows it, by their tokens."""
    users, items, rows = part.field2id_token["user_id"], part.field2id_token["item_id"], part.inter_feat
    lists = zip(
        rows["user_id"].tolist(), rows["item_id_list"].tolist(), rows["item_length"].tolist(), rows["item_id"].tolist(), strict=True
    )
    return {(users[user], tuple(items[own[:length]]), items[after]) for user, own, length, after in lists}


@pytest.mark.parametrize("most", [MOST, 4])
@pytest.mark.parametrize("fast", [True, False])
def test_the_parts_are_those_of_the_files_read_as_they_are(tmp_path, most, fast):
    """By RecBole's SASRec and by SASRecM, which have the same rows; longer histories are cut at their beginning."""
    draw(tmp_path / "in" / "Toy", names=False)
    _, output = made(tmp_path / "in" / "Toy")
    keys = {"MAX_ITEM_LIST_LENGTH": most, "fast_loop": fast, "topk": [5], "valid_metric": "Recall@5", "encoder": None}
    keys |= {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1}
    as_they_are = {"benchmark_filename": ["train", "valid", "test"]}
    parts = {}
    for name, folder, model, more in (
        ("SASRec", tmp_path / "in" / "Toy", "SASRec", {**as_they_are, "train_neg_sample_args": None}),
        ("SASRecM", tmp_path / "in" / "Toy", "SASRecM", {**as_they_are, "modalities": []}),
        ("prepared", output, "SASRecM", {"modalities": [], "sequence_rows": "prefixes"}),
    ):
        _, network, *loaders = built(folder, model, **keys, **more)
        parts[name] = [rows_of(loader._dataset) for loader in loaders]
        assert network.full_sort_predict(next(iter(loaders[2]))[0]).numel() > 0
    assert parts["SASRec"] == parts["SASRecM"] == parts["prepared"]
    assert max(len(history) for _, history, _ in parts["prepared"][2]) == most


def features(file: Path) -> dict[str, np.ndarray]:
    with safe_open(file, "numpy") as opened:
        return dict(zip(json.loads(opened.metadata()["item_tokens"]), opened.get_tensor("features"), strict=True))


def test_features_get_the_items_of_their_rows(tmp_path):
    """A row of zeros is no picture. What feat2CLS has is no feature of the items as they are."""
    draw(tmp_path / "in" / "Toy")
    text, image = np.random.default_rng(0).normal(size=(2, N_ITEMS, 5)).astype(np.float32)
    image[[3, 7]] = 0
    for name, table in (("feat1CLS", text), ("feat2CLS", text), ("feat3CLS", image[:, :4])):
        table.tofile(tmp_path / "in" / "Toy" / f"Toy.{name}")
    summary, output = made(tmp_path / "in" / "Toy")
    assert summary.features == {"text": [N_ITEMS, 5], "image": [N_ITEMS - 2, 4]} and summary.notes == ["left out: Toy.feat2CLS"]
    found = features(output / "text.safetensors"), features(output / "image.safetensors")
    assert all((found[0][f"B{i:03}"] == text[i]).all() for i in range(N_ITEMS))
    assert found[1].keys() == found[0].keys() - {"B003", "B007"} and all(
        (row == image[int(i[1:]), :4]).all() for i, row in found[1].items()
    )
    settings = yaml.safe_load((output / "toy.yaml").read_text())
    assert settings["feature_files"] == {"text": "text.safetensors", "image": "image.safetensors"} and settings["text_field"] == ["title"]
    _, network, train, *_ = built(output, "SASRecM", topk=[5], valid_metric="Recall@5", encoder=None)
    ids = train._dataset.field2token_id["item_id"]
    present = network.item_features.present("image")
    assert [present[ids[f"B{i:03}"]].item() for i in (2, 3, 7)] == [True, False, False]


def row(user: str, items: Sequence[str]) -> tuple:
    return user, tuple(items[:-1]), items[-1]


def test_sequences_that_do_not_follow_each_other_are_cut(tmp_path):
    training, valid, test = [row("a", "xyz"), row("a", "wxy")], [row("a", "pqr")], [row("a", "pqrs")]
    found = sequences_of([training, valid, test])
    assert found.items == {"a": list("pqrs")} and found.cut == 1 and not found.split_otherwise
    found = sequences_of([[row("a", "wxy")], [], [row("a", "wxyz")]])
    assert found.items == {"a": list("wxyz")} and not found.cut and not found.split_otherwise
    found = sequences_of([[row("a", "wx"), row("a", "wxy")], [], [row("a", "wxyz")]])
    assert found.items == {"a": list("wxyz")} and found.split_otherwise == 1, "leaving one out gives the validation xy"


@pytest.mark.parametrize(
    ("spoil", "arguments", "facts"),
    [
        (lambda folder: (folder / "Toy.valid.inter").unlink(), [], ["has no Toy.valid.inter"]),
        (lambda folder: [file.unlink() for file in folder.glob("*.inter")], [], ["has no *.train.inter"]),
        (lambda folder: (folder / "Toy.test.inter").write_text("user_id:token\titem_id:token\n1\t2\n"), [], ["no column item_id_list"]),
        (lambda folder: (folder / "Toy.test.inter").write_text(f"{HEAD}\n1\t\t2\n"), [], ["Toy.test.inter", "no history"]),
        (lambda folder: (folder / "Toy.item2index").write_text("B0\t0\n"), [], ["item ", "is not in Toy.item2index"]),
        (lambda folder: (folder / "Toy.item2index").write_text("B0 0\n"), [], ["Toy.item2index line 1: 'B0 0'", "tab"]),
        (lambda folder: (folder / "Toy.item2index").write_text("B0\t0\nB1\t0\n"), [], ["number 0", "more than once"]),
        (lambda folder: (folder / "Toy.feat1CLS").write_bytes(b"12345"), [], ["Toy.feat1CLS has 5 bytes", "20 items"]),
        (lambda folder: np.full((N_ITEMS, 2), np.nan, np.float32).tofile(folder / "Toy.feat1CLS"), [], ["Toy.feat1CLS", "NaN", "B000"]),
        (lambda folder: None, ["--k-core=5"], ["keeps the sequences of the folder", "--k-core"]),
    ],
)  # fmt: skip
def test_folders_that_do_not_fit(tmp_path, capsys, spoil, arguments, facts):
    draw(tmp_path / "Toy")
    spoil(tmp_path / "Toy")
    assert main(["prepare", "--source=unisrec", f"--input={tmp_path / 'Toy'}", f"--output={tmp_path / 'x'}", *arguments]) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    for fact in facts:
        assert fact in error, error
    assert [path.name for path in tmp_path.iterdir()] == ["Toy"]


def test_what_to_do_next_is_said(tmp_path, capsys):
    draw(tmp_path / "Toy")
    assert main(["prepare", "--source=unisrec", f"--input={tmp_path / 'Toy'}", f"--output={tmp_path / 'x'}"]) == 0
    assert "recbole-mm run --model=SASRecM --dataset=x" in capsys.readouterr().out
