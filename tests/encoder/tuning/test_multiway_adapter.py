"""Multiway-Adapter: beside every expert and on top of every block, by its formula; found by what blocks call, or refused."""

import copy

import pytest
import torch
import torch.nn.functional as F

from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.hooks import hooked
from recbole_mm.encoder.probe import probe_inputs
from recbole_mm.encoder.tuning.adapter import take_adapters
from recbole_mm.encoder.tuning.feed_forward import feed_forwards
from recbole_mm.encoder.tuning.multiway_adapter import AlignmentEnhancer, KnowledgeExtractor
from recbole_mm.encoder.tuning.tune import tune
from recbole_mm.errors import InputError
from tests import hf_folders
from tests.encoder.own import OwnEncoder


def moved(encoder):
    """The adapters away from their start."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in encoder.adapters.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return encoder


def bottleneck(adapter, x):
    hidden = F.layer_norm(x, x.shape[-1:], adapter.norm.weight, adapter.norm.bias)
    return adapter.up(F.relu(adapter.down(hidden)))


PARTS = {
    "bert": [("layer.0.intermediate.dense", "layer.0.output.dense"), ("layer.1.intermediate.dense", "layer.1.output.dense")],
    "qwen": [(f"layers.{i}.mlp.gate_proj", f"layers.{i}.mlp.down_proj") for i in range(2)],
    "swin": [("layers.0.blocks.0.mlp.fc1", "layers.0.blocks.0.mlp.fc2")]
    + [(f"layers.1.blocks.{i}.mlp.fc1", f"layers.1.blocks.{i}.mlp.fc2") for i in range(2)],
    "convnext": [("stages.0.layers.0.pwconv1", "stages.0.layers.0.pwconv2")]
    + [(f"stages.1.layers.{i}.pwconv1", f"stages.1.layers.{i}.pwconv2") for i in range(2)],
}


@pytest.mark.parametrize("kind", PARTS)
def test_feed_forward_parts_are_found_by_what_is_called(kind, tmp_path):
    """Not the attention's maps, not those that merge patches; of a gated part the gate is the first."""
    encoder = create_encoder(f"hf:{getattr(hf_folders, f'write_{kind}')(tmp_path)}")
    parts = [part for parts in feed_forwards(encoder).values() for part in parts]
    assert len(parts) == len(PARTS[kind])
    assert all(name.endswith(end) for part, ends in zip(parts, PARTS[kind], strict=True) for name, end in zip(part, ends, strict=True))
    with torch.no_grad():
        before = encoder({m: probe_inputs(encoder, m) for m in encoder.modalities})
        tune(encoder, "multiway", multiway_dim=4)
        after = encoder({m: probe_inputs(encoder, m) for m in encoder.modalities})
    assert all(torch.equal(after[m], rows) for m, rows in before.items()), "it starts as the identity, exactly"


@pytest.mark.parametrize("kind", ["vlmo", "beit3"])
def test_one_beside_each_expert_and_one_on_top_for_all_modalities(kind):
    encoder = create_encoder(f"{kind}:tiny")
    names = tune(encoder, "multiway", multiway_dim=4)
    assert all(name.startswith("adapters.") for name in names)
    beside = [adapter.site for adapter in encoder.adapters if isinstance(adapter, KnowledgeExtractor)]
    assert sorted(beside) == sorted(f"{site}.fc2" for site in encoder.adapter_sites())
    on_top = [encoder.get_submodule(adapter.site) for adapter in encoder.adapters if isinstance(adapter, AlignmentEnhancer)]
    assert on_top == encoder.layers()


@torch.no_grad()
def test_the_formula():
    """In each block, the expert's output gains up(relu(down(norm(its input)))), and the block's output the same of itself."""
    encoder = moved_copy(create_encoder("vlmo:tiny"))
    adapters = {adapter.site: adapter for adapter in encoder.adapters}
    names = {module: name for name, module in encoder.named_modules()}
    seen, block = {}, encoder.layers()[1]
    parts = [block.norm2_imag, block.mlp_imag, block]
    with hooked(parts, lambda module, inputs, output: seen.update({names[module]: (inputs[0], output)})):
        encoder({"image": probe_inputs(encoder, "image")})
    (x, u), (_, expert), (_, out) = (seen[names[part]] for part in parts)
    plain = block.mlp_imag.fc2.weight @ F.gelu(block.mlp_imag.fc1(u)).mT + block.mlp_imag.fc2.bias[:, None]
    torch.testing.assert_close(expert, plain.mT + bottleneck(adapters[f"{names[block.mlp_imag]}.fc2"], u))
    inner = x + (expert if block.gamma_2 is None else block.gamma_2 * expert)
    torch.testing.assert_close(out, inner + bottleneck(adapters[names[block]], inner))


def moved_copy(encoder):
    """A tuned encoder's copy, whose hooks are its own."""
    tune(encoder, "multiway", multiway_dim=4)
    return moved(copy.deepcopy(encoder))


@torch.no_grad()
def test_feature_maps_have_their_channels_second(tmp_path):
    encoder = create_encoder(f"hf:{hf_folders.write_convnext(tmp_path)}")
    tune(encoder, "multiway", multiway_dim=4)
    moved(encoder)
    enhancer = next(adapter for adapter in encoder.adapters if isinstance(adapter, AlignmentEnhancer))
    x = torch.randn(2, enhancer.norm.normalized_shape[0], 5, 4)
    torch.testing.assert_close(enhancer(x), bottleneck(enhancer, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


@torch.no_grad()
def test_taken_away_the_encoder_is_as_before():
    encoder = create_encoder("beit3:tiny")
    given = {m: probe_inputs(encoder, m) for m in encoder.modalities}
    before = encoder(given)
    encoder = moved_copy(encoder)
    assert not torch.allclose(encoder(given)["joint"], before["joint"], atol=1e-3)
    assert len(take_adapters(encoder)) == 12 and encoder.adapters == ()
    assert all(torch.equal(rows, before[m]) for m, rows in encoder(given).items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in encoder.modules())


def test_checkpointing_changes_no_gradient():
    found = []
    for checkpointing in (False, True):
        encoder = create_encoder("vlmo:tiny", gradient_checkpointing=checkpointing)
        tune(encoder, "multiway", multiway_dim=4)
        moved(encoder).train()
        encoder({"joint": probe_inputs(encoder, "joint")})["joint"].pow(2).sum().backward()
        found.append([p.grad for p in encoder.adapters.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", ["resnet", "own"])
def test_blocks_without_a_feed_forward_part_are_refused(kind, tmp_path):
    encoder = OwnEncoder() if kind == "own" else create_encoder(f"hf:{hf_folders.write_resnet(tmp_path)}")
    with pytest.raises(InputError, match=r"encoder_tuning multiway: .* without a feed-forward part .* use adapter") as error:
        tune(encoder, "multiway")
    assert "\n" not in str(error.value) and encoder.adapters == ()
    assert not any(module._forward_hooks for module in encoder.modules())
