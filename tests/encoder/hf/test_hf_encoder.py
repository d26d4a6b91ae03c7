"""transformers' encoders of pictures, and of both: their rows are those of transformers itself, used as its documentation says."""

import pickle

import pytest
import torch
import torch.nn.functional as functional

from recbole_mm.encoder import create_encoder
from recbole_mm.errors import InputError
from tests import hf_folders

TEXTS = ["a red wool scarf", "boots", "", "the very blue shirt of the shop " * 20]
IMAGE_ONLY = {"vit": 2, "dinov2": 2, "resnet": 2, "convnext": 2, "swin": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``folder(kind)``: a tiny folder, written once."""
    root, made = tmp_path_factory.mktemp("hf"), {}

    def write(kind, **options):
        key = kind + "".join(map(str, options.values()))
        if key not in made:
            made[key] = getattr(hf_folders, f"write_{kind}")(root / key, **options)
        return made[key]

    return write


@pytest.fixture(scope="module")
def pictures(picture):
    return [picture(90, 60), picture(33, 200, 1), picture(48, 48, 2)]


def rows_of(encoder, pictures):
    with torch.no_grad():
        return encoder({"image": torch.stack([encoder.preprocess_image(p) for p in pictures])})["image"]


def processed(folder, pictures):
    from transformers import AutoImageProcessor

    return AutoImageProcessor.from_pretrained(folder, backend="pil")(images=pictures, return_tensors="pt")["pixel_values"]


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_dual_encoder_gives_transformers_own_vectors(folder, pictures, kind):
    from transformers import AutoModel, AutoTokenizer

    path = folder(kind)
    encoder, model, tokenizer = create_encoder(f"hf:{path}"), AutoModel.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
    longest = 24 if kind == "clip" else 16
    given = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=longest, return_tensors="pt")
    with torch.no_grad():
        theirs = model(**given, pixel_values=processed(path, pictures))
        ids = encoder.tokenize(TEXTS)
        ours = {"image": rows_of(encoder, pictures), "text": encoder({"text": ids})["text"]}
    assert ids.shape[1] == longest and encoder.modalities == ("image", "text") and encoder.aligned and not encoder.from_scratch
    for modality, rows in ours.items():
        expected = getattr(theirs, f"{modality}_embeds")
        torch.testing.assert_close(functional.normalize(rows, dim=-1), expected, rtol=1e-4, atol=1e-5)
    scale, bias = encoder.similarity()
    torch.testing.assert_close(scale, model.logit_scale.exp().clamp(max=100 if kind == "clip" else 1e9))
    assert bias is None if kind == "clip" else torch.equal(bias, model.logit_bias)
    paired = encoder.contrastive_loss({"image": ours["image"], "text": ours["image"]})
    assert paired < encoder.contrastive_loss({"image": ours["image"], "text": ours["image"].roll(1, 0)})


@pytest.mark.parametrize("kind", IMAGE_ONLY)
def test_an_image_encoder_gives_its_own_pooled_output(folder, pictures, kind):
    from transformers import AutoModel

    path = folder(kind)
    encoder, model = create_encoder(f"hf:{path}"), AutoModel.from_pretrained(path).eval()
    with torch.no_grad():
        expected = model(processed(path, pictures)).pooler_output.flatten(1)
    torch.testing.assert_close(rows_of(encoder, pictures), expected, rtol=1e-4, atol=1e-5)
    assert encoder.modalities == ("image",) and len(encoder.layers()) == IMAGE_ONLY[kind] and encoder.linear_layers()
    with pytest.raises(InputError, match="does not read texts"):
        encoder.tokenize(["a"])


def test_a_pooler_without_weights_is_left_out(folder, pictures):
    from transformers import AutoModel

    path = folder("vit", pooler=False)
    encoder, model = create_encoder(f"hf:{path}"), AutoModel.from_pretrained(path, add_pooling_layer=False).eval()
    with torch.no_grad():
        expected = model(processed(path, pictures)).last_hidden_state[:, 0]
    torch.testing.assert_close(rows_of(encoder, pictures), expected, rtol=1e-4, atol=1e-5)
    assert not any("pooler" in name for name in encoder.state_dict())
    assert encoder.fingerprint() == create_encoder(f"hf:{path}").fingerprint() != create_encoder(f"hf:{folder('vit')}").fingerprint()


@pytest.mark.parametrize("kind", ["clip", "siglip", *IMAGE_ONLY])
def test_pixels_are_the_processors_own(folder, pictures, picture, kind):
    encoder = create_encoder(f"hf:{folder(kind)}")
    prepare = pickle.loads(pickle.dumps(encoder.preprocess_image))
    assert len(pickle.dumps(prepare)) < 10_000
    pixels = torch.stack([prepare(p) for p in pictures])
    assert pixels.dtype == torch.uint8 and encoder.image_size == tuple(pixels.shape[2:])
    mean, std = torch.tensor([encoder.image_mean, encoder.image_std]).view(2, 3, 1, 1)
    assert ((encoder.normalise(pixels, torch.float32) - processed(folder(kind), pictures)) * std).abs().max() <= 1 / 255 + 1e-6
    odd = [
        picture(1, 1),
        picture(5000, 20),
        picture(20, 5000),
        picture(3, 70),
        picture(70, 3),
        picture(9, 9).convert("P"),
        picture(9, 9).convert("CMYK"),
        picture(9, 9).convert("L"),
    ]
    assert torch.isfinite(rows_of(encoder, odd)).all()


def test_another_rescaling_is_folded_into_the_normalisation(folder, pictures, tmp_path):
    path = hf_folders.write_resnet(tmp_path / "f")
    for changes, mean in (
        ({"do_normalize": False}, (0.0,) * 3),
        ({"rescale_factor": 1 / 127.5}, (0.24, 0.225, 0.205)),
        (
            {
                "image_processor_type": "EfficientNetImageProcessor",
                "rescale_offset": True,
                "include_top": False,
                "size": {"height": 48, "width": 48},
            },
            (1.48, 1.45, 1.41),
        ),
    ):
        hf_folders._convnext_processor(path)
        settings = hf_folders.json.loads((path / "preprocessor_config.json").read_text())
        hf_folders._json(path / "preprocessor_config.json", {**settings, **changes})
        encoder = create_encoder(f"hf:{path}")
        assert encoder.image_mean == pytest.approx(mean, abs=1e-5)
        pixels = torch.stack([encoder.preprocess_image(p) for p in pictures])
        torch.testing.assert_close(encoder.normalise(pixels, torch.float32), processed(path, pictures), rtol=1e-4, atol=0.5 / 255 / 0.2)


@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2", "resnet", "swin"])
def test_gradients_reach_all_that_trains(folder, pictures, kind):
    for checkpointing in (False, True) if kind != "resnet" else (False,):
        encoder = create_encoder(f"hf:{folder(kind)}", gradient_checkpointing=checkpointing).train()
        inputs = {"image": torch.stack([encoder.preprocess_image(p) for p in pictures])}
        inputs |= {"text": encoder.tokenize(TEXTS[:3])} if "text" in encoder.modalities else {}
        rows = encoder(inputs)
        loss = sum(r.square().sum() for r in rows.values()) + (encoder.contrastive_loss(rows) if encoder.aligned else 0)
        loss.backward()
        idle = {name for name, parameter in encoder.named_parameters() if parameter.grad is None}
        assert idle == {name for name, parameter in encoder.named_parameters() if not parameter.requires_grad}
        assert idle == ({"model.embeddings.mask_token"} if kind == "dinov2" else set())


def test_gradient_checkpointing_that_an_architecture_lacks(folder):
    with pytest.raises(InputError, match="a resnet model has no gradient checkpointing; set gradient_checkpointing: False"):
        create_encoder(f"hf:{folder('resnet')}", gradient_checkpointing=True)


def test_towers_and_head(folder):
    encoder = create_encoder(f"hf:{folder('clip')}")
    assert [len(tower) for tower in encoder.towers()] == [2, 2]
    assert encoder.towers()[0][1] is encoder.model.vision_model.encoder.layers[1]
    parts = {name.removeprefix("model.").rsplit(".", 1)[0] for name in encoder.head()}
    assert parts == {"vision_model.post_layernorm", "visual_projection", "text_model.final_layer_norm", "text_projection"}
    head = create_encoder(f"hf:{folder('siglip')}").head()
    assert "model.vision_model.head.probe" in head and "model.vision_model.head.attention.in_proj_weight" in head
    assert not any("embed" in name or "logit" in name for name in head)


def test_no_items_and_other_dtypes(folder):
    encoder = create_encoder(f"hf:{folder('clip')}").to(torch.float64)
    none = encoder({"image": torch.zeros(0, 3, 32, 32, dtype=torch.uint8), "text": encoder.tokenize([])})
    assert {m: tuple(rows.shape) for m, rows in none.items()} == {"image": (0, 24), "text": (0, 24)}
    assert all(rows.requires_grad for rows in none.values())
    assert encoder({"text": encoder.tokenize(["a"])})["text"].dtype == torch.float64


def test_the_fingerprint_is_the_same_elsewhere(folder, tmp_path):
    import shutil

    path = folder("clip")
    copy = shutil.copytree(path, tmp_path / "elsewhere")
    here = create_encoder(f"hf:{path}")
    there = create_encoder(f"hf:{copy}").fingerprint()
    assert here.fingerprint() == there
    settings = hf_folders.json.loads((copy / "preprocessor_config.json").read_text())
    hf_folders._json(copy / "preprocessor_config.json", {**settings, "resample": 2})
    other = create_encoder(f"hf:{copy}")
    assert other.fingerprint() != there and other.preprocess_key != here.preprocess_key
