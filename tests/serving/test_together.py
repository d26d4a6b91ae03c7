"""Two processes share the users, and write what one writes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from recbole_mm.cli import main
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.quick_start import build_trainer
from recbole_mm.serving import Recommender, model_scores
from recbole_mm.serving import together as sharing
from recbole_mm.testing.planted import built, write_planted
from tests.processes import together


@pytest.mark.parametrize(
    ("model", "keys"), [("SASRec", {"train_neg_sample_args": None}), ("CLIPRec", {"modalities": ["image"]})], ids=["SASRec", "CLIPRec"]
)
def test_recommendations_and_vectors(tmp_path, monkeypatch, model, keys):
    """Each of them ranks for some of 24 users, 5 at once, by SASRec and by a model whose encoder was trained."""
    monkeypatch.setattr(Recommender, "users_at_once", 5)
    monkeypatch.setattr(sharing, "AT_LEAST", 1)
    monkeypatch.setattr(Ranks, "leave", lambda self: None)  # since the second command follows in the same processes
    monkeypatch.setattr(model_scores, "FACTORED_AT_ONCE", 5)
    shop = write_planted(tmp_path / "shop", n_users=24, n_items=48)
    config, net, train_data, *_ = built(shop, model, epochs=1, train_batch_size=32, **keys)
    trainer = build_trainer(config, net)
    trainer.fit(train_data, None, verbose=False, saved=True)
    file = trainer.saved_model_file

    def commands(name: str) -> list[int]:
        return [main(["recommend", file, "--k=3", f"--output={name}.csv"]), main(["export", file, f"--output={name}"])]

    assert commands("one") == [0, 0] and together(2, lambda: commands("two")) == [[0, 0]] * 2
    one, two = (pd.read_csv(f"{name}.csv") for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two)
    assert len(one) == 72
    one, two = (load_file(Path(name) / "vectors.safetensors") for name in ("one", "two"))
    assert all(np.array_equal(one[table], two[table]) for table in ("users", "items"))
