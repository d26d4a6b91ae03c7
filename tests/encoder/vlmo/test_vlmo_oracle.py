"""Our VLMo answers what the authors' released module answers."""

import json
from pathlib import Path

import pytest
import torch

from recbole_mm.encoder.vlmo import VLMo, VLMoConfig, position

NAMES = ["vlmo_tiny", "vlmo_tiny_plus"]
SHAPES = json.loads((Path(__file__).parent / "oracle" / "vlmo_state_dict_shapes.json").read_text())


def answers(model, given):
    """Every ``out.*`` but the gradients and the blocks, under the oracle's names."""
    pixels, text = given["image"], (given["text_ids"], given["text_masks"])
    image, words = model.encode_image(pixels, vl_expert=True), model.encode_text(*text, vl_expert=True)
    joint = model.encode_joint(pixels, *text)
    length, patches = given["text_ids"].shape[1], model.config.window**2
    found = {"itm_logits": model.itm_logits(joint.cls_feats), "mlm_logits": model.mlm_logits(joint.features[:, :length])}
    plain = {"image": model.encode_image(pixels), "text": model.encode_text(*text)}
    calls = {"infer_image": image, "infer_text": words, "infer_image_ft": plain["image"], "infer_text_ft": plain["text"], "infer": joint}
    for call, output in {**calls, "infer_text_mlm": plain["text"]}.items():
        found |= {f"{call}.{key}": getattr(output, key) for key in ("cls_feats", "raw_cls_feats", "cls_vlffn_feats")}
        found |= {f"{call}.text_feats": output.features[:, :length], f"{call}.image_feats": output.features[:, -1 - patches :]}
    return found


def close(found, wanted, key):
    torch.testing.assert_close(found, wanted, rtol=0, atol=5e-6 if key.endswith("cls_feats") else 1e-5, msg=lambda m: f"{key}: {m}")


@pytest.mark.parametrize("name", NAMES)
def test_outputs(oracle, name):
    file = oracle(f"{name}_pretrain")
    with torch.no_grad():
        found = answers(file.model(), file.group("in"))
    wanted = {k: v for k, v in file.group("out").items() if "grad" not in k and "index." not in k and "block_call" not in k}
    assert len(wanted) == 22
    for key, value in wanted.items():
        close(found[key], value, key)


@pytest.mark.parametrize("name", NAMES)
def test_blocks(oracle, name):
    file = oracle(f"{name}_pretrain")
    model, given = file.model(), file.group("in")
    pixels, text = given["image"], (given["text_ids"], given["text_masks"])
    seen = []
    for block in model.blocks:
        block.register_forward_hook(lambda _, __, output: seen.append(output))
    calls = {
        "infer_image": lambda: model.encode_image(pixels, vl_expert=True),
        "infer_image_ft": lambda: model.encode_image(pixels),
        "infer_text": lambda: model.encode_text(*text, vl_expert=True),
        "infer_text_ft": lambda: model.encode_text(*text),
        "infer_text_mlm": lambda: model.encode_text(*text),
        "infer": lambda: model.encode_joint(pixels, *text),
    }
    for call, encode in calls.items():
        seen.clear()
        with torch.no_grad():
            encode()
        wanted = [value for key, value in sorted(file.group(f"out.{call}").items()) if key.startswith("block_call_")]
        assert len(seen) == len(wanted) > 0
        for i, output in enumerate(seen):
            close(output, wanted[i], f"{call} {i}")


@pytest.mark.parametrize("name", NAMES)
def test_gradients(oracle, name):
    file = oracle(f"{name}_pretrain")
    model, given = file.model(), file.group("in")
    image = model.encode_image(given["image"]).cls_feats
    text = model.encode_text(given["text_ids"], given["text_masks"]).cls_feats
    joint = model.encode_joint(given["image"], given["text_ids"], given["text_masks"]).cls_feats
    loss = (image * text).sum() + 0.5 * joint.square().sum() + (image[:, 0] - text[:, 1]).sum()
    loss.backward()
    close(loss.detach().reshape(1), file.tensors["out.grad_loss"], "loss")
    norms = {key: parameter.grad.norm() for key, parameter in model.named_parameters() if parameter.grad is not None}
    wanted = {key.removeprefix("gradnorm."): value for key, value in file.group("out").items() if key.startswith("gradnorm.")}
    assert set(norms) == set(wanted)
    for key, value in wanted.items():
        torch.testing.assert_close(norms[key], value.squeeze(), rtol=1e-5, atol=0, msg=lambda m, key=key: f"{key}: {m}")


def test_index_matrices(oracle):
    file = oracle("vlmo_tiny_pretrain")
    config = file.model().config
    assert (config.window, config.bias_text_len) == (4, 20)
    assert torch.equal(position.image_index(4), file.tensors["out.index.relative_position_index"])
    assert torch.equal(position.text_index(4, 20, 12), file.tensors["out.index.text_relative_position_index"])
    assert torch.equal(position.joint_index(4, 20, 12), file.tensors["out.index.text_imag_relative_position_index"])


@pytest.mark.parametrize("name", NAMES)
def test_another_resolution(oracle, name):
    file, resized = oracle(f"{name}_pretrain"), oracle(f"{name}_resize48")
    model = file.model(image_size=48)
    for key, value in resized.group("sd").items():
        torch.testing.assert_close(model.state_dict()[key], value, rtol=0, atol=1e-5)
    with torch.no_grad():
        found = answers(model, resized.group("in"))
    for key, value in resized.group("out").items():
        close(found[key], value, key)


@pytest.mark.parametrize("size", ["base", "base_plus", "large"])
def test_released_names_and_shapes(size):
    with torch.device("meta"):
        model = VLMo(VLMoConfig.named(size))
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == SHAPES[f"vlmo_{size}_patch16"]
