"""One encoder for pictures beside another for texts."""

import pytest
import torch

from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.separate import split_name
from recbole_mm.errors import InputError
from tests.hf_folders import write_bert, write_clip, write_resnet, write_vit


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    root = tmp_path_factory.mktemp("separate,with@odd")
    writers = {"vit": write_vit, "resnet": write_resnet, "bert": write_bert, "clip": write_clip}
    return {kind: f"hf:{write(root / kind)}" for kind, write in writers.items()}


def inputs_of(encoder, picture):
    pictures = [picture(90, 60), picture(33, 100, 1)]
    return {"image": torch.stack([encoder.preprocess_image(p) for p in pictures]), "text": encoder.tokenize(["red boots", ""])}


def refuses(name, *words):
    with pytest.raises(InputError) as caught:
        create_encoder(name)
    assert "\n" not in str(caught.value) and all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("order", ["image={vit},text={bert}", "text={bert},image={vit}"])
def test_rows_are_those_of_the_parts(names, picture, order):
    encoder = create_encoder("separate:" + order.format(**names))
    image, text = create_encoder(names["vit"]), create_encoder(names["bert"])
    inputs = inputs_of(encoder, picture)
    with torch.no_grad():
        rows = encoder(inputs)
        assert torch.equal(rows["image"], image({"image": inputs["image"]})["image"])
        assert torch.equal(rows["text"], text({"text": inputs["text"]})["text"])
    assert encoder.output_dims == {"image": 32, "text": 32} and not encoder.aligned and not encoder.from_scratch
    assert encoder.image_size == image.image_size and encoder.image_std == image.image_std and encoder.pad_id == text.pad_id
    assert encoder.preprocess_key == image.preprocess_key
    assert [len(tower) for tower in encoder.towers()] == [2, 2] and encoder.towers()[0][0] is encoder.image.model.get_submodule("layers.0")
    assert encoder.head() == [f"image.{name}" for name in image.head()]
    assert encoder.linear_layers() == [f"image.{n}" for n in image.linear_layers()] + [f"text.{n}" for n in text.linear_layers()]
    assert encoder.adapter_sites() == [f"image.{n}" for n in image.adapter_sites()] + [f"text.{n}" for n in text.adapter_sites()]
    with pytest.raises(InputError, match="different spaces"):
        encoder.contrastive_loss(rows)


@pytest.mark.parametrize("image,text", [("clip", "clip"), ("resnet", "tiny"), ("tiny", "bert")])
def test_only_the_used_side_of_a_dual_encoder_trains(names, picture, image, text):
    parts = {**names, "tiny": "open_clip:tiny"}
    options = {"gradient_checkpointing": image != "resnet", "seed": 3}
    encoder = create_encoder(f"separate:image={parts[image]},text={parts[text]}", **options).train()
    sum(rows.square().sum() for rows in encoder(inputs_of(encoder, picture)).values()).backward()
    idle = {name for name, parameter in encoder.named_parameters() if parameter.grad is None}
    assert idle == {name for name, parameter in encoder.named_parameters() if not parameter.requires_grad}
    assert len(encoder.towers()) == 2 and len(encoder.layers()) < 7
    for name in encoder.linear_layers() + encoder.adapter_sites():
        assert all(parameter.grad is not None for parameter in encoder.get_submodule(name).parameters())
    assert set(encoder.head()).isdisjoint(idle)
    if image == text == "clip":
        assert any(name.startswith("image.model.text_model") for name in idle) and "text.model.logit_scale" in idle


def test_the_seed_reaches_the_parts(names):
    made = [create_encoder("separate:image=open_clip:tiny,text=open_clip:tiny", seed=seed) for seed in (1, 1, 2)]
    assert made[0].fingerprint() == made[1].fingerprint() != made[2].fingerprint() and made[0].from_scratch
    assert create_encoder(f"separate:image={names['vit']},text=open_clip:tiny").from_scratch is False


def test_names():
    assert split_name("image=hf:a/b@c,text=vlmo:base@/w,x/f@1.pt") == {"image": "hf:a/b@c", "text": "vlmo:base@/w,x/f@1.pt"}
    assert split_name("text=t:x,image=i:y") == {"text": "t:x", "image": "i:y"}
    for name in ("hf:a/b", "image=hf:a", "image=,text=hf:b", "image=a,text=b,text=c", "image=a,image=b"):
        refuses(f"separate:{name}", "separate:image=<encoder>,text=<encoder>", name)


def test_what_cannot_be_a_part(names):
    refuses(f"separate:image={names['bert']},text={names['bert']}", "reads text", "cannot be the image encoder")
    refuses(f"separate:image={names['vit']},text={names['vit']}", "reads image", "cannot be the text encoder")
    refuses("separate:image=nothing:x,text=open_clip:tiny", "unknown backend 'nothing'")
    refuses("separate:image=open_clip:tiny,text=hf:/no/such", "no such folder: /no/such")


def test_the_fingerprint_covers_both_parts(names):
    encoder = create_encoder(f"separate:image={names['vit']},text={names['bert']}")
    seen = {encoder.fingerprint()}
    for part in (encoder.image, encoder.text):
        with torch.no_grad():
            next(part.parameters()).view(-1)[0].add_(1)
        seen.add(encoder.fingerprint())
    seen.add(create_encoder(f"separate:image={names['resnet']},text={names['bert']}").fingerprint())
    assert len(seen) == 4
