"""cache_hidden_states: the same features, gradients and training as without, and no state of anything else."""

import re
from pathlib import Path

import pytest
import torch

from recbole_mm.errors import InputError
from recbole_mm.items import fill_stores as fill_module
from recbole_mm.items import states as states_module
from recbole_mm.items.encoded_items import LARGE_ENCODERS_CALL
from recbole_mm.items.feature_store import FeatureStore
from recbole_mm.items.hidden_items import HiddenItems
from recbole_mm.items.raw_items import RawItems
from recbole_mm.items.states import StateTable
from recbole_mm.quick_start import build_trainer, load_data_and_model
from recbole_mm.testing.planted import built, write_planted
from tests.hf_folders import write_bert

ENCODERS = {"open_clip:tiny": None, "vlmo:tiny": ["image", "text", "joint"], "beit3:tiny": ["image", "joint"]}


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    """Pictures and texts missing here and there; every text is another."""
    folder = write_planted(tmp_path_factory.mktemp("data") / "shop", missing=True)
    item, numbers = folder / "shop.item", iter(range(1000))
    item.write_text(re.sub("mountain|evening", lambda match: f"{match.group()} {next(numbers)}", item.read_text()))
    return folder


def tuned(shop: Path, cached: bool = True, **keys):
    return built(shop, **{"encoder_tuning": "last_k", "encoder_last_k": 1, "cache_hidden_states": cached, **keys})


