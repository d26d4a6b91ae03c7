"""Pruned encoders compute what the kept parts compute, and are read again by name; shapes that no file can say are refused."""

import copy
import shutil
from functools import lru_cache

import pytest
import torch
import torch.nn.functional as F

from recbole_mm.distillation.importance import Importance
from recbole_mm.distillation.prune import pruned, rows_of
from recbole_mm.distillation.save import check_prunable, save_pruned
from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.export import export_weights
from recbole_mm.encoder.probe import probe_inputs
from recbole_mm.encoder.tuning.feed_forward import hidden_units
from recbole_mm.errors import InputError
from recbole_mm.testing.demands import meet
from recbole_mm.testing.encoder_demands import EncoderChecks
from recbole_mm.testing.shops import Shops
from tests import hf_folders, timm_folders
from tests.distillation.prunable import WRITERS
from tests.encoder.own import OwnEncoder, made

ANY = Importance({}, {})


@pytest.fixture(scope="module")
def tiny_teacher(tmp_path_factory):
    """``tiny_teacher(kind)``: made once, read-only."""
    return lru_cache(lambda kind: create_encoder(WRITERS[kind](tmp_path_factory.mktemp(kind)), seed=1))


def ranked(encoder, seed=0):
    """An importance drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    names = {module: name for name, module in encoder.named_modules()}
    units = {part.last: torch.rand(part.width, generator=generator) for parts in hidden_units(encoder).values() for part in parts}
    return Importance({names[block]: torch.rand(1, generator=generator).item() for block in encoder.layers()}, units)


def least(encoder, *gone):
    """An importance of which the blocks ``gone``, by their numbers in every tower, have the least."""
    names = {module: name for name, module in encoder.named_modules()}
    return Importance({names[block]: float(i not in gone) for tower in encoder.towers() for i, block in enumerate(tower)}, {})


@torch.no_grad()
def test_kept_blocks_called_by_hand_pictures(tiny_teacher):
    encoder = tiny_teacher("vlmo")
    smaller, model = pruned(encoder, 0.5, 0, least(encoder, 0, 2)), encoder.model
    pixels = probe_inputs(encoder, "image")
    x, biases, _ = model._embed(encoder.normalise(pixels, torch.float32), None, None)
    for i in (1, 3):
        x = model.blocks[i](x, "imag", 0, biases[i], None)
    torch.testing.assert_close(smaller({"image": pixels})["image"], model.itc_image_proj(model.transformer.norm(x)[:, 0]))
    assert [len(tower) for tower in smaller.towers()] == [2] and [len(tower) for tower in encoder.towers()] == [4]


@torch.no_grad()
def test_kept_blocks_called_by_hand_texts(monkeypatch, tmp_path):
    monkeypatch.setitem(hf_folders.SIZES, "num_hidden_layers", 5)
    encoder = create_encoder(f"hf:{hf_folders.write_bert(tmp_path)}")
    smaller, model = pruned(encoder, 0.4, 0, least(encoder, 1, 3)), encoder.model
    ids = encoder.tokenize(["a red wool scarf"])
    x = model.embeddings(ids)
    for i in (0, 2, 4):
        x = model.encoder.layer[i](x)
        x = x[0] if isinstance(x, tuple) else x
    torch.testing.assert_close(smaller({"text": ids})["text"], x.mean(1))


@pytest.mark.parametrize("kind", ["open_clip", "vlmo", "bert", "clip", "siglip", "qwen", "vit"])
@torch.no_grad()
def test_a_narrowed_part_is_the_whole_one_with_units_of_zero(kind, tiny_teacher):
    encoder, kept = tiny_teacher(kind), {}
    importance = ranked(encoder)
    smaller, zeroed = pruned(encoder, 0, 0.3, importance), copy.deepcopy(encoder)
    for part in (part for parts in hidden_units(encoder).values() for part in parts):
        gone = importance.units[part.last].argsort()[: int(0.3 * part.width)]
        zeroed.get_submodule(part.last).weight[:, gone] = 0
        kept[part.last] = part.width - len(gone)
    assert {part.last: part.width for parts in hidden_units(smaller).values() for part in parts} == kept
    for modality, rows in rows_of(zeroed).items():
        torch.testing.assert_close(rows_of(smaller)[modality], rows, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_norm_between_knows_nothing_of_the_units_that_are_gone(tiny_teacher):
    encoder = tiny_teacher("beit3")
    importance = ranked(encoder)
    smaller = pruned(encoder, 0, 0.25, importance)
    whole, narrow = (e.model.blocks[1].ffn["A"] for e in (encoder, smaller))
    kept = importance.units["model.beit3.encoder.layers.1.ffn.A.fc2"].argsort()[128:].sort().values
    x = torch.randn(5, 128, generator=torch.Generator().manual_seed(0))
    hidden, norm = F.gelu(whole.fc1(x))[:, kept], whole.ffn_layernorm
    hidden = F.layer_norm(hidden, (384,), norm.weight[kept], norm.bias[kept], norm.eps)
    torch.testing.assert_close(narrow(x), hidden @ whole.fc2.weight[:, kept].T + whole.fc2.bias)


@pytest.mark.parametrize("kind", WRITERS)
def test_it_is_read_again_by_name(kind, tiny_teacher, tmp_path):
    encoder = tiny_teacher(kind)
    before = encoder.fingerprint()
    smaller = pruned(encoder, 0.5, 0 if kind == "dinov2" else 0.3, least(encoder, 1))
    name = save_pruned(smaller, tmp_path / "saved")
    back = create_encoder(name)
    assert back.fingerprint() == smaller.fingerprint() != before == encoder.fingerprint()
    assert [len(tower) for tower in back.towers()] == [-(-len(tower) // 2) for tower in encoder.towers()]
    for modality, rows in rows_of(back).items():
        torch.testing.assert_close(rows, rows_of(smaller)[modality])
    again = pruned(back, 0, 0.5, ANY) if kind != "dinov2" else back
    assert create_encoder(save_pruned(again, tmp_path / "again")).output_dims == encoder.output_dims


@pytest.mark.parametrize("kind", ["vlmo", "beit3"])
def test_weights_alone_say_the_sizes(kind, tiny_teacher, tmp_path):
    """So a pruned encoder that was tuned and exported is read again too."""
    smaller = pruned(tiny_teacher(kind), 0.25, 0.1, ANY)
    export_weights(smaller, tmp_path / "weights.safetensors")
    assert create_encoder(f"{kind}:tiny@{tmp_path / 'weights.safetensors'}").fingerprint() == smaller.fingerprint()


def test_nothing_else_is_needed(tmp_path):
    source = hf_folders.write_bert(tmp_path / "source")
    name = save_pruned(pruned(create_encoder(f"hf:{source}"), 0.5, 0.5, ANY), tmp_path / "saved")
    shutil.rmtree(source)
    config = (tmp_path / "saved" / "config.json").read_text()
    assert create_encoder(name).model.config.num_hidden_layers == 1 and str(source) not in config


def test_an_encoder_that_is_not_pruned_is_saved_as_well(tiny_teacher, tmp_path):
    name = save_pruned(tiny_teacher("clip"), tmp_path)
    assert name == f"hf:{tmp_path}" and create_encoder(name).fingerprint() == tiny_teacher("clip").fingerprint()


@pytest.mark.parametrize("kind", ["resnet", "convnext", "swin"])
def test_stages_of_other_widths_are_refused(kind, tmp_path):
    encoder = create_encoder(f"hf:{getattr(hf_folders, f'write_{kind}')(tmp_path)}")
    with pytest.raises(InputError, match="cannot be pruned: its blocks are of several shapes"):
        check_prunable(encoder, 0.5, 0)


def test_what_no_backend_can_say_is_refused_in_one_line(tiny_teacher, tmp_path):
    for encoder, blocks, widths, message in (
        (create_encoder(f"timm:test_efficientnet@{timm_folders.write_timm(tmp_path)}"), 0.5, 0, "several shapes"),
        (made(OwnEncoder), 0.5, 0, "names no depth"),
        (made(OwnEncoder), 0, 0.5, "no feed-forward part"),
        (tiny_teacher("dinov2"), 0, 0.3, "takes no mlp_ratio"),
        (tiny_teacher("bert"), 0.3, 0, "takes nothing of .* which has 2 blocks"),
        (tiny_teacher("bert"), 1.0, 0, "at least 0 and below 1, not 1"),
        (tiny_teacher("bert"), 0, -0.1, "at least 0 and below 1, not -0.1"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            check_prunable(encoder, blocks, widths)
        assert "\n" not in str(caught.value)


def test_a_first_block_that_others_need_is_refused(tiny_teacher):
    """The first blocks of this language model get more from the picture than the others."""
    encoder = tiny_teacher("vl")
    check_prunable(encoder, 0.5, 0)
    with pytest.raises(InputError, match="compute something else"):
        pruned(encoder, 0.5, 0, least(encoder, 0))


@pytest.mark.parametrize("kind", ["vlmo", "clip", "vit"])
def test_it_meets_the_contract_of_encoders(kind, tiny_teacher, tmp_path):
    name = save_pruned(pruned(tiny_teacher(kind), 0.5, 0.3, ANY), tmp_path / "saved")
    meet(kind, EncoderChecks(name, lambda seed: create_encoder(name, seed=seed), Shops(tmp_path / "shops")).demands())
