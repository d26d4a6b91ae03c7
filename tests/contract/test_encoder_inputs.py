"""What every encoder must make of pictures and texts, however odd."""

import pickle

import pytest
import torch
from PIL import Image

from recbole_mm.data.image import load_image
from recbole_mm.data.text import join_fields
from recbole_mm.errors import InputError
from tests.contract.conftest import READ_PICTURES, READ_TEXTS
from tests.contract.items import ODD_TEXTS, inputs_of, noise, odd_pictures

of_pictures = pytest.mark.parametrize("kind", READ_PICTURES)
of_texts = pytest.mark.parametrize("kind", READ_TEXTS)


def test_preprocessing_and_tokens(encoder):
    inputs = inputs_of(encoder)
    if "image" in inputs:
        assert inputs["image"].dtype == torch.uint8 and inputs["image"].shape == (4, 3, *encoder.image_size)
    if "text" in inputs:
        ids = inputs["text"]
        padding = (ids == encoder.pad_id).int()
        assert ids.dtype == torch.int64 and len(ids) == 4 and padding[1].any() and not padding[3, :-1].any()
        assert (padding.diff(dim=1) >= 0).all()
        assert encoder.tokenize([]).dtype == torch.int64 and len(encoder.tokenize([])) == 0


def test_what_it_cannot_read_is_refused(encoder):
    with pytest.raises(ValueError):
        encoder({"audio": torch.zeros(1, 3)})
    if "image" not in encoder.modalities:
        with pytest.raises(InputError, match="does not read pictures"):
            encoder.preprocess_image(noise(9, 9))
    if "text" not in encoder.modalities:
        with pytest.raises(InputError, match="does not read texts"):
            encoder.tokenize(["a"])


@torch.no_grad()
@of_pictures
def test_odd_pictures(encoder, tmp_path):
    pictures = odd_pictures(tmp_path)
    made = [encoder.preprocess_image(image) for image, _ in pictures.values()]
    made += [encoder.preprocess_image(load_image(path)) for _, path in pictures.values()]
    for pixels, what in zip(made, [*pictures] * 2, strict=True):
        assert pixels.dtype == torch.uint8 and pixels.shape == (3, *encoder.image_size), what
    inputs = inputs_of(encoder, ["a"] * len(made), torch.stack(made))
    for modality, rows in encoder(inputs).items():
        assert rows.isfinite().all(), modality
    upright = pictures["EXIF-rotated"][0].transpose(Image.Transpose.ROTATE_270)
    assert torch.equal(made[-1], encoder.preprocess_image(upright))


@torch.no_grad()
@of_texts
def test_odd_texts(encoder):
    texts = list(ODD_TEXTS.values())
    for given in (texts, [join_fields([text]) for text in texts]):
        for modality, rows in encoder(inputs_of(encoder, given)).items():
            assert rows.isfinite().all(), modality


@torch.no_grad()
@of_texts
def test_long_texts_are_cut_by_token(encoder):
    cut, *shorter = encoder.tokenize(["red " * 10_000, *("red " * k for k in range(1, 100))])
    filled = next(k for k, ids in enumerate(shorter, 1) if torch.equal(ids, cut))
    padding = [((ids == encoder.pad_id).sum() - (cut == encoder.pad_id).sum()).item() for ids in shorter]
    assert filled > 10 and 0 < padding[filled - 2] <= padding[0] - padding[1], "cut between tokens, not between words"
    assert all(torch.equal(ids, cut) for ids in shorter[filled:])
    start = "red " * filled
    long, same = (encoder.tokenize([text]) for text in (start + "shirt " * 50, start))
    assert torch.equal(long, same) and torch.equal(encoder({"text": long})["text"], encoder({"text": same})["text"])
    assert not torch.equal(encoder.tokenize(["red " * (filled - 1) + "shirt"]), same)


@of_texts
def test_entities_give_the_words_they_stand_for(encoder):
    plain = "Women's & Men’s T-shirt, size <3 & é. 5 > 4"
    escaped = ["Women&#39;s &amp; Men&rsquo;s T-shirt, size &lt;3 &amp;amp; &eacute;", "5 &gt; 4"]
    assert join_fields(escaped) == plain
    assert torch.equal(encoder.tokenize([join_fields(escaped)]), encoder.tokenize([plain]))


@of_pictures
def test_preprocessing_travels_to_workers_without_weights(encoder):
    sent, picture = pickle.dumps(encoder.preprocess_image), noise(90, 50)
    assert len(sent) < 4000
    assert torch.equal(pickle.loads(sent)(picture), encoder.preprocess_image(picture))
