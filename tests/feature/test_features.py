"""ItemFeatures: the same features and gradients however often an item occurs, and nothing stale."""

import pytest
import torch

from recbole_mm.encoder import compiled, create_encoder
from recbole_mm.errors import InputError
from recbole_mm.feature import ItemFeatures
from recbole_mm.feature.build import build_features
from recbole_mm.items import encoded_items as encoded
from recbole_mm.testing.planted import built


def features_of(folder, **keys) -> ItemFeatures:
    return built(folder, **keys)[1].item_features


def gradients(features: ItemFeatures) -> list[torch.Tensor]:
    return [p.grad.clone() for p in features.encoder.parameters() if p.grad is not None]


def test_each_distinct_item_is_encoded_once_and_nothing_changes_by_it(planted):
    features = features_of(planted).double()
    ids = torch.tensor([3, 5, 3, 3, 9, 5, 1])
    weights = {m: torch.randn(len(ids), d, dtype=torch.float64) for m, d in features.dims.items()}
    before = features.cost.items
    rows = features(ids)
    assert features.cost.items - before == 4
    sum((weights[m] * rows[m]).sum() for m in rows).backward()
    shared = gradients(features)

    features.zero_grad()
    content = features.content
    inputs = {"image": content.images(ids), "text": features.encoder.tokenize(content.texts(ids))}
    every = features.encoder(inputs)
    for m in rows:
        torch.testing.assert_close(rows[m], every[m])
    sum((weights[m] * every[m]).sum() for m in every).backward()
    for ours, wanted in zip(shared, gradients(features), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-12)


def test_chunks_do_not_matter(planted):
    whole, chunked = features_of(planted), features_of(planted, encoder_chunk_size=5)
    ids = torch.arange(1, 30)
    for m, rows in whole(ids).items():
        torch.testing.assert_close(rows, chunked(ids)[m])
    for m, rows in whole.table().items():
        torch.testing.assert_close(rows, chunked.table()[m])


def loss_of(rows: dict[str, torch.Tensor]) -> torch.Tensor:
    """One that couples all items of a batch."""
    return sum(torch.logsumexp(x @ x.T, 1).mean() for x in (torch.nn.functional.normalize(row, dim=-1) for row in rows.values()))


def test_a_gpu_is_given_a_whole_chunk_at_a_time(planted, monkeypatch):
    _, model, *_ = built(planted)
    items = model.item_features.encoded_items
    assert (items.chunk_size, items.items_a_call) == (1024, 256)
    monkeypatch.setattr(type(items), "device", torch.device("cuda"))
    assert items.items_a_call == 1024


def test_chunks_have_the_gradients_of_one_big_batch(planted):
    whole, chunked = (features_of(planted, encoder_chunk_size=size).double() for size in (100, 5))
    for features in (whole, chunked):
        loss_of(features(torch.arange(1, 24))).backward()
    for ours, wanted in zip(gradients(chunked), gradients(whole), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-12)


def test_chunks_have_the_same_random_numbers_in_both_passes(planted, monkeypatch):
    """Against the same chunks with all of their activations kept."""
    found = []
    for kept in (True, False):
        features = features_of(planted, encoder_chunk_size=5).double().train()
        for block in features.encoder.layers():
            block.register_forward_hook(lambda _, inputs, output: torch.nn.functional.dropout(output, 0.3))
        if kept:
            monkeypatch.setattr(encoded, "checkpoint", lambda function, *given, **_: function(*given))
        else:
            monkeypatch.undo()
        torch.manual_seed(3)
        loss_of(features(torch.arange(1, 24))).backward()
        found.append(gradients(features))
    assert all(torch.equal(ours, wanted) for ours, wanted in zip(*found, strict=True))


def test_chunks_keep_the_activations_of_one_chunk(planted):
    kept = {}
    for size in (8, 32):
        features, count = features_of(planted, encoder_chunk_size=size), []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, n=count: n.append(x.numel()) or x, lambda x: x):
            loss_of(features(torch.arange(1, 33)))
        kept[size] = sum(count)
    assert kept[8] < 0.4 * kept[32], "a quarter, and the weights"


