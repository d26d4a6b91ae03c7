"""SigLIP2 NaFlex: pictures keep their shape, and rows are those of transformers with its own image processor."""

import copy
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.cross.token_states import TokenStates
from recbole_mm.encoder.frozen.cut import CutEncoder
from recbole_mm.encoder.frozen.layer_states import LayerStates
from recbole_mm.encoder.patches import read_places, stack_pictures
from recbole_mm.encoder.saved import load_encoder, save_encoder
from recbole_mm.errors import InputError
from tests.hf_folders import write_bert, write_naflex, write_vit

SHAPES = [(60, 90), (33, 200), (300, 20), (8, 8), (10, 3000), (1, 1)]
"""Height and width in pixels: wide, tall, square, a strip, a single pixel."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_naflex(tmp_path_factory.mktemp("naflex") / "model")


@pytest.fixture(scope="module")
def encoder(folder):
    return create_encoder(f"hf:{folder}")


@pytest.fixture(scope="module")
def pictures():
    draw = np.random.default_rng(0)
    return [Image.fromarray(draw.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in SHAPES]


@pytest.fixture(scope="module")
def batch(encoder, pictures):
    return stack_pictures([encoder.preprocess_image(picture) for picture in pictures])


@pytest.fixture(scope="module")
def theirs(folder, pictures):
    """transformers' model, and what its own image processor makes of the pictures."""
    from transformers import AutoImageProcessor, AutoModel

    return AutoModel.from_pretrained(folder).eval(), AutoImageProcessor.from_pretrained(folder, backend="pil")(
        pictures, return_tensors="pt"
    )


@torch.no_grad()
def test_rows_are_those_of_transformers(encoder, batch, theirs):
    model, inputs = theirs
    expected = model.get_image_features(**inputs).pooler_output
    assert torch.allclose(encoder({"image": batch})["image"], expected, atol=1e-5)
    values, mask, grid = read_places(batch)
    length = values.shape[1]
    assert torch.equal(grid, inputs["spatial_shapes"]) and torch.equal(mask, inputs["pixel_attention_mask"][:, :length].bool())
    pixels = encoder.normalise(values, torch.float32)
    assert torch.allclose(pixels[mask], inputs["pixel_values"][:, :length][mask], atol=1e-5)
    assert len({tuple(shape) for shape in grid.tolist()}) == 5, "pictures of unlike shapes keep them"


def test_gradients_are_those_of_transformers(encoder, batch, theirs):
    own, (model, inputs) = copy.deepcopy(encoder).train(), theirs
    own({"image": batch})["image"].square().sum().backward()
    other = copy.deepcopy(model).train()
    other.get_image_features(**inputs).pooler_output.square().sum().backward()
    expected = dict(other.named_parameters())
    compared = [name for name, parameter in own.model.named_parameters() if parameter.grad is not None]
    assert any("patch_embedding" in name for name in compared) and any("head.probe" in name for name in compared)
    for name in compared:
        found, wanted = own.model.get_parameter(name).grad, expected[name].grad
        assert torch.allclose(found, wanted, atol=1e-5 * max(1.0, float(wanted.abs().max()))), name


@torch.no_grad()
def test_a_row_does_not_depend_on_the_batch(encoder, batch, pictures):
    whole = encoder({"image": batch})["image"]
    for i, picture in enumerate(pictures):
        alone = encoder({"image": encoder.preprocess_image(picture).unsqueeze(0)})["image"]
        assert torch.allclose(alone, whole[i : i + 1], atol=1e-5)


def test_the_number_of_patches_is_a_setting(encoder, folder, pictures, tmp_path):
    fewer = create_encoder(f"hf:{folder}", max_patches=9)
    assert fewer.preprocess_key != encoder.preprocess_key and fewer.fingerprint() != encoder.fingerprint()
    for one, most in ((encoder, 24), (fewer, 9)):
        lengths = [len(one.preprocess_image(picture)) for picture in pictures]
        assert max(lengths) == most == one.preprocess_image.max_patches and len(set(lengths)) > 1
    other = shutil.copytree(folder, tmp_path / "nine")
    settings = json.loads((other / "preprocessor_config.json").read_text()) | {"max_num_patches": 9}
    (other / "preprocessor_config.json").write_text(json.dumps(settings))
    assert create_encoder(f"hf:{other}").fingerprint() == fewer.fingerprint()
    save_encoder(fewer, tmp_path / "saved")
    assert load_encoder(tmp_path / "saved").preprocess_image.max_patches == 9


def test_other_encoders_have_no_patches_to_count(tmp_path, folder):
    vit, bert = write_vit(tmp_path / "vit"), write_bert(tmp_path / "bert")
    for name in (f"hf:{vit}", f"hf:{bert}", f"separate:image=hf:{vit},text=hf:{bert}", "open_clip:tiny"):
        with pytest.raises(InputError, match="max_patches"):
            create_encoder(name, max_patches=9)
    pair = create_encoder(f"separate:image=hf:{folder},text=hf:{bert}", max_patches=9)
    assert pair.image.preprocess_image.max_patches == 9 and pair.image_size == (None, 3 * 8 * 8 + 4)


def test_what_is_no_patches_is_refused(encoder, batch):
    with pytest.raises(TypeError, match="uint8"):
        encoder({"image": batch.float()})
    with pytest.raises(ValueError, match="takes pictures of shape"):
        encoder({"image": torch.zeros(1, 24, 100, dtype=torch.uint8)})


@torch.no_grad()
def test_an_image_tower_without_a_head_averages_its_patches(tmp_path, pictures, batch):
    from transformers import AutoImageProcessor, AutoModel

    folder = write_naflex(tmp_path / "tower", tower=True)
    encoder, model = create_encoder(f"hf:{folder}"), AutoModel.from_pretrained(folder).eval()
    given = AutoImageProcessor.from_pretrained(folder, backend="pil")(pictures, return_tensors="pt")
    hidden, mask = model(**given).last_hidden_state, given["pixel_attention_mask"].bool()
    expected = torch.stack([states[here].mean(0) for states, here in zip(hidden, mask, strict=True)])
    assert encoder.modalities == ("image",) and torch.allclose(encoder({"image": batch})["image"], expected, atol=1e-5)


@torch.no_grad()
def test_frozen_blocks_run_once(encoder, batch):
    cut = CutEncoder(encoder, ("image", "text"), 1)
    hidden = torch.nn.functional.pad(cut.lower("image", batch), (0, 0, 0, 5))
    assert torch.allclose(cut.upper("image", hidden, batch), encoder({"image": batch})["image"], atol=1e-5)


@pytest.mark.parametrize("backend", ["hf", "st"])
@torch.no_grad()
def test_states_of_layers_leave_padding_out(folder, batch, backend):
    encoder = create_encoder(f"{backend}:{folder}")
    layers, tokens = LayerStates(encoder, ("image",)), TokenStates(encoder, ("image",))
    whole = layers("image", batch)
    assert torch.equal(tokens.with_rows("image", batch)[1].mask, read_places(batch)[1])
    for i, (patches, mask) in enumerate(zip(*read_places(batch)[:2], strict=True)):
        assert torch.allclose(layers("image", patches[mask].unsqueeze(0)), whole[i : i + 1], atol=1e-5)
