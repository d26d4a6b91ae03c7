"""What every model holds whose states know nothing of what comes later."""

import pytest
import torch

from recbole_mm.model.sequential.histories import Histories
from recbole_mm.testing.planted import built, write_features, write_planted

STEP = 1e-5
FIRST_LAYERS = {
    "open_clip:tiny": "visual.conv1.weight",
    "vlmo:tiny": "transformer.patch_embed.proj.weight",
    "beit3:tiny": "beit3.vision_embed.proj.weight",
}
CAUSAL = ("SASRecM", "GRU4RecM", "HSTU", "UniSRec")
QUIET = {
    "encoder_training": "pretrained", "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dropout_prob": 0.0, "id_dropout": 0.0,
    "hidden_size": 8, "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO"}, "train_batch_size": 11,
}  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Users have one to eight interactions to learn from."""
    folder = write_planted(tmp_path_factory.mktemp("histories") / "shop", n_users=24)
    head, *lines = (folder / "shop.inter").read_text().splitlines()
    kept = [line for n, line in enumerate(lines) if n % 10 < 3 + (n // 10) % 8]
    (folder / "shop.inter").write_text("\n".join([head, *kept]) + "\n")
    return folder


def causal(shop, name: str, **keys):
    """The model in float64, without dropout or noise, its weights far from what they start with, and its training batches."""
    keys = {"feature_files": write_features(shop, ("a", "b")), **QUIET, **keys}
    wanted = {key: value for key, value in keys.items() if not key.endswith("_prob") or key in declared(name)}
    _, model, train, *_ = built(shop, name, **wanted)
    model.double()
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval(), train


def declared(name: str) -> set[str]:
    from recbole_mm.config.registry import get_model

    return {key for parent in get_model(name).__mro__ for key in vars(parent).get("keys", {})}


def drawn_histories(model, n: int = 4, length: int = 6) -> Histories:
    draw = torch.Generator().manual_seed(5)
    items = torch.randint(1, model.n_items, (n, length), generator=draw)
    times = torch.randint(1, 10**6, (n, length), generator=draw).cumsum(1).double()
    return Histories(items, torch.full((n,), length), times)


def states(model, histories: Histories) -> torch.Tensor:
    return model.encode(model.item_rows()[histories.items] * histories.present.unsqueeze(-1), histories)


@pytest.mark.parametrize("name", CAUSAL)
def test_no_state_knows_what_comes_later_or_how_wide_the_batch_is(name, shop):
    model, _ = causal(shop, name)
    whole = drawn_histories(model)
    n, length = whole.items.shape
    wanted = states(model, whole)
    for kept in range(1, length):
        later = drawn_histories(model).items.flip(0)
        items = torch.cat([whole.items[:, :kept], later[:, kept:]], dim=1)
        torch.testing.assert_close(states(model, Histories(items, whole.lengths, whole.times))[:, :kept], wanted[:, :kept])
        short = Histories(whole.items[:, :kept], torch.full((n,), kept), whole.times[:, :kept])
        torch.testing.assert_close(states(model, short), wanted[:, :kept])
        padded = Histories(whole.items * (torch.arange(length) < kept), short.lengths, whole.times * (torch.arange(length) < kept))
        torch.testing.assert_close(states(model, padded)[:, :kept], wanted[:, :kept])


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("use_id", [True, False])
def test_the_last_state_knows_all_that_came_before(name, use_id, shop):
    model, _ = causal(shop, name, use_id=use_id)
    histories = drawn_histories(model)
    rows = model.item_rows()[histories.items].detach().requires_grad_()
    last = histories.last(model.encode(rows, histories))
    assert (torch.autograd.grad((last * torch.randn_like(last)).sum(), rows)[0].abs().sum(-1) > 0).all()


@pytest.mark.parametrize("name", CAUSAL)
def test_one_row_per_user_has_the_losses_of_the_prefixes(name, shop):
    """Catalogue, CE: the sum over all steps of all users, and its gradient."""
    sums, gradients = [], []
    for kind in ("users", "prefixes"):
        model, train = causal(shop, name, sequence_rows=kind, loss_type="CE")
        total = 0
        for batch in train:
            total = total + model.calculate_loss(batch) * len(model.next_items(batch).targets)
        sums.append(total)
        gradients.append(torch.autograd.grad(total, [p for n, p in model.named_parameters() if not n.endswith("noise")]))
    torch.testing.assert_close(*sums)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("name", ["SASRecM", "HSTU"])
def test_encoding_each_item_once_changes_nothing(name, shop, small_encoders):
    """The in-batch loss and the encoder's gradient, where every place of every history encodes its item by itself."""
    keys = {
        "feature_files": None,
        "encoder_training": "end2end",
        "loss_type": "SSM",
        "hidden_size": 8,
        "repeat_bias": False,
        "loss_scores": "dot",
    }
    model, train = causal(shop, name, **keys)
    batch = next(iter(train))
    fast = model.calculate_loss(batch)
    found = model.next_items(batch)
    candidates = torch.cat([found.histories.items[found.histories.present], found.targets]).unique()
    encoded = []
    for item in torch.cat([found.histories.items.flatten(), candidates]):
        encoded.append(model.item_rows(item.view(1)) if item else torch.zeros(1, 8, dtype=torch.float64))
    read, scored = torch.cat(encoded).split([found.histories.items.numel(), len(candidates)])
    after = model.encode(read.view(*found.histories.items.shape, 8), found.histories)
    n_read = int(found.histories.present.sum()) + len(found.targets)
    losses = []
    for row, step, target in zip(found.rows.tolist(), found.steps.tolist(), found.targets.tolist(), strict=True):
        own = set(train.dataset.inter_feat["item_id"][train.dataset.inter_feat["user_id"] == found.users[row]].tolist())
        logits = [
            after[row, step] @ e - torch.log(1 - (1 - model.popularity[i].double()) ** n_read)
            for i, e in zip(candidates.tolist(), scored, strict=True)
            if i == target or i not in own
        ]
        place = [i for i in candidates.tolist() if i == target or i not in own].index(target)
        losses.append(-torch.stack(logits).log_softmax(0)[place])
    slow = torch.stack(losses).mean()
    torch.testing.assert_close(fast, slow, rtol=1e-6, atol=1e-6)  # popularity is in float32
    weights = model.encoder_parameters()
    assert weights
    gradients = [torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True) for loss in (fast, slow)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)
    assert sum(bool(gradient.any()) for gradient in gradients[0]) > len(weights) / 2


