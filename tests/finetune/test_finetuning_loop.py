"""Fine-tuning learns, is reused, resumes exactly, and disturbs nothing."""

import json
import random
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from recbole_mm.errors import InputError
from recbole_mm.finetune import loop as loop_module
from recbole_mm.finetune.loop import FinetuningLoop
from recbole_mm.finetune.retrieval import score
from tests.finetune.shops import staged, tuned, weights


@pytest.fixture(autouse=True)
def _smaller_encoders_where_no_quality_is_claimed(request):
    if "clip" not in request.fixturenames:
        request.getfixturevalue("small_encoders")


def test_held_out_pairs_are_retrieved_better_than_before(clip):
    before, after = clip.report["before"], clip.report["after"]
    assert score(after) > score(before) + 0.2 and after["text->image R@1"] > before["text->image R@1"] + 0.2
    assert clip.report["held_out"] == 13 and clip.report["trained_on"] == 64 - 13
    assert clip.report["epochs"][0]["losses"]["itc"] > clip.report["epochs"][-1]["losses"]["itc"]


def test_what_is_stored_is_the_best_epoch_and_the_report_says_so(clip):
    scores = [score(epoch["retrieval"]) for epoch in clip.report["epochs"]]
    assert clip.report["best_epoch"] == 1 + scores.index(max(scores)) and score(clip.report["after"]) == max(scores)
    assert clip.report["fingerprint"] == clip.encoder.fingerprint()
    assert json.loads((clip.folder / "report.json").read_text()) == clip.report
    stored = load_file(clip.folder / "encoder.safetensors")
    assert all(torch.equal(stored[name], tensor) for name, tensor in weights(clip.encoder).items())
    assert not any(p.requires_grad for p in clip.encoder.parameters()) and not clip.encoder.training
    assert sorted(path.name for path in clip.folder.iterdir() if path.name != "lock") == ["encoder.safetensors", "report.json"]


def test_a_second_run_reuses_it_and_says_so(clip, shop, cache, caplog, monkeypatch):
    monkeypatch.setattr(FinetuningLoop, "run", lambda *_: pytest.fail("fine-tuned again"))
    with caplog.at_level("INFO"):
        again = tuned(shop, cache, state="INFO", finetune_weights={"itc": 1.0}, modalities=["image"], train_batch_size=7)
    assert again.reused and f"encoder reused from {clip.folder}" in caplog.text and "R@1" in caplog.text
    assert again.encoder.fingerprint() == clip.report["fingerprint"]


