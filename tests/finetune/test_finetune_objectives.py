"""Every objective lowers its own loss and reaches what it should; which are possible, and what is said of the others."""

import math

import pytest
import torch
import torch.nn.functional as F

from recbole_mm.encoder import create_encoder
from recbole_mm.errors import InputError
from recbole_mm.finetune.batch import Batch
from recbole_mm.finetune.units import generator_for
from tests.finetune.shops import staged, tuned
from tests.hf_folders import write_bert, write_vit

pytestmark = pytest.mark.usefixtures("small_encoders")

ONE = {"finetune_epochs": 10, "finetune_warmup_steps": 1, "finetune_learning_rate": 0.001}
CASES = [("open_clip:tiny", "itc"), ("vlmo:tiny", "itc"), ("vlmo:tiny", "itm"), ("beit3:tiny", "itm"), ("vlmo:tiny", "mlm"),
         ("beit3:tiny", "mlm"), ("open_clip:tiny", "clce"), ("open_clip:tiny", "supcon"), ("open_clip:tiny", "interaction")]  # fmt: skip


@pytest.fixture(scope="session")
def apart(tmp_path_factory) -> str:
    """The name of an encoder whose pictures and texts lie in different spaces."""
    folder = tmp_path_factory.mktemp("apart")
    return f"separate:image=hf:{write_vit(folder / 'vit')},text=hf:{write_bert(folder / 'bert')}"


def batch_of(loop, n=16):
    return Batch(loop.items, loop.units, loop.training[:n], generator_for("fixed"))


@pytest.mark.parametrize(("encoder", "name"), CASES)
def test_each_lowers_its_own_loss(encoder, name, shop, tmp_path):
    """On a batch it is trained on, with the same draws before and after."""
    loop = staged(shop, tmp_path, encoder=encoder, finetune_weights={name: 1}, category_field="colour", **ONE)
    loop.training, loop.per_epoch, objective = loop.training[:16], 1, loop.objectives[name]
    with torch.no_grad():
        before = objective(batch_of(loop)).item()
    for _ in range(10):
        loop._learn()
    loop.encoder.eval()
    with torch.no_grad():
        assert objective(batch_of(loop)).item() < 0.98 * before


def test_the_contrastive_loss_by_hand(shop, tmp_path):
    loop = staged(shop, tmp_path)
    batch = batch_of(loop, 6)
    inputs = {m: loop.items.read(m, loop.units.ids[batch.chosen]) for m in ("image", "text")}
    with torch.no_grad():
        image, text = (F.normalize(rows, dim=-1) for rows in loop.encoder(inputs).values())
        scores = image @ text.T * loop.encoder.model.logit_scale.exp()
        by_hand = -(scores.log_softmax(0).diagonal().mean() + scores.log_softmax(1).diagonal().mean()) / 2
        assert loop.objectives["itc"](batch).item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_the_interaction_loss_by_hand(shop, tmp_path):
    """Users consume one colour, so every other anchor's partner of the same colour is no negative."""
    loop = staged(shop, tmp_path, finetune_weights={"interaction": 1})
    objective, batch = loop.objectives["interaction"], batch_of(loop, 10)
    anchors = batch.chosen
    assert objective.useful[anchors].all()
    partners = objective.copurchases.partners(anchors, generator_for("fixed"))
    together = objective.copurchases.together(anchors, partners)
    with torch.no_grad():
        total = 0.0
        rows = {key: loop.items.encode(loop.units.ids[units]) for key, units in (("own", anchors), ("theirs", partners))}
        for m in ("image", "text"):
            scores = F.normalize(rows["own"][m], dim=-1) @ F.normalize(rows["theirs"][m], dim=-1).T / 0.07
            for matrix, known in ((scores, together), (scores.T, together.T)):
                for i, row in enumerate(matrix.tolist()):
                    kept = [value for j, value in enumerate(row) if j == i or not known[i, j]]
                    total += (math.log(sum(math.exp(value - row[i]) for value in kept))) / len(anchors) / 4
        assert objective(batch).item() == pytest.approx(total, rel=1e-4)


def test_masked_words_leave_padding_start_and_end_alone(shop, tmp_path, monkeypatch):
    loop = staged(shop, tmp_path, encoder="vlmo:tiny", finetune_weights={"mlm": 1})
    read, batch = [], batch_of(loop, 16)
    original = loop.encoder.read_pairs
    monkeypatch.setattr(loop.encoder, "read_pairs", lambda pixels, tokens: read.append(tokens) or original(pixels, tokens))
    loop.objectives["mlm"](batch)
    (corrupted,), tokens = read, batch.inputs[1]
    changed = corrupted != tokens
    assert changed.any() and not (changed & torch.isin(tokens, torch.tensor([0, 2, 3]))).any()
    assert (corrupted[changed] == 4).float().mean() > 0.5


