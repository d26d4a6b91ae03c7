"""An encoder's parameter groups and the schedule of their rates."""

import pytest

from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.tuning.parameter_groups import auto_learning_rate, parameter_groups, schedule_factor
from recbole_mm.encoder.tuning.tune import tune
from tests.hf_folders import write_clip


def rates(encoder, **keys) -> dict[str, tuple[float, float]]:
    """name -> (rate, weight decay)."""
    group_of = {id(p): group for group in parameter_groups(encoder, 0.1, 0.3, **keys) for p in group["params"]}
    return {name: (group_of[id(p)]["lr"], group_of[id(p)]["weight_decay"]) for name, p in encoder.named_parameters() if p.requires_grad}


EMBEDDINGS = {
    "open_clip:tiny": ("model.visual.conv1.weight", "model.token_embedding.weight"),
    "vlmo:tiny": ("model.transformer.patch_embed.proj.weight", "model.text_embeddings.word_embeddings.weight"),
    "beit3:tiny": ("model.beit3.vision_embed.proj.weight", "model.beit3.text_embed.weight"),
}


@pytest.mark.parametrize("name", ["open_clip:tiny", "vlmo:tiny", "beit3:tiny"])
def test_rates_fall_from_the_head_down(name):
    encoder = create_encoder(name)
    found = rates(encoder, layer_decay=0.5)
    assert set(found) == {name for name, p in encoder.named_parameters() if p.requires_grad}
    names = {module: name for name, module in encoder.named_modules()}
    for tower in encoder.towers():
        for above, block in enumerate(reversed(tower), 1):
            inside = {rate for name, (rate, _) in found.items() if name.startswith(names[block] + ".")}
            assert inside == {0.1 * 0.5**above}
    assert {found[name][0] for name in encoder.head() if name in found} == {0.1}
    assert found["model.logit_scale"][0] == 0.1
    for tower, embeddings in zip((encoder.towers()[0], encoder.towers()[-1]), EMBEDDINGS[name], strict=True):
        assert found[embeddings][0] == pytest.approx(0.1 * 0.5 ** (len(tower) + 1))


def test_embeddings_of_two_encoders_and_of_transformers_have_their_own_towers_rate(tmp_path):
    encoder = create_encoder("separate:image=open_clip:tiny,text=vlmo:tiny")
    found = rates(encoder, layer_decay=0.5)
    assert list(map(len, encoder.towers())) == [3, 4]
    assert found["image.model.visual.conv1.weight"][0] == 0.1 * 0.5**4
    assert found["text.model.text_embeddings.word_embeddings.weight"][0] == 0.1 * 0.5**5
    encoder = create_encoder(f"hf:{write_clip(tmp_path / 'clip', vision_layers=1)}")
    found = rates(encoder, layer_decay=0.5)
    assert list(map(len, encoder.towers())) == [1, 2]
    assert {rate for name, (rate, _) in found.items() if "vision_model.embeddings" in name} == {0.1 * 0.5**2}
    assert {rate for name, (rate, _) in found.items() if "text_model.embeddings" in name} == {0.1 * 0.5**3}


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
    found = rates(encoder, layer_decay=0.5)
    of_sites = [found[f"adapters.{i}.down.weight"][0] for i in range(len(encoder.adapters))]
    assert of_sites == [0.1 * 0.5**above for above in (3, 2, 1, 2, 1)], "an adapter has its block's"


def test_schedules():
    assert [schedule_factor(step, 4) for step in (1, 2, 3, 4, 5, 500)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    cosine = [schedule_factor(step, 2, 10, "cosine") for step in range(1, 13)]
    assert cosine[:2] == [0.5, 1.0] and cosine[5] == pytest.approx(0.5) and cosine[9:] == pytest.approx([0.0, 0.0, 0.0])
    assert all(later <= earlier for earlier, later in zip(cosine[1:], cosine[2:], strict=False))
    assert schedule_factor(1, 0, 1, "cosine") == 1.0
