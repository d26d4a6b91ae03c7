"""An encoder cut in two gives the rows and the gradients of the whole, and never runs its frozen blocks twice."""

import copy

import pytest
import torch
from torch import Tensor, nn

from recbole_mm.encoder import ItemEncoder, create_encoder
from recbole_mm.encoder.frozen.cut import CutEncoder
from recbole_mm.encoder.tuning.tune import tune
from recbole_mm.errors import InputError
from recbole_mm.testing.odd_items import inputs_of
from tests import hf_folders

CONVOLUTIONAL = ("resnet", "convnext", "swin")
KINDS = ("open_clip", "vlmo", "beit3", "hf", "separate", *CONVOLUTIONAL)


@pytest.fixture(scope="module")
def encoders(shelf, tmp_path_factory) -> dict[str, ItemEncoder]:
    folder = tmp_path_factory.mktemp("cut")
    made = {kind: create_encoder(name, seed=1) for kind, name in shelf.items()}
    for kind in CONVOLUTIONAL:
        made[kind] = create_encoder(f"hf:{getattr(hf_folders, f'write_{kind}')(folder / kind)}")
    return made


def token_ids_of(modality: str, inputs) -> Tensor | None:
    return {"image": None, "text": inputs}.get(modality, inputs[1])


def gradients(encoder: ItemEncoder, rows: Tensor) -> dict[str, Tensor]:
    encoder.zero_grad()
    (rows * torch.linspace(-1, 1, rows.shape[1])).sum().backward()
    return {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_gradients_are_those_of_the_whole_to_the_bit(kind, checkpointing, encoders, shelf):
    if checkpointing:
        if kind not in ("open_clip", "vlmo", "beit3", "hf"):
            pytest.skip("the whole has none, or draws its drop path anew")
        encoder = create_encoder(shelf[kind], seed=1, gradient_checkpointing=True)
    else:
        encoder = copy.deepcopy(encoders[kind])
    tune(encoder, "last_k", last_k=1)
    cut = CutEncoder(encoder, encoder.modalities, 1)
    assert cut.modalities == encoder.modalities or kind == "hf", "every tower of these has frozen blocks"
    for modality in cut.modalities:
        inputs = inputs_of(encoder)[modality]
        hidden = cut.lower(modality, inputs)
        assert hidden.shape[0] == 4 and hidden.shape[-1] == cut.widths[modality] and not hidden.requires_grad
        encoder.train()
        torch.manual_seed(0)
        rows = encoder({modality: inputs})[modality]
        torch.manual_seed(0)
        resumed = cut.upper(modality, hidden, token_ids_of(modality, inputs))
        assert torch.equal(rows, resumed)
        whole, ours = gradients(encoder, rows), gradients(encoder, resumed)
        assert ours and whole.keys() == ours.keys() and all(torch.equal(whole[name], ours[name]) for name in whole)
        encoder.eval()


@pytest.mark.parametrize("kind", ["open_clip", "vlmo", "beit3"])
def test_the_upper_part_computes_nothing_below_the_cut(kind, encoders):
    encoder = copy.deepcopy(encoders[kind])
    cut = CutEncoder(encoder, encoder.modalities, 1)
    states = {m: cut.lower(m, inputs) for m, inputs in inputs_of(encoder).items()}
    below = {id(part) for tower in encoder.towers() for block in tower[:-1] for part in block.modules() if part is not block}
    called = []
    for part in encoder.modules():
        if id(part) in below or isinstance(part, nn.Conv2d):
            part.register_forward_hook(lambda module, args, output: called.append((module, len(output))))
    for m, inputs in inputs_of(encoder).items():
        cut.upper(m, states[m], token_ids_of(m, inputs))
    assert not [module for module, n in called if not isinstance(module, nn.Conv2d)]
    assert [n for _, n in called] == ([1] if kind == "open_clip" else [1, 4]), "one blank picture, and as many as items in a joint pass"


@pytest.mark.parametrize("kind", ["vlmo", "beit3", "open_clip", "hf"])
def test_states_of_texts_do_not_depend_on_the_length_of_the_batch(kind, encoders):
    encoder = encoders[kind]
    cut = CutEncoder(encoder, encoder.modalities, 1)
    texts, longer = ["boots", "silk"], ["boots", "silk", "a dress for the evening in the town by the sea"]
    for modality in set(cut.modalities) - {"image"}:
        short, long = inputs_of(encoder, texts)[modality], inputs_of(encoder, longer)[modality]
        for one, other in ((short, long), (long, short)):
            hidden, token_ids = cut.lower(modality, one)[:2], token_ids_of(modality, other)[:2]
            rows = encoder({modality: tuple(v[:2] for v in other) if modality == "joint" else other[:2]})[modality]
            torch.testing.assert_close(cut.upper(modality, hidden, token_ids), rows, rtol=1e-4, atol=1e-5)


def test_what_is_random_below_the_cut_is_refused(encoders):
    with pytest.raises(InputError, match="separate.* has dropout .Dropout, p 0.1. below .* cache_hidden_states: False"):
        CutEncoder(encoders["separate"], ("image", "text"), 1)  # nothing in it is frozen
    encoder = copy.deepcopy(encoders["open_clip"])
    encoder.model.visual.conv1.register_forward_hook(lambda m, x, y: y + torch.rand_like(y) if encoder.training else None)
    with pytest.raises(InputError, match="something random"):
        CutEncoder(encoder, ("image",), 1)
    assert CutEncoder(encoder, ("text",), 1).modalities == ("text",) and not encoder.training


def test_a_forward_pass_that_cannot_be_entered_is_refused(encoders):
    encoder = copy.deepcopy(encoders["vlmo"])
    run = encoder.forward
    encoder.forward = lambda inputs: {m: rows + inputs[m].float().mean() for m, rows in run(inputs).items()}
    with pytest.raises(InputError, match="cannot be entered at its last blocks .image.*cache_hidden_states: False"):
        CutEncoder(encoder, ("image",), 1)
    twice = copy.deepcopy(encoders["vlmo"])
    again = twice.forward
    twice.forward = lambda inputs: {**again(inputs), **again(inputs)}
    with pytest.raises(InputError, match="no fixed order of blocks"):
        CutEncoder(twice, ("image",), 1)


def test_a_tower_without_frozen_blocks_is_left_whole(encoders):
    assert CutEncoder(encoders["open_clip"], ("image", "text"), 2).modalities == ("image",)


def test_a_pass_that_fails_leaves_the_encoder_whole(encoders):
    encoder = copy.deepcopy(encoders["vlmo"])
    cut = CutEncoder(encoder, ("image",), 1)
    inputs = inputs_of(encoder)["image"]
    rows = encoder({"image": inputs})["image"]
    with pytest.raises(RuntimeError):
        cut.upper("image", torch.zeros(4, 17, 5), None)
    assert torch.equal(encoder({"image": inputs})["image"], rows)
