"""What the settings ask of the data set at hand is said in one line once it has been read."""

import pytest

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError
from recbole_mm.quick_start import create_dataset, data_preparation
from recbole_mm.testing.planted import settings
from tests.config.test_fuzz import write_shop


def prepared(folder, model: str, **keys) -> None:
    given = {key: value for key, value in settings(folder).items() if key not in ("encoder", "topk", "metrics", "valid_metric")}
    config = MultiModalConfig(model, folder.name, config_dict={**given, **keys})
    data_preparation(config, create_dataset(config))


@pytest.mark.parametrize(("model", "own"), [("CLIPRec", {"modalities": []}), ("BPR", {}), ("Pop", {"eval_args": {"mode": "uni10"}})])
def test_a_list_is_not_longer_than_the_catalogue(planted, model, own):
    with pytest.raises(InputError, match=r"topk \[10, 50\]: the data set has 48 items; take at most 48"):
        prepared(planted, model, topk=[10, 50], valid_metric="MRR@10", metrics=["MRR"], **own)
    prepared(planted, model, topk=[48], valid_metric="MRR@48", metrics=["MRR"], **own)


@pytest.mark.parametrize(
    ("model", "keys", "says"),
    [
        ("FM", {}, "FM learns from labels, and the data set has none: set threshold: {rating: 4}"),
        ("DeepFM", {}, "DeepFM learns from labels, .* set threshold"),
        ("BPR", {"eval_args": {"mode": "labeled"}, "metrics": ["AUC"], "valid_metric": "AUC"},
         "mode labeled needs labels, and the data set has none: set threshold"),
        ("SASRecF", {"TIME_FIELD": "timestamp"}, "no column 'timestamp'|reads .*class"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(planted, model, keys, says):
    with pytest.raises(InputError, match=says):
        prepared(planted, model, **keys)


@pytest.mark.parametrize("model", ["KGAT", "CFKG"])
def test_a_model_over_a_knowledge_graph_names_its_files(planted, model):
    with pytest.raises(InputError, match=f"{model} needs a knowledge graph, and there is no planted.kg and no planted.link in "):
        prepared(planted, model)


def test_lists_inside_of_a_model_are_not_longer_either(tmp_path):
    folder = write_shop(tmp_path)
    config = MultiModalConfig("SASRecCPR", "tiny", None, {"data_path": str(folder.parent), "topk": [3], "use_gpu": False}, [])
    with pytest.raises(InputError, match="reranker_CAN_NUM 100: the data set has 12 items; take at most 12"):
        data_preparation(config, create_dataset(config))