def test_bf16_rows_are_near_and_train_the_same_weights(planted):
    full, half = features_of(planted), features_of(planted, encoder_precision="bf16")
    ids = torch.arange(1, 9)
    rows = half(ids)
    loss_of(rows).backward()
    expected = full(ids)
    loss_of(expected).backward()
    for m, row in expected.items():
        assert rows[m].dtype == torch.float32 and not torch.equal(rows[m], row)
        assert torch.cosine_similarity(rows[m], row).min() > 0.99
    for p, like in zip(half.encoder.parameters(), full.encoder.parameters(), strict=True):
        assert p.dtype == torch.float32 and (p.grad is None) == (like.grad is None)
        assert p.grad is None or p.grad.dtype == torch.float32 and p.grad.any() == like.grad.any()


def test_frozen_features_are_a_table_and_no_state(planted):
    features = features_of(planted, encoder_training="pretrained")
    ids = torch.tensor([4, 4, 2])
    before = features.cost.items
    for m, rows in features(ids).items():
        torch.testing.assert_close(rows, features.table()[m][ids])
        assert not rows.requires_grad
    assert features.cost.items == before
    assert features.state_dict() == {} and list(features.parameters()) == []
    assert features.encoder is None


def test_a_table_follows_the_weights_in_eval_mode_and_is_encoded_once(planted):
    features = features_of(planted)
    features.eval()
    first = {m: rows.clone() for m, rows in features.table().items()}
    items = features.cost.items
    features.table()
    assert features.cost.items == items, "the catalogue was encoded twice though nothing changed"
    with torch.no_grad():
        for parameter in features.encoder.parameters():
            parameter.add_(0.01)
    assert not any(torch.equal(first[m], rows) for m, rows in features.table().items())
    features.train()
    items = features.cost.items
    features.table()
    assert features.cost.items == items, "in training the last refresh is good enough"
    features.eval()
    features.table()
    assert features.cost.items > items, "whatever training did, evaluation encodes anew"


def test_fresh_rows_carry_the_gradient_and_equal_full_encoding(planted):
    features = features_of(planted).double()
    features.eval()
    everything = torch.arange(len(features))
    weights = {m: torch.randn(len(features), d, dtype=torch.float64) for m, d in features.dims.items()}
    sum((weights[m] * rows).sum() for m, rows in features.table(everything).items()).backward()
    fresh = gradients(features)
    features.zero_grad()
    sum((weights[m] * rows).sum() for m, rows in features(everything).items()).backward()
    for ours, wanted in zip(fresh, gradients(features), strict=True):
        torch.testing.assert_close(ours, wanted)
    rows = features.table(torch.tensor([7]))["image"]
    assert torch.autograd.grad(rows[8].sum(), features.encoder.parameters(), allow_unused=True, retain_graph=True)[0] is None
    assert any(g is not None and g.any() for g in torch.autograd.grad(rows[7].sum(), features.encoder.parameters(), allow_unused=True))


@pytest.mark.parametrize("training", ["end2end", "pretrained"])
def test_missing_modalities(planted_missing, training):
    learned = features_of(planted_missing, encoder_training=training)
    absent = (~learned.present("image")).nonzero().squeeze(1)
    assert len(absent) > 3 and set(learned.missing_vectors) == {"image", "text"}
    rows = learned(absent)["image"]
    assert torch.equal(rows, learned.missing_vectors["image"].expand_as(rows))
    rows.sum().backward()
    assert learned.missing_vectors["image"].grad.abs().sum() > 0
    zero = features_of(planted_missing, encoder_training=training, missing="zero")
    assert zero(absent)["image"].abs().sum() == 0 and len(zero.missing_vectors) == 0
    mean = features_of(planted_missing, encoder_training=training, missing="mean").eval()
    table = mean.table()["image"]
    torch.testing.assert_close(table[absent[1]], table[mean.present("image")].mean(0))


