"""sentence-transformers' models of pictures, and of pictures and texts together: rows are those of its own ``encode``."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from recbole_mm.encoder import ItemEncoder, create_encoder
from recbole_mm.encoder.frozen.cut import CutEncoder
from recbole_mm.encoder.frozen.layer_states import LayerStates
from recbole_mm.encoder.patches import stack_pictures
from recbole_mm.encoder.saved import load_encoder, save_encoder
from recbole_mm.encoder.tuning.tune import tune
from recbole_mm.errors import InputError
from recbole_mm.testing.odd_items import inputs_of
from tests import hf_folders
from tests.st_folders import TEMPLATE, write_vl

TEXTS = ["red", "a very long blue shirt " * 8, "", "<|image_pad|> is no picture"]


def write_legacy_clip(folder: Path) -> Path:
    """As models were saved before sentence-transformers 5.4."""
    hf_folders.write_clip(folder / "0_CLIPModel")
    module = {"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}
    hf_folders._json(folder / "modules.json", [module])
    return folder


KINDS = {
    "clip": hf_folders.write_clip,
    "legacy_clip": write_legacy_clip,
    "siglip": hf_folders.write_siglip,
    "vit": hf_folders.write_vit,
    "Qwen2VL": lambda folder: write_vl(folder, "Qwen2VL"),
    "Qwen3VL": write_vl,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root, made = tmp_path_factory.mktemp("st"), {}

    def write(kind: str) -> Path:
        if kind not in made:
            made[kind] = KINDS[kind](root / kind)
        return made[kind]

    return write


@pytest.fixture(scope="module")
def pictures(picture):
    return [picture(90, 60), picture(33, 200, 1), picture(48, 48, 2), picture(9, 7, 3)]


@torch.no_grad()
def rows_of(encoder: ItemEncoder, pictures: list) -> dict[str, torch.Tensor]:
    given = {"image": stack_pictures([encoder.preprocess_image(p) for p in pictures])}
    if "text" in encoder.modalities:
        given["text"] = encoder.tokenize(TEXTS)
        given["joint"] = (given["image"], given["text"])
    return encoder({modality: given[modality] for modality in encoder.modalities})


def own_encode(path: Path) -> Callable[..., torch.Tensor]:
    """Rows of items one by one, as sentence-transformers makes them from pictures that Pillow has resized."""
    from sentence_transformers import SentenceTransformer
    from transformers import AutoImageProcessor

    model = SentenceTransformer(str(path), device="cpu", local_files_only=True)
    inner = path / "0_CLIPModel" if (path / "0_CLIPModel").is_dir() else path
    processor = AutoImageProcessor.from_pretrained(inner, backend="pil")
    if hasattr(model[0].processor, "image_processor"):
        model[0].processor.image_processor = processor
    else:
        model[0].processor = processor
    return lambda items, **options: torch.stack([model.encode_document(item, convert_to_tensor=True, **options) for item in items])


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_those_of_its_own_encode(kind, folders, pictures):
    path = folders(kind)
    encoder, theirs = create_encoder(f"st:{path}"), own_encode(path)
    rows, joint = rows_of(encoder, pictures), "VL" in kind
    torch.testing.assert_close(rows["image"], theirs(pictures), rtol=0, atol=1e-5)
    if kind == "vit":
        assert encoder.modalities == ("image",) and not encoder.aligned
        return
    padding = {"processing_kwargs": {"text": {"padding": "max_length"}}} if kind == "siglip" else {}
    texts = [text.replace("<|image_pad|>", " ") for text in TEXTS] if joint else TEXTS
    torch.testing.assert_close(rows["text"], theirs(texts, **padding), rtol=0, atol=1e-5)
    assert encoder.aligned and (encoder.similarity()[0].item() == 20) == joint
    assert [len(tower) for tower in encoder.towers()] == [2] * (1 if joint else 2)
    if joint:
        short = [0, 2, 3]  # a long message is cut with the picture in it, by sentence-transformers; here the text alone is
        both = [{"image": pictures[i], "text": texts[i]} for i in short]
        torch.testing.assert_close(rows["joint"][short], theirs(both), rtol=0, atol=1e-5)
        prompted = rows_of(create_encoder(f"st:{path}", prompt="Judge it. "), pictures)
        for modality, item in (("image", pictures[0]), ("text", TEXTS[0]), ("joint", both[0])):
            torch.testing.assert_close(prompted[modality][:1], theirs([item], prompt="Judge it. "), rtol=0, atol=1e-5)


def test_pictures_keep_their_shape_within_their_patches(folders, picture):
    encoder = create_encoder(f"st:{folders('Qwen3VL')}", max_patches=16)
    assert encoder.image_size == (None, 4 * 4 * 3 + 4)
    assert [len(encoder.preprocess_image(picture(w, h))) for w, h in ((40, 40), (30, 60), (16, 8))] == [16, 8, 8]
    with pytest.raises(InputError, match="encoder_max_patches 3: a picture has 4 patches at least"):
        create_encoder(f"st:{folders('Qwen3VL')}", max_patches=3)
    with pytest.raises(InputError, match="encoder_max_patches is for encoders whose pictures keep their shape"):
        create_encoder(f"st:{folders('clip')}", max_patches=16)


def test_it_is_cut_layered_and_saved(folders, tmp_path):
    encoder = create_encoder(f"st:{folders('Qwen3VL')}", max_patches=20, prompt="Judge it. ")
    inputs = inputs_of(encoder)
    rows = {m: values.detach() for m, values in encoder(inputs).items()}
    assert LayerStates(encoder, encoder.modalities).widths == dict.fromkeys(encoder.modalities, (32, 32, 32))
    save_encoder(encoder, tmp_path / "saved")
    for modality, values in load_encoder(tmp_path / "saved")(inputs).items():
        torch.testing.assert_close(values, rows[modality], rtol=0, atol=1e-6)
    tune(encoder, "last_k", last_k=1)
    cut = CutEncoder(encoder, encoder.modalities, 1)
    ends = {"image": (inputs["image"],), "text": (inputs["text"],), "joint": (inputs["text"], inputs["image"])}
    for modality, padded in ends.items():
        torch.testing.assert_close(cut.upper(modality, cut.lower(modality, inputs[modality]), *padded), rows[modality])


def test_a_template_that_does_more_to_pictures_leaves_the_texts(tmp_path, caplog):
    path = write_vl(tmp_path / "vl", template=TEMPLATE.replace("message.content", "message.content | reverse"))
    with caplog.at_level(logging.WARNING):
        encoder = create_encoder(f"st:{path}")
    assert encoder.modalities == ("text",) and "reads texts alone" in caplog.text
