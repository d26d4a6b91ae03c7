"""Tuning by the categories alone, of encoders that have nothing else to learn from; what selects its epoch."""

import pytest
import torch

from recbole_mm.encoder.losses import supervised_contrastive
from recbole_mm.encoder.random_views import augment_pictures
from recbole_mm.finetune.batch import Batch
from recbole_mm.finetune.retrieval import category_precision
from recbole_mm.finetune.units import generator_for
from tests.finetune.shops import staged, tuned
from tests.hf_folders import write_bert, write_vit

SUPCON = {"finetune_weights": {"supcon": 1}, "category_field": "colour"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("encoders")
    names = {"image": f"hf:{write_vit(folder / 'vit')}", "text": f"hf:{write_bert(folder / 'bert')}"}
    return {**names, "apart": ",".join(["separate:image=" + names["image"], "text=" + names["text"]])}


def batch_of(loop, n=16):
    return Batch(loop.items, loop.units, loop.training[:n], generator_for("fixed"))


def test_pictures_have_two_random_views_and_texts_one(shop, tmp_path):
    loop = staged(shop, tmp_path, **SUPCON)
    loop.encoder.eval()
    with torch.no_grad():
        batch = batch_of(loop)
        (image, places), (text, once) = batch.views("image"), batch.views("text")
        again = batch_of(loop).views("image")[0]
        torch.testing.assert_close(text, batch.rows["text"])
        pixels, generator = loop.items.read("image", loop.units.ids[batch.chosen]), generator_for("fixed")
        views = torch.cat([augment_pictures(pixels, generator=generator) for _ in range(2)])
        expected = loop.encoder({"image": views})["image"]
    assert places.tolist() == [*range(16), *range(16)] and once.tolist() == [*range(16)]
    torch.testing.assert_close(image, expected)
    assert torch.equal(image, again), "a step draws from its own numbers"
    assert not torch.allclose(image[:16], image[16:], atol=1e-3)


def test_the_loss_is_that_of_each_modality_by_itself(shop, tmp_path):
    loop = staged(shop, tmp_path, **SUPCON)
    loop.encoder.eval()
    with torch.no_grad():
        batch = batch_of(loop)
        labels, expected = loop.objectives["supcon"].labels[batch.chosen], []
        for rows, places in (batch.views("image"), batch.views("text")):
            expected.append(supervised_contrastive(rows, labels[places], places))
        assert loop.objectives["supcon"](batch_of(loop)).item() == pytest.approx(sum(expected).item() / 2, rel=1e-5)


def test_views_are_encoded_in_chunks_with_the_gradients_of_one_call(shop, tmp_path):
    found = []
    for chunk in (64, 5):
        loop = staged(shop, tmp_path, encoder_chunk_size=chunk, **SUPCON)
        loop.objectives["supcon"](batch_of(loop)).backward()
        found.append({name: p.grad for name, p in loop.encoder.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("encoder", "measured"), [("image", ["image"]), ("text", ["text"]), ("apart", ["image", "text"])])
def test_encoders_without_a_common_space_learn_the_categories(encoder, measured, folders, shop, tmp_path):
    keys = {
        "encoder": folders[encoder],
        "finetune_learning_rate": 0.003,
        "finetune_epochs": 4,
        "encoder_chunk_size": 64,
        "finetune_weights": {"supcon": 1},
        "category_field": "kind",
    }
    found = tuned(shop, tmp_path, **keys).report
    names = [f"{m} P@10" for m in measured]
    assert list(found["before"]) == list(found["after"]) == names
    assert found["held_out"] == 13 and found["trained_on"] == 64 - 13
    assert all(found["after"][name] > found["before"][name] for name in names)
    losses = [epoch["losses"]["supcon"] for epoch in found["epochs"]]
    assert losses[-1] < losses[0]


def test_what_is_measured_follows_from_what_is_learnt(shop, tmp_path):
    pairs = ["image->text R@1", "image->text R@10", "text->image R@1", "text->image R@10"]
    categories = ["image P@10", "text P@10"]
    assert list(staged(shop, tmp_path).retrieve()) == pairs
    assert list(staged(shop, tmp_path, **SUPCON).retrieve()) == categories
    both = staged(shop, tmp_path, finetune_weights={"itc": 1, "supcon": 1}, category_field="colour")
    assert list(both.retrieve()) == pairs + categories
    assert torch.equal(both.held_out.units, staged(shop, tmp_path).held_out.units)


def test_held_out_items_look_among_all_items(shop, tmp_path):
    loop = staged(shop, tmp_path, **SUPCON)
    colours = [text.split()[1] for text in loop.items.content.texts(loop.units.ids)]
    labels = torch.tensor([sorted(set(colours)).index(colour) for colour in colours])
    with torch.no_grad():
        rows = loop.items.encode(loop.units.ids)["image"]
    assert loop.retrieve()["image P@10"] == pytest.approx(category_precision(rows, labels, loop.held_out.split.held))
    assert not set(loop.training.tolist()) & set(loop.held_out.units.tolist())