def test_any_change_of_what_made_it_tunes_anew(clip, shop, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(FinetuningLoop, "run", lambda self, *_: (_ for _ in ()).throw(InputError("tunes now")))

    def anew(folder=shop, **keys):
        with pytest.raises(InputError, match="tunes now"):
            tuned(folder, cache, **keys)

    anew(finetune_epochs=5)
    anew(finetune_learning_rate=0.002)
    anew(encoder_weight_decay=0.02)
    anew(encoder_tuning="bitfit")
    anew(seed=7)
    anew(finetune_weights={"itc": 0.5})
    anew(finetune_weights={"itc": 1, "interaction": 1})
    anew(finetune_weights={"itc": 1, "clce": 1}, category_field="colour")
    copy = shutil.copytree(shop, tmp_path / "data" / "colours")
    Image.new("RGB", (32, 32)).save(copy / "images" / "5.png")
    anew(copy)
    shutil.copy(shop / "images" / "5.png", copy / "images" / "5.png")
    assert tuned(copy, cache).reused
    table = copy / "colours.item"
    table.write_text(table.read_text().replace("shirt number 5\t", "shirt number five\t"))
    anew(copy)


def test_renamed_and_reordered_items_change_nothing(clip, shop, cache, tmp_path):
    copy = shutil.copytree(shop, tmp_path / "data" / "colours")
    header, *lines = (copy / "colours.item").read_text().splitlines()
    (copy / "colours.item").write_text("\n".join([header, *(re.sub("^i", "z", line) for line in reversed(lines))]) + "\n")
    inter = (copy / "colours.inter").read_text()
    (copy / "colours.inter").write_text(inter.replace("\ti", "\tz").replace("\tztem_id", "\titem_id"))
    assert tuned(copy, cache).reused


def test_damaged_weights_are_made_anew_and_equal(shop, cache, caplog):
    file = tuned(shop, cache, finetune_epochs=1).folder / "encoder.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-4] + b"oops")
    again = tuned(shop, cache, finetune_epochs=1)
    assert not again.reused and "not as it was written" in caplog.text and file.read_bytes() == whole


def test_a_warm_up_that_does_not_end_is_told(shop, cache, caplog):
    for warmup, told in ((1000, True), (1, False)):
        caplog.clear()
        tuned(shop, cache, finetune_epochs=1, finetune_warmup_steps=warmup)
        assert (f"finetune_warmup_steps {warmup} of " in caplog.text) == told


class Killed(BaseException):
    """What no handler catches."""


@pytest.mark.parametrize(("encoder", "at"), [("open_clip:tiny", 1), ("open_clip:tiny", 3), ("open_clip:tiny", 4), ("vlmo:tiny", 2)])
def test_killed_and_resumed_equals_straight(encoder, at, shop, cache, tmp_path, monkeypatch):
    """Before the first epoch ends, between two steps, within an epoch that is saved at every step."""
    keys = {"encoder": encoder, "finetune_epochs": 2, "finetune_stopping_step": 1}
    keys |= {} if encoder == "open_clip:tiny" else {"finetune_batch_size": 8, "finetune_valid_ratio": 0.75}
    straight = tuned(shop, cache, **keys)
    learn, steps = FinetuningLoop._learn, []
    monkeypatch.setattr(loop_module, "SAVE_SECONDS", 0.0 if at == 4 else 1e9)

    def dying(self):
        if len(steps) == at:
            raise Killed
        steps.append(self.step)
        learn(self)

    with monkeypatch.context() as patch:
        patch.setattr(FinetuningLoop, "_learn", dying)
        with pytest.raises(Killed):
            tuned(shop, tmp_path, **keys)
    torch.manual_seed(99)
    monkeypatch.setattr(FinetuningLoop, "_learn", lambda self: (steps.append(self.step), learn(self)))
    resumed = tuned(shop, tmp_path, **keys)
    assert (resumed.folder / "encoder.safetensors").read_bytes() == (straight.folder / "encoder.safetensors").read_bytes()
    assert {**resumed.report, "seconds": 0} == {**straight.report, "seconds": 0}
    if at == 4:
        assert len(steps) == len(set(steps)), "no step is done twice"


def test_a_damaged_checkpoint_starts_anew(shop, tmp_path, caplog):
    first = staged(shop, tmp_path, finetune_epochs=1)
    (tmp_path / "checkpoint.pth").write_bytes(b"half")
    first.run(tmp_path / "checkpoint.pth")
    assert first.step == first.steps and "starts anew" in caplog.text


def test_the_runs_random_numbers_are_as_if_nothing_had_been_tuned(shop, tmp_path):
    drawn = []
    for folder in (tmp_path, tmp_path):
        random.seed(3), np.random.seed(3), torch.manual_seed(3)
        tuned(shop, folder, finetune_epochs=1)
        drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert drawn[0] == drawn[1]


def test_early_stopping_counts_epochs_without_better_retrieval(shop, tmp_path, monkeypatch):
    recalls = iter([0.1, 0.3, 0.2, 0.3, 0.1, 0.9])
    monkeypatch.setattr(FinetuningLoop, "retrieve", lambda self: {"image->text R@1": next(recalls)})
    monkeypatch.setattr(FinetuningLoop, "_learn", lambda self: setattr(self, "step", self.step + 1))
    short = staged(shop, tmp_path, finetune_epochs=6, finetune_stopping_step=2)
    short.run(tmp_path / "checkpoint.pth")
    assert short.best == 2 and len(short.history) == 5


def test_without_held_out_pairs_the_last_epoch_counts(shop, tmp_path):
    found = tuned(shop, tmp_path, finetune_epochs=2, finetune_valid_ratio=0)
    assert found.report["before"] is None and found.report["best_epoch"] == 2 and found.report["trained_on"] == 64


def test_a_rate_of_zero_leaves_the_encoder_as_it_was(shop, tmp_path):
    one = staged(shop, tmp_path, finetune_learning_rate=0, finetune_epochs=1)
    before = weights(one.encoder)
    one.run(tmp_path / "checkpoint.pth")
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(one.encoder).items())


def test_the_rate_rises_and_falls(shop, tmp_path):
    one, rates = staged(shop, tmp_path, finetune_epochs=4, finetune_learning_rate=0.001), []
    while one.step < one.steps:
        one._learn()
        rates.append(one.optimizer.param_groups[0]["lr"])
    assert rates[:3] == pytest.approx([0.001 / 3, 0.002 / 3, 0.001]) and rates[-1] == pytest.approx(0, abs=1e-9)
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_a_loss_that_is_no_number_stops_it(shop, tmp_path):
    one = staged(shop, tmp_path)
    with torch.no_grad():
        one.encoder.model.logit_scale.fill_(float("nan"))
    with pytest.raises(InputError, match="finetune_learning_rate"):
        one.run(tmp_path / "checkpoint.pth")


@pytest.mark.parametrize("tuning", ["lora", "adapter", "multiway", "last_k", "bitfit"])
def test_every_tuning_changes_its_part_alone(tuning, shop, cache, tmp_path):
    keys = {"encoder_tuning": tuning, "finetune_epochs": 1, "finetune_learning_rate": 0.01, "encoder_last_k": 1, "lora_rank": 2}
    base = weights(staged(shop, tmp_path).encoder)
    found = tuned(shop, cache, **keys)
    frozen = {original(name): tensor for name, tensor in weights(found.encoder).items()}
    changed = {name for name, tensor in base.items() if not torch.equal(frozen[name], tensor)}
    added = frozen.keys() - base.keys()
    assert bool(added) == (tuning in ("lora", "adapter", "multiway"))
    if added:
        assert not changed
    else:
        assert changed and all("bias" in name for name in changed) == (tuning == "bitfit")
    again = tuned(shop, cache, **keys)
    assert again.reused and again.encoder.fingerprint() == found.report["fingerprint"] != staged(shop, tmp_path).encoder.fingerprint()


def original(name: str) -> str:
    """A frozen weight's name as it was before LoRA."""
    inside = re.fullmatch(r"(.*)parametrizations\.(\w+)\.original", name.replace(".base_layer", ""))
    return "".join(inside.groups()) if inside else name.replace(".base_layer", "")
