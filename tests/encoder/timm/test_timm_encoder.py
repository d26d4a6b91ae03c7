"""Ten architectures of timm: timm's own rows, the whole contract, all tunings, cached hidden states, exports."""

import copy
import json
import shutil

import pytest
import timm
import torch
from torch import nn

from recbole_mm.encoder import ItemEncoder, create_encoder
from recbole_mm.encoder.frozen.cut import CutEncoder
from recbole_mm.encoder.frozen.layer_states import LayerStates
from recbole_mm.encoder.saved import load_encoder, save_encoder
from recbole_mm.encoder.tuning.lora import merge_lora
from recbole_mm.encoder.tuning.tune import tune
from recbole_mm.encoder.tuning.tunings import TUNINGS
from recbole_mm.encoder.weights import read_weights
from recbole_mm.errors import InputError
from recbole_mm.testing.demands import meet
from recbole_mm.testing.encoder_demands import EncoderChecks
from recbole_mm.testing.odd_items import inputs_of
from recbole_mm.testing.shops import Shops
from tests.encoder.timm.conftest import ARCHITECTURES
from tests.encoder.tuning.off_zero import off_zero
from tests.timm_folders import write_timm

BLOCKS = {"test_resnet": 4, "test_convnext": 4, "test_vit": 6, "mobilenetv4_conv_small_035": 5, "test_efficientnet": 5}
SIZES = {"last_k": 1, "lora_rank": 4, "adapter_dim": 8}
CONVOLUTIONAL = ("test_resnet", "mobilenetv4_conv_small_035", "test_efficientnet")
POOLED_BY_A_TOKEN = ("test_vit", "vit_small_patch14_dinov2", "vit_base_patch32_clip_224")


class Encoders(dict):
    """architecture -> its encoder. Read-only: copies are tuned."""

    def __init__(self, folders):
        super().__init__()
        self.folders = folders

    def __missing__(self, name: str) -> ItemEncoder:
        self[name] = create_encoder(f"timm:{name}@{self.folders[name]}")
        return self[name]


@pytest.fixture(scope="module")
def encoders(folders) -> Encoders:
    return Encoders(folders)


@pytest.fixture(scope="module")
def shops(tmp_path_factory) -> Shops:
    return Shops(tmp_path_factory.mktemp("shops"))


def rows_of(encoder: ItemEncoder) -> torch.Tensor:
    return encoder({"image": inputs_of(encoder)["image"]})["image"]


def loss_of(encoder: ItemEncoder) -> torch.Tensor:
    rows = rows_of(encoder)
    return (rows * torch.linspace(-1, 1, rows.shape[1])).sum() + rows.pow(2).sum()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_contract(name, folders, shops):
    full = f"timm:{name}@{folders[name]}"
    meet(name, EncoderChecks(full, lambda seed: create_encoder(full, seed=seed), shops).demands())


@torch.no_grad()
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_rows_are_the_pooled_features_of_timm(name, encoders, folders):
    content = json.loads((folders[name] / "config.json").read_text())
    arguments = {"num_classes": 3, **content["model_args"]}
    model = timm.create_model(name, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict() | content["pretrained_cfg"], **arguments).eval()
    model.load_state_dict(read_weights(name, folders[name] / "model.safetensors"))
    encoder = encoders[name]
    pixels = encoder.normalise(inputs_of(encoder)["image"], torch.float32)
    expected = model.forward_head(model.forward_features(pixels), pre_logits=True)
    assert torch.equal(rows_of(encoder), expected)
    assert len(encoder.layers()) == BLOCKS.get(name, 3) and encoder.channels_last == name.startswith("swin")
    classifier = model.get_classifier()
    assert not isinstance(classifier, nn.Linear) or encoder.output_dims == {"image": classifier.in_features}


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_exactly_the_announced_parameters_get_a_gradient(name, checkpointing, encoders, folders):
    whole = create_encoder(f"timm:{name}@{folders[name]}", gradient_checkpointing=True) if checkpointing else encoders[name]
    before = rows_of(encoders[name]).detach()
    for tuning in [tuning for tuning in TUNINGS if tuning != "side"]:
        encoder = copy.deepcopy(whole)
        if tuning == "multiway" and name in CONVOLUTIONAL:
            with pytest.raises(InputError, match="blocks without a feed-forward part"):
                tune(encoder, tuning)
            continue
        announced = tune(encoder, tuning, **SIZES)
        torch.testing.assert_close(rows_of(encoder), before, rtol=1e-4, atol=1e-5)
        loss_of(off_zero(encoder).train()).backward()
        reached = [name for name, p in encoder.named_parameters() if p.grad is not None and p.grad.any()]
        assert announced and reached == announced, tuning


