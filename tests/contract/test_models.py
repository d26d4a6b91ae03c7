"""What every recommender of this package must do, under every paradigm and any set of modalities."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from recbole_mm.model import OUR_MODELS, get_model
from recbole_mm.quick_start import build_trainer, load_data_and_model
from tests.planted import built, write_features, write_planted

ROOT = Path(__file__).resolve().parents[2]
MODELS = [name for name in OUR_MODELS if "calculate_loss" in vars(get_model(name))]
SAME_CODE = sorted(set(OUR_MODELS) - set(MODELS))
"""Models that are another's code with other defaults."""

PARADIGMS = ["pretrained", "end2end"]
UNIFIED = {"encoder": "beit3:tiny"}
MODALITIES = {
    "image": {"modalities": ["image"]},
    "text": {"modalities": ["text"], **UNIFIED},
    "image+text": {"modalities": ["image", "text"]},
    "joint": {"modalities": ["joint"], **UNIFIED},
    "three files": {"feature_files": {"a": "a.safetensors", "b": "b.safetensors", "c": "c.safetensors"}},
    "image+text+file": {"modalities": ["image", "text", "c"], "feature_files": {"c": "c.safetensors"}, **UNIFIED},
}
CASES = [("end2end", modalities) for modalities in MODALITIES]
CASES += [("pretrained", modalities) for modalities in ("image", "image+text", "image+text+file")]
"""To a model, other modalities of a frozen encoder are tables like these, and so are files."""

FILES = {"modalities": ["a", "b"], "feature_files": {"a": "a.safetensors", "b": "b.safetensors"}}
QUICK = {"learning_rate": 0.02, "encoder_learning_rate": 3e-3, "encoder_warmup_steps": 1, "stopping_step": 50, "train_batch_size": 256}
GENTLE = {"learning_rate": 0.005, "encoder_learning_rate": 1e-3}

READS_NO_FEATURES_WHEN_SCORING = {"BM3"}
"""Their features only shape the training of ids, so an item without interactions is ranked at random, as the paper has it."""

SLOW = {"BM3": 12}
"""Epochs of those that need more: half of a target view is dropped, and there are no negatives."""

every_model = pytest.mark.parametrize("model_name", MODELS)


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    """The planted shop, small, with feature files of the modalities a (its colours), b (its words) and c (nothing)."""
    folder = write_planted(tmp_path_factory.mktemp("small") / "shop", n_users=16, n_items=24)
    write_features(folder)
    return folder


@pytest.fixture(scope="module")
def gaps(tmp_path_factory) -> Path:
    """The same with pictures and texts missing here and there, of item i0 both."""
    return write_planted(tmp_path_factory.mktemp("small") / "gaps", n_users=16, n_items=24, missing=True)


@pytest.fixture(scope="module")
def cold_shop(tmp_path_factory) -> Path:
    return write_cold(tmp_path_factory.mktemp("cold") / "shop", n_items=64)


@pytest.fixture(scope="module")
def small_cold_shop(tmp_path_factory) -> Path:
    return write_cold(tmp_path_factory.mktemp("cold") / "small", n_items=32)


def write_cold(folder: Path, n_items: int) -> Path:
    """The planted shop, its users interacting with all items of their style; cold.txt is half of the items of each. Beside the feature
    files stand those of ``shuffled``, in which items have each other's features."""
    write_planted(folder, n_users=24, n_items=n_items)
    rows = ["user_id:token\titem_id:token\ttimestamp:float"]
    for u in range(24):
        rows += [f"u{u}\ti{i}\t{t}" for t, i in enumerate(range(u % 4, n_items, 4))]
    (folder / f"{folder.name}.inter").write_text("\n".join(rows) + "\n")
    (folder / "cold.txt").write_text("".join(f"i{i}\n" for i in range(n_items) if is_cold(i)))
    (folder / "shuffled").mkdir()
    order = np.random.default_rng(5).permutation(n_items)
    tokens = {"item_tokens": json.dumps([f"i{i}" for i in range(n_items)])}
    for name, file in write_features(folder, ("a", "b")).items():
        rows = load_file(folder / file)["features"]
        save_file({"features": rows[order]}, folder / "shuffled" / f"{name}.safetensors", tokens)
    return folder


