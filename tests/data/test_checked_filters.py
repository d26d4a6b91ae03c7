"""Filters, labels and splits: what is left, and what is said about it."""

import logging

import pytest

from recbole_mm.errors import InputError
from tests.data.tables import BY_TIME, interactions, pairs, read, write

MODELS = ("BPR", "SASRec", "CLIPRec")


def test_the_line_that_the_warning_names_keeps_low_ratings_out(tmp_path, caplog):
    """Threshold gives labels, which these models do not read; the filter takes the rows out, whatever load_col says."""
    caplog.set_level(logging.INFO)
    folder = write(tmp_path / "shop")
    for model in MODELS:
        caplog.clear()
        assert len(read(folder, model, threshold={"rating": 4}).inter_feat) == 30
        assert f"which {model} does not read" in caplog.text and "write val_interval: {rating: '[4,inf)'}" in caplog.text
        kept = read(folder, model, val_interval={"rating": "[4,inf)"})
        assert pairs(kept) == [(user, item) for user, item, rating, _ in interactions() if float(rating) >= 4]
        assert "rating" not in kept.inter_feat and "val_interval of rating: 18 of 30 interactions are left out" in caplog.text


def test_models_that_learn_from_labels_get_them_without_a_word(tmp_path, caplog):
    dataset = read(write(tmp_path / "shop"), "FM", threshold={"rating": 4})
    assert dataset.inter_feat["label"].tolist() == [int(float(rating) >= 4) for _, _, rating, _ in interactions()]
    assert "threshold" not in caplog.text


def test_labels_must_be_labels(tmp_path, caplog):
    folder = write(tmp_path / "shop")
    with pytest.raises(InputError, match="LABEL_FIELD: rating holds 1 to 5, not 0 and 1; set threshold, such as {rating: 3}"):
        read(folder, "FM", LABEL_FIELD="rating")
    read(folder, "FM", threshold={"rating": 1})
    assert "label is 1 in every interaction" in caplog.text
    read(folder, "BPR", LABEL_FIELD="rating")
    assert "LABEL_FIELD: rating is not read by BPR" in caplog.text


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"val_interval": {"rating": "[9,inf)"}}, "val_interval of rating: none of the 30 interactions is left"),
        ({"user_inter_num_interval": "[6,inf)"}, "user_inter_num_interval and item_inter_num_interval: none of the 30"),
        ({"val_interval": {"stars": "[9,inf)"}}, "val_interval: .* has a column 'stars'"),
        ({"threshold": {"stars": 4}}, "no column 'stars' .threshold.; it has user_id, item_id, rating, timestamp"),
        (
            {"unload_col": {"inter": ["rating"]}, "load_col": None, "threshold": {"rating": 4}},
            "unload_col leaves out 'rating' of .*threshold",
        ),
        ({"eval_args": {**BY_TIME, "split": {"RS": [1, 0, 0]}}}, "of 30 interactions leaves nothing for validation and test"),
    ],
)
def test_filters_and_splits_that_leave_nothing(tmp_path, keys, says):
    folder = write(tmp_path / "shop")
    with pytest.raises(InputError, match=says):
        read(folder, **keys).build()


def test_a_part_of_the_split_that_is_empty_is_told(tmp_path, caplog):
    folder = write(tmp_path / "shop")
    read(folder, eval_args={**BY_TIME, "split": {"LS": "test_only"}}).build()
    assert "nothing for validation: the last epoch is tested" in caplog.text
    read(folder, eval_args={**BY_TIME, "split": {"LS": "valid_only"}}).build()
    assert "nothing for test: there is no test result" in caplog.text


def test_histories_in_benchmark_files_hold_the_items_of_the_column_beside_them(tmp_path):
    rows = interactions()
    header = "user_id:token\titem_id_list:token_seq\titem_id:token"
    for part, n in {"train": 2, "valid": 3, "test": 4}.items():
        own = [[f"u{u}", " ".join(rows[5 * u + i][1] for i in reversed(range(n))), rows[5 * u + n][1]] for u in range(6)]
        write(tmp_path / "shop", own, header, f"{part}.inter")
    dataset = read(tmp_path / "shop", "SASRec", benchmark_filename=["train", "valid", "test"])
    for part, n in zip(dataset.build(), (2, 3, 4), strict=True):
        histories = [dataset.id2token("item_id", row[:n].numpy()).tolist() for row in part.inter_feat["item_id_list"]]
        assert histories == [[f"i{i}" for i in reversed(range(n))]] * 6
        assert part.inter_feat["item_length"].tolist() == [n] * 6
        assert dataset.id2token("item_id", part.inter_feat["item_id"].numpy()).tolist() == [f"i{n}"] * 6


def test_plain_benchmark_files_are_not_for_sequential_models(tmp_path):
    for part in ("train", "valid", "test"):
        write(tmp_path / "shop", suffix=f"{part}.inter")
    with pytest.raises(InputError, match="no column 'item_id_list'.*SASRec reads every user's history from a column"):
        read(tmp_path / "shop", "SASRec", benchmark_filename=["train", "valid", "test"])