@pytest.mark.parametrize("training", ["end2end", "pretrained"])
def test_neighbours_stand_in_for_what_is_missing(planted_missing, training):
    _, model, train, *_ = built(planted_missing, encoder_training=training, missing="neighbours")
    features = model.item_features.eval()
    present = features.present("image")
    rows = features.table()["image"]
    interactions = list(zip(*(train.dataset.inter_feat[f].tolist() for f in ("user_id", "item_id")), strict=True))
    for item in (~present).nonzero().squeeze(1).tolist():
        users = [u for u, i in interactions if i == item]
        near = [j for user in users for u, j in interactions if u == user and present[j]]
        wanted = rows[near].mean(0) if near else rows[present].mean(0)
        torch.testing.assert_close(rows[item], wanted)
        if training == "end2end":
            torch.testing.assert_close(features(torch.tensor([item]))["image"][0], wanted)


@pytest.mark.parametrize("missing", ["zero", "mean", "learned"])
def test_centred_rows_have_no_common_direction_and_nothing_else_changes(planted_missing, missing):
    frozen = built(planted_missing, encoder_training="pretrained", missing=missing)[1].item_features
    for m, rows in frozen.table().items():
        here, centred = frozen.present(m), frozen.centred()[m]
        wanted = rows[here] - rows[here].mean(0)
        torch.testing.assert_close(centred[here], wanted / wanted.norm(dim=1, keepdim=True))
        stand_in = rows[~here] if missing == "learned" else torch.zeros_like(rows[~here])
        torch.testing.assert_close(centred[~here][1:], stand_in[1:], atol=1e-5, rtol=0)
        shifted = frozen.directions(m, 3 * rows + torch.where(here.unsqueeze(1), 7.0, 0.0))
        torch.testing.assert_close(shifted[here], centred[here], atol=1e-5, rtol=1e-4)


def test_a_run_of_an_earlier_version_has_rows_as_they_were(planted):
    config, model, train, *_ = built(planted, encoder_training="pretrained")
    config["feature_scaling"] = None
    features = build_features(config, train._dataset)
    assert all(torch.equal(rows, features.table()[m]) for m, rows in features.centred().items())
    assert not torch.equal(model.item_features.centred()["text"], features.centred()["text"])


def test_centred_rows_of_an_encoder_that_trains(planted):
    live = built(planted)[1].item_features.train()
    ids = torch.tensor([3, 1])
    rows = live.centred(ids)["text"]
    assert rows.requires_grad and not live.centred()["text"].requires_grad
    torch.testing.assert_close(rows[1:].norm(dim=1), torch.ones(len(rows) - 1))


def test_modalities_in_use(planted):
    assert features_of(planted, modalities=["text"]).modalities == ("text",)
    assert features_of(planted, text_field=[]).modalities == ("image",)
    with pytest.raises(InputError, match="joint"):
        features_of(planted, modalities=["joint"])
    with pytest.raises(InputError, match="image_field"):
        features_of(planted, modalities=["image"], image_field=None)


def test_building_features_leaves_the_global_random_state_to_the_seed(planted):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    create_encoder("open_clip:tiny", seed=5)
    assert torch.equal(state, torch.get_rng_state())


def test_compiled_blocks_give_the_same_rows_and_gradients(planted, monkeypatch, small_encoders):
    """Through torch.compile's tracing, not its code generation, which would take minutes here."""
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    ids, found = torch.arange(1, 9), []
    for asked in (False, True):
        features = features_of(planted, encoder_compile=asked, encoder_tuning="lora", encoder="vlmo:tiny")
        rows = features(ids)
        loss_of(rows).backward()
        found.append(([row.detach() for row in rows.values()], gradients(features), list(features.state_dict())))
    (rows, wanted, names), (others, ours, same) = found
    assert names == same and len(ours) == len(wanted) > 0
    for one, other in zip([*rows, *wanted], [*others, *ours], strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)


def test_every_block_of_every_call_runs_compiled(planted, monkeypatch, small_encoders):
    """Whatever the modality, the mode, and the size of the batch."""
    runs = [0]

    def counting(graph, inputs):
        def run(*args):
            runs[0] += 1
            return graph.forward(*args)

        return run

    monkeypatch.setattr(compiled, "BACKEND", counting)
    torch._dynamo.reset()
    features = features_of(planted, encoder_compile=True, encoder="vlmo:tiny")
    runs[0], calls = 0, 0
    for n in (8, 5, 3):
        for training in (True, False):
            features.train(training)
            with torch.set_grad_enabled(training):
                features(torch.arange(1, n))
            calls += 1
    assert runs[0] == calls * len(features.dims) * len(features.encoder.layers())


