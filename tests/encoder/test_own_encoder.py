"""Encoders of a user's own, registered in the user's script: every tuning, side networks, hidden states, objectives and export."""

import pytest
import torch
from safetensors.torch import load_file

from recbole_mm.encoder import create_encoder, factory
from recbole_mm.encoder.export import export_weights
from recbole_mm.encoder.factory import register_backend
from recbole_mm.encoder.frozen.cut import CutEncoder
from recbole_mm.encoder.frozen.layer_states import LayerStates
from recbole_mm.encoder.probe import probe_inputs
from recbole_mm.encoder.tuning.parameter_groups import parameter_groups
from recbole_mm.encoder.tuning.side_network import SideNetwork
from recbole_mm.encoder.tuning.tune import tune
from recbole_mm.encoder.tuning.tunings import TUNINGS
from recbole_mm.errors import InputError
from recbole_mm.finetune.tune_and_export import tune_and_export
from tests.encoder.own import OwnEncoder, OwnJoint, SilentJoint, made
from tests.finetune.shops import configured, training, write_shop

INSIDE = [name for name in TUNINGS if name not in ("multiway", "side")]
SIZES = {"last_k": 1, "lora_rank": 2, "adapter_dim": 4}


@pytest.fixture
def backends(monkeypatch):
    """``own:x``, ``silent:x``, ``joint:x`` and ``headed:x``, as a user's script registers them."""
    monkeypatch.setattr(factory, "_backends", dict(factory._backends))
    for name, kind in {"own": OwnEncoder, "silent": SilentJoint, "joint": OwnJoint}.items():

        @register_backend(name)
        def create(rest, source, *, seed=0, kind=kind):
            return made(kind, seed)

    @register_backend("headed")
    def create_headed(rest, source, *, seed=0, pretraining_heads=False):
        return made(OwnJoint, seed, heads=pretraining_heads)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("data") / "colours", n_items=40)


def loss_of(encoder) -> torch.Tensor:
    return sum(encoder({m: probe_inputs(encoder, m)})[m].square().sum() for m in encoder.modalities)


def test_a_registered_backend_is_found_by_its_name(backends):
    first, again = create_encoder("own:x", seed=3), create_encoder("own:x", seed=3)
    assert isinstance(first, OwnEncoder) and first.fingerprint() == again.fingerprint() != create_encoder("own:x").fingerprint()


@pytest.mark.parametrize("kind", [OwnEncoder, OwnJoint])
@pytest.mark.parametrize("tuning", INSIDE)
def test_every_tuning_trains_what_it_announces_at_the_rates_of_its_layers(kind, tuning):
    encoder = made(kind)
    with torch.no_grad():
        before = loss_of(encoder)
        announced = tune(encoder, tuning, **SIZES)
        torch.testing.assert_close(loss_of(encoder), before)
    loss_of(encoder.train()).backward()
    assert announced == [name for name, p in encoder.named_parameters() if p.grad is not None]
    groups = parameter_groups(encoder, 0.1, 0.01, layer_decay=0.5)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rates.keys() == {id(p) for p in encoder.parameters() if p.requires_grad}
    for place, block in enumerate(reversed(encoder.blocks), 1):
        assert {rates[id(p)] for p in block.parameters() if id(p) in rates} <= {0.1 * 0.5**place}
    if tuning == "adapter":
        assert [rates[id(adapter.down.weight)] for adapter in encoder.adapters] == [0.0125, 0.025, 0.05]


def test_a_side_network_reads_its_layers():
    encoder = made(OwnEncoder)
    states = LayerStates(encoder, encoder.modalities)
    assert states.widths == {m: (8, 16, 16, 16) for m in encoder.modalities}
    network = SideNetwork(encoder, states.widths, dim=4)
    inputs = {m: probe_inputs(encoder, m) for m in encoder.modalities}
    rows = network("image", states("image", inputs["image"]), states("text", inputs["text"]))
    torch.testing.assert_close(rows, encoder(inputs)["image"])
    assert len(parameter_groups(network, 0.1, 0.01, layer_decay=0.5)) > 1
    with pytest.raises(InputError, match="a side network is no encoder"):
        export_weights(network, "nowhere.safetensors")


@torch.no_grad()
def test_a_cut_encoder_gives_its_rows_whatever_the_padding():
    encoder = made(OwnJoint)
    cut = CutEncoder(encoder, encoder.modalities, 1)
    pixels, token_ids = probe_inputs(encoder, "joint")
    assert cut.modalities == encoder.modalities
    alone = [cut.lower("joint", (pixels[i : i + 1], token_ids[i : i + 1])) for i in range(3)]
    hidden = torch.cat([torch.nn.functional.pad(x, (0, 0, 0, 20 - x.shape[1])) for x in alone])
    torch.testing.assert_close(cut.upper("joint", hidden, token_ids), encoder({"joint": (pixels, token_ids)})["joint"])


def test_a_joint_pass_that_nothing_is_said_of_is_not_cut():
    encoder = made(SilentJoint)
    assert CutEncoder(encoder, ("image", "text"), 1).modalities == ("image", "text")
    with pytest.raises(InputError, match="in which order it reads a picture and its text"):
        CutEncoder(encoder, encoder.modalities, 1)


@pytest.mark.parametrize(
    ("name", "objective", "message"),
    [
        ("own:x", "itc", "do not lie in one space"),
        ("own:x", "itm", "does not read pictures and texts in one pass"),
        ("silent:x", "itm", "has no heads for it"),
        ("joint:x", "mlm", "has no heads for it"),
    ],
)
def test_objectives_are_refused_for_their_true_reason(name, objective, message, backends, shop, tmp_path):
    config = configured(shop, tmp_path, encoder=name, finetune_weights={objective: 1})
    with pytest.raises(InputError, match=message):
        tune_and_export(config, training(config))


def test_heads_of_its_own_are_trained_and_its_weights_exported(backends, shop, tmp_path):
    keys = {"encoder": "headed:x", "finetune_epochs": 1, "finetune_weights": {"itm": 1, "mlm": 1}}
    config = configured(shop, tmp_path / "cache", **keys)
    tuned = tune_and_export(config, training(config), tmp_path / "own.safetensors")
    assert set(tuned.report["epochs"][0]["losses"]) == {"itm", "mlm"} and tuned.encoder.pretraining_heads is None
    written = load_file(tmp_path / "own.safetensors")
    assert written.keys() == tuned.encoder.state_dict().keys()
    assert all(torch.equal(tensor, written[name]) for name, tensor in tuned.encoder.state_dict().items())


def test_what_cannot_be_exported_is_said_before_it_is_trained(backends, shop, tmp_path):
    config = configured(shop, tmp_path, encoder="own:x", finetune_weights={"interaction": 1})
    with pytest.raises(InputError, match="own:x names no weights file"):
        tune_and_export(config, training(config), tmp_path / "own.safetensors")
    assert not (tmp_path / "own.safetensors").exists()


def test_lora_of_its_own_encoder_is_merged_on_export(tmp_path):
    encoder = made(OwnJoint)
    tune(encoder, "lora", **SIZES)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.1)
        expected = loss_of(encoder)
        export_weights(encoder, tmp_path / "own.safetensors")
        back = made(OwnJoint, seed=5)
        back.load_state_dict(load_file(tmp_path / "own.safetensors"))
        torch.testing.assert_close(loss_of(back), expected)
