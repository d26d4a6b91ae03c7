"""Titles and thumbnails of items, from the data set of a run and from a file."""

import io
import logging

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from recbole_mm.data.image import BrokenImage
from recbole_mm.errors import InputError
from recbole_mm.serving.catalogue import Catalogue
from recbole_mm.serving.item_texts import title_of
from recbole_mm.serving.part_search import PartSearch
from recbole_mm.serving.thumbnails import FilePictures, StoredThumbnails, thumbnail_of, write_thumbnails
from recbole_mm.testing.planted import COLOURS, WORDS, built, write_planted

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture()
def shop(tmp_path):
    folder = write_planted(tmp_path / "shop", n_users=12, n_items=16)
    lines = (folder / "shop.item").read_text().splitlines()
    lines[1] = f"i0\t{SCRIPT}\t\t0.png"
    lines[2] = "i1\t\ta coat &amp; a hat\t../1.png"
    lines[3] = "i2\tboots\t\tlost.png"
    (folder / "shop.item").write_text("\n".join(lines) + "\n")
    return folder


def catalogue_of(folder, model="CLIPRec", **keys) -> Catalogue:
    config, _, train_data, *_ = built(folder, model, **keys)
    return Catalogue.of_run(config, train_data.dataset)


def opened(jpeg: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(jpeg))
    assert image.format == "JPEG" and image.mode == "RGB"
    return image


@pytest.mark.parametrize("model", ["CLIPRec", "BPR", "SASRec"])
def test_titles_and_pictures_come_from_the_item_file_whatever_the_model(shop, model):
    keys = {"encoder_training": "pretrained"} if model == "CLIPRec" else {"train_neg_sample_args": None} if model == "SASRec" else {}
    (shop / "shop.item").write_text((shop / "shop.item").read_text().replace("../1.png", "1.png").replace("lost.png", "2.png"))
    catalogue = catalogue_of(shop, model, **keys)
    assert catalogue.title("i0") == SCRIPT and catalogue.title("i1") == "a coat & a hat" and catalogue.title("i3") == WORDS[1]
    assert catalogue.title("nobody") == "" and catalogue.thumbnail("nobody") is None
    for item in (4, 5):
        colour = np.asarray(opened(catalogue.thumbnail(f"i{item}"))).mean((0, 1))
        np.testing.assert_allclose(colour, COLOURS[item % 2], atol=12)


def test_a_model_of_recbole_uses_the_columns_that_the_data_sets_own_file_names(shop):
    (shop / "shop.yaml").write_text("image_field: photo\ntext_field: description\nimage_dir: photos\n")
    (shop / "images").rename(shop / "photos")
    (shop / "shop.item").write_text(
        "item_id:token\tdescription:token_seq\tphoto:token\n" + "\n".join(f"i{i}\td{i}\t{i}.png" for i in range(16))
    )
    catalogue = catalogue_of(shop, "BPR")
    assert catalogue.title("i7") == "d7" and catalogue.thumbnail("i7")


def test_a_shop_without_items_has_neither(shop, caplog):
    (shop / "shop.item").unlink()
    with caplog.at_level(logging.WARNING):
        catalogue = catalogue_of(shop, "BPR")
    assert catalogue.title("i3") == "" and catalogue.thumbnail("i3") is None and "no titles" in caplog.text


def test_titles_are_one_short_line():
    assert title_of({"name": "a\n b", "title": "  "}, []) == "a b"
    assert title_of({"title": float("nan"), "text": "words"}, ["missing", "text"]) == "words"
    assert len(title_of({"title": "x" * 500}, [])) == 200 and title_of({}, ["title"]) == ""


def test_stored_thumbnails_are_those_of_the_files(shop, caplog):
    made = catalogue_of(shop, "BPR").thumbnails
    with caplog.at_level(logging.WARNING):
        assert write_thumbnails(shop / "thumbnails.safetensors", made) == 14
    assert "2 of 16 pictures" in caplog.text
    stored = StoredThumbnails(shop / "thumbnails.safetensors")
    assert [stored[row] for row in range(len(made))] == [made[row] for row in range(len(made))] and not stored.has(0)
    tensors = load_file(shop / "thumbnails.safetensors")
    assert tensors["bytes"].dtype == np.uint8 and tensors["starts"].shape == (18,) and tensors["starts"][-1] == len(tensors["bytes"])


def test_a_shop_without_pictures_has_an_empty_file(tmp_path):
    assert write_thumbnails(tmp_path / "t.safetensors", FilePictures(["", ""], tmp_path)) == 0
    assert StoredThumbnails(tmp_path / "t.safetensors")[1] is None


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"no" + data, lambda data: b""])
def test_a_damaged_file_is_refused(shop, damage):
    file = shop / "thumbnails.safetensors"
    write_thumbnails(file, FilePictures(["", "3.png"], shop / "images"))
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match="thumbnails"):
        StoredThumbnails(file)


def test_thumbnails_are_small_upright_and_say_nothing_of_the_camera():
    big = Image.new("RGB", (900, 300), "red")
    big.paste("blue", (0, 0, 450, 300))
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112], exif[0x010F] = 6, "camera"
    big.save(file, "JPEG", exif=exif, comment=b"secret")
    small = opened(thumbnail_of(file.getvalue()))
    assert small.size == (85, 256) and small.getpixel((40, 10))[2] > 200 and small.getpixel((40, 250))[0] > 200
    assert not small.getexif() and "comment" not in small.info
    assert opened(thumbnail_of(Image.new("RGBA", (20, 10), (0, 0, 0, 0)))).getpixel((3, 3)) == (255, 255, 255)
    with pytest.raises(BrokenImage):
        thumbnail_of(b"no picture")


def test_items_that_are_added_and_removed(shop):
    catalogue, jpeg = catalogue_of(shop, "BPR"), thumbnail_of(Image.new("RGB", (9, 9)))
    catalogue.add("new", "Fresh boots", jpeg)
    assert catalogue.title("new") == "Fresh boots" and catalogue.thumbnail("new") == jpeg and catalogue.search("BOOTS", 2)[0] == "new"
    catalogue.add("i2", "Sandals", None)
    assert catalogue.title("i2") == "Sandals" and not catalogue.has_thumbnail("i2") and catalogue.search("sandals", 5) == ["i2"]
    catalogue.remove("i2")
    assert catalogue.search("sandals", 5) == [] and catalogue.search("i2", 5) == [] and catalogue.title("i2") == "Sandals"
    assert len(catalogue.search("", 3)) == 3 and Catalogue(["", "a", "b"], [""] * 3, gone=["a"]).search("", 3) == ["b"]


def test_the_best_part_is_found_first():
    search = PartSearch(["a10", "xa1", "a1", "b"], ["Red boots", "red a1 hat", "blue", "reda1"])
    assert search.find("A1", 10) == [2, 0, 1, 3] and search.find("a1", 2) == [2, 0]
    assert search.find("RED", 10) == [0, 1, 3] and search.find("", 2) == [0, 1] and search.find("\n", 1) == [0]
    assert search.find("boots xa", 10) == [] and PartSearch([], []).find("a", 3) == []
