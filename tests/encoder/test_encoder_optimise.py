"""An encoder's parameter groups and the schedule of their rates."""

import pytest

from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.optimise import auto_learning_rate, parameter_groups, schedule_factor
from recbole_mm.encoder.tuning import tune


def rates(encoder, **keys) -> dict[str, tuple[float, float]]:
    """name -> (rate, weight decay)."""
    group_of = {id(p): group for group in parameter_groups(encoder, 0.1, 0.3, **keys) for p in group["params"]}
    return {name: (group_of[id(p)]["lr"], group_of[id(p)]["weight_decay"]) for name, p in encoder.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("name", ["open_clip:tiny", "vlmo:tiny", "beit3:tiny"])
def test_rates_fall_from_the_head_down(name):
    encoder = create_encoder(name)
    found, depth = rates(encoder, layer_decay=0.5), max(map(len, encoder.towers()))
    assert set(found) == {name for name, p in encoder.named_parameters() if p.requires_grad}
    names = {module: name for name, module in encoder.named_modules()}
    for tower in encoder.towers():
        for above, block in enumerate(reversed(tower), 1):
            inside = {rate for name, (rate, _) in found.items() if name.startswith(names[block] + ".")}
            assert inside == {0.1 * 0.5**above}
    assert {found[name][0] for name in encoder.head() if name in found} == {0.1}
    assert found["model.logit_scale"][0] == 0.1
    embedding = next(name for name in found if "token_embedding" in name or "word_embeddings" in name or "text_embed" in name)
    assert found[embedding][0] == pytest.approx(0.1 * 0.5 ** (depth + 1))


def test_position_biases_do_not_decay():
    found = rates(create_encoder("vlmo:tiny"))
    assert {decay for name, (_, decay) in found.items() if "relative_position_bias" in name} == {0.0}


def test_vectors_do_not_decay():
    encoder = create_encoder("open_clip:tiny")
    parameters = dict(encoder.named_parameters())
    assert all(decay == (0.3 if parameters[name].ndim > 1 else 0.0) for name, (_, decay) in rates(encoder).items())
    assert {rate for rate, _ in rates(encoder).values()} == {0.1}
    assert auto_learning_rate(encoder, "lora") == 1e-3
    encoder.from_scratch = False
    assert (auto_learning_rate(encoder, "lora"), auto_learning_rate(encoder, "full")) == (1e-4, 1e-5)


def test_what_does_not_train_is_in_no_group():
    encoder = create_encoder("open_clip:tiny")
    names = tune(encoder, "last_k", last_k=1)
    assert set(rates(encoder)) == set(names)
    encoder = create_encoder("open_clip:tiny")
    tune(encoder, "adapter", adapter_dim=4)
    assert {rate for rate, _ in rates(encoder, layer_decay=0.5).values()} == {0.1}


def test_schedules():
    assert [schedule_factor(step, 4) for step in (1, 2, 3, 4, 5, 500)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    cosine = [schedule_factor(step, 2, 10, "cosine") for step in range(1, 13)]
    assert cosine[:2] == [0.5, 1.0] and cosine[5] == pytest.approx(0.5) and cosine[9:] == pytest.approx([0.0, 0.0, 0.0])
    assert all(later <= earlier for earlier, later in zip(cosine[1:], cosine[2:], strict=False))
    assert schedule_factor(1, 0, 1, "cosine") == 1.0
