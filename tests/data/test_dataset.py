"""From files to item ids: whatever order, growth, filtering or name, an item keeps its content and its features."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file

from recbole_mm.cli import main_run
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.encoder import ItemEncoder, create_encoder
from recbole_mm.feature.files import read_tables
from recbole_mm.items.catalogue import encode_catalogue
from recbole_mm.testing.planted import settings as run_settings
from recbole_mm.testing.planted import write_planted
from recbole_mm.training.loaders import create_dataset

N = 14


@pytest.fixture(scope="module")
def encoder() -> ItemEncoder:
    return create_encoder("open_clip:tiny", seed=1).eval()


@pytest.fixture(scope="module")
def world(encoder, tmp_path_factory) -> tuple[Path, dict[str, torch.Tensor]]:
    """A folder with the pictures of N items, a feature file of all of them and a cache; and what an encoder makes of each."""
    folder, rng = tmp_path_factory.mktemp("world"), np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)) for _ in range(N)]
    (folder / "images").mkdir()
    for i, picture in enumerate(pictures):
        picture.save(folder / "images" / f"{i}.png")
    order = rng.permutation(N)
    tokens = json.dumps([f"i{i}" for i in order])
    save_file({"features": order[:, None].astype(np.float32)}, folder / "audio.safetensors", {"item_tokens": tokens})
    with torch.no_grad():
        pixels = torch.stack([encoder.preprocess_image(picture) for picture in pictures])
        return folder, encoder({"image": pixels, "text": encoder.tokenize([text_of(i) for i in range(N)])})


def text_of(i: int) -> str:
    return f"thing number {i}"


def write(folder: Path, listed: list[int], pairs: list[tuple[int, int]]) -> Path:
    folder.mkdir(parents=True)
    rows = ["item_id:token\ttitle:token_seq\timage:token", *(f"i{i}\t{text_of(i)}\t{i}.png" for i in listed)]
    (folder / f"{folder.name}.item").write_text("\n".join(rows) + "\n")
    inter = ["user_id:token\titem_id:token", *(f"u{u}\ti{i}" for u, i in pairs)]
    (folder / f"{folder.name}.inter").write_text("\n".join(inter) + "\n")
    return folder


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_features_stay_with_their_tokens(world, encoder, tmp_path_factory, data):
    """The item file permuted, items added and taken away, filtered to a core, under another name: one cache, one feature file."""
    place, truth = world
    listed = data.draw(st.permutations(range(N)))[: data.draw(st.integers(N // 2, N))]
    everything = [(u, i) for u in range(6) for i in range(N) if (u * 5 + i * 3) % 7 < 4]
    pairs = data.draw(st.permutations(everything))[: data.draw(st.integers(30, len(everything)))]
    at_least = data.draw(st.integers(1, 3))
    folder = write(tmp_path_factory.mktemp("any") / data.draw(st.sampled_from(["shop", "renamed", "a.b"])), listed, pairs)
    keys = {"image_dir": str(place / "images"), "cache_dir": str(place / "cache"), "item_inter_num_interval": f"[{at_least},inf)"}
    dataset = create_dataset(MultiModalConfig("CLIPRec", folder.name, config_dict=run_settings(folder, **keys)))
    tokens = dataset.tokens
    assert tokens[0] == "[PAD]"
    assert set(tokens[1:]) == {f"i{i}" for i, n in Counter(i for _, i in pairs).items() if n >= at_least}
    encoded = encode_catalogue(encoder, dataset.content, None).tables
    files = read_tables({"audio": str(place / "audio.safetensors")}, tokens, folder, None, "item_id")
    for i, token in enumerate(tokens[1:], start=1):
        number = int(token[1:])
        assert files["audio"].rows[i].item() == number
        for modality, table in encoded.items():
            assert bool(table.present[i]) == (number in listed)
            wanted = truth[modality][number] if number in listed else torch.zeros(64)
            torch.testing.assert_close(table.rows[i], wanted, rtol=1e-4, atol=1e-5)


def test_an_item_may_have_one_row_only(tmp_path, capsys):
    folder = write_planted(tmp_path / "shop")
    with open(folder / "shop.item", "a") as rows:
        rows.write("i7\tsomething else\t\t3.png\n")
    arguments = [f"--{key}={str(value).replace(' ', '')}" for key, value in run_settings(folder).items()]
    assert main_run(["--model=CLIPRec", "--dataset=shop", *arguments]) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert "shop.item has item i7 more than once" in error


def test_rows_without_an_item_are_left_out(tmp_path, caplog):
    folder = write_planted(tmp_path / "shop")
    lines = (folder / "shop.item").read_text().splitlines()
    (folder / "shop.item").write_text("\n".join([*lines[:3], "\tone\t\t1.png", *lines[3:], "NA\ttwo\t\t2.png"]) + "\n")
    dataset = create_dataset(MultiModalConfig("CLIPRec", "shop", config_dict=run_settings(folder)))
    assert len(dataset.content) == 49 and "two" not in dataset.content.texts(range(49))
    assert "2 of 50 rows have no item_id (empty, 'NA') and are left out: lines 4, 51" in caplog.text


def test_a_picture_that_is_a_link_out_of_the_folder_is_named_with_its_item(tmp_path, capsys):
    folder = write_planted(tmp_path / "shop")
    (folder / "images" / "5.png").rename(tmp_path / "5.png")
    (folder / "images" / "5.png").symlink_to(tmp_path / "5.png")
    arguments = [f"--{key}={str(value).replace(' ', '')}" for key, value in run_settings(folder).items()]
    assert main_run(["--model=CLIPRec", "--dataset=shop", *arguments]) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert "item i5" in error and "5.png" in error and "link out of" in error
