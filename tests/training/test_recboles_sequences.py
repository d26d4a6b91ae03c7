"""RecBole's sequential models give RecBole's own numbers, made in the same process by RecBole's functions alone."""

import pytest
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

from recbole_mm import run


def recboles(model: str, dataset: str, keys: dict) -> dict:
    """What RecBole's quick start does, which alone would import ray."""
    config = Config(model, dataset, config_dict=keys)
    init_seed(config["seed"], config["reproducibility"])
    data = create_dataset(config)
    train, valid, test = data_preparation(config, data)
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    network = get_model(config["model"])(config, train._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, network)
    score, valid_result = trainer.fit(train, valid, saved=False, show_progress=False, verbose=False)
    return {"best_valid_score": score, "best_valid_result": valid_result, "test_result": trainer.evaluate(test, load_best_model=False)}


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "BERT4Rec"])
def test_the_numbers_are_recboles(shop, model, capsys):
    keys = {"data_path": str(shop.parent), "epochs": 1, "train_batch_size": 16, "learning_rate": 0.01, "topk": [10],
            "use_gpu": False, "gpu_id": "", "state": "WARNING", "metric_decimal_place": 8, "valid_metric": "MRR@10", "eval_batch_size": 5,
            "show_progress": False, "train_neg_sample_args": None, "hidden_size": 8, "inner_size": 16, "n_layers": 1, "n_heads": 1,
            "embedding_size": 8, "MAX_ITEM_LIST_LENGTH": 5, "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}  # fmt: skip
    theirs = recboles(model, shop.name, keys)
    for fast in (False, True):
        ours = run(model, shop.name, config_dict={**keys, "fast_loop": fast, "state": "INFO"}, saved=False)
        for name, expected in theirs.items():
            assert ours[name] == pytest.approx(expected, abs=1e-6), (name, fast)
        assert "all items are ranked, histories not masked" in capsys.readouterr().out
