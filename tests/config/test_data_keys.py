"""Keys that choose rows and columns: wrong values are told, and columns follow the names of the fields."""

import pytest

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError

RENAMED = {"USER_ID_FIELD": "customer", "ITEM_ID_FIELD": "product", "TIME_FIELD": "when", "RATING_FIELD": "stars"}


def config(tmp_path, model: str = "BPR", **keys) -> MultiModalConfig:
    own = {"train_neg_sample_args": None} if model in ("SASRec", "GRU4RecKG") else {}
    return MultiModalConfig(model, "shop", config_dict={"data_path": str(tmp_path), "use_gpu": False, **own, **keys})


@pytest.mark.parametrize("model", ["BPR", "CLIPRec", "SASRec"])
@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"user_inter_num_interval": 50}, "user_inter_num_interval '50': an interval such as '.5,inf.'.*perhaps '.50,inf.'"),
        ({"item_inter_num_interval": ">=5"}, "item_inter_num_interval '>=5': an interval such as '.5,inf.'.*perhaps '.5,inf.'"),
        ({"entity_kg_num_interval": "[5,3]"}, "entity_kg_num_interval .*no number is within"),
        ({"val_interval": {"rating": ">=5"}}, "val_interval: rating '>=5': an interval such as '.5,inf.'.*perhaps '.5,inf.'"),
        ({"val_interval": {"rating": "[5 inf)"}}, "val_interval: rating '.5 inf.': an interval such as '.5,inf.'"),
        ({"val_interval": {"a": "[1,2]", "b": "x", "c": 5}}, "val_interval: b 'x': .*; val_interval: c '5'"),
        ({"val_interval": "[4,inf)"}, "val_interval '.4,inf.': a mapping from column to interval"),
        ({"user_inter_num_interval": 5, "item_inter_num_interval": 6}, "user_inter_num_interval '5': .*item_inter_num_interval '6'"),
        ({"threshold": {"rating": "4"}}, "threshold .*: one column and the least number that counts as positive, such as {rating: 4}"),
        ({"threshold": 4}, "threshold '4': one column"),
        ({"threshold": {"rating": 4, "price": 3}}, "and not rating, price"),
        ({"benchmark_filename": ["train", "test"]}, "benchmark_filename .*: three different parts in the order training, validation, test"),
        ({"benchmark_filename": "train"}, "benchmark_filename .*: three different parts"),
        ({"benchmark_filename": ["train", "test", "test"]}, "benchmark_filename .*: three different parts"),
        ({"seq_len": {"tags": 0}}, "seq_len .*a mapping from column to length"),
        ({"numerical_features": "price"}, "numerical_features 'price': a list of names"),
    ],
)
def test_what_cannot_be(tmp_path, model, keys, says):
    with pytest.raises(InputError, match=says) as caught:
        config(tmp_path, model, **keys)
    assert "\n" not in str(caught.value)


def test_a_tab_written_as_two_characters_is_a_tab(tmp_path):
    assert config(tmp_path, field_separator=r"\t", seq_separator=",")["field_separator"] == "\t"


@pytest.mark.parametrize("model", ["BPR", "CLIPRec", "SASRec"])
def test_the_columns_follow_the_fields_unless_they_are_given(tmp_path, model):
    assert config(tmp_path, model)["load_col"] == {"inter": ["user_id", "item_id"]}
    assert config(tmp_path, model, **RENAMED)["load_col"] == {"inter": ["customer", "product"]}
    assert config(tmp_path, model, load_col={"inter": ["a"]}, **RENAMED)["load_col"] == {"inter": ["a"]}
    assert config(tmp_path, model, load_col=None, **RENAMED)["load_col"] is None
    assert config(tmp_path, model, unload_col={"inter": ["rating"]})["load_col"] == {"inter": "*"}


def test_the_columns_of_other_files_follow_as_well(tmp_path):
    fields = {**RENAMED, "HEAD_ENTITY_ID_FIELD": "head", "RELATION_ID_FIELD": "is", "ENTITY_ID_FIELD": "thing"}
    assert config(tmp_path, "CKE", **fields)["load_col"] == {
        "inter": ["customer", "product", "stars", "when"],
        "kg": ["head", "is", "tail_id"],
        "link": ["product", "thing"],
    }


def test_a_sequential_model_is_split_by_time_unless_somebody_says_otherwise(tmp_path):
    assert config(tmp_path, "SASRec", eval_args={"split": {"LS": "valid_and_test"}})["eval_args"]["order"] == "TO"
    assert config(tmp_path, "GRU4RecKG")["eval_args"]["order"] == "TO", "where RecBole's own file says nothing"
    with pytest.raises(InputError, match="eval_args: order RO: a sequential model reads interactions in the order of time; set order: TO"):
        config(tmp_path, "SASRec", eval_args={"order": "RO"})
