"""The README's four commands, literally, and RecBole's HyperTuning over our objective function."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image
from recbole.trainer import HyperTuning

from recbole_mm.cli import main
from recbole_mm.quick_start import load_data_and_model, objective_function
from recbole_mm.testing.planted import settings

README = Path(__file__).resolve().parents[1] / "README.md"


FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


def write_shop(planted: Path) -> None:
    """orders.csv, products.csv and pictures/ in the working directory, as a shop has them."""
    items = pd.read_csv(planted / "planted.item", sep="\t", dtype=str).fillna("")
    items.columns = [column.split(":")[0] for column in items]
    inter = pd.read_csv(planted / "planted.inter", sep="\t", dtype=str)
    inter.columns = ["customer", "product", "time"]
    inter["time"] = pd.to_datetime(inter["time"].astype(float) * 86400, unit="s").dt.strftime("%Y-%m-%d %H:%M:%S")
    inter.to_csv("orders.csv", index=False)
    Path("pictures").mkdir()
    for i, name in enumerate(items["image"]):
        kind = FORMATS[i % len(FORMATS)]
        items.loc[i, "image"] = f"{Path(name).stem}.{kind.lower()}"
        Image.open(planted / "images" / name).save(Path("pictures") / items.loc[i, "image"], kind)
    items["description"] = ['He said "warm" 🧣,\nand\tit was' if i % 2 else '"quoted" &amp; <b>bold</b>' for i in range(len(items))]
    items = items[["item_id", "title", "description", "image"]]
    items.columns = ["product", "name", "text", "file"]
    items.to_csv("products.csv", index=False)


def test_the_readmes_four_commands(planted, tmp_path):
    write_shop(planted)
    (section,) = re.findall(r"## Your own data(.*?)\n- ", README.read_text(), re.DOTALL)
    commands = [line.split()[1:] for line in section.splitlines() if line.startswith("    recbole-mm ")]
    assert [command[0] for command in commands] == ["prepare", "audit", "extract", "run"]
    quick = ["--use_gpu=False", "--show_progress=False"]
    for command in commands:
        command = ["--encoder=open_clip:tiny" if part.startswith("--encoder=") else part for part in command]
        own = {"prepare": [], "run": [*quick, "--epochs=1", "--train_batch_size=64"]}.get(command[0], quick)
        assert main([*command, *own]) == 0, command

    (checkpoint,) = Path("saved").glob("CLIPRec-shop-*.pth")
    content = load_data_and_model(str(checkpoint))[2].content
    assert len(content) == 49 and content.present["image"][1:].all() and content.present["text"][1:].all()
    texts = dict(zip(content.tokens(range(len(content))), content.texts(range(len(content))), strict=True))
    assert texts["i1"].endswith('. He said "warm" 🧣, and it was') and texts["i0"].endswith('"quoted" & bold')
    for token, picture in zip(content.tokens(range(1, 49)), content.images(range(1, 49)), strict=True):
        assert (picture[0].float().mean() > picture[2].float().mean()) == (int(token[1:]) % 2 == 0)


def test_raw_text_is_in_no_vocabulary_and_no_batch(planted, tmp_path):
    from recbole_mm.testing.planted import built

    for load_col in (None, {"inter": ["user_id", "item_id"], "item": ["item_id", "title", "image"]}, {"inter": ["user_id", "item_id"]}):
        _, _, train, *_ = built(planted, load_col=load_col)
        assert not {"title", "description", "image"} & set(train.dataset.field2id_token)
        assert set(next(iter(train)).columns) <= {"user_id", "item_id", "timestamp"}


def test_content_follows_its_item_through_filtering(planted):
    from recbole_mm.testing.planted import built

    _, _, train, *_ = built(planted, item_inter_num_interval="[8,inf)")
    content = train.dataset.content
    ids = range(1, len(content))
    assert 10 < len(content) < 49
    for token, text, picture in zip(content.tokens(ids), content.texts(ids), content.images(ids), strict=True):
        number = int(token[1:])
        assert ("leather" in text) == (number // 2 % 2 == 0)
        assert (picture[0].float().mean() > picture[2].float().mean()) == (number % 2 == 0)


def test_hyper_tuning(planted, tmp_path):
    pytest.importorskip("hyperopt")
    fixed = {**settings(planted, epochs=1), "model": "CLIPRec", "dataset": planted.name}
    (tmp_path / "fixed.yaml").write_text(yaml.safe_dump(fixed))
    space = {"choice": {"learning_rate": [0.01, 0.001], "modalities": ["image", "text"]}}
    tuning = HyperTuning(
        objective_function, algo="exhaustive", early_stop=10, max_evals=4, params_dict=space,
        fixed_config_file_list=[str(tmp_path / "fixed.yaml")],
    )  # fmt: skip
    tuning.run()
    assert len(tuning.params2result) == 4 and set(tuning.best_params) == {"learning_rate", "modalities"}
    for result in tuning.params2result.values():
        assert result["model"] == "CLIPRec" and set(result["test_result"]) == {"recall@5", "recall@10", "ndcg@5", "ndcg@10"}
