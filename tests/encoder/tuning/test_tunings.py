"""encoder_tuning: exactly the announced parameters train, for every backend."""

import copy
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image

from recbole_mm.config import keys
from recbole_mm.encoder import ItemEncoder, create_encoder
from recbole_mm.encoder.export import export_weights
from recbole_mm.encoder.tuning.lora import LowRank, merge_lora
from recbole_mm.encoder.tuning.tune import tune
from recbole_mm.encoder.tuning.tunings import TUNINGS, LastK, Lora, Tuning, tuning_of_key
from recbole_mm.errors import InputError
from tests import hf_folders
from tests.encoder.tuning.off_zero import off_zero

INSIDE = [name for name in TUNINGS if name != "side"]
SIZES = {"last_k": 1, "lora_rank": 4, "adapter_dim": 8, "multiway_dim": 8}


class Encoders(dict):
    """backend -> its smallest encoder, built when it is asked for. Read-only: copies are tuned."""

    def __init__(self, shelf: dict[str, str]):
        super().__init__()
        self.shelf = shelf

    def __missing__(self, kind: str) -> ItemEncoder:
        self[kind] = create_encoder(self.shelf[kind], seed=1)
        return self[kind]


@pytest.fixture(scope="module")
def encoders(shelf) -> Encoders:
    return Encoders(shelf)


def inputs_of(encoder: ItemEncoder, n: int = 3) -> dict:
    rng = np.random.default_rng(0)
    pixels = torch.stack([encoder.preprocess_image(Image.fromarray(rng.integers(0, 256, (70, 60, 3), dtype=np.uint8))) for _ in range(n)])
    ids = encoder.tokenize(["a red wool scarf", "boots for the mountain", "silk"][:n])
    given = {"image": pixels, "text": ids, "joint": (pixels, ids)}
    return {m: given[m] for m in encoder.modalities}


def rows_of(encoder: ItemEncoder) -> torch.Tensor:
    return torch.cat([rows.flatten() for rows in encoder(inputs_of(encoder)).values()])


def loss_of(encoder: ItemEncoder) -> torch.Tensor:
    rows = encoder(inputs_of(encoder))
    losses = [(row * torch.linspace(-1, 1, row.shape[1])).sum() + row.pow(2).sum() for row in rows.values()]
    return sum(losses) + (encoder.contrastive_loss(rows) if encoder.aligned else 0.0)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("tuning", INSIDE)
@pytest.mark.parametrize("kind", ["open_clip", "vlmo", "beit3", "hf", "separate"])
def test_exactly_the_announced_parameters_get_a_gradient(kind, tuning, checkpointing, encoders, shelf):
    encoder = create_encoder(shelf[kind], seed=1, gradient_checkpointing=True) if checkpointing else copy.deepcopy(encoders[kind])
    announced = tune(encoder, tuning, **SIZES)
    off_zero(encoder).train()
    loss_of(encoder).backward()
    with_gradient = [name for name, p in encoder.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)]
    assert announced and with_gradient == announced
    assert all(p.requires_grad == (name in set(announced)) for name, p in encoder.named_parameters())


@pytest.mark.parametrize("tuning", INSIDE)
@pytest.mark.parametrize("kind", ["open_clip", "vlmo", "beit3", "hf", "separate"])
def test_tuning_starts_from_the_encoder_as_it_was_and_leaves_the_frozen_part_alone(kind, tuning, encoders):
    encoder = copy.deepcopy(encoders[kind])
    with torch.no_grad():
        before = rows_of(encoder)
        state = torch.get_rng_state()
        announced = set(tune(encoder, tuning, seed=3, **SIZES))
        assert torch.equal(state, torch.get_rng_state())
        torch.testing.assert_close(rows_of(encoder), before, rtol=1e-4, atol=1e-5)
    frozen = {name: p.detach().clone() for name, p in encoder.named_parameters() if name not in announced}
    optimizer = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(encoder).backward()
        optimizer.step()
    after = dict(encoder.named_parameters())
    assert all(torch.equal(after[name], value) for name, value in frozen.items())
    assert not torch.allclose(rows_of(encoder), before, rtol=1e-4, atol=1e-4)
    again = copy.deepcopy(encoders[kind])
    tune(again, tuning, seed=3, **SIZES)
    fresh = copy.deepcopy(encoders[kind])
    tune(fresh, tuning, seed=3, **SIZES)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), fresh.parameters(), strict=True))


def test_low_rank_updates_are_drawn_alike_for_every_device():
    """By the CPU's generator, which the seed is for."""
    after = []
    for device in ("cpu", "meta"):
        torch.manual_seed(0)
        LowRank(torch.empty(6, 8, device=device), rank=2, alpha=1.0)
        after.append(torch.get_rng_state())
    assert torch.equal(*after)


