"""A run that starts from another catalogue has what that one knew of no single user or item, and nothing else of it."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.errors import InputError
from recbole_mm.quick_start import build_trainer, run
from recbole_mm.testing.planted import built, settings, write_features, write_planted, write_sequences
from recbole_mm.testing.sequence_demands import SequenceChecks
from recbole_mm.testing.shops import SequenceShops
from recbole_mm.training.init_from import read_source, start_from
from tests.processes import together

CONTENT = {"use_id": False, "modalities": ["image"], "train_batch_size": 16, "contrastive_weight": 0}
FILES = {"use_id": False, "modalities": ["a", "b"], "feature_files": {"a": "a.safetensors", "b": "b.safetensors"}, "train_batch_size": 16}
FROZEN = {**CONTENT, "encoder_training": "pretrained"}
pytestmark = pytest.mark.usefixtures("small_encoders")
TUNINGS = {"full": {}, "last_k": {"encoder_last_k": 1}, "lora": {}, "side": {}}


@pytest.fixture(scope="module")
def shops(tmp_path_factory) -> tuple[Path, Path]:
    """Two shops, in which 20 of 24 users want red dresses, a quarter of the items, and four have a quarter of all each."""
    folder = tmp_path_factory.mktemp("catalogues")
    return drawn(folder / "first", 32, seed=1), drawn(folder / "second", 40, seed=2)


def drawn(shop: Path, n_items: int, seed: int) -> Path:
    write_planted(shop, n_users=24, n_items=n_items, seed=seed)
    write_features(shop)
    draw = np.random.default_rng(seed)
    tastes = [*([4 * i + 2 for i in draw.permutation(n_items // 4)[:6]] for _ in range(20)), *np.split(draw.permutation(n_items), 4)]
    rows = [f"u{u}\ti{i}\t{t}" for u, taste in enumerate(tastes) for t, i in enumerate(taste)]
    (shop / f"{shop.name}.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n")
    return shop


def source_of(shop: Path, folder: Path, model: str = "CLIPRec", epochs: int = 1, **keys) -> str:
    """The checkpoint of a model after some epochs."""
    config, recommender, train, *_ = built(shop, model, **{**CONTENT, **keys, "epochs": epochs, "checkpoint_dir": str(folder)})
    trainer = build_trainer(config, recommender)
    trainer.eval_step = 0
    trainer.fit(train, None, verbose=False, saved=True)
    return trainer.saved_model_file


def started(shop: Path, file: str, model: str = "CLIPRec", **keys):
    """What was taken of a checkpoint, the model that has it, and the same one from scratch."""
    scratch = built(shop, model, **{**CONTENT, **keys})[1]
    config, recommender, *_ = built(shop, model, **{**CONTENT, "init_from": file, **keys})
    return start_from(recommender, config, read_source(config)), recommender, scratch


def check(facts: dict, model, scratch, file: str) -> None:
    """What was taken is the checkpoint's bit for bit, all else the seed's."""
    then, state, begin = load_checkpoint(file)["state_dict"], model.state_dict(), scratch.state_dict()
    assert all(torch.equal(state[name], then[name]) and not torch.equal(then[name], begin[name]) for name in facts["taken"])
    assert all(torch.equal(state[name], begin[name]) for name in state if name not in facts["taken"])


@pytest.mark.parametrize("tuning", TUNINGS)
def test_what_was_trained_of_the_encoder_is_taken_and_no_users_vector_is(shops, tmp_path, tuning):
    keys = {"encoder_tuning": tuning, **TUNINGS[tuning]}
    file = source_of(shops[0], tmp_path, **keys)
    facts, model, scratch = started(shops[1], file, **keys)
    trained = {name for name, p in model.named_parameters() if p.requires_grad and name in load_checkpoint(file)["state_dict"]}
    moved = {name for name in trained if not torch.equal(load_checkpoint(file)["state_dict"][name], scratch.state_dict()[name])}
    assert set(facts["taken"]) == trained - {"user_content.weight"} and {"project.weight", "user_content.common"} <= moved
    assert sum(name.startswith("item_features.encoder.") for name in moved) > 3
    check({"taken": moved & set(facts["taken"])}, model, scratch, file)


def test_what_fits_of_a_model_without_ids_is_taken_into_one_with_ids(shops, tmp_path, caplog):
    file = source_of(shops[0], tmp_path, **FILES)
    with caplog.at_level(logging.INFO):
        facts, model, scratch = started(shops[1], file, **{**FILES, "use_id": True})
    assert facts["taken"] == ["user_content.common", "project.weight"] and facts["dataset"] == "first"
    check(facts, model, scratch, file)
    (taken,) = (line for line in caplog.messages if line.startswith("init_from: taken"))
    (left,) = (line for line in caplog.messages if line.startswith("init_from: not taken"))
    assert taken == f"init_from: taken from {file} (CLIPRec on first): user_content.common, project.weight"
    assert left == ("init_from: not taken: user_content.weight (of single users or items); user_embedding (2 parameters), "
                    "item_embedding.weight (not in it)")  # fmt: skip
    assert "feature files do not say what made them; those of a, b" in caplog.text


def test_rows_must_be_scaled_as_they_were(shops, tmp_path):
    file = source_of(shops[0], tmp_path, **FILES)
    with pytest.raises(InputError, match="was trained with feature_scaling: unit, and this run has none"):
        started(shops[1], file, **FILES, feature_scaling="none")


def test_no_id_is_taken_from_a_model_with_ids_though_the_catalogues_are_equally_large(shops, tmp_path):
    file = source_of(shops[0], tmp_path, "VBPR", **FILES)
    facts, model, scratch = started(shops[0], file, "VBPR", **FILES)
    assert facts["taken"] and not any("embedding" in name for name in facts["taken"])
    check(facts, model, scratch, file)


def test_graph_models_have_users_and_items_in_tables_that_stay(shops, tmp_path):
    """DRAGON's towers have tables of users by modality."""
    file = source_of(shops[0], tmp_path, "DRAGON", **FILES)
    facts, model, scratch = started(shops[0], file, "DRAGON", **FILES)
    counts = {model.n_users, model.n_items, model.n_users + model.n_items}
    assert facts["taken"] and all(counts.isdisjoint(model.get_parameter(name).shape) for name in facts["taken"])
    check(facts, model, scratch, file)


