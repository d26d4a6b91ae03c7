"""LayerStates and SideNetwork: the encoder's own numbers, and what is made of them."""

import pytest
import torch
import torch.nn.functional as F

from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.frozen import layer_states
from recbole_mm.encoder.frozen.layer_states import LayerStates
from recbole_mm.encoder.tuning.adapter import Adapter
from recbole_mm.encoder.tuning.parameter_groups import parameter_groups
from recbole_mm.encoder.tuning.side_network import SideNetwork
from recbole_mm.testing.odd_items import inputs_of
from tests import hf_folders

KINDS = ("open_clip", "vlmo", "beit3", "hf", "separate", "resnet", "swin")


@pytest.fixture(scope="module")
def encoders(shelf, tmp_path_factory):
    folder = tmp_path_factory.mktemp("side")
    extra = {kind: f"hf:{getattr(hf_folders, f'write_{kind}')(folder / kind)}" for kind in ("resnet", "swin")}
    return {kind: create_encoder(name, seed=1) for kind, name in {**shelf, **extra}.items()}


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_states_begin_with_the_row_and_have_a_part_for_every_layer(kind, encoders):
    encoder = encoders[kind]
    states, towers = LayerStates(encoder, encoder.modalities), encoder.towers()
    for m, inputs in inputs_of(encoder).items():
        found, rows = states(m, inputs), encoder({m: inputs})[m]
        tower = towers[0] if len(towers) == 1 else towers[encoder.modalities.index(m)]
        assert len(states.widths[m]) == 1 + len(tower) and found.shape == (4, sum(states.widths[m]))
        assert torch.equal(found[:, : rows.shape[1]], rows)
        parts = found.split(states.widths[m], 1)
        assert all(len(part.unique(dim=0)) > 1 for part in parts), "items differ in every layer"


@torch.no_grad()
def test_the_last_layer_is_what_the_row_is_made_of(encoders):
    def last(encoder, m):
        states = LayerStates(encoder, [m])
        return states(m, inputs_of(encoder)[m]).split(states.widths[m], 1)[-1]

    clip, rows = encoders["open_clip"].model, encoders["open_clip"](inputs_of(encoders["open_clip"]))
    image, text = last(encoders["open_clip"], "image"), last(encoders["open_clip"], "text")
    torch.testing.assert_close(clip.visual.ln_post(image) @ clip.visual.proj, rows["image"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(clip.ln_final(text) @ clip.text_projection, rows["text"], rtol=1e-5, atol=1e-5)
    for kind in ("vlmo", "beit3"):
        encoder, (pixels, ids) = encoders[kind], inputs_of(encoders[kind])["joint"]
        pixels, ids = encoder.normalise(pixels, torch.float32), encoder.shorten(ids, encoder.pad_id)
        raw = {"image": encoder.model.encode_image(pixels), "text": encoder.model.encode_text(ids, ids != encoder.pad_id)}
        for m, output in raw.items():
            torch.testing.assert_close(last(encoder, m), output.raw_cls_feats, rtol=1e-5, atol=1e-5)


def test_of_a_deep_tower_every_second_layer_is_used(encoders, monkeypatch):
    encoder = encoders["vlmo"]
    whole = LayerStates(encoder, ["image"])
    monkeypatch.setattr(layer_states, "SHALLOW", 3)
    half = LayerStates(encoder, ["image"])
    inputs = inputs_of(encoder)["image"]
    row, _, second, _, fourth = whole("image", inputs).split(whole.widths["image"], 1)
    assert torch.equal(half("image", inputs), torch.cat([row, second, fourth], 1))


def network_of(encoder, dim: int = 4, shaken: bool = True, seed: int = 0) -> tuple[SideNetwork, dict]:
    states = LayerStates(encoder, encoder.modalities)
    network = SideNetwork(encoder, states.widths, dim, seed)
    if shaken:
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if not parameter.any():
                    parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(len(name)))
    return network, {m: states(m, inputs) for m, inputs in inputs_of(encoder).items()}


def rows_of(network: SideNetwork, states: dict) -> dict:
    other = {"image": states["text"], "text": states["image"]} if network.pair else {}
    return {m: network(m, own, other.get(m)) for m, own in states.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_at_the_encoders_rows_and_all_of_it_trains(kind, encoders):
    encoder, state = encoders[kind], torch.get_rng_state()
    network, states = network_of(encoder, shaken=False)
    assert torch.equal(state, torch.get_rng_state())
    for m, rows in rows_of(network, states).items():
        assert torch.equal(rows, states[m][:, : encoder.output_dims[m]])
    network, states = network_of(encoder)
    sum((rows * torch.linspace(-1, 1, rows.shape[1])).sum() for rows in rows_of(network, states).values()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
    groups = parameter_groups(network, 1.0, 0.1, layer_decay=0.5)
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    twin, other = (network_of(encoder, shaken=False, seed=seed)[0] for seed in (0, 1))
    first = next(name for name, p in twin.named_parameters() if p.dim() == 2 and p.any())
    assert not torch.equal(twin.get_parameter(first), other.get_parameter(first))


@torch.no_grad()
def test_rows_are_what_the_formula_says(encoders):
    """Three layers of pictures, two of texts, as the paper mixes them; computed a layer at a time."""
    network, states = network_of(encoders["open_clip"])
    norm = lambda x: F.layer_norm(x, x.shape[1:])  # noqa: E731

    def refine(block: Adapter, x):
        return x + block.up(F.gelu(block.down(x)))

    row, i1, i2, i3 = states["image"].split([64, 128, 128, 128], 1)
    _, t1, t2 = states["text"].split([64, 128, 128], 1)
    ladder, between = network.ladders["image"], network.between
    g1, g2 = torch.sigmoid(ladder.gates)
    h = refine(ladder.blocks[0], norm(i1))
    h = refine(ladder.blocks[1], g1 * norm(i2) + (1 - g1) * h)
    h = refine(ladder.blocks[2], g2 * norm(i3) + (1 - g2) * h)
    m1, m2 = torch.sigmoid(network.mix)
    b = refine(between.blocks[0], m1 * norm(i2) + (1 - m1) * norm(t1))
    gate = torch.sigmoid(between.gates[0])
    b = refine(between.blocks[1], gate * (m2 * norm(i3) + (1 - m2) * norm(t2)) + (1 - gate) * b)
    wanted = row + network.out["image"](torch.cat([h, b], 1))
    torch.testing.assert_close(network("image", states["image"], states["text"]), wanted, rtol=1e-5, atol=1e-6)


def test_the_similarity_is_the_encoders(encoders):
    network, states = network_of(encoders["open_clip"], shaken=False)
    rows = rows_of(network, states)
    assert network.aligned
    torch.testing.assert_close(network.contrastive_loss(rows), encoders["open_clip"].contrastive_loss(rows).detach())
    assert not {"scale", "bias"} & set(network.state_dict())
    assert not network_of(encoders["separate"])[0].aligned
