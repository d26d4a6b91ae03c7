"""What every encoder must do, whatever its backend: rows, gradients, names, loss."""

import pytest
import torch
from torch import Tensor, nn

from recbole_mm.encoder import ItemEncoder, JointEncoder, list_backends
from recbole_mm.errors import InputError
from tests.contract.conftest import KINDS, READ_BOTH_IN_ONE_PASS, READ_PICTURES, READ_TEXTS
from tests.contract.items import ORDINARY, inputs_of


def close(found: Tensor, expected: Tensor) -> None:
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * scale)


def test_every_backend_is_here():
    assert set(list_backends()) <= set(KINDS)


def test_what_it_says_about_itself(encoder, kind):
    reads = {"image": READ_PICTURES, "text": READ_TEXTS, "joint": READ_BOTH_IN_ONE_PASS}
    assert encoder.modalities == tuple(modality for modality, kinds in reads.items() if kind in kinds)
    assert isinstance(encoder, ItemEncoder) and not encoder.training
    assert list(encoder.output_dims) == list(encoder.modalities)
    assert (encoder.image_size is not None) == ("image" in encoder.modalities)
    assert (encoder.pad_id is not None) == ("text" in encoder.modalities)
    assert encoder.adapters == () and isinstance(encoder, JointEncoder) == ("joint" in encoder.modalities)


def test_one_file_holds_its_weights_or_it_says_that_none_does(encoder, kind):
    if kind in ("separate", "colours"):
        with pytest.raises(InputError, match="export each of them|names no weights file"):
            encoder.weights_module()
    else:
        assert set(encoder.weights_module().parameters()) == set(encoder.parameters())


@pytest.mark.parametrize("kind", READ_BOTH_IN_ONE_PASS)
def test_a_joint_encoder_says_how_it_reads(encoder):
    pixels, tokens = inputs_of(encoder)["joint"]
    rows, words = encoder.read_pairs(pixels, tokens)
    assert rows.shape == (len(tokens), encoder.output_dims["joint"]) and words.shape[:2] == tokens.shape
    assert isinstance(encoder.text_first, bool) and encoder.pretraining_heads is None
    assert encoder.pad_id in encoder.special_ids and max(*encoder.special_ids, encoder.mask_id) < encoder.vocabulary_size


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [4, 0])
def test_one_row_an_item_for_every_modality_given(own, dtype, n):
    own.to(dtype)
    inputs = {m: tuple(v[:n] for v in values) if m == "joint" else values[:n] for m, values in inputs_of(own).items()}
    for modality, values in inputs.items():
        rows = own({modality: values})
        assert list(rows) == [modality] and rows[modality].shape == (n, own.output_dims[modality])
        assert rows[modality].dtype == dtype and rows[modality].isfinite().all()
        rows[modality].sum().backward()


@torch.no_grad()
def test_eval_mode_is_deterministic_and_modalities_do_not_meet(encoder):
    inputs = inputs_of(encoder)
    first, again = encoder(inputs), encoder(inputs)
    for modality in inputs:
        assert torch.equal(first[modality], again[modality])
        assert torch.equal(first[modality], encoder({modality: inputs[modality]})[modality])
        assert not torch.equal(first[modality][0], first[modality][1])


@torch.no_grad()
def test_a_batch_equals_its_items_one_by_one(encoder):
    inputs = inputs_of(encoder)
    whole, pixels = encoder(inputs), inputs.get("image")
    for i, text in enumerate(ORDINARY):
        alone = encoder(inputs_of(encoder, [text], None if pixels is None else pixels[i : i + 1]))
        for modality, rows in alone.items():
            close(rows[0], whole[modality][i])


@pytest.mark.parametrize("kind", READ_BOTH_IN_ONE_PASS)
@torch.no_grad()
def test_joint_rows_depend_on_both(encoder):
    pixels, tokens = inputs_of(encoder)["joint"]
    rows, turned = encoder({"joint": (pixels, tokens)})["joint"], [pixels.roll(1, 0), tokens.roll(1, 0)]
    for other in ((turned[0], tokens), (pixels, turned[1])):
        assert ((encoder({"joint": other})["joint"] - rows).abs().amax(1) > 1e-6).all()


def test_every_layer_of_every_tower_gets_a_gradient(own):
    own.train()
    sum(rows.pow(2).sum() for rows in own(inputs_of(own)).values()).backward()
    towers = own.towers()
    assert towers and all(towers) and own.layers() == [block for tower in towers for block in tower]
    for block in own.layers():
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())
    parameters = dict(own.named_parameters())
    assert all(parameters[name].grad is not None for name in own.head() if parameters[name].requires_grad)


def test_its_names_exist(encoder):
    modules, parameters = dict(encoder.named_modules()), dict(encoder.named_parameters())
    inside = {id(module) for block in encoder.layers() for module in block.modules()}
    frozen = {id(parameter) for block in encoder.layers() for parameter in block.parameters()}
    linear, sites, head = encoder.linear_layers(), encoder.adapter_sites(), encoder.head()
    for found in (linear, sites, head):
        assert len(set(found)) == len(found)
    assert linear and all(isinstance(modules[name], nn.Linear | nn.MultiheadAttention | nn.Conv2d) for name in linear)
    assert sites and all(id(modules[name]) in inside for name in [*linear, *sites])
    assert (head or not encoder.aligned) and all(id(parameters[name]) not in frozen for name in head)


def test_the_contrastive_loss_prefers_pairs(encoder):
    rows = {m: torch.randn(6, encoder.output_dims[m], generator=torch.Generator().manual_seed(0)) for m in encoder.modalities}
    if not encoder.aligned:
        with pytest.raises(InputError):
            encoder.contrastive_loss(rows)
        return
    paired, crossed = (encoder.contrastive_loss({"image": rows["image"], "text": rows["image"].roll(i, 0)}) for i in (0, 1))
    assert paired < crossed