def test_the_first_epoch_is_better_than_from_scratch(shops, tmp_path):
    """At a rate at which a run from scratch has learned nothing yet."""
    keys = {**FROZEN, "modalities": ["image", "text"], "valid_metric": "Recall@5"}
    file = source_of(shops[0], tmp_path, epochs=10, **keys, learning_rate=0.02)
    scratch, warm = (validated(shops[1], **keys, learning_rate=1e-5, **more) for more in ({}, {"init_from": file}))
    assert scratch < 0.3 and warm > 0.5


def validated(shop: Path, **keys) -> float:
    return run("CLIPRec", shop.name, config_dict=settings(shop, **{"epochs": 1, **keys}))["best_valid_score"]


def test_the_record_says_where_a_run_started_and_resume_goes_before(shops, tmp_path, caplog):
    file = source_of(shops[0], tmp_path, **FROZEN)
    result = run("CLIPRec", "second", config_dict=settings(shops[1], **{**FROZEN, "epochs": 1, "init_from": file}))
    record = json.loads(Path(result["files"]["record"]).read_text())
    assert record["init_from"] == result["init_from"] and record["settings"]["init_from"] == file
    assert record["init_from"]["file"] == str(Path(file).resolve()) and record["init_from"]["taken"] == [
        "user_content.common",
        "project.weight",
    ]
    assert load_checkpoint(result["files"]["checkpoint"])["init_from"] == record["init_from"]
    Path(file).unlink()
    keys = {**FROZEN, "epochs": 2, "init_from": file, "resume": result["files"]["checkpoint"], "state": "INFO"}
    resumed = run("CLIPRec", "second", config_dict=settings(shops[1], **keys))
    assert f"init_from: {file} is not read: the run goes on from {keys['resume']}" in caplog.text
    assert resumed["init_from"] == record["init_from"] and "taken from" not in caplog.text.partition("is not read")[2]