def is_cold(item: int) -> bool:
    return item // 4 % 2 == 1


def trained(folder: Path, model_name: str, epochs: int, **keys):
    """config, model, loaders and trainer after so many epochs."""
    config, model, train, valid, test = built(folder, model_name, **{**QUICK, "epochs": epochs, **keys})
    trainer = build_trainer(config, model)
    for epoch in range(epochs):
        trainer._train_epoch(train, epoch)
    return config, model, (train, valid, test), trainer


def scores_of(model) -> torch.Tensor:
    """(n_users, n_items) of users 1, 2, ..., padding left out."""
    model.eval()
    with torch.no_grad():
        return model.full_sort_predict({"user_id": torch.arange(1, model.n_users)}).view(model.n_users - 1, -1)[:, 1:]


def loss_of(model, batch) -> torch.Tensor:
    """Of a batch, whatever is drawn at random drawn the same every time."""
    model.train()
    torch.manual_seed(0)
    losses = model.calculate_loss(batch)
    return sum(losses) if isinstance(losses, tuple) else losses


def cold_auc(model, dataset) -> float:
    """Of the pairs of a cold item of the user's own style and another cold item, the share that is ranked right."""
    scores, right = scores_of(model).numpy(), []
    users, items = (dataset.field2id_token[field] for field in (dataset.uid_field, dataset.iid_field))
    numbers = [int(token[1:]) for token in items[1:]]
    cold = [place for place, i in enumerate(numbers) if is_cold(i)]
    assert len(cold) == len(numbers) // 2
    for row, token in zip(scores, users[1:], strict=True):
        own = np.array([(numbers[place] - int(token[1:])) % 4 == 0 for place in cold])
        difference = row[cold][own][:, None] - row[cold][~own]
        right.append(np.mean((difference > 0) + 0.5 * (difference == 0)))
    return float(np.mean(right))


@every_model
@pytest.mark.parametrize(("training", "modalities"), CASES)
def test_trains_scores_and_sends_gradients_where_it_says(model_name, training, modalities, shop):
    keys = {**QUICK, **GENTLE, "train_batch_size": 64, "encoder_training": training, **MODALITIES[modalities]}
    config, model, train, _, test = built(shop, model_name, **keys)
    live = training == "end2end" and modalities != "three files"
    trainer, batch = build_trainer(config, model), next(iter(train))
    model.start_epoch(0)
    first = loss_of(model, batch)
    first.backward()
    encoder = dict(model.item_features.encoder.named_parameters()) if model.item_features.encoder else {}
    assert bool(encoder) == live
    for name, parameter in model.named_parameters():
        if not name.startswith("item_features.encoder"):
            assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), name
    reached = {name for name, p in encoder.items() if p.grad is not None and bool(p.grad.abs().sum() > 0)}
    assert bool(reached) == live
    if live and "encoder" not in MODALITIES[modalities]:
        towers = {name for name in encoder if "logit_scale" not in name and ("visual" in name or "text" in modalities)}
        assert towers <= reached <= towers | {"model.logit_scale"}

    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    for epoch in range(3 if live else 5):
        trainer._train_epoch(train, epoch)
    assert loss_of(model, batch) < first
    unchanged = {name for name, p in model.named_parameters() if torch.equal(p, start[name])}
    assert not unchanged & ({f"item_features.encoder.{name}" for name in reached} | {name for name in start if "encoder" not in name})

    scores = scores_of(model)
    assert scores.shape == (model.n_users - 1, model.n_items - 1) and torch.isfinite(scores).all()
    users, items = torch.tensor([1, 2, 7]), torch.tensor([3, 1, 20])
    with torch.no_grad():
        pairs = model.predict({"user_id": users, "item_id": items})
    torch.testing.assert_close(pairs, scores[users - 1, items - 1])
    trainer.tot_item_num = model.n_items
    with torch.no_grad():
        _, ranked, *_ = trainer._full_sort_batch_eval(next(iter(test)))
    assert (ranked[:, 0] == -float("inf")).all(), "padding is never recommended"