@pytest.mark.parametrize("kind", ["open_clip", "vlmo", "beit3", "hf", "separate"])
def test_lora_merges_into_the_original_parameters(kind, encoders):
    encoder = copy.deepcopy(encoders[kind])
    tune(encoder, "lora", **SIZES)
    off_zero(encoder)
    with torch.no_grad():
        tuned, plain = rows_of(encoder), rows_of(encoders[kind])
        merged = rows_of(merge_lora(encoder))
    assert not torch.allclose(tuned, plain, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(merged, tuned, rtol=1e-4, atol=1e-5)
    assert encoder.state_dict().keys() == encoders[kind].state_dict().keys()


@pytest.mark.parametrize("kind", ["open_clip", "vlmo", "beit3", "hf", "separate"])
def test_the_last_blocks_and_the_head_are_those_after_which_nothing_is_frozen(kind, encoders):
    """Changing the input of the last block changes no gradient's absence: all that comes before the last k blocks has none."""
    encoder = copy.deepcopy(encoders[kind])
    announced = set(tune(encoder, "last_k", last_k=1))
    blocks = {id(p) for tower in encoder.towers() for p in tower[-1].parameters()}
    earlier = {id(p) for tower in encoder.towers() for block in tower[:-1] for p in block.parameters()}
    for name, parameter in encoder.named_parameters():
        assert not (id(parameter) in earlier and name in announced)
        assert not (id(parameter) in blocks and parameter.requires_grad != (name in announced))
    assert set(encoder.head()) & announced


def test_adapters_stand_after_the_experts_of_a_multiway_encoder(encoders):
    for kind, experts in (("vlmo", ("mlp_imag", "mlp_text", "mlp_vl")), ("beit3", ("ffn.A", "ffn.B"))):
        sites = encoders[kind].adapter_sites()
        assert all(site.endswith(experts) for site in sites) and len(sites) > len(encoders[kind].layers())


def test_what_cannot_be_tuned_is_said(encoders):
    encoder = copy.deepcopy(encoders["open_clip"])
    with pytest.raises(InputError, match="did you mean 'lora'"):
        tune(encoder, "lore")
    with pytest.raises(InputError, match="encoder_last_k 9: open_clip:tiny has a tower of 2 blocks"):
        tune(encoder, "last_k", last_k=9)
    with pytest.raises(InputError, match="beside open_clip:tiny"):
        tune(encoder, "side")
    with pytest.raises(TypeError, match="lora_ranks"):
        tune(encoder, "lora", lora_ranks=4)


def test_a_tuning_reads_its_own_keys():
    config = {"encoder_tuning": "last_k", "encoder_last_k": 3, "lora_rank": 4, "lora_alpha": 2}
    assert Tuning.from_config(config) == LastK(last_k=3)
    assert Tuning.from_config({**config, "encoder_tuning": "lora"}) == Lora(lora_rank=4, lora_alpha=2)
    assert [name for name, kind in TUNINGS.items() if kind.few] == ["lora", "adapter", "multiway", "bitfit"]


def test_the_table_of_keys_agrees_on_what_belongs_to_which_tuning():
    """But for cache_hidden_states, which is not a size of last_k: it says how its frozen blocks are run."""
    assert tuple(TUNINGS) == keys.TUNINGS
    assert {**tuning_of_key(), "cache_hidden_states": "last_k"} == keys.TUNING_KEYS
    for kind in TUNINGS.values():
        assert {name: keys.KEYS[key].default for key, name in kind.keys().items()} == asdict(kind())


@pytest.mark.parametrize("kind", ["open_clip", "vlmo", "beit3"])
def test_a_lora_tuned_encoder_is_exported_as_a_file_that_its_name_takes(kind, encoders, shelf, tmp_path):
    encoder = copy.deepcopy(encoders[kind])
    tune(encoder, "lora", **SIZES)
    off_zero(encoder)
    export_weights(encoder, tmp_path / "tuned.safetensors")
    back = create_encoder(f"{shelf[kind]}@{tmp_path / 'tuned.safetensors'}")
    with torch.no_grad():
        torch.testing.assert_close(rows_of(back), rows_of(encoder), rtol=1e-4, atol=1e-5)
    tune(other := copy.deepcopy(encoders[kind]), "adapter", **SIZES)
    with pytest.raises(InputError, match="adapters"):
        export_weights(other, tmp_path / "no.safetensors")


def test_what_no_single_file_holds_is_not_exported_without_it(tmp_path):
    folder = hf_folders.write_sentence_modules(hf_folders.write_bert(tmp_path / "sentence"), "mean", dense=12)
    encoder = create_encoder(f"hf:{folder}")
    tune(encoder, "full")
    with pytest.raises(InputError, match="dense.0.0.weight"):
        export_weights(encoder, tmp_path / "no.safetensors")
    tune(encoder, "lora", **SIZES)
    off_zero(encoder)
    export_weights(encoder, folder / "model.safetensors")
    given = {"text": encoder.tokenize(["a red wool scarf", "silk"])}
    with torch.no_grad():
        torch.testing.assert_close(create_encoder(f"hf:{folder}")(given)["text"], encoder(given)["text"], rtol=1e-4, atol=1e-5)
