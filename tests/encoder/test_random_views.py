"""Random views of pictures, against what each step must give."""

import pytest
import torch
import torch.nn.functional as F

from recbole_mm.encoder.patches import stack_pictures, with_places
from recbole_mm.encoder.random_views import augment_pictures

PICTURES = torch.randint(0, 256, (6, 3, 20, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
NOTHING = {"crop": 1.0, "flip": 0.0, "jitter": 0.0}


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def views(pixels=PICTURES, seed=0, **settings):
    return augment_pictures(pixels, **{**NOTHING, **settings}, generator=drawn(seed))


def test_nothing_to_change_gives_the_pictures_themselves():
    assert torch.equal(views(), PICTURES)


def test_mirrored():
    assert torch.equal(views(flip=1.0), PICTURES.flip(3))
    some = views(PICTURES.repeat(50, 1, 1, 1), flip=0.5)
    flipped = (some == PICTURES.flip(3).repeat(50, 1, 1, 1)).all((1, 2, 3))
    assert 120 < int(flipped.sum()) < 180
    assert torch.equal(some[~flipped], PICTURES.repeat(50, 1, 1, 1)[~flipped])


def test_a_cut_is_a_rectangle_of_the_picture_at_its_whole_size():
    """A picture whose red is its column and whose green is its row shows where each pixel of a view comes from."""
    column, row = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="xy")
    picture = torch.stack([column * 4, row * 5, torch.zeros_like(row)])[None].to(torch.uint8)
    cut = views(picture.repeat(200, 1, 1, 1), crop=0.2).float()
    across, down = cut[:, 0, :, 32:33] / 4, cut[:, 1, 24:25] / 5
    assert torch.allclose(cut[:, 0] / 4, cut[:, 0, :1] / 4, atol=0.3)
    assert torch.allclose(cut[:, 1] / 5, cut[:, 1, :, :1] / 5, atol=0.3)
    wide, high = (cut[:, 0, 0, -9] - cut[:, 0, 0, 8]) / 4 / 47, (cut[:, 1, -9, 0] - cut[:, 1, 8, 0]) / 5 / 31
    area = wide * high
    assert 0.1 < float(area.min()) < 0.3 and 0.85 < float(area.max()) <= 1.03
    assert float((wide * 64 / (high * 48)).median()) == pytest.approx(1, abs=0.15)
    assert float(across.std()) > 2 and float(down.std()) > 2


def test_a_cut_equals_the_resized_rectangle():
    """The rectangle that the drawn numbers mean, with edges on pixels, against ``interpolate`` away from its edges."""
    lots = torch.zeros(1, 8)
    lots[0, :4] = torch.tensor([0.0, 0.5, 0.5, 0.5])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "rand", lambda *_, **__: lots)
        square = torch.randint(0, 256, (1, 3, 32, 32), generator=drawn(3), dtype=torch.uint8)
        cut = augment_pictures(square, crop=0.25, flip=0.0, jitter=0.0)
    expected = F.interpolate(square[:, :, 8:24, 8:24].float(), size=(32, 32), mode="bilinear", align_corners=False).round()
    assert (cut.float() - expected)[:, :, 1:-1, 1:-1].abs().max() <= 1


def test_colours():
    """Of a grey picture only brightness and contrast change, and of an evenly coloured one contrast and saturation keep the grey."""
    grey = torch.full((100, 3, 4, 4), 100, dtype=torch.uint8)
    brightness = views(grey, jitter=0.4).float() / 100
    assert brightness.std((1, 2, 3)).max() == 0
    assert 0.6 <= float(brightness.min()) < 0.65 and 1.35 < float(brightness.max()) <= 1.4
    coloured = torch.tensor([120, 80, 100], dtype=torch.uint8).view(1, 3, 1, 1).expand(100, 3, 4, 4)
    luma = (views(coloured, jitter=0.4).float() * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1) / 94.24
    assert 0.59 <= float(luma.min()) < 0.65 and 1.35 < float(luma.max()) <= 1.41


def test_the_same_numbers_give_the_same_views_and_the_input_stays():
    before = PICTURES.clone()
    state = torch.get_rng_state()
    first = augment_pictures(PICTURES, generator=drawn(5))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, augment_pictures(PICTURES, generator=drawn(5)))
    assert not torch.equal(first, augment_pictures(PICTURES, generator=drawn(6)))
    assert first.dtype == torch.uint8 and torch.equal(PICTURES, before)
    torch.manual_seed(7)
    second = augment_pictures(PICTURES)
    torch.manual_seed(7)
    assert torch.equal(second, augment_pictures(PICTURES))


def test_pictures_of_patches_keep_their_shapes():
    """As the same pictures in one piece, each with the numbers of its row."""
    sizes = [(2, 3), (4, 1)]
    whole = [torch.randint(0, 256, (1, 3, 4 * h, 4 * w), generator=drawn(h), dtype=torch.uint8) for h, w in sizes]
    parts = [F.unfold(p.float(), 4, stride=4)[0].T.unflatten(1, (3, 16)).mT.flatten(1) for p in whole]
    batch = stack_pictures([with_places(part, *size) for part, size in zip(parts, sizes, strict=True)])
    assert torch.equal(views(batch), batch)
    generator, changed = drawn(), views(batch, crop=0.3, flip=0.5, jitter=0.3)
    for i, (h, w) in enumerate(sizes):
        alone = augment_pictures(whole[i], crop=0.3, flip=0.5, jitter=0.3, generator=generator)
        expected = with_places(F.unfold(alone.float(), 4, stride=4)[0].T.unflatten(1, (3, 16)).mT.flatten(1), h, w)
        assert torch.equal(changed[i, : h * w], expected) and not changed[i, h * w :].any()
    assert not torch.equal(changed, batch)


def test_no_pictures():
    assert augment_pictures(PICTURES[:0]).shape == (0, 3, 20, 28)


@pytest.mark.parametrize(
    ("error", "pixels", "settings"),
    [
        (TypeError, PICTURES.float(), {}),
        (ValueError, PICTURES[0, 0], {}),
        (ValueError, PICTURES, {"crop": 0.0}),
        (ValueError, PICTURES, {"flip": 1.5}),
        (ValueError, PICTURES, {"jitter": -0.1}),
    ],
)
def test_what_is_refused(error, pixels, settings):
    with pytest.raises(error):
        augment_pictures(pixels, **settings)
