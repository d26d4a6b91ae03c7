"""The command, the paradigm in a run, and what is said of bad input."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from recbole_mm.cli import main
from recbole_mm.encoder import create_encoder
from recbole_mm.finetune import finetune_encoder as finetune_module
from recbole_mm.finetune import tune_and_export as command
from recbole_mm.finetune.loop import FinetuningLoop
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.quick_start import build_trainer, load_data_and_model
from recbole_mm.testing.planted import built, settings
from tests.finetune.shops import QUICK, tuned
from tests.processes import forked, together

SMALL = {**QUICK, "finetune_epochs": 1}


def arguments(folder: Path, cache: Path, **keys) -> list[str]:
    keys = {"dataset": folder.name, **settings(folder), **SMALL, "cache_dir": cache, **keys}
    return [f"--{key}={str(value)}" for key, value in keys.items()]


@pytest.mark.parametrize(("encoder", "tuning"), [("open_clip:tiny", "full"), ("open_clip:tiny", "lora"), ("vlmo:tiny", "full")])
def test_tunes_prints_and_exports_what_the_encoder_takes(encoder, tuning, shop, cache, tmp_path, caplog):
    file = tmp_path / "new" / "tuned.safetensors"
    keys = {"encoder": encoder, "encoder_tuning": tuning, "finetune_weights": "{itc: 1}"}
    with caplog.at_level("INFO"):
        assert main(["finetune", *arguments(shop, cache, state="INFO", **keys), f"--output={file}"]) == 0
    assert "retrieval among 13 held-out items: image->text R@1 0." in caplog.text and f"exported to {file}" in caplog.text
    found = tuned(shop, cache, **{**SMALL, **keys, "finetune_weights": {"itc": 1}})
    assert found.reused
    taken, base = create_encoder(f"{encoder}@{file}"), create_encoder(encoder, seed=2020)
    pixels, texts = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8), base.tokenize(["a red shirt", "blue", "x", "shirts"])
    inputs = {"image": pixels, "text": texts}
    with torch.no_grad():
        for m, rows in found.encoder(inputs).items():
            torch.testing.assert_close(taken(inputs)[m], rows, rtol=1e-4, atol=1e-5)
            assert not torch.allclose(base(inputs)[m], rows, atol=1e-3)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    if tuning == "full":
        assert taken.fingerprint() == found.report["fingerprint"]


def test_of_several_processes_one_tunes_and_exports(shop, tmp_path, monkeypatch):
    written, whole = [], command.write_whole
    monkeypatch.setattr(command, "write_whole", lambda *given: written.append(given) or whole(*given))
    given = [*arguments(shop, tmp_path / "cache", finetune_weights="{itc: 1}"), f"--output={tmp_path / 'tuned.safetensors'}"]
    assert together(2, lambda: (main(["finetune", *given]), len(written), dist.is_initialized())) == [(0, 1, False), (0, 0, False)]
    assert (tmp_path / "tuned.safetensors").exists()


def test_the_first_process_tunes_although_it_comes_late(shop, tmp_path, monkeypatch):
    """Its log and its progress bar are the ones that are seen."""
    name_of = finetune_module.tuned_key
    monkeypatch.setattr(finetune_module, "tuned_key", lambda *given: time.sleep(1 - Ranks.current().rank) or name_of(*given))
    keys = {**SMALL, "finetune_weights": {"itc": 1}}
    assert together(2, lambda: tuned(shop, tmp_path / "cache", **keys).reused) == [False, True]


def test_a_run_trains_on_the_tuned_encoder_and_its_checkpoint_gives_equal_scores(shop, tmp_path, monkeypatch):
    """Tuned by the command beforehand, with the same training interactions; one encoder for two recommenders. Later, other interactions
    would tune another one, but the checkpoint brings back its own."""
    shop = Path(shutil.copytree(shop, tmp_path / "data" / shop.name))
    keys = {"finetune_weights": {"itc": 1, "interaction": 1}, "encoder_training": "finetuned", "cache_dir": str(tmp_path / "cache")}
    given = arguments(shop, tmp_path / "cache", finetune_weights="{itc: 1, interaction: 1}", encoder_training="finetuned")
    assert main(["finetune", *given]) == main(["extract", *given]) == 0
    (folder,) = (tmp_path / "cache" / "encoders").iterdir()
    monkeypatch.setattr(FinetuningLoop, "run", lambda *_: pytest.fail("fine-tuned again"))
    prints = set()
    for name in ("CLIPRec", "VBPR"):
        config, model, train, valid, _ = built(shop, name, **SMALL, **keys)
        features = model.item_features
        assert features.encoder is None and features.cost.items == 0, "extract had encoded all items"
        prints.add(features.fingerprint)
    untuned = built(shop, name, encoder_training="pretrained", cache_dir=str(tmp_path / "cache"))[1].item_features
    assert len(prints) == 1 and untuned.fingerprint not in prints
    assert not torch.equal(untuned.table()["image"], features.table()["image"])
    trainer = build_trainer(config, model)
    trainer.fit(train, valid, verbose=False)
    trainer.evaluate(valid)
    scores = model.full_sort_predict({"user_id": torch.arange(1, model.n_users)})
    assert not any("encoder" in key for key in torch.load(trainer.saved_model_file, weights_only=True)["state_dict"])
    loaded = load_data_and_model(trainer.saved_model_file)[1].eval()
    assert torch.equal(loaded.full_sort_predict({"user_id": torch.arange(1, model.n_users)}), scores)
    with open(shop / f"{shop.name}.inter", "a") as file:
        file.write("".join(f"u{u}\ti{(u + 1) % 8}\t99\n" for u in range(24)))
    loaded = load_data_and_model(trainer.saved_model_file)[1].eval()
    assert torch.equal(loaded.full_sort_predict({"user_id": torch.arange(1, model.n_users)}), scores)
    (folder / "report.json").unlink()
    with pytest.raises(pytest.fail.Exception, match="fine-tuned again"):
        load_data_and_model(trainer.saved_model_file)


def test_killed_at_any_moment_it_goes_on(shop, cache, tmp_path):
    """kill -9 of the command, twice; the third run ends in the bytes of a straight one."""
    keys = {**QUICK, "finetune_epochs": 3, "finetune_stopping_step": 9}
    command = ["finetune", *arguments(shop, tmp_path / "cache", **keys)]
    for kill in (True, True, False):
        written, pid = stamps(tmp_path), forked(lambda: main(command))
        while kill and stamps(tmp_path) == written:
            time.sleep(0.01)
        if kill:
            os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == (signal.SIGKILL if kill else 0)
    (file,) = tmp_path.glob("cache/encoders/*/encoder.safetensors")
    assert file.read_bytes() == (tuned(shop, cache, **keys).folder / "encoder.safetensors").read_bytes()
    assert not list(file.parent.glob("*.pth"))


def stamps(folder: Path) -> list[int]:
    """When the checkpoint was written last."""
    return [file.stat().st_mtime_ns for file in folder.glob("cache/encoders/*/checkpoint.pth")]


@pytest.mark.parametrize(
    ("keys", "facts"),
    [
        ({"finetune_weights": "{itm: 1}"}, ["itm", "open_clip:tiny"]),
        ({"finetune_weights": "{itx: 1}"}, ["finetune_weights", "itx", "itc, itm, mlm, clce, supcon, interaction"]),
        ({"finetune_weights": "{itc: 0}"}, ["finetune_weights"]),
        ({"finetune_weights": "{itc: -1}"}, ["finetune_weights"]),
        ({"finetune_weights": 3}, ["finetune_weights"]),
        ({"finetune_weights": "{clce: 1}", "category_field": "genre"}, ["genre", "category_field", "colour"]),
        ({"finetune_epochs": 0}, ["finetune_epochs"]),
        ({"finetune_batch_size": "many"}, ["finetune_batch_size"]),
        ({"finetune_learning_rate": -1}, ["finetune_learning_rate", "auto"]),
        ({"finetune_valid_ratio": 1}, ["finetune_valid_ratio"]),
        ({"finetune_stopping_step": -1}, ["finetune_stopping_step"]),
        ({"finetune_epoch": 3}, ["'finetune_epochs'"]),
        ({"output": "tuned.pt"}, ["--output", ".safetensors"]),
        ({"encoder_tuning": "adapter", "output": "tuned.safetensors"}, ["adapters"]),
        ({"encoder": "beit3:tny"}, ["tny"]),
    ],
    ids=str,
)
def test_bad_input(keys, facts, shop, cache, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(FinetuningLoop, "run", lambda *_: pytest.fail("trained"))
    assert main(["finetune", *arguments(shop, tmp_path / "cache", **keys)]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and error[0].startswith("error: ")
    assert all(fact in error[0] for fact in facts), error[0]
    assert not list(tmp_path.glob("tuned*"))


def test_files_for_everything_leave_nothing_to_tune(shop, cache, tmp_path, capsys):
    assert main(["finetune", *arguments(shop, tmp_path / "cache", modalities="[]")]) == 2
    assert "nothing to fine-tune" in capsys.readouterr().err