def test_filters_of_tokens_and_of_several_columns(tmp_path, caplog):
    folder = write(tmp_path / "shop")
    write(folder, [[f"i{i}", f"k{i % 2}", str(i)] for i in range(5)], "item_id:token\tkind:token\tprice:float", "item")
    load = {"inter": ["user_id", "item_id"], "item": ["item_id", "kind", "price"]}
    kept = read(folder, load_col=load, val_interval={"kind": ["k0"], "price": "[0,2]", "user_id": ["u1", "u2"]})
    assert pairs(kept) == [("u1", "i0"), ("u1", "i2"), ("u2", "i0"), ("u2", "i2")]
    assert pairs(read(folder, val_interval={"rating": [2, 3]})) == [(u, i) for u, i, rating, _ in interactions() if rating in "23"]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"price": "[0,2]"}, "'price' is a column of .*shop.item, which is not read; set load_col: {inter: .user_id, item_id., item: "
         ".item_id, price.}"),
        ({"prise": "[0,2]"}, r"no file has a column 'prise' \(did you mean 'price'"),
        ({"user_id": "[0,2]"}, "user_id holds tokens, which are listed, such as .'u0', 'u1', 'u2'."),
        ({"rating": [1, 2, 3]}, "rating holds numbers, and .1, 2, 3. is no interval such as '.5,inf.'"),
    ],
)  # fmt: skip
def test_filters_that_do_not_fit_their_column(tmp_path, wanted, says):
    folder = write(tmp_path / "shop")
    write(folder, [["i1", "k", "1"]], "item_id:token\tkind:token\tprice:float", "item")
    with pytest.raises(InputError, match=f"val_interval: {says}"):
        read(folder, val_interval=wanted)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            {"load_col": {"inter": ["user_id", "item_id", "ratng"]}},
            r"load_col: the interactions have no column 'ratng' \(did you mean 'rating'",
        ),
        ({"load_col": {"inter": ["user_id", "item_id"], "user": ["user_id"]}}, "load_col: there is no file .*shop.user; leave 'user' out"),
        ({"unload_col": {"inter": ["ratng"]}}, "unload_col: the interactions have no column 'ratng'"),
        (
            {"unload_col": {"inter": ["rating"]}, "load_col": {"inter": ["user_id"]}},
            "load_col and unload_col both choose columns of 'inter'",
        ),
        ({"unload_col": {"inter": ["item_id"]}}, "unload_col leaves out 'item_id' of .*shop.inter, which ITEM_ID_FIELD needs"),
        ({"USER_ID_FIELD": "customer"}, "no column 'customer' .USER_ID_FIELD.; it has user_id, item_id, rating, timestamp"),
    ],
)
@pytest.mark.parametrize("model", MODELS)
def test_columns_that_are_not_there(tmp_path, model, keys, says):
    with pytest.raises(InputError, match=says):
        read(write(tmp_path / "shop"), model, **keys)


def test_columns_may_be_left_out(tmp_path):
    assert list(read(write(tmp_path / "shop"), unload_col={"inter": ["rating"]}).inter_feat) == ["user_id", "item_id", "timestamp"]


@pytest.mark.parametrize("model", MODELS)
def test_fields_with_other_names(tmp_path, model):
    names = {"USER_ID_FIELD": "customer", "ITEM_ID_FIELD": "product", "TIME_FIELD": "when", "RATING_FIELD": "stars"}
    folder = write(tmp_path / "shop", header="customer:token\tproduct:token\tstars:float\twhen:float")
    write(folder, [[f"i{i}", str(i)] for i in range(5)], "product:token\tprice:float", "item")
    load = {"inter": ["customer", "product"], "item": ["product", "price"]}
    for keys in (
        {},
        {"load_col": load},
        {"NEG_PREFIX": "no_", "ITEM_LIST_LENGTH_FIELD": "n", "LIST_SUFFIX": "_then", "LABEL_FIELD": "click"},
    ):
        dataset = read(folder, model, **names, **keys)
        assert pairs(dataset) == [(user, item) for user, item, *_ in interactions()]
        assert [len(part) > 0 for part in dataset.build()] == [True] * 3


def test_benchmark_files_are_not_filtered_and_have_the_same_columns(tmp_path, caplog):
    for part in ("train", "valid", "test"):
        write(tmp_path / "shop", suffix=f"{part}.inter", header="user_id:token\titem_id:token\tstars:float\ttimestamp:float".replace(
            "stars", "rating" if part != "test" else "stars"))  # fmt: skip
    parts = {"benchmark_filename": ["train", "valid", "test"]}
    assert len(read(tmp_path / "shop", **parts, val_interval={"rating": "[4,inf)"}, rm_dup_inter="first").inter_feat) == 90
    assert "not used: rm_dup_inter, val_interval, because benchmark files are taken as they are" in caplog.text
    with pytest.raises(InputError, match="shop.test.inter has no column 'rating', which shop.train.inter has"):
        read(tmp_path / "shop", **parts, load_col={"inter": ["user_id", "item_id", "rating"]})