@pytest.mark.parametrize("name", ["itm", "mlm"])
def test_joint_passes_are_as_large_as_a_chunk_and_have_the_gradients_of_one(name, shop, tmp_path, monkeypatch):
    found = []
    for chunk in (64, 5):
        loop = staged(shop, tmp_path, encoder="vlmo:tiny", encoder_chunk_size=chunk, finetune_weights={name: 1})
        read, original = [], loop.encoder.read_pairs
        monkeypatch.setattr(loop.encoder, "read_pairs", lambda p, t, o=original, r=read: r.append(len(p)) or o(p, t))
        loss = loop.objectives[name](batch_of(loop))
        loss.backward()
        gradients = [p.grad for p in (*loop.encoder.parameters(), *loop.objectives.parameters()) if p.grad is not None]
        found.append((loss, gradients, read))
    (whole, wanted, (once,)), (parts, ours, read) = found
    assert once > 5 >= max(read) and sum(read) > once
    for one, other in zip([whole, *wanted], [parts, *ours], strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)


def test_all_together_train_every_part_and_are_weighted(shop, tmp_path):
    weights = {"itc": 1.0, "itm": 0.5, "mlm": 0.25, "clce": 0.1, "interaction": 0.1}
    loop = staged(shop, tmp_path, encoder="vlmo:tiny", finetune_weights=weights, category_field="colour", finetune_batch_size=16)
    loop._learn()
    without = {name for name, p in loop.encoder.named_parameters() if p.requires_grad and (p.grad is None or not bool(p.grad.any()))}
    assert not without
    assert all(bool(p.grad.any()) for p in loop.objectives.parameters())
    batch = batch_of(loop)
    loop.optimizer.zero_grad()
    (weights["itm"] * loop.objectives["itm"](batch)).backward()
    half = loop.objectives["itm"].head.fc.weight.grad.clone()
    loop.optimizer.zero_grad()
    loop.objectives["itm"](batch_of(loop)).backward()
    torch.testing.assert_close(loop.objectives["itm"].head.fc.weight.grad, 2 * half)


def test_heads_that_start_at_random_learn_at_their_own_rate(shop, tmp_path):
    weights = tmp_path / "vlmo.safetensors"
    from safetensors.torch import save_file

    save_file(create_encoder("vlmo:tiny").model.state_dict(), weights)
    loop = staged(shop, tmp_path, encoder=f"vlmo:tiny@{weights}", finetune_weights={"itm": 1, "itc": 1})
    rates = {group["peak_lr"] for group in loop.optimizer.param_groups}
    head = loop.objectives["itm"].head.fc.weight
    own = next(group for group in loop.optimizer.param_groups if any(p is head for p in group["params"]))
    assert rates == {1e-5, 1e-3} and own["peak_lr"] == 1e-3


def test_of_the_defaults_only_the_possible_take_part(shop, tmp_path):
    assert set(staged(shop, tmp_path).objectives) == {"itc"}
    assert set(staged(shop, tmp_path, encoder="vlmo:tiny").objectives) == {"itc", "itm", "mlm"}


@pytest.mark.parametrize(
    ("keys", "facts"),
    [
        ({"finetune_weights": {"itm": 1}}, ["itm", "open_clip:tiny", "one pass"]),
        ({"finetune_weights": {"itc": 1, "mlm": 1}}, ["mlm", "one pass"]),
        ({"finetune_weights": {"clce": 1}}, ["clce", "category_field"]),
        ({"finetune_weights": {"clce": 1}, "category_field": "genre"}, ["clce", "genre", "colours.item", "colour"]),
        ({"finetune_weights": {"itc": 1}, "image_field": None}, ["itc", "0 items have both"]),
        ({"image_field": None}, ["nothing to learn", "itc", "clce, supcon and interaction"]),
        ({"finetune_weights": {"supcon": 1}}, ["supcon", "category_field"]),
        ({"finetune_weights": {"supcon": 1}, "category_field": "title"}, ["supcon", "no two items", "title"]),
        ({"finetune_weights": {"interaction": 1}, "cold_item_ratio": 0.97}, ["interaction", "training part"]),
    ],
    ids=str,
)
def test_what_cannot_be_is_one_clear_line(keys, facts, shop, tmp_path):
    with pytest.raises(InputError) as error:
        staged(shop, tmp_path, **keys)
    assert "\n" not in str(error.value)
    for fact in facts:
        assert fact in str(error.value)


def test_spaces_apart(apart, shop, tmp_path):
    """No contrast and no retrieval, but what needs no common space."""
    with pytest.raises(InputError, match="itc: .* do not lie in one space"):
        staged(shop, tmp_path, encoder=apart, finetune_weights={"itc": 1})
    with pytest.raises(InputError, match="nothing to learn"):
        staged(shop, tmp_path, encoder=apart)
    keys = {"finetune_weights": {"interaction": 1, "clce": 1}, "category_field": "colour", "finetune_learning_rate": 0.001}
    found = tuned(shop, tmp_path, encoder=apart, finetune_epochs=2, **keys)
    assert found.report["before"] is None and found.report["trained_on"] == 64
    losses = [epoch["losses"] for epoch in found.report["epochs"]]
    assert losses[1]["interaction"] < losses[0]["interaction"] and losses[1]["clce"] < losses[0]["clce"]
    assert tuned(shop, tmp_path, encoder=apart, finetune_epochs=2, **keys).reused
