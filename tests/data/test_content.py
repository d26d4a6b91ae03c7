"""ItemContent: the right picture and text for every item id, and one clear line when they cannot be had."""

import logging
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recbole_mm.data.content import ItemContent, writable_cache
from recbole_mm.data.pack import ImagePack
from recbole_mm.errors import InputError

N = 8


def colour(index: int) -> tuple[int, int, int]:
    return index, 10 * index, 255 - index


def flat(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.resize((2, 2)))).permute(2, 0, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images/sub").mkdir(parents=True)
    for index in range(1, N):
        Image.new("RGB", (5, 5), colour(index)).save(tmp_path / "images" / name_of(index))
    return tmp_path


def name_of(index: int) -> str:
    return f"sub/{index}.png" if index % 2 else f"{index}.png"


def make(folder: Path, names: list[str] | None = None, texts: list[str] | None = None, **options) -> ItemContent:
    tokens = ["[PAD]"] + [f"t{index}" for index in range(1, N)]
    names = names or [""] + [name_of(index) for index in range(1, N)]
    texts = texts or [""] + [f"text {index}" for index in range(1, N)]
    return ItemContent(tokens, names, texts, folder / "images", folder / ".recbole_mm", **options)


def test_alignment_under_any_order_of_ids(folder: Path) -> None:
    content = make(folder)
    content.use_preprocessing(flat, "flat", (2, 2))
    ids = torch.from_numpy(np.random.default_rng(0).permutation(np.repeat(np.arange(1, N), 3)))
    expected = torch.tensor([colour(i) for i in ids.tolist()], dtype=torch.uint8)[:, :, None, None].expand(-1, 3, 2, 2)
    assert torch.equal(content.images(ids), expected)
    assert content.texts(ids) == [f"text {i}" for i in ids.tolist()]
    assert content.tokens(ids.tolist()) == [f"t{i}" for i in ids.tolist()]
    assert len(content) == N and content.modalities == ("image", "text")


def test_alignment_when_the_items_are_numbered_anew(folder: Path) -> None:
    """A second run that numbers the items differently finds each picture by its token, in the same pack."""
    make(folder).use_preprocessing(flat, "flat", (2, 2))
    order = np.random.default_rng(1).permutation(np.arange(1, N)).tolist()
    tokens, names = ["[PAD]", *(f"t{i}" for i in order)], ["", *(name_of(i) for i in order)]
    content = ItemContent(tokens, names, None, folder / "images", folder / ".recbole_mm")
    content.use_preprocessing(flat, "flat", (2, 2))
    assert [tuple(row) for row in content.images(range(1, N))[:, :, 0, 0].tolist()] == [colour(i) for i in order]


def test_padding_and_missing(folder: Path) -> None:
    content = make(folder, names=["x.png", "", *(name_of(i) for i in range(2, N))], texts=["x", "a", " ", *["b"] * (N - 3)])
    content.use_preprocessing(flat, "flat", (2, 2))
    assert content.present["image"].tolist() == [False, False] + [True] * (N - 2)
    assert content.present["text"].tolist() == [False, True, False] + [True] * (N - 3)
    assert content.present["image"].dtype == torch.bool
    assert not content.images([0, 1, 0]).any() and content.texts([0, 1]) == ["", "a"] and content.tokens([0]) == ["[PAD]"]
    assert content.images([]).shape == (0, 3, 2, 2)


def test_one_modality(folder: Path) -> None:
    tokens = ["[PAD]", "a"]
    texts = ItemContent(tokens, None, ["", "A"], None, folder / "cache")
    texts.use_preprocessing(flat, "flat", (2, 2))
    assert texts.modalities == ("text",) and set(texts.present) == {"text"} and not (folder / "cache").exists()
    with pytest.raises(LookupError, match="no pictures"):
        texts.images([1])
    pictures = ItemContent(tokens, ["", "2.png"], None, folder / "images", folder / "cache")
    assert pictures.modalities == ("image",)
    with pytest.raises(LookupError, match="no texts"):
        pictures.texts([1])


def test_default_geometry_until_an_encoder_comes(folder: Path) -> None:
    content = make(folder)
    out = content.images([3])
    assert out.dtype == torch.uint8 and out.shape == (1, 3, 224, 224) and out[0, :, 9, 9].tolist() == list(colour(3))
    content.use_preprocessing(flat, "flat", (2, 2))
    assert content.images([3]).shape == (1, 3, 2, 2)


def test_preprocessing_is_packed_once(folder: Path, monkeypatch) -> None:
    content = make(folder)
    content.use_preprocessing(flat, "flat", (2, 2))
    monkeypatch.setattr(ImagePack, "build", lambda *_: pytest.fail("built again"))
    content.use_preprocessing(flat, "flat", [2, 2])
    assert content.images([3]).shape == (1, 3, 2, 2)


def test_bad_ids(folder: Path) -> None:
    for ids in ([-1], [N]):
        with pytest.raises(IndexError, match="items 0 to 7"):
            make(folder).images(ids)


def test_broken_pictures_become_missing_with_one_warning(folder: Path, caplog) -> None:
    (folder / "images" / name_of(3)).write_bytes(b"")
    (folder / "images" / name_of(4)).unlink()
    content = make(folder, max_broken_images=0.3)
    present = content.present["image"]
    assert present[1:].all()
    with caplog.at_level(logging.WARNING):
        content.use_preprocessing(flat, "flat", (2, 2))
    (record,) = caplog.records
    message = record.getMessage()
    assert "2 of 7 pictures" in message and "treated as having no picture" in message and "\n" not in message
    assert f"item t3: {folder / 'images/sub/3.png'} (empty file)" in message
    assert f"item t4: {folder / 'images/4.png'} (no such file)" in message
    assert present.tolist() == [False, True, True, False, False, True, True, True]
    assert not content.images([3, 4]).any() and content.images([5])[0, :, 0, 0].tolist() == list(colour(5))


def test_too_many_broken_pictures_stop_the_run(folder: Path) -> None:
    for index in range(1, N):
        (folder / "images" / name_of(index)).write_bytes(b"no picture")
    content = make(folder, names=["", "", *(name_of(index) for index in range(2, N))], max_broken_images=0.5)
    with pytest.raises(InputError) as caught:
        content.images([2])
    message = str(caught.value)
    assert "6 of 6 pictures" in message and "item t2" in message and "item t6" in message and "item t7" not in message
    assert "and 1 more" in message and "max_broken_images (now 0.5" in message and "\n" not in message


def test_the_share_is_of_items_that_name_a_picture(folder: Path) -> None:
    names = ["", "1.png", "2.png", *[""] * (N - 3)]
    make(folder, names=names, max_broken_images=0.5).images([2])
    with pytest.raises(InputError, match="1 of 2 pictures"):
        make(folder, names=names, max_broken_images=0.49).images([2])


def test_bad_input(folder: Path) -> None:
    with pytest.raises(InputError, match=r"item t2: picture '\.\./secret\.png' lies outside image_dir"):
        make(folder, names=["", "sub/1.png", "../secret.png", *[""] * (N - 3)])
    with pytest.raises(InputError, match="image_dir .*nowhere is not a folder"):
        ItemContent(["[PAD]"], [""], None, folder / "nowhere", folder)
    with pytest.raises(InputError, match="image_dir is not set"):
        ItemContent(["[PAD]"], [""], None, None, folder)
    with pytest.raises(ValueError, match="2 text values for 1 item tokens"):
        ItemContent(["[PAD]"], None, ["", ""], None, folder)


def test_pickling(folder: Path) -> None:
    content = make(folder)
    content.use_preprocessing(flat, "flat", (2, 2))
    expected = content.images(range(N))
    again = pickle.loads(pickle.dumps(content))
    assert torch.equal(again.images(range(N)), expected) and again.texts([1]) == ["text 1"]


def test_those_who_ask_for_a_cache_at_the_same_time_get_the_same_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(writable_cache, [tmp_path / "data/.recbole_mm"] * 400)) == {tmp_path / "data/.recbole_mm"}
    assert not list(tmp_path.iterdir())


def test_writable_cache(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert writable_cache(tmp_path / "data/.recbole_mm") == tmp_path / "data/.recbole_mm"
    (tmp_path / "file").write_text("a file where the data folder should be")
    fallback = writable_cache(tmp_path / "file/.recbole_mm")
    assert fallback.parent == tmp_path / "xdg/recbole_mm"
    assert not fallback.exists() and not (tmp_path / "data/.recbole_mm").exists()
    assert fallback == writable_cache(tmp_path / "file/.recbole_mm") != writable_cache(tmp_path / "file/other")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert writable_cache(tmp_path / "file/x").parent == tmp_path / "home/.cache/recbole_mm"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match="no cache folder can be written"):
        writable_cache(tmp_path / "file/x")
