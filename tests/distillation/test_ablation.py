"""Blocks that do next to nothing are left out first."""

import math

import pytest
import torch

from recbole_mm.config.catalogue_config import DISTILLING, CatalogueConfig
from recbole_mm.distillation.ablation import ablated
from recbole_mm.distillation.catalogue_importance import AlongDirections
from recbole_mm.distillation.importance import importance_of
from recbole_mm.encoder import create_encoder
from recbole_mm.finetune.batch import Batch
from recbole_mm.finetune.units import Units
from recbole_mm.items.inputs import EncoderInputs
from recbole_mm.items.raw_items import RawItems
from recbole_mm.quick_start import create_dataset
from recbole_mm.testing.planted import settings

WRITE = ("attn.out_proj", "mlp.c_proj")
"""What the maps are called by which a block adds to its input."""


@pytest.fixture()
def items(shop, cache) -> RawItems:
    """Of an encoder with three blocks for pictures, of which the last adds nothing and the second little, and two for texts, of which the
    first adds nothing."""
    encoder = create_encoder("open_clip:tiny")
    image, text = encoder.towers()
    for block, factor in ((image[2], 0.0), (image[1], 0.01), (text[0], 0.0)):
        for name, parameter in block.named_parameters():
            if any(part in name for part in WRITE):
                parameter.data.mul_(factor)
    keys = [f"--{key}={value!s}" for key, value in settings(shop, cache_dir=cache).items()]
    content = create_dataset(CatalogueConfig("CLIPRec", shop.name, None, keys, DISTILLING)).content
    return RawItems(encoder, EncoderInputs(encoder, content, ["image", "text"]))


def test_blocks_that_add_nothing_go_first(items):
    units, names = Units(items.inputs), {module: name for name, module in items.encoder.named_modules()}
    image, text = ([names[block] for block in tower] for tower in items.encoder.towers())
    found = ablated(items, units, torch.arange(16), 0.7)
    assert [math.isinf(found[name]) for name in (*image, *text)] == [True, False, False, False, True]
    assert found[image[2]] < 1e-9 and found[text[0]] < 1e-9 and 1e-9 < found[image[1]] < 0.1
    none = ablated(items, units, torch.arange(16), 0.3)
    assert all(math.isinf(moved) for moved in none.values()) and len(none) == 5


def test_a_block_that_matters_goes_only_after_those_that_do_not(items):
    image = items.encoder.towers()[0]
    for name, parameter in image[1].named_parameters():
        if any(part in name for part in WRITE):
            parameter.data.mul_(1e4)
    units, names = Units(items.inputs), {module: name for name, module in items.encoder.named_modules()}
    found = ablated(items, units, torch.arange(16), 0.34)
    assert [math.isinf(found[names[block]]) for block in image] == [True, True, False]


def test_to_first_order_they_are_the_least_important_too(items):
    units, names = Units(items.inputs), {module: name for name, module in items.encoder.named_modules()}
    image, text = ([names[block] for block in tower] for tower in items.encoder.towers())
    generator = torch.Generator().manual_seed(0)
    batches = (Batch(items, units, some, generator) for some in torch.arange(16).split(8))
    found = importance_of(items.encoder, batches, AlongDirections(generator)).blocks
    assert found[image[2]] == found[text[0]] == 0 < found[image[1]] < 0.2 * found[image[0]] and found[text[1]] > 0
