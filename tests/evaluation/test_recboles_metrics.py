"""All of RecBole's metrics can be had, with our trainer and with RecBole's."""

from collections import Counter

import numpy as np
import pytest
from recbole.evaluator.register import metric_types, metrics_dict, smaller_metrics
from recbole.utils import EvaluatorType
from recbole.utils.case_study import full_sort_topk

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError
from recbole_mm.quick_start import build_model, build_trainer, create_dataset, data_preparation, run
from recbole_mm.testing.planted import settings

RANKING = [metric.__name__ for name, metric in metrics_dict.items() if metric_types[name] == EvaluatorType.RANKING]
OVER_LISTS = ["ItemCoverage", "AveragePopularity", "ShannonEntropy", "GiniIndex", "TailPercentage"]
MODELS = [("BPR", {}), ("CLIPRec", {"modalities": []})]


def keys(folder, model: str, **given) -> dict:
    found = settings(folder, epochs=1, **given)
    if model in ("BPR", "FM"):
        del found["encoder"]
    return found


def outcome(folder, model: str, **given):
    """The loaders, the trained model and its test result."""
    config = MultiModalConfig(model, folder.name, config_dict=keys(folder, model, **given))
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    network = build_model(config, train)
    trainer = build_trainer(config, network)
    trainer.fit(train, valid, verbose=False, saved=False)
    return config, dataset, train, test, network, trainer.evaluate(test, load_best_model=False)


@pytest.mark.parametrize(("model", "own"), MODELS)
def test_what_is_counted_over_the_lists_is_what_the_lists_hold(planted, model, own):
    """Against their definitions, over the lists that RecBole's case study makes of the same model."""
    config, dataset, train, test, network, result = outcome(planted, model, metrics=RANKING, valid_metric="ShannonEntropy@10", **own)
    _, top = full_sort_topk(test.uid_list.tolist(), network, test, k=10)
    shown, n, bought = Counter(top.flatten().tolist()), dataset.item_num, Counter(train.dataset.inter_feat["item_id"].tolist())
    shares = np.array(list(shown.values())) / top.numel()
    assert result["itemcoverage@10"] == pytest.approx(len(shown) / n, abs=1e-4)
    assert result["averagepopularity@10"] == pytest.approx(np.mean([bought[i] for i in top.flatten().tolist()]), abs=1e-4)
    assert result["shannonentropy@10"] == pytest.approx(-(shares * np.log(shares)).sum() / len(shown), abs=1e-4)
    assert set(result) == {f"{m.lower()}@{k}" for m in RANKING if m != "GAUC" for k in (5, 10)} | {"gauc"}


@pytest.mark.parametrize("metric", OVER_LISTS)
@pytest.mark.parametrize(("model", "own"), MODELS)
def test_each_of_them_may_select_the_model(planted, model, own, metric):
    config = MultiModalConfig(
        model, planted.name, config_dict=keys(planted, model, metrics=["Recall", metric], valid_metric=f"{metric}@5", **own)
    )
    assert config["valid_metric_bigger"] == (metric.lower() not in smaller_metrics)
    for valid, says in ((metric, "it needs an @k of"), (f"{metric}@7", "7 is not in topk")):
        with pytest.raises(InputError, match=says):
            MultiModalConfig(model, planted.name, config_dict=keys(planted, model, metrics=["Recall", metric], valid_metric=valid, **own))


@pytest.mark.parametrize(("model", "own"), MODELS)
def test_among_sampled_negatives(planted, model, own):
    result = run(model, planted.name, config_dict=keys(planted, model, metrics=RANKING, valid_metric="GiniIndex@5",
                                                       eval_args={"mode": "uni20"}, **own), saved=False)["test_result"]  # fmt: skip
    assert 0 < result["itemcoverage@5"] <= 1 and 0 < result["giniindex@5"] < 1


def test_metrics_of_labels(planted):
    given = {"metrics": ["AUC", "LogLoss", "MAE", "RMSE"], "valid_metric": "LogLoss", "eval_args": {"mode": "uni5"}}
    found = run("CLIPRec", planted.name, config_dict=keys(planted, "CLIPRec", modalities=[], **given), saved=False)
    assert not found["valid_score_bigger"] and set(found["test_result"]) == {"auc", "logloss", "mae", "rmse"}
    with pytest.raises(InputError, match="eval_args: mode full ranks all items, and metrics AUC compare .* set mode: labeled"):
        MultiModalConfig("BPR", planted.name, config_dict=keys(planted, "BPR", metrics=["AUC"], valid_metric="AUC"))
