import pickle

import pytest
import torch
from PIL import Image

from recbole_mm.encoder.open_clip.image import OpenClipImage

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)


def geometry(**changes):
    return {"size": [32, 32], "resize_mode": "shortest", "interpolation": "bicubic", "fill_color": 0, **changes}


@pytest.mark.parametrize("fill_color", [0, 255])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("size", [[32, 32], [32, 48]])
def test_normalised_pixels_are_open_clips_transform(picture, size, mode, interpolation, fill_color):
    from open_clip.transform import PreprocessCfg, image_transform_v2

    chosen = geometry(size=size, resize_mode=mode, interpolation=interpolation, fill_color=fill_color)
    whole = image_transform_v2(PreprocessCfg(mean=MEAN, std=STD, **chosen), is_train=False)
    ours = OpenClipImage(chosen)
    for width, height in [(100, 60), (37, 91), (32, 32), (20, 20), (400, 30)]:
        image = picture(width, height)
        pixels = ours(image)
        assert pixels.dtype == torch.uint8 and pixels.shape == (3, *size) and pixels.is_contiguous()
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
        torch.testing.assert_close((pixels / 255 - mean) / std, whole(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("shape", [(4000, 1), (1, 4000), (1, 1)])
def test_extreme_pictures_stay_small(picture, mode, shape):
    assert OpenClipImage(geometry(resize_mode=mode))(picture(*shape)).shape == (3, 32, 32)


def test_other_modes_become_rgb():
    assert OpenClipImage(geometry())(Image.new("L", (40, 40), 7)).unique().tolist() == [7]


def test_it_travels_to_workers_without_weights(tiny, picture):
    sent = pickle.dumps(tiny.preprocess_image)
    assert len(sent) < 1000
    assert torch.equal(pickle.loads(sent)(picture(90, 50)), tiny.preprocess_image(picture(90, 50)))