@pytest.mark.parametrize("name", ["SASRecM", "HSTU"])
@pytest.mark.parametrize(("encoder", "first_layer"), FIRST_LAYERS.items())
def test_the_gradients_at_every_encoder_are_slopes_of_the_loss(name, encoder, first_layer, shop, small_encoders):
    model, train = causal(shop, name, feature_files=None, encoder_training="end2end", encoder=encoder)
    batch = next(iter(train))
    model.calculate_loss(batch).backward()
    moving = {name: weight for name, weight in model.named_parameters() if weight.grad is not None and weight.ndim > 1}
    assert {"item_embedding.weight", f"item_features.encoder.model.{first_layer}"} <= moving.keys()
    draw = torch.Generator().manual_seed(0)
    for place, weight in moving.items():
        random = torch.randn(weight.shape, generator=draw, dtype=torch.float64)
        direction = weight.grad / weight.grad.norm() + random / random.norm()
        losses = []
        for step in (STEP, -STEP):
            with torch.no_grad():
                weight.add_(step * direction)
                losses.append(model.calculate_loss(batch).item())
                weight.sub_(step * direction)
        slope = (losses[0] - losses[1]) / (2 * STEP)
        assert abs(slope) > 1e-7, place
        assert slope == pytest.approx((weight.grad * direction).sum().item(), rel=1e-5, abs=1e-9), place
