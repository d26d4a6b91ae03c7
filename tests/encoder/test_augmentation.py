"""What an encoder reads in a training step is changed at random: pictures by views, texts by losing tokens."""

import pytest
import torch

from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.augmentation import Augmentation, drop_tokens
from recbole_mm.encoder.patches import read_places
from recbole_mm.encoder.probe import probe_inputs
from tests.hf_folders import write_naflex

START, END, PAD = 1, 2, 0


def test_texts_lose_their_share_of_tokens_keep_their_order_and_close_up():
    texts = torch.arange(10, 1010).repeat(20, 1)
    token_ids = torch.cat([torch.full((20, 1), START), texts, torch.full((20, 1), END), torch.zeros(20, 7, dtype=torch.long)], 1)
    torch.manual_seed(0)
    fewer = drop_tokens(token_ids, 0.3, [START, END], PAD)
    assert fewer.shape == token_ids.shape and fewer.dtype == token_ids.dtype
    for row in fewer:
        length = int((row != PAD).sum())
        assert row[0] == START and row[length - 1] == END and (row[length:] == PAD).all() and 650 < length < 750
        assert (row[1 : length - 1].diff() > 0).all(), "in order, none twice"
    assert not torch.equal(fewer[0], fewer[1]), "each text loses other tokens"
    assert torch.equal(drop_tokens(token_ids, 0.0, [START, END], PAD), token_ids)


def test_an_end_that_also_pads_stays():
    token_ids = torch.tensor([[START, 5, 6, END, END, END]])
    assert drop_tokens(token_ids, 0.999999, [START, END], END).tolist() == [[START, END, END, END, END, END]]


@pytest.mark.parametrize("name", ["open_clip:tiny", "vlmo:tiny"])
def test_the_special_tokens_of_an_encoder_stay(name):
    encoder = create_encoder(name)
    token_ids = encoder.tokenize(["red boots for the mountain", "silk"])
    bare = Augmentation(encoder, token_dropout=0.999999)("text", token_ids)
    assert torch.equal(bare[:, :2], encoder.tokenize(["", ""])[:, :2]) and (bare[:, 2:] == encoder.pad_id).all()


def test_a_joint_pass_has_both_changed_and_one_setting_leaves_the_other_part():
    encoder = create_encoder("vlmo:tiny")
    pixels = torch.randint(0, 256, (2, 3, *encoder.image_size), dtype=torch.uint8)
    token_ids = encoder.tokenize(["red boots for the mountain", "silk dress for the evening"])
    both = Augmentation(encoder, "strong", 0.5)("joint", (pixels, token_ids))
    assert not torch.equal(both[0], pixels) and not torch.equal(both[1], token_ids)
    assert Augmentation(encoder, "light")("text", token_ids) is token_ids
    assert Augmentation(encoder, token_dropout=0.5)("image", pixels) is pixels


def test_pictures_that_keep_their_shape_have_views_of_it(tmp_path):
    encoder = create_encoder(f"hf:{write_naflex(tmp_path)}")
    pictures = probe_inputs(encoder, "image")
    views = Augmentation(encoder, "strong")("image", pictures)
    assert not torch.equal(views, pictures)
    assert all(map(torch.equal, read_places(views)[1:], read_places(pictures)[1:]))