@pytest.mark.parametrize("tuning", ["lora", "adapter"])
def test_looking_for_what_is_tuned_compiles_no_block(tuning, planted, monkeypatch, small_encoders):
    graphs = []
    monkeypatch.setattr(compiled, "BACKEND", lambda graph, inputs: graphs.append(graph) or graph.forward)
    torch._dynamo.reset()
    features = features_of(planted, encoder_compile=True, encoder_tuning=tuning)
    assert len(graphs) == 1, "that of the trial whether anything can be compiled"
    assert all(block._compiled_call_impl is not None for block in features.encoder.layers())


def test_compiling_where_nothing_can_be_compiled_is_said_at_once(planted, monkeypatch):
    def unable(graph, inputs):
        raise OSError("no compiler")

    monkeypatch.setattr(compiled, "BACKEND", unable)
    torch._dynamo.reset()
    with pytest.raises(InputError, match="torch.compile does not work here .*no compiler.*; leave it out"):
        features_of(planted, encoder_compile=True)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"encoder_training": "pretrained", "encoder_tuning": "lora"}, "encoder_tuning lora, because no encoder trains"),
        ({"encoder_training": "pretrained", "encoder_tuning": "last_k", "gradient_checkpointing": True},
         "encoder_tuning last_k, because no encoder trains; gradient_checkpointing True, because no encoder trains"),
        ({"encoder_learning_rate": 0, "gradient_checkpointing": True}, "gradient_checkpointing True, because no encoder trains"),
        ({"lora_rank": 4, "encoder_last_k": 1, "encoder_tuning": "last_k"},
         "lora_rank 4, which belongs to encoder_tuning: lora, not to last_k"),
        ({"lora_rank": 4, "encoder_training": "pretrained"}, "lora_rank 4, because no encoder trains"),
        ({"encoder_last_k": 1}, "encoder_last_k 1, which belongs to encoder_tuning: last_k, not to full"),
        ({"encoder_last_k": 1, "encoder_tuning": "last_k"}, None),
        ({"encoder_training": "pretrained", "token_dropout": 0.1}, "token_dropout 0.1, because no encoder trains with the recommender"),
        ({"image_augmentation": "light", "modalities": ["text"]}, "image_augmentation light, because the encoder reads no image"),
        ({"encoder_training": "finetuned", "encoder_tuning": "lora", "finetune_epochs": 1, "gradient_checkpointing": True}, None),
        ({"encoder_tuning": "lora", "gradient_checkpointing": True}, None),
        ({"encoder_training": "pretrained"}, None),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_set_of_an_encoders_training_without_effect_is_told(planted, tmp_path, caplog, keys, told):
    """Not refused: the paradigm is one changed word."""
    caplog.set_level("INFO", "recbole_mm")
    features_of(planted, cache_dir=str(tmp_path), **keys)
    lines = [record.getMessage() for record in caplog.records if "not used" in record.getMessage()]
    assert lines == ([f"not used: {told}"] if told else [])


@pytest.mark.parametrize("missing", ["learned", "mean", "zero"])
def test_linear_maps_are_those_of_the_rows(planted_missing, missing):
    """With their gradients, for some items and for all of them."""
    _, model, *_ = built(planted_missing, "MGCN", encoder_training="pretrained", missing=missing)
    features, project = model.item_features, model.transform
    trained = [*project.parameters(), *features.missing_vectors.values()]
    for ids in (torch.tensor([7, 1, 14, 5, 9]), None):
        rows = features.table() if ids is None else features(ids)
        gradients = []
        for found in (project.of(features, ids), project(rows)):
            gradients.append(torch.autograd.grad(sum(mapped.square().sum() for mapped in found.values()), trained))
        for mapped, wanted in zip(project.of(features, ids).values(), project(rows).values(), strict=True):
            torch.testing.assert_close(mapped, wanted)
        torch.testing.assert_close(*gradients)