@every_model
@pytest.mark.parametrize("training", PARADIGMS)
def test_finds_the_planted_preference(model_name, training, planted, shop):
    """Of the 39 (shop: 19) items that a user has not seen, 10 (5) drawn at random would find .26 of those held out."""
    folder, metric, epochs = (planted, "recall@10", 12) if training == "pretrained" else (shop, "recall@5", SLOW.get(model_name, 6))
    _, _, loaders, trainer = trained(folder, model_name, epochs, encoder_training=training, train_batch_size=32, **UNIFIED)
    assert trainer.evaluate(loaders[2], load_best_model=False)[metric] > 0.7


@every_model
def test_content_alone_ranks_items_without_interactions_and_that_of_others_does_not(model_name, cold_shop):
    """Cold items of the user's style above other cold ones; where items have each other's features, in no order."""
    aucs = {}
    for kind, folder in (("own", ""), ("shuffled", "shuffled/")):
        files = {m: f"{folder}{m}.safetensors" for m in ("a", "b")}
        _, model, loaders, _ = trained(cold_shop, model_name, 20, feature_files=files, cold_items=str(cold_shop / "cold.txt"))
        aucs[kind] = cold_auc(model, loaders[0].dataset)
    if model_name not in READS_NO_FEATURES_WHEN_SCORING:
        assert aucs["own"] > 0.85
    assert 0.25 < aucs["shuffled"] < 0.75


@every_model
def test_an_encoder_that_trains_ranks_items_without_interactions(model_name, small_cold_shop):
    if model_name in READS_NO_FEATURES_WHEN_SCORING:
        pytest.skip("scores by ids alone")
    keys = {"encoder_training": "end2end", "cold_items": str(small_cold_shop / "cold.txt"), **GENTLE, **UNIFIED}
    _, model, loaders, _ = trained(small_cold_shop, model_name, 12, **keys)
    assert cold_auc(model, loaders[0].dataset) > 0.75


@every_model
@pytest.mark.parametrize("training", PARADIGMS)
def test_missing_items_are_no_obstacle(model_name, training, gaps):
    epochs = 12 if training == "pretrained" else 1
    _, model, loaders, trainer = trained(gaps, model_name, epochs, encoder_training=training, **UNIFIED)
    present = torch.stack([model.item_features.present(m) for m in model.item_features.modalities])
    assert not present[:, 1:].any(0).all(), "one item has nothing at all"
    assert torch.isfinite(loss_of(model, next(iter(loaders[0])))) and torch.isfinite(scores_of(model)).all()
    if training == "pretrained":
        assert trainer.evaluate(loaders[2], load_best_model=False)["recall@5"] > 0.6


@every_model
@pytest.mark.parametrize("training", PARADIGMS)
def test_the_same_seed_gives_the_same_model_and_its_checkpoint_the_same_scores(model_name, training, shop):
    keys = {"encoder_training": training, **(FILES if training == "pretrained" else {"modalities": ["image"], **UNIFIED})}
    _, model, _, trainer = trained(shop, model_name, 1, **keys)
    scores = scores_of(model)
    assert torch.equal(scores_of(trained(shop, model_name, 1, **keys)[1]), scores)
    assert not torch.equal(scores_of(trained(shop, model_name, 1, seed=7, **keys)[1]), scores)

    trainer._save_checkpoint(0, verbose=False)
    stored = torch.load(trainer.saved_model_file, weights_only=False)["state_dict"]
    assert any("encoder" in name for name in stored) == (training == "end2end") and not any("table" in name for name in stored)
    _, loaded, dataset, *_ = load_data_and_model(trainer.saved_model_file)
    assert torch.equal(scores_of(loaded), scores) and len(dataset.content) == loaded.n_items


