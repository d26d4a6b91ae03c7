"""Every encoder of this package meets the contract of ``recbole_mm.testing``, and some promise more."""

import pytest
import torch

from recbole_mm.encoder import JointEncoder, create_encoder, factory, list_backends
from recbole_mm.errors import InputError
from recbole_mm.testing.demands import meet
from recbole_mm.testing.encoder_demands import EncoderChecks
from recbole_mm.testing.odd_items import inputs_of
from recbole_mm.testing.shops import Shops
from tests.contract.conftest import KINDS, READ_BOTH_IN_ONE_PASS, READ_PICTURES, READ_TEXTS


def test_every_backend_is_here():
    own = {name for name in list_backends() if factory._backends[name].__module__.startswith("recbole_mm")}
    assert own <= set(KINDS), "other tests register others"


@pytest.fixture(scope="module")
def shops(tmp_path_factory) -> Shops:
    return Shops(tmp_path_factory.mktemp("shops"))


def test_contract(kind, names, shops):
    meet(kind, EncoderChecks(names[kind], lambda seed: create_encoder(names[kind], seed=seed), shops).demands())


def test_what_it_reads(encoder, kind):
    reads = {"image": READ_PICTURES, "text": READ_TEXTS, "joint": READ_BOTH_IN_ONE_PASS}
    assert encoder.modalities == tuple(modality for modality, kinds in reads.items() if kind in kinds)
    assert encoder.adapters == () and isinstance(encoder, JointEncoder) == ("joint" in encoder.modalities)


def test_one_file_holds_its_weights_or_it_says_that_none_does(encoder, kind):
    if kind in ("separate", "colours"):
        with pytest.raises(InputError, match="export each of them|names no weights file"):
            encoder.weights_module()
    else:
        assert set(encoder.weights_module().parameters()) == set(encoder.parameters())


@pytest.mark.parametrize("kind", ["vlmo", "beit3"])
def test_a_joint_encoder_with_pretraining_heads_says_how_it_reads(encoder):
    pixels, tokens = inputs_of(encoder)["joint"]
    rows, words = encoder.read_pairs(pixels, tokens)
    assert rows.shape == (len(tokens), encoder.output_dims["joint"]) and words.shape[:2] == tokens.shape
    assert isinstance(encoder.text_first, bool) and encoder.pretraining_heads is None
    assert encoder.pad_id in encoder.special_ids and max(*encoder.special_ids, encoder.mask_id) < encoder.vocabulary_size


@pytest.mark.parametrize("kind", READ_BOTH_IN_ONE_PASS)
@torch.no_grad()
def test_joint_rows_depend_on_both(encoder):
    pixels, tokens = inputs_of(encoder)["joint"]
    rows, turned = encoder({"joint": (pixels, tokens)})["joint"], [pixels.roll(1, 0), tokens.roll(1, 0)]
    for other in ((turned[0], tokens), (pixels, turned[1])):
        assert ((encoder({"joint": other})["joint"] - rows).abs().amax(1) > 1e-6).all()
