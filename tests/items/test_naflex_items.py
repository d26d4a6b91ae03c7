"""Pictures that keep their shape (SigLIP2 NaFlex), from the pack to rows: live, from cached states, frozen, beside, and served."""

import copy
from pathlib import Path

import pytest
import torch
from PIL import Image

from recbole_mm.items.hidden_items import HiddenItems
from recbole_mm.quick_start import build_trainer
from recbole_mm.serving.queries import QueryEncoder
from recbole_mm.testing.planted import built, write_planted
from tests.hf_folders import write_naflex

SHAPES = [(40, 40), (90, 20), (15, 70)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    """Wide, tall and square pictures; some are missing, and so are some texts."""
    folder = write_planted(tmp_path_factory.mktemp("data") / "shop", n_users=16, n_items=24, missing=True)
    for i, path in enumerate(sorted((folder / "images").iterdir())):
        with Image.open(path) as picture:
            picture.resize(SHAPES[i % 3]).save(path)
    return folder


@pytest.fixture(scope="module")
def make(shop, tmp_path_factory):
    """What ``built`` gives with the encoder."""
    name = f"hf:{write_naflex(tmp_path_factory.mktemp('naflex') / 'model')}"
    return lambda **keys: built(shop, encoder=name, train_batch_size=32, epochs=1, **keys)


def passed(model) -> tuple[dict, dict]:
    """Rows of all items in training, and the gradients of a loss of them."""
    model.train()
    rows = model.item_features(torch.arange(1, len(model.item_features)))
    sum((r * torch.linspace(-1, 1, r.shape[1])).sum() for r in rows.values()).backward()
    return rows, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_cached_states_give_the_same_rows_and_gradients(make):
    keys = {"encoder_tuning": "last_k", "encoder_last_k": 1}
    (live, expected), (cached, found) = ((m, passed(m)) for m in (make(**keys, cache_hidden_states=c)[1] for c in (False, True)))
    assert isinstance(cached.item_features.encoded_items, HiddenItems)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    lengths = {len(live.item_features.content.images([i])[0]) for i in (2, 3, 4)}
    assert len(lengths) > 1, "pictures of the shop have unlike numbers of patches"
    packs = list((live.item_features.content.cache_dir).glob("images-*-anyx196"))
    assert len(packs) == 1, "all of them share a pack"


def test_a_batch_equals_its_items(make):
    items = make()[1].item_features.encoded_items
    ids = items.present["image"].nonzero().squeeze(1)
    items.encoder.eval()
    with torch.no_grad():
        whole = items.encode(ids)["image"]
        alone = torch.cat([items.encode(ids[i : i + 1])["image"] for i in range(len(ids))])
    torch.testing.assert_close(alone, whole, rtol=1e-5, atol=1e-5)


TRAININGS = [
    {},
    {"fusion": "cross"},
    {"encoder_tuning": "lora"},
    {"encoder_tuning": "side"},
    {"encoder_training": "pretrained"},
    {"encoder_training": "finetuned", "finetune_epochs": 1, "finetune_weights": {"itc": 1, "supcon": 1}, "category_field": "title"},
]


@pytest.mark.parametrize("keys", TRAININGS, ids=["full", "cross", "lora", "side", "pretrained", "finetuned"])
def test_it_trains(make, keys):
    config, model, train, valid, _ = make(**keys)
    before = copy.deepcopy(model.state_dict())
    build_trainer(config, model).fit(train, valid, verbose=False, saved=False)
    moved = [name for name, value in model.state_dict().items() if ".encoder." in name and not torch.equal(value, before[name])]
    assert bool(moved) == ("encoder_training" not in keys)


def test_pictures_from_elsewhere_have_the_rows_of_the_shops(make, shop):
    config, model, *_ = make()
    items = model.item_features.encoded_items
    ids = items.present["image"].nonzero().squeeze(1)[:5]
    pictures = [Image.open(shop / "images" / f"{token[1:]}.png") for token in items.content.tokens(ids)]
    made = QueryEncoder(items.encoder, ("image", "text"), config).rows({"image": pictures}, ["image"])["image"]
    with torch.no_grad():
        torch.testing.assert_close(made, items.encode(ids)["image"], rtol=1e-5, atol=1e-5)


def test_the_largest_number_of_patches_is_a_key(make):
    items = make(encoder_max_patches=9)[1].item_features.encoded_items
    assert items.content.images(items.present["image"].nonzero().squeeze(1)).shape[1] <= 9
