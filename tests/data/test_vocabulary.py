"""Known tokens keep their ids; what is new is left out or missing, what is gone keeps its place, and the log names and counts both."""

from pathlib import Path

import pytest
from recbole.utils import init_seed

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.data.tokens import item_tokens, user_tokens, vocabularies
from recbole_mm.errors import InputError
from recbole_mm.evaluation.protocol import find_cold_items
from recbole_mm.testing.planted import settings
from recbole_mm.training.loaders import create_dataset

ITEMS = ["i5", "i3", "i9", "i1"]
KNOWN = {"user_id": ["u2", "u1"], "item_id": ITEMS, "category": ["red", "blue"], "tags": ["soft", "warm"]}


def table(file: Path, header: str, *rows: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join([header, *rows]).replace(" ", "\t").replace("+", " ") + "\n")


def read(folder: Path, vocabulary: dict | None = KNOWN, model: str = "BPR", **keys):
    config = MultiModalConfig(model, folder.name, config_dict=settings(folder, **keys))
    init_seed(config["seed"], config["reproducibility"])
    return create_dataset(config, vocabulary)


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "shop"
    table(folder / "shop.inter", "user_id:token item_id:token", "u1 i1", "u2 i5", "u1 i5", "u9 i3", "u1 i7", "u2 i8", "u9 i7")
    return folder


def test_known_ids_come_first_and_the_log_counts(folder, caplog):
    dataset = read(folder)
    assert item_tokens(dataset) == ["[PAD]", *ITEMS] and user_tokens(dataset) == ["[PAD]", "u2", "u1"]
    assert dataset.inter_feat[["user_id", "item_id"]].values.tolist() == [[2, 4], [1, 1], [2, 1]]
    assert dataset.gone_items.tolist() == [3]
    assert [record.message for record in caplog.records] == [
        "1 item of the checkpoint is not in the data: i9; it is never recommended",
        "1 user is not in the checkpoint: u9; its 2 interactions are left out",
        "2 items are not in the checkpoint: i7, i8; their 2 interactions are left out",
    ]
    assert vocabularies(dataset) == {"user_id": KNOWN["user_id"], "item_id": ITEMS}


def test_without_a_vocabulary_ids_follow_the_rows(folder, caplog):
    assert item_tokens(read(folder, None)) == ["[PAD]", "i1", "i5", "i3", "i7", "i8"]
    assert not caplog.records


def test_many_are_counted_and_five_are_named(tmp_path, caplog):
    table(tmp_path / "shop" / "shop.inter", "user_id:token item_id:token", "u1 i1", *(f"u1 j{i}" for i in range(8)))
    read(tmp_path / "shop")
    assert "8 items are not in the checkpoint: j0, j1, j2, j3, j4 and 3 more; their 8 interactions are left out" in caplog.text


def test_another_shop_is_one_line(tmp_path):
    table(tmp_path / "shop" / "shop.inter", "user_id:token item_id:token", "x1 y1", "x2 y2")
    with pytest.raises(InputError, match="no interaction of the data set is between a user and an item of the checkpoint: x1, x2 are new"):
        read(tmp_path / "shop")


