"""Bad input ends in one clear line and status 2, before training; good input runs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from recbole_mm.cli import main, main_run
from recbole_mm.commands import COMMANDS
from recbole_mm.model import OUR_MODELS
from recbole_mm.testing.planted import settings, write_planted

ROOT = Path(__file__).resolve().parents[1]
RECBOLES = ("BPR", "FM", "GRU4Rec", "ItemKNN", "LightGCN", "Pop", "SASRec")
"""Models of RecBole, which have no encoder."""


@pytest.fixture
def shop(planted, tmp_path) -> Path:
    """A copy of the planted data set to break."""
    folder = tmp_path / "data" / "shop"
    shutil.copytree(planted, folder)
    for suffix in ("item", "inter"):
        (folder / f"planted.{suffix}").rename(folder / f"shop.{suffix}")
    return folder


def arguments(folder: Path, **given) -> list[str]:
    keys = {"model": "CLIPRec", "dataset": folder.name, **settings(folder), "epochs": 1, **given}
    if keys["model"] in RECBOLES and "encoder" not in given:
        del keys["encoder"]
    return [f"--{key}={str(value).replace(' ', '')}" for key, value in keys.items() if value is not None]


def fails(capsys, args: list[str], *facts: str) -> None:
    assert main_run(args) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and error[0].startswith("error: "), error
    for fact in facts:
        assert fact in error[0], error[0]
    assert not list(Path("saved").glob("*.pth")) if Path("saved").exists() else True


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("keys", "facts"),
    [
        ({"model": "ClipRec"}, ["ClipRec", "'CLIPRec'"]),
        ({"model": "BPRR"}, ["BPRR", "'BPR'"]),
        ({"dataset": "shpo"}, ["shpo", "'shop'"]),
        ({"encoder_trainig": "end2end"}, ["encoder_trainig", "'encoder_training'"]),
        (
            {"encoder_trainig": "end2end", "epocs": 2},
            ["'encoder_trainig' (did you mean 'encoder_training'?), 'epocs' (did you mean 'epochs'?)"],
        ),
        ({"model": "BPR", "use_id": False}, ["BPR has no use_id, a key of CLIPRec"]),
        ({"model": "BPR", "encoder": "open_clip:tiny", "modalities": "[image]"}, ["BPR has no encoder, modalities, keys of recbole_mm"]),
        ({"model": "LightGCN", "mlp_hidden_size": "[8]"}, ["LightGCN has no mlp_hidden_size, a key of AutoInt"]),
        ({"plugins": "missing.py"}, ["plugins", "missing.py"]),
        ({"encoder_lr": 1e-3}, ["encoder_lr", "'encoder_learning_rate'"]),
        ({"encoder_training": "endtoend"}, ["endtoend", "pretrained", "end2end"]),
        ({"model": "VBPR", "id_dropout": 0.1}, ["VBPR has no id_dropout", "CLIPRec"]),
        ({"loss_type": "BRP"}, ["loss_type", "SSM", "BPR"]),
        ({"missing": "median"}, ["missing", "learned", "mean", "zero"]),
        ({"encoder": "open_clp:tiny"}, ["open_clp", "open_clip"]),
        ({"encoder": "open_clip:ViT-B-61@openai"}, ["ViT-B-61", "ViT-B-16"]),
        ({"encoder": "open_clip:ViT-B-32@/nowhere/weights.pt"}, ["/nowhere/weights.pt"]),
        ({"encoder": "open_clip:ViT-B-16-quickgelu@openai"}, ["ViT-B-16-quickgelu@openai=/path/to/file", "download"]),
        ({"valid_metric": "Recall@7"}, ["Recall@7", "topk", "[5, 10]"]),
        ({"valid_metric": "MRR@10"}, ["MRR", "metrics"]),
        ({"text_field": "title,blurb"}, ["blurb", "shop.item", "title"]),
        ({"image_field": "photo"}, ["photo", "shop.item", "image"]),
        ({"image_dir": "photos"}, ["photos"]),
        ({"modalities": "joint"}, ["joint", "image"]),
        ({"use_id": False, "modalities": "[]"}, ["use_id", "modalities"]),
        ({"nproc": 0}, ["nproc"]),
        ({"USER_ID_FIELD": "customer"}, ["customer", "shop.inter", "user_id"]),
        ({"config_files": "missing.yaml"}, ["missing.yaml"]),
        ({"eval_batch_size": "big"}, ["eval_batch_size"]),
        ({"id_dropout": 1.5}, ["id_dropout"]),
        ({"metrics": "Recall,Precison"}, ["Precison"]),
        ({"user_inter_num_interval": "[99,inf)"}, ["filter"]),
        ({"valid_metric": "Recall"}, ["Recall", "topk"]),
        ({"metrics": "Recall,GAUC", "valid_metric": "GAUC@10"}, ["GAUC@10"]),
        ({"metrics": "Recall,AUC"}, ["anking"]),
        ({"topk": "ten"}, ["topk", "ten"]),
        ({"epochs": "two"}, ["epochs", "two"]),
        ({"learning_rate": "abc"}, ["learning_rate", "abc"]),
        ({"seed": "abc"}, ["seed", "abc"]),
        ({"clip_grad_norm": 5}, ["clip_grad_norm", "max_norm"]),
        ({"embedding_size": 0}, ["embedding_size", "0"]),
        ({"encoder_freeze_epochs": "two"}, ["encoder_freeze_epochs"]),
        ({"encoder_freeze_epochs": 1}, ["never train"]),
        ({"modalities": 3}, ["modalities"]),
        ({"image_dir": 2020}, ["image_dir"]),
        ({"data_path": "~"}, ["data_path"]),
        ({"model": "lightgbm"}, ["lightgbm"]),
        ({"save_dataset": True}, ["save_dataset"]),
        ({"loss_type": "BPR", "train_neg_sample_args": "~"}, ["BPR", "train_neg_sample_args"]),
        ({"learnin_rate": 0.1}, ["'learning_rate'"]),
        ({"encoding": "foo-8"}, ["shop.inter", "foo-8"]),
    ],
    ids=str,
)
def test_bad_settings(shop, capsys, keys, facts):
    fails(capsys, arguments(shop, **keys), *facts)


def test_bad_data(shop, capsys):
    edit(shop / "shop.item", "\t1.png", "\t../../secret.png")
    fails(capsys, arguments(shop), "i1", "../../secret.png")
    edit(shop / "shop.item", "\t../../secret.png", "\t1.png")
    (shop / "images" / "1.png").write_bytes(b"no picture")
    fails(capsys, arguments(shop), "1 of 48", "i1", "1.png", "max_broken_images")
    (shop / "shop.item").unlink()
    fails(capsys, arguments(shop), "shop.item")


def test_content_that_belongs_to_no_item(shop, capsys):
    text = (shop / "shop.item").read_text()
    (shop / "shop.item").write_text(text.replace("\ni", "\nother"))
    fails(capsys, arguments(shop), "shop.item", "other0")
    (shop / "shop.item").write_text(re.sub(r"\d+\.png", "", text))
    fails(capsys, arguments(shop), "no item has any image")
    assert main_run(arguments(shop, modalities="text")) == 0


def test_pictures_that_are_not_used_need_not_be_there(shop):
    shutil.rmtree(shop / "images")
    assert main_run(arguments(shop, modalities="text")) == 0
    (shop / "shop.item").unlink()
    assert main_run(arguments(shop, modalities="[]")) == 0


def test_a_cache_or_checkpoint_folder_that_cannot_be(shop, tmp_path, capsys):
    (tmp_path / "file").touch()
    fails(capsys, arguments(shop, cache_dir=tmp_path / "file"), "file")
    fails(capsys, arguments(shop, checkpoint_dir=tmp_path / "file"), "file")


def test_a_few_broken_pictures_are_named_counted_and_missing(shop, caplog):
    (shop / "images" / "1.png").write_bytes(b"no picture")
    assert main_run(arguments(shop, max_broken_images=0.05)) == 0
    warning = next(r.getMessage() for r in caplog.records if "1.png" in r.getMessage())
    assert "1 of 48" in warning and "i1" in warning


def test_no_data_set_means_no_download(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("recbole.data.dataset.dataset.download_url", lambda *_: pytest.fail("tried to download"))
    fails(capsys, ["--model=BPR", "--dataset=ml-1m", f"--data_path={tmp_path}", "--use_gpu=False"], "ml-1m")


def test_arguments_that_are_no_settings(capsys):
    fails(capsys, ["--model=CLIPRec", "--dataset=demo", "--loud"], "--loud", "--key=value")
    fails(capsys, ["--dataset=demo"], "model")
    fails(capsys, ["--model=CLIPRec"], "data set")


def test_yaml_that_is_none(tmp_path, capsys):
    (tmp_path / "b.yaml").write_text("1: 2\n")
    fails(capsys, ["--model=CLIPRec", "--dataset=demo", f"--config_files={tmp_path / 'b.yaml'}"], "unknown key '1'")
    (tmp_path / "a.yaml").write_text("epochs: [1\n")
    fails(capsys, ["--model=CLIPRec", "--dataset=demo", f"--config_files={tmp_path / 'a.yaml'}"], "a.yaml", "YAML")


def answered_without_torch(*arguments: str, script: str | None = None) -> tuple[int, str]:
    """The exit status of a command in a process of its own, and what it printed; fails if it has loaded torch."""
    call = f"runpy.run_path({script!r}, run_name='__main__')" if script else "sys.exit(recbole_mm.cli.main())"
    code = (
        "import atexit, os, runpy, sys, recbole_mm.cli\n"
        "atexit.register(lambda: 'torch' in sys.modules and os._exit(77))\n"
        f"sys.argv[1:] = {list(arguments)!r}\n{call}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode != 77, "torch was loaded"
    return done.returncode, done.stdout + done.stderr


def test_help_shows_what_a_recbole_user_expects():
    status, shown = answered_without_torch("--help", script=str(ROOT / "run_recbole_mm.py"))
    assert status == 0
    for word in ("--model", "--dataset", "--config_files", "--key=value", "--encoder", "topk"):
        assert word in shown


def test_help_lists_the_models_that_there_are():
    status, shown = answered_without_torch("run", "--help")
    assert status == 0 and all(model in shown for model in OUR_MODELS)


def test_help_lists_the_commands():
    status, shown = answered_without_torch("--help")
    assert status == 0 and all(f"  {command} " in shown for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "status", "fact"),
    [
        (["prepare", "--help"], 0, "--interactions"),
        (["extract", "--help"], 0, "--output"),
        ([], 2, "COMMAND"),
        (["rnu"], 2, "rnu"),
        (["run"], 2, "no model"),
        (["run", "--model=VBRP", "--dataset=demo"], 2, "'VBPR'"),
        (["run", "--model=VBPR"], 2, "no data set"),
        (["run", "--modle=BPR", "--dataset=demo"], 2, "no option --modle (did you mean '--model'?)"),
        (
            ["run", "--model=BPR", "--datset=demo", "--config_file=a.yaml"],
            2,
            "--datset (did you mean '--dataset'?); no option --config_file",
        ),
        (["--version"], 0, "recbole_mm 0."),
        (["audit"], 2, "no data set"),
        (["run", "--model=VBPR", "--dataset=demo", "epochs=3"], 2, "--key=value"),
        (["run", "--model=VBPR", "--dataset=demo", "--epochs=3", "--epochs=4"], 2, "twice"),
        (["prepare", "--outptu=x"], 2, "--output"),
    ],
    ids=str,
)
def test_help_and_wrong_usage_are_answered_without_torch(arguments, status, fact):
    found, shown = answered_without_torch(*arguments)
    assert found == status and fact in shown


def test_subcommand_and_script_take_the_same_arguments(shop, capsys):
    assert main(["run", *arguments(shop, model="Pop")]) == 0


def test_one_file_of_keys_serves_every_model(shop, tmp_path, caplog):
    (tmp_path / "all.yaml").write_text("loss_type: SSM\nn_layers: 2\nmodalities: [image]\n")
    for model, foreign in (("LightGCN", ["loss_type", "modalities"]), ("VBPR", ["n_layers"]), ("CLIPRec", ["n_layers"])):
        caplog.clear()
        assert main_run([*arguments(shop, model=model), f"--config_files={tmp_path / 'all.yaml'}"]) == 0
        told = [r.getMessage() for r in caplog.records if "not used" in r.getMessage()]
        assert len(told) == bool(foreign) and all(f"{model} has no {key}" in told[0] for key in foreign)


@pytest.mark.parametrize("model", ["BPR", "LightGCN", "ItemKNN", "Pop"])
def test_recboles_models_run_on_the_same_settings(shop, model):
    assert main_run(arguments(shop, model=model)) == 0


def test_sequential_models_too(shop):
    extra = {"train_neg_sample_args": "~", "load_col": "{'inter':['user_id','item_id','timestamp']}", "epochs": 1}
    assert main_run(arguments(shop, model="SASRec", **extra)) == 0


def test_pictures_of_every_kind_train(tmp_path):
    folder = write_planted(tmp_path / "data" / "odd")
    Image.new("L", (40, 20)).save(folder / "images" / "0.png")
    Image.new("RGBA", (5, 50)).save(folder / "images" / "1.png")
    assert main_run(arguments(folder)) == 0
