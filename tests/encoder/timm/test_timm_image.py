"""Pictures are prepared as timm's own evaluation transform does it."""

import copy
import pickle

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

from recbole_mm.encoder.timm.image import read_image
from recbole_mm.errors import InputError
from tests.encoder.timm.conftest import ARCHITECTURES

BASE = {"input_size": (3, 32, 32), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3), "interpolation": "bicubic", "crop_pct": 0.9}
RELEASED = {name: timm.get_pretrained_cfg(name).to_dict() for name in ARCHITECTURES}
OTHERS = {
    "center": BASE,
    "squash": {**BASE, "crop_mode": "squash", "interpolation": "bilinear"},
    "border": {**BASE, "crop_mode": "border", "crop_pct": 1.0},
    "oblong": {**BASE, "input_size": (3, 24, 40)},
    "little is said": {"num_classes": 3},
}
PICTURES = [(90, 60), (60, 200), (31, 33), (7, 5)]


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("config", [*RELEASED.values(), *OTHERS.values()], ids=[*RELEASED, *OTHERS])
def test_pixels_are_those_of_timm(config):
    image, data = read_image("timm:x", config), resolve_data_config(pretrained_cfg=config)
    theirs, size = create_transform(**data, is_training=False), tuple(data["input_size"][1:])
    found_size, mean, std = image.normalisation()
    assert found_size == size and (mean, std) == (tuple(data["mean"]), tuple(data["std"]))
    mean, std = torch.tensor([mean, std]).view(2, 3, 1, 1)
    for shape in PICTURES:
        pixels = image(picture(*shape))
        assert pixels.dtype == torch.uint8 and pixels.shape == (3, *size)
        assert ((pixels / 255 - mean) / std - theirs(picture(*shape))).mul(std).abs().max() < 1e-6


def test_it_travels_to_workers_without_weights_and_gives_the_same_there():
    for config in OTHERS.values():
        image = read_image("timm:x", config)
        sent = pickle.dumps(image)
        assert len(sent) < 1000
        for other in (pickle.loads(sent), copy.deepcopy(image)):
            assert torch.equal(other(picture(50, 40)), image(picture(50, 40))) and other.geometry() == image.geometry()


@pytest.mark.parametrize("kind", OTHERS)
def test_strips_are_cropped_before_they_are_resized(kind):
    image = read_image("timm:x", OTHERS[kind])
    for shape in ((9000, 2), (3, 8000)):
        assert image(picture(*shape)).shape[1:] == image.normalisation()[0]


def test_grey_and_transparent_pictures_become_rgb():
    image = read_image("timm:x", BASE)
    grey = picture(40, 40).convert("L")
    assert torch.equal(image(grey), image(grey.convert("RGB"))) and image(picture(40, 40).convert("RGBA")).shape == (3, 32, 32)


def test_what_decides_the_pixels_is_in_the_geometry():
    whole = [read_image("timm:x", config).geometry() for config in OTHERS.values()]
    assert all(a != b for i, a in enumerate(whole) for b in whole[:i])
    assert read_image("timm:x", {**BASE, "mean": (0, 0, 0)}).geometry() == read_image("timm:x", BASE).geometry()
    border = OTHERS["border"]
    assert read_image("timm:x", {**border, "mean": (0, 0, 0)}).geometry() != read_image("timm:x", border).geometry()


NONSENSE = [{"interpolation": "cubical"}, {"input_size": [1, 32, 32]}, {"input_size": [32, 32]}, {"crop_pct": "most"}]


@pytest.mark.parametrize("change", NONSENSE, ids=str)
def test_a_configuration_that_says_nonsense_is_one_line(change):
    with pytest.raises(InputError, match="^timm:x: its pretrained_cfg"):
        read_image("timm:x", {**BASE, **change})