def test_a_refitted_model_starts_there_as_well(shops, tmp_path):
    """With a rate of zero, what was taken stays."""
    file = source_of(shops[0], tmp_path, **FROZEN)
    keys = {**FROZEN, "init_from": file, "learning_rate": 0, "refit": True}
    result = run("CLIPRec", "second", config_dict=settings(shops[1], **{**keys, "epochs": 1}))
    state, then = (load_checkpoint(name)["state_dict"] for name in (result["files"]["checkpoint"], file))
    assert all(torch.equal(state[name], then[name]) for name in result["init_from"]["taken"])


def test_two_processes_start_from_the_same(shops, tmp_path):
    file = source_of(shops[0], tmp_path, encoder_tuning="bitfit")

    def start() -> list:
        facts, model, _ = started(shops[1], file, encoder_tuning="bitfit")
        return [model.get_parameter(name).detach().numpy() for name in facts["taken"]]

    then = load_checkpoint(file)["state_dict"]
    first, second = together(2, start)
    assert len(first) > 10 and all(np.array_equal(*pair) for pair in zip(first, second, strict=True))
    assert any(np.array_equal(rows, then["project.weight"].numpy()) for rows in first)


@pytest.mark.parametrize("model", ["SASRecM", "UniSRec"])
def test_a_sequence_model_finds_at_once_what_comes_next_in_another_catalogue(tmp_path, model):
    """All of it is taken, since no parameter belongs to a user. The first shop has 40 users and 48 items."""
    keys = {"use_id": False, "encoder_training": "pretrained", "encoder": "beit3:tiny", "checkpoint_dir": str(tmp_path / "saved")}
    checks = SequenceChecks(model, SequenceShops(tmp_path), {}, 1)
    _, (train, *_), trainer = checks.ready(checks.shops.larger, 12, **keys)
    trainer.eval_step = 0
    trainer.fit(train, None, verbose=False, saved=True)
    second, found = write_sequences(tmp_path / "other" / "shop", n_users=24, n_items=40, seed=3), []
    for more in ({}, {"init_from": trainer.saved_model_file}):
        recommender, loaders, other = checks.ready(second, 1, **{**keys, "learning_rate": 1e-4, **more})
        if more:
            facts = start_from(recommender, other.config, read_source(other.config))
            assert set(facts["taken"]) == {name for name, _ in recommender.named_parameters()}
        other._train_epoch(loaders[0], 0)
        found.append(checks.auc(recommender, loaders[2]))
    assert found[0] < 0.75 and found[1] > 0.95


REFUSED = {
    "init_from: no checkpoint nowhere.pth": ({}, "CLIPRec", {"init_from": "nowhere.pth"}),
    "is a checkpoint of CLIPRec, not of VBPR": ({}, "VBPR", {}),
    r"another encoder .*then it was encoder: open_clip:tiny": ({}, "CLIPRec", {"encoder": "vlmo:tiny"}),
    "on the features image, and this run has image, text; set modalities": ({}, "CLIPRec", {"modalities": ["image", "text"]}),
    r"user_content.common of 64, and this run of 32; then it was embedding_size: 64$": ({}, "CLIPRec", {"embedding_size": 32}),
    r"do not train here \(the encoder": ({"encoder_training": "end2end"}, "CLIPRec", {"encoder_training": "pretrained"}),
    "solved at once": ({}, "EASEM", {}),
    "modalities: .. has none": ({}, "CLIPRec", {"modalities": [], "use_id": True}),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(shops, tmp_path, message):
    before, model, now = REFUSED[message]
    file = source_of(shops[0], tmp_path, **{**FROZEN, **before})
    with pytest.raises(InputError, match=message) as refused:
        started(shops[1], file, model, **{**FROZEN, **before, **now})
    assert "\n" not in str(refused.value)