@every_model
@pytest.mark.parametrize("training", PARADIGMS)
def test_a_resumed_run_equals_a_straight_one(model_name, training, shop):
    if training == "end2end" and model_name != "CLIPRec":
        pytest.skip("what resumes is the trainer's; the model's own part is in the other paradigm")
    keys = {"encoder_training": training, **(FILES if training == "pretrained" else {"encoder_freeze_epochs": 1})}

    def finished(epochs, resume=None):
        config, model, train, *_ = built(shop, model_name, **{**QUICK, "train_batch_size": 32}, epochs=epochs, **keys)
        trainer = build_trainer(config, model)
        if resume:
            trainer.resume_checkpoint(resume)
        trainer.eval_step = 0
        trainer.fit(train, None, verbose=False, saved=True)
        return trainer.saved_model_file, model.state_dict()

    _, straight = finished(4)
    half, _ = finished(2)
    torch.manual_seed(12345)
    _, resumed = finished(4, resume=half)
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_checkpoints_give_equal_scores_in_another_process(shop, tmp_path):
    """Of a frozen encoder and of one that has trained."""
    scores, files = {}, {}
    for training in PARADIGMS:
        _, model, _, trainer = trained(shop, "CLIPRec", 1, encoder_training=training)
        trainer._save_checkpoint(0, verbose=False)
        scores[training], files[training] = scores_of(model), trainer.saved_model_file
    code = (
        "import sys, torch, numpy; sys.argv = sys.argv[:1]; from recbole_mm.quick_start import load_data_and_model\n"
        f"for training, file in {files!r}.items():\n"
        "    model = load_data_and_model(file)[1].eval()\n"
        "    scores = model.full_sort_predict({'user_id': torch.arange(1, model.n_users)}).view(model.n_users - 1, -1)\n"
        "    numpy.save(training + '.npy', scores.detach().numpy())"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment, capture_output=True)
    for training in PARADIGMS:
        assert torch.equal(scores[training], torch.from_numpy(np.load(tmp_path / f"{training}.npy"))[:, 1:])


@pytest.mark.parametrize("model_name", ["CLIPRec", "LATTICE"])
def test_over_a_finetuned_encoder_a_checkpoint_gives_the_same_scores(model_name, shop):
    """To a recommender it is a frozen encoder like any other; its tuning is tests/finetune's."""
    keys = {"encoder_training": "finetuned", "finetune_epochs": 1}
    _, model, _, trainer = trained(shop, model_name, 1, **keys)
    assert model.item_features.fingerprint != built(shop, model_name, encoder_training="pretrained")[1].item_features.fingerprint
    trainer._save_checkpoint(0, verbose=False)
    assert torch.equal(scores_of(load_data_and_model(trainer.saved_model_file)[1]), scores_of(model))


def test_loads_what_load_data_and_model_promises(shop):
    config, _, (train, *_), trainer = trained(shop, "CLIPRec", 1)
    trainer._save_checkpoint(0, verbose=False)
    loaded = load_data_and_model(trainer.saved_model_file)
    assert len(loaded) == 6 and json.dumps(loaded[0]["metrics"]) == json.dumps(config["metrics"])
    assert loaded[2].content.tokens([1, 2]) == train.dataset.content.tokens([1, 2])


@pytest.mark.parametrize("model_name", SAME_CODE)
def test_a_model_that_is_anothers_code_runs_as_that_one(model_name, shop):
    base = next(parent.__name__ for parent in get_model(model_name).__mro__ if parent.__name__ in MODELS)
    keys = {"encoder_training": "end2end", "modalities": ["image", "text"], **UNIFIED}
    assert torch.equal(*(scores_of(trained(shop, name, 1, **keys)[1]) for name in (model_name, base)))