@torch.no_grad()
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_lora_changes_every_map_and_merges_into_the_original_parameters(name, encoders):
    encoder = copy.deepcopy(encoders[name])
    tune(encoder, "lora", **SIZES)
    tuned, merged = rows_of(off_zero(encoder)), rows_of(merge_lora(encoder))
    assert not torch.allclose(tuned, rows_of(encoders[name]), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(merged, tuned, rtol=1e-4, atol=1e-5)
    assert encoder.state_dict().keys() == encoders[name].state_dict().keys()
    changed = {key for key, value in encoder.state_dict().items() if not torch.equal(value, encoders[name].state_dict()[key])}
    assert changed == {f"{layer}.weight" for layer in encoder.linear_layers()}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_cached_hidden_states_give_the_rows_and_gradients_of_the_whole(name, encoders):
    encoder = copy.deepcopy(encoders[name])
    tune(encoder, "last_k", last_k=2)
    cut, pixels = CutEncoder(encoder, ("image",), 2), inputs_of(encoder)["image"]
    hidden = cut.lower("image", pixels)
    encoder.train(not name.startswith("swin"))  # whose own stochastic depth is drawn anew in the blocks that train
    found = []
    for rows in (encoder({"image": pixels})["image"], cut.upper("image", hidden)):
        encoder.zero_grad()
        rows.pow(2).sum().backward()
        found.append([rows, *(p.grad.clone() for p in encoder.parameters() if p.grad is not None)])
    assert len(found[0]) > 1 and all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@torch.no_grad()
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_side_network_gets_every_block(name, encoders):
    encoder = encoders[name]
    states, pixels = LayerStates(encoder, ("image",)), inputs_of(encoder)["image"]
    row, *parts = states("image", pixels).split(states.widths["image"], 1)
    assert torch.equal(row, rows_of(encoder)) and len(parts) == len(encoder.layers())
    assert all(len(part.unique(dim=0)) > 1 for part in parts), "items differ in every layer"
    if name in POOLED_BY_A_TOKEN:
        last = encoder.model.fc_norm(encoder.model.norm(parts[-1]))
        torch.testing.assert_close(last, row, rtol=1e-5, atol=1e-5)
    if name.startswith("swin"):
        assert states.widths["image"] == (64, 16, 32, 64)


@pytest.mark.parametrize("name", ["test_efficientnet", "vit_small_patch14_dinov2?pool=avg", "swin_tiny_patch4_window7_224"])
@pytest.mark.parametrize("tuning", ["full", "lora", "adapter"])
def test_a_saved_encoder_needs_nothing_else(name, tuning, folders, tmp_path):
    folder = shutil.copytree(folders[name.partition("?")[0]], tmp_path / "source")
    encoder = create_encoder(f"timm:{name}@{folder}")
    tune(encoder, tuning, **SIZES)
    off_zero(encoder)
    with torch.no_grad():
        rows = rows_of(encoder)
        save_encoder(encoder, tmp_path / "saved")
        shutil.rmtree(folder)
        back = load_encoder(tmp_path / "saved")
        torch.testing.assert_close(rows_of(back), rows, rtol=1e-4, atol=1e-5)
    assert back.fingerprint() == (merge_lora(encoder) if tuning == "lora" else encoder).fingerprint()
    assert not any(str(tmp_path) in file.read_text() for file in (tmp_path / "saved").rglob("*.json"))


@torch.no_grad()
def test_pooling_by_the_class_token_or_by_the_mean(encoders, folders):
    name = "vit_small_patch14_dinov2"
    own = encoders[name]
    tokens = own.model.forward_features(own.normalise(inputs_of(own)["image"], torch.float32))
    made = {pool: create_encoder(f"timm:{name}?pool={pool}@{folders[name]}") for pool in ("cls", "avg")}
    assert torch.equal(rows_of(made["cls"]), tokens[:, 0]) and torch.equal(rows_of(made["cls"]), rows_of(own))
    torch.testing.assert_close(rows_of(made["avg"]), tokens[:, 1:].mean(1), rtol=1e-5, atol=1e-6)
    assert len({encoder.fingerprint() for encoder in (own, *made.values())}) == 3
    assert create_encoder(f"timm:{name}@{folders[name]}?pool=avg").fingerprint() == made["avg"].fingerprint()
    assert made["avg"].pooled("image", tokens, None).allclose(rows_of(made["avg"]))


@pytest.mark.parametrize("name", ["test_resnet", "swin_tiny_patch4_window7_224"])
def test_a_model_with_one_pooling_has_none_to_choose(name, folders):
    with pytest.raises(InputError, match=f"{name} has one pooling only; leave out"):
        create_encoder(f"timm:{name}?pool=avg@{folders[name]}")


@torch.no_grad()
@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "test_efficientnet"])
def test_a_size_of_pictures_of_ones_own(name, encoders, folders, tmp_path):
    size = 2 * encoders[name].image_size[0]
    encoder = create_encoder(f"timm:{name}@{folders[name]}", image_size=size)
    assert encoder.image_size == (size, size) and encoder.preprocess_key != encoders[name].preprocess_key
    own, whole = encoders[name].state_dict(), encoder.state_dict()
    changed = {key for key in whole if whole[key].shape != own[key].shape or not torch.equal(whole[key], own[key])}
    assert changed == ({"model.pos_embed"} if "dino" in name else set())
    if "dino" in name:
        resize = timm.layers.resample_abs_pos_embed
        assert torch.equal(whole["model.pos_embed"], resize(own["model.pos_embed"], new_size=(4, 4), old_size=(2, 2), num_prefix_tokens=1))
    save_encoder(encoder, tmp_path / "saved")
    assert load_encoder(tmp_path / "saved").fingerprint() == encoder.fingerprint()