def test_rows_of_users_and_items_and_their_other_columns(folder, caplog):
    """A new category or tag counts as missing. Rows of .item and .user that are new are left out, those that are known count as there."""
    rows = "i9 blue warm", "i77 red soft", "i1 green soft+hot", "i5 red hot", "i3 red soft", "i7 blue soft"
    table(folder / "shop.item", "item_id:token category:token tags:token_seq", *rows)
    table(folder / "shop.user", "user_id:token age:float", "u7 20", "u1 30", "u2 40", "u9 50")
    load = {"inter": ["user_id", "item_id"], "item": ["item_id", "category", "tags"], "user": ["user_id", "age"]}
    dataset = read(folder, load_col=load)
    assert item_tokens(dataset) == ["[PAD]", *ITEMS] and not len(dataset.gone_items)
    assert dataset.user_feat["age"][1:].tolist() == [40, 30]
    categories = dict(zip(dataset.item_feat["item_id"], dataset.item_feat["category"], strict=True))
    assert categories == {0: 0, 1: 1, 2: 1, 3: 2, 4: 0}
    tags = dict(zip(dataset.item_feat["item_id"], dataset.item_feat["tags"].map(list), strict=True))
    assert tags == {0: [], 1: [], 2: [1], 3: [2], 4: [1]}
    assert vocabularies(dataset) == KNOWN
    for line in (
        "2 users are not in the checkpoint: u7, u9; their 2 interactions are left out",
        "2 items are not in the checkpoint: i7, i77; their 1 interaction is left out",
        "1 value of category is not in the checkpoint: green; it counts as missing",
        "1 value of tags is not in the checkpoint: hot; it counts as missing",
    ):
        assert line in caplog.text


def test_new_items_stay_where_a_model_ranks_them_by_content(folder, caplog):
    """Also one that only a new user has bought; its interaction is left out."""
    table(folder / "shop.item", "item_id:token title:token", *(f"i{i} thing" for i in range(10)))
    with open(folder / "shop.inter", "a") as file:
        file.write("u9\ti6\n")
    dataset = read(folder, model="CLIPRec", use_id=False, encoder_training="pretrained")
    assert dataset.tokens == ["[PAD]", *ITEMS, "i7", "i8", "i6"]
    assert len(dataset.inter_feat) == 5 and user_tokens(dataset) == ["[PAD]", "u2", "u1"]
    assert "3 items are not in the checkpoint: i6, i7, i8; they are ranked by content" in caplog.text
    drawn = [find_cold_items(data.config.changed(cold_item_ratio=0.5), data).tolist() for data in (dataset, read(folder))]
    assert drawn[0] == [*drawn[1], 5, 6, 7] and len(drawn[1]) == 2, "the same as in training, and the new ones"
    assert read(folder, model="CLIPRec", encoder_training="pretrained").tokens == ["[PAD]", *ITEMS]


def test_parts_that_are_files_keep_their_sizes(tmp_path):
    folder = tmp_path / "shop"
    for part, rows in {"a": ["u1 i1", "u9 i1", "u2 i5"], "b": ["u1 i7", "u1 i5"], "c": ["u2 i3"]}.items():
        table(folder / f"shop.{part}.inter", "user_id:token item_id:token", *rows)
    parts = read(folder, benchmark_filename=["a", "b", "c"]).build()
    pairs = [list(zip(part.inter_feat["user_id"].tolist(), part.inter_feat["item_id"].tolist(), strict=True)) for part in parts]
    assert pairs == [[(2, 4), (1, 1)], [(2, 1)], [(1, 2)]]


def test_histories_in_files_lose_what_is_new(tmp_path):
    folder, header = tmp_path / "shop", "user_id:token item_id_list:token_seq item_id:token"
    for part, rows in {"a": ["u1 i1+i7+i5 i3", "u2 i7 i5"], "b": ["u1 i9+i1 i7", "u1 i9+i1 i5"], "c": ["u2 i3+i8 i5"]}.items():
        table(folder / f"shop.{part}.inter", header, *rows)
    dataset = read(
        folder, model="SASRec", benchmark_filename=["a", "b", "c"], alias_of_item_id=["item_id_list"], train_neg_sample_args=None,
        load_col={"inter": ["user_id", "item_id_list", "item_id"]},
    )  # fmt: skip
    assert dataset.inter_feat["item_id_list"].map(list).tolist() == [[4, 1], [3, 4], [2]]
    assert dataset.inter_feat["item_id"].tolist() == [2, 1, 1] and dataset.file_size_list == [1, 1, 1]
    assert dataset.inter_feat["item_length"].tolist() == [2, 2, 1]