def passed(model) -> tuple[dict, dict]:
    """Rows of all items in training, and the gradients of a loss of them."""
    model.train()
    rows = model.item_features(torch.arange(1, len(model.item_features)))
    sum((r * torch.linspace(-1, 1, r.shape[1])).sum() for r in rows.values()).backward()
    return rows, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_features_gradients_and_training_are_those_without(shop, encoder):
    keys = {"encoder": encoder, "modalities": ENCODERS[encoder], "epochs": 1, "train_batch_size": 32}
    runs = []
    for cached, kind in ((False, RawItems), (True, HiddenItems)):
        config, model, train, valid, _ = tuned(shop, cached, **keys)
        assert type(model.item_features.encoded_items) is kind
        rows, gradients = passed(model)
        model.zero_grad()
        result = build_trainer(config, model).fit(train, valid, verbose=False, saved=False)
        runs.append((rows, gradients, result, dict(model.named_parameters())))
    (rows, gradients, result, trained), (our_rows, our_gradients, our_result, our_trained) = runs
    torch.testing.assert_close(our_rows, rows, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(our_gradients, gradients, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(our_result, result)
    torch.testing.assert_close(our_trained, trained, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_rows_are_equal_to_the_bit_where_the_batch_is_that_of_the_store(shop, encoder):
    keys = {"encoder": encoder, "modalities": ENCODERS[encoder]}
    plain, cached = (tuned(shop, c, **keys)[1].item_features.encoded_items for c in (False, True))
    for m in plain.modalities:
        names = cached.inputs.digests(m)
        assert len(cached.states[m]._shards) == 1
        order = {int(row): i for i, (_, row) in enumerate(cached.states[m]._place.tolist()) if names[i]}
        ids = torch.tensor([order[row] for row in sorted(order)])
        for mode in (True, False):
            plain.encoder.train(mode), cached.encoder.train(mode)
            with torch.set_grad_enabled(mode):
                assert torch.equal(*(items.forward(m, items.read(m, ids)) for items in (plain, cached)))


def states_of(shop: Path, cache: Path, **keys) -> tuple[HiddenItems, dict[str, int]]:
    """The items over a cache of their own, and how many states were made now."""
    made = {}
    fill = states_module.fill_stores
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(states_module, "fill_stores", lambda *args: made.update(fill(*args)) or made)
        items = tuned(shop, cache_dir=str(cache), **keys)[1].item_features.encoded_items
    return items, made


def test_states_are_made_once_and_never_taken_for_others(shop, tmp_path):
    items, made = states_of(shop, tmp_path)
    here = {m: int(present.sum()) for m, present in items.present.items()}
    assert made == here
    assert states_of(shop, tmp_path)[1] == {"image": 0, "text": 0}
    assert states_of(shop, tmp_path, encoder_last_k=2)[1] == {"image": here["image"]}, "the text tower has two blocks"
    assert states_of(shop, tmp_path, seed=7)[1] == here, "another seed draws another tiny encoder"
    assert states_of(shop, tmp_path, feature_dtype="fp16")[1] == here
    assert states_of(shop, tmp_path, encoder_precision="bf16")[1] == here
    assert states_of(shop, tmp_path, text_field=["description", "title"], modalities=["text"])[1] == {"text": 0}
    item = shop / "shop.item"
    whole = item.read_text()
    try:
        item.write_text(whole.replace("mountain 3\t", "sea 3\t").replace("evening 4\t", "night 4\t"))
        assert states_of(shop, tmp_path)[1] == {"image": 0, "text": 2}
    finally:
        item.write_text(whole)


def test_a_killed_run_goes_on(shop, tmp_path, monkeypatch):
    monkeypatch.setattr(fill_module, "SHARD_ROWS", 8)
    monkeypatch.setattr(states_module, "ITEMS_A_CALL", 4)
    whole, made = states_of(shop, tmp_path / "whole")
    add, added = FeatureStore.add, []

    def killed(self, *args):
        if len(added) == 3:
            raise KeyboardInterrupt
        added.append(args[0])
        add(self, *args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(FeatureStore, "add", killed)
        states_of(shop, tmp_path / "cut")
    again, rest = states_of(shop, tmp_path / "cut")
    assert sum(rest.values()) == sum(made.values()) - sum(map(len, added)) > 0
    for m, table in whole.states.items():
        ids = whole.present[m].nonzero().squeeze(1)
        assert len(table._shards) > 3
        assert torch.equal(table.rows(ids), again.states[m].rows(ids))


@pytest.mark.parametrize("keys", [{"feature_dtype": "fp16"}, {"encoder_precision": "bf16"}, {"encoder_chunk_size": 5}], ids=str)
def test_options_combine(shop, keys):
    exact = "encoder_chunk_size" in keys
    for m, rows in passed(tuned(shop, False, **keys)[1])[0].items():
        ours = passed(tuned(shop, **keys)[1])[0][m]
        torch.testing.assert_close(ours, rows, **({"rtol": 1e-5, "atol": 2e-6} if exact else {"rtol": 0.05, "atol": 0.05}))


def test_a_checkpoint_loads_with_its_states(shop, tmp_path):
    config, model, train, valid, test = tuned(shop, epochs=1, checkpoint_dir=str(tmp_path))
    trainer = build_trainer(config, model)
    trainer.fit(train, valid, verbose=False, saved=True)
    result = trainer.evaluate(test)
    config, loaded, _, _, _, test = load_data_and_model(trainer.saved_model_file)
    assert type(loaded.item_features.encoded_items) is HiddenItems
    assert build_trainer(config, loaded).evaluate(test, load_best_model=False) == result
    checkpoint = torch.load(trainer.saved_model_file, weights_only=True)["state_dict"]
    frozen = {name for name, p in loaded.named_parameters() if not p.requires_grad}
    assert frozen and not frozen & set(checkpoint)


@pytest.mark.parametrize("keys", [{"encoder_tuning": "full"}, {"encoder_tuning": "lora"}, {"encoder_training": "pretrained"}], ids=str)
def test_what_would_change_the_states_is_refused(shop, keys):
    with pytest.raises(InputError, match="cache_hidden_states: True is for .*last_k"):
        tuned(shop, **keys)


def test_only_the_rows_of_a_batch_come_into_memory(tmp_path):
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("Linux counts mapped pages apart")
    store = FeatureStore(tmp_path, 256)
    digests = [f"{i:032x}" for i in range(1600)]
    for start in range(0, len(digests), 400):
        rows = torch.arange(start, start + 400).view(400, 1, 1).expand(400, 100 + start // 400, 256).float()
        store.add(digests[start : start + 400], rows, ["t"] * 400)
    del rows

    def anonymous() -> int:
        return int(re.search(r"RssAnon:\s+(\d+)", status.read_text())[1]) * 1024

    before = anonymous()
    table = StateTable(store, ["", *digests])
    for seed in range(20):
        ids = torch.randint(1, 1601, (32,), generator=torch.Generator().manual_seed(seed))
        rows = table.rows(ids)
        assert torch.equal(rows[:, 99, 0], ids - 1.0) and torch.equal(rows[:, -1, 0], (ids - 1.0) * (ids > 1200))
    on_disk = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert on_disk > 150e6 and anonymous() - before < 20e6


def test_an_encoder_with_dropout_is_taken_as_it_is(shop, tmp_path):
    name, rows = f"hf:{write_bert(tmp_path / 'bert')}", []
    for cached in (False, True):
        model = tuned(shop, cached, encoder=name, modalities=["text"], missing="zero")[1].train()
        ids = torch.arange(1, len(model.item_features))
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            rows.append(model.item_features(ids)["text"])
    plain, again, other, *from_states = rows
    assert torch.equal(plain, again) and not torch.allclose(plain, other, atol=1e-3), "the last block keeps its dropout"
    torch.testing.assert_close(from_states, [plain, again, other], rtol=1e-5, atol=2e-6)


def test_texts_of_a_large_encoder_are_encoded_in_order_of_their_length(shop, tmp_path, monkeypatch):
    model = tuned(shop, encoder=f"hf:{write_bert(tmp_path / 'bert')}", modalities=["text"], missing="zero")[1].eval()
    items, ids = model.item_features.encoded_items, torch.arange(len(model.item_features)).flip(0)
    alone = torch.cat([items.encode(ids[i : i + 1])["text"] for i in range(len(ids))])
    monkeypatch.setitem(LARGE_ENCODERS_CALL, "text", 4)
    widths, forward = [], items.forward
    monkeypatch.setattr(items, "forward", lambda m, inputs: widths.append(longest(inputs[1])) or forward(m, inputs))
    torch.testing.assert_close(items.encode(ids)["text"], alone, rtol=1e-5, atol=1e-6)
    assert len(widths) == -(-int(items.present["text"].sum()) // 4) and widths == sorted(widths) and widths[0] < widths[-1]
    assert items.chunk_size == 2 * 128, "one block of two keeps activations"


def longest(token_ids: torch.Tensor) -> int:
    return int((token_ids != 0).sum(1).max())