@torch.no_grad()
def test_weights_that_are_used_without_a_call_of_their_layer_are_adapted(tmp_path):
    """BEiT's joint query, key and value; and nothing but peft's copies of layers that are called."""
    name = "beit_base_patch16_224"
    folder = write_timm(tmp_path, name, embed_dim=32, depth=2, num_heads=2, img_size=32)
    encoder = create_encoder(f"timm:{name}@{folder}")
    assert any(layer.endswith("attn.qkv") for layer in encoder.linear_layers())
    before = rows_of(encoder)
    tune(encoder, "lora", **SIZES)
    assert torch.equal(rows_of(encoder), before)
    qkv = encoder.model.blocks[0].attn.qkv
    qkv.parametrizations.weight[0].lora_B.add_(0.1)
    assert not torch.allclose(rows_of(encoder), before)


class HandsOnTwo(nn.Module):
    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.block(x), x


class TakesTwo(HandsOnTwo):
    def forward(self, both: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return self.block(both[0] + both[1])


def test_blocks_that_hand_on_more_than_hidden_states_are_not_cut(encoders):
    encoder = copy.deepcopy(encoders["test_vit"])
    blocks = encoder.model.blocks
    blocks[0], blocks[1] = HandsOnTwo(blocks[0]), TakesTwo(blocks[1])
    with pytest.raises(InputError, match="cannot be entered at its last blocks .image"):
        CutEncoder(encoder, ("image",), 5)
    assert CutEncoder(encoder, ("image",), 4).modalities == ("image",)


def test_blocks_that_give_several_maps_say_what_they_lack(encoders):
    encoder = copy.deepcopy(encoders["test_convnext"])
    encoder.layers()[0].register_forward_hook(lambda module, args, output: [output, output])
    encoder.layers()[1].register_forward_pre_hook(lambda module, args: args[0][0])
    for use in (lambda: tune(encoder, "adapter"), lambda: LayerStates(encoder, ("image",)), lambda: CutEncoder(encoder, ("image",), 3)):
        with pytest.raises(InputError, match="several tensors .*use encoder_tuning: lora"):
            use()
