"""A checkpoint without the forgotten: whoever stays has the rows and the scores of before, bit for bit, and nobody else is in it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.cli import main
from recbole_mm.errors import InputError
from recbole_mm.results.records import read_record
from recbole_mm.unlearning.kept import kept_run
from recbole_mm.unlearning.retrain import retrain
from recbole_mm.unlearning.unlearn import unlearn
from tests.training.moving_shop import BY_TIME, OLD_ITEMS, OLD_USERS, Loaded, Shop, draw_shop, train
from tests.unlearning.forgetting import asked, forgotten_of, pairs_of
from tests.unlearning.test_kept import LAST, RANDOM, SEQUENCES

USERS, ITEMS = ("u3", "u7"), ("i1",)
KEPT_USERS, KEPT_ITEMS = [u for u in OLD_USERS if u not in USERS], [i for i in OLD_ITEMS if i not in ITEMS]
RUNS = {
    "VBPR": {**RANDOM, "cold_item_ratio": 0.2, "modalities": ["text"]},
    "CLIPRec": {"eval_args": BY_TIME},
    "BPR": LAST,
    "FM": {**LAST, "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}},
    "SASRec": SEQUENCES,
    "BERT4Rec": SEQUENCES,
    "SASRecM": SEQUENCES,
}
"""Models whose scores say nothing of anybody but the user and the item."""


def test_an_autoencoder_forgets_a_user(shop):
    """Items that go change the rows of interactions that others are scored by."""
    file = train("MultiVAE", shop, epochs=1, **RANDOM)
    done = unlearn(str(file), asked(USERS), correct=False)
    scores = [Loaded.of(one).scores(KEPT_USERS, OLD_ITEMS) for one in (file, done.file)]
    torch.testing.assert_close(*scores, rtol=0, atol=0)


@pytest.fixture
def shop(tmp_path) -> Shop:
    return draw_shop(tmp_path / "data")


@pytest.fixture(scope="module")
def _vbpr(tmp_path_factory) -> tuple[Shop, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("vbpr")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["pytest"])
        patch.chdir(folder)
        shop = draw_shop(folder / "data")
        file = train("VBPR", shop, epochs=2, state="INFO", **RANDOM)
        return shop, {path.name: path.read_bytes() for path in file.parent.iterdir()}


@pytest.fixture
def finished(_vbpr, tmp_path) -> tuple[Shop, Path]:
    """A shop that nobody changes, and the checkpoint of VBPR on it."""
    shop, files = _vbpr
    (tmp_path / "saved").mkdir()
    for name, content in files.items():
        Path("saved", name).write_bytes(content)
    (file,) = Path("saved").glob("*.pth")
    return shop, file


@pytest.mark.parametrize("name", RUNS)
def test_whoever_stays_is_scored_as_before(shop, name):
    file = train(name, shop, epochs=1, **RUNS[name])
    before = Loaded.of(file)
    parts = [pairs_of(loader) for loader in before.parts]
    done = unlearn(str(file), asked(USERS, ITEMS), correct=False)
    after = Loaded.of(done.file)
    torch.testing.assert_close(after.scores(KEPT_USERS, KEPT_ITEMS), before.scores(KEPT_USERS, KEPT_ITEMS), rtol=0, atol=0)
    for now, then in zip(after.parts, parts, strict=True):
        assert pairs_of(now) == {pair: n for pair, n in then.items() if pair[0] not in USERS and pair[1] not in ITEMS}
    tokens = load_checkpoint(done.file, pickled=True)["tokens"]
    assert tokens["user_id"] == [token for token in load_checkpoint(file, pickled=True)["tokens"]["user_id"] if token not in USERS]
    assert sorted(tokens["item_id"]) == sorted(KEPT_ITEMS)


@pytest.mark.parametrize("name", ["LightGCN", "LightGCNM", "DiffMM"])
def test_graphs_are_those_of_what_stays(shop, name):
    """The rows are the former ones, and the scores those of a model that has them over the other interactions."""
    file = train(name, shop, epochs=1, eval_args=BY_TIME)
    state, before = load_checkpoint(file, pickled=True), Loaded.of(file)
    done = unlearn(str(file), asked(USERS, ITEMS, (("u0", before_of(before, "u0")),)), correct=False)
    after, now = Loaded.of(done.file), load_checkpoint(done.file, pickled=True)
    for key in ("user_embedding.weight", "item_embedding.weight"):
        field, tokens = ("user_id", KEPT_USERS) if key.startswith("user") else ("item_id", KEPT_ITEMS)
        then, here = (found["state_dict"][key][run.dataset.token2id(field, tokens)] for found, run in ((state, before), (now, after)))
        torch.testing.assert_close(here, then, rtol=0, atol=0)
    assert after.parts[0]._dataset.inter_num == before.parts[0]._dataset.inter_num - len(done.forgotten.pairs_of("training"))
    scores = after.scores(KEPT_USERS, KEPT_ITEMS)
    if name != "DiffMM":  # whose denoisers read rows that have changed
        known = kept_run(str(file), done.forgotten).model.eval()
        users, items = before.dataset.token2id("user_id", KEPT_USERS), before.dataset.token2id("item_id", KEPT_ITEMS)
        with torch.no_grad():
            wanted = known.full_sort_predict(Interaction({"user_id": torch.from_numpy(users)})).view(len(users), -1)[:, items]
        torch.testing.assert_close(scores, wanted)
    assert scores.isfinite().all()


def before_of(run: Loaded, user: str) -> str:
    """An item that the user has in training, and that is not forgotten anyway."""
    return next(item for own, item in pairs_of(run.parts[0]) if own == user and item not in ITEMS)


@pytest.fixture
def square(tmp_path) -> Shop:
    """As many users as items."""
    rng = np.random.default_rng(0)
    orders = [(f"u{u}", f"i{i}", int(t)) for u in range(16) for t, i in enumerate(rng.permutation(16)[:10])]
    return Shop(tmp_path / "square" / "shop", tuple(orders), {f"i{i}": f"c{i % 3}" for i in range(16)}).write()


def test_equally_many_users_and_items(square):
    """Where as many go of both, tables are told apart by what goes first."""
    file = train("BPR", square, epochs=1, eval_args=BY_TIME)
    done = unlearn(str(file), asked(("u3", "u9"), ("i4", "i11")), correct=False)
    users, items = [f"u{u}" for u in range(16) if u not in (3, 9)], [f"i{i}" for i in range(16) if i not in (4, 11)]
    assert done.run.model.n_users == done.run.model.n_items == 15
    scores = [Loaded.of(one).scores(users, items) for one in (file, done.file)]
    torch.testing.assert_close(*scores, rtol=0, atol=0)


def test_parameters_that_are_single_numbers_are_nobodys(square):
    file = train("HSTU", square, epochs=1, **SEQUENCES)
    assert unlearn(str(file), asked(("u3", "u9"), ("i4", "i11"))).run.model.n_users == 15


def test_who_is_gone_from_the_files_already_is_told(shop, capsys):
    """What all share is not corrected for them."""
    file = train("BPR", shop, epochs=1, state="INFO", eval_args=BY_TIME)
    replace(shop, orders=tuple(order for order in shop.orders if order[0] != "u3")).write()
    capsys.readouterr()
    done = unlearn(str(file), asked(("u3",)))
    assert "6 interactions that" in capsys.readouterr().out and not len(done.forgotten.pairs)
    assert "u3" not in load_checkpoint(done.file, pickled=True)["tokens"]["user_id"]


@pytest.mark.parametrize("name", ["EASE", "ItemKNN", "EASEM"])
def test_what_is_found_at_once_is_found_anew(shop, name):
    keys = {"modalities": ["text"], "eval_args": BY_TIME, **({"score_mix": 0.3} if name.endswith("M") else {})}
    file = train(name, shop, **keys)
    done = unlearn(str(file), asked(USERS, ITEMS), correct=False)
    after, parts = Loaded.of(done.file), {"train": 0, "valid": 1, "test": 2}
    assert done.facts["how"] == "found anew"
    for part, place in parts.items():
        rows = ["user_id:token\titem_id:token", *("\t".join(pair) for pair in pairs_of(after.parts[place]).elements())]
        (shop.folder / f"shop.{part}.inter").write_text("\n".join(rows) + "\n")
    anew = Loaded.of(train(name, shop, benchmark_filename=[*parts], load_col={"inter": ["user_id", "item_id"]}, **keys))
    users = [user for user in KEPT_USERS if user in anew.dataset.field2token_id["user_id"]]
    torch.testing.assert_close(after.scores(users, KEPT_ITEMS), anew.scores(users, KEPT_ITEMS))


def test_twice_in_a_row(finished):
    _, file = finished
    before = Loaded.of(file)
    once = unlearn(str(file), asked(("u3",)), correct=False)
    twice = unlearn(once.file, asked(("u7",), ITEMS), correct=False)
    assert load_checkpoint(twice.file)["unlearned"]["before"]["users"] == 1 and once.file != twice.file
    after = Loaded.of(twice.file)
    torch.testing.assert_close(after.scores(KEPT_USERS, KEPT_ITEMS), before.scores(KEPT_USERS, KEPT_ITEMS), rtol=0, atol=0)
    for now, then in zip(after.parts, before.parts, strict=True):
        assert pairs_of(now) == {pair: n for pair, n in pairs_of(then).items() if pair[0] not in USERS and pair[1] not in ITEMS}


def test_it_stays_as_it_is_whatever_the_files_hold_later(shop):
    """The forgotten's rows may be deleted, others may come, and all may be shuffled."""
    file = train("VBPR", shop, epochs=1, **RANDOM)
    done = unlearn(str(file), asked(USERS, ITEMS), correct=False)
    before = Loaded.of(done.file)
    left = replace(shop, orders=tuple(order for order in shop.orders if order[0] not in USERS)).without(*ITEMS)
    for later in (left, left.shuffled(), shop.with_orders(("u20", "i2", 5), ("u1", "i30", 6)).shuffled()):
        later.write()
        after = Loaded.of(done.file)
        assert [pairs_of(part) for part in after.parts] == [pairs_of(part) for part in before.parts]
        torch.testing.assert_close(after.scores(KEPT_USERS, KEPT_ITEMS), before.scores(KEPT_USERS, KEPT_ITEMS), rtol=0, atol=0)


def test_values_that_only_the_forgotten_have_go_as_well(shop):
    shop = replace(shop, products={**shop.products, "i1": "secret"}).write()
    columns = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "category"]}
    sampled = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
    file = train("DeepFM", shop, epochs=1, load_col=columns, **LAST, **sampled)
    done = unlearn(str(file), asked(USERS, ITEMS), correct=False)
    before, after = (load_checkpoint(one, pickled=True)["tokens"] for one in (file, done.file))
    assert sorted(before["category"]) == ["c0", "c1", "c2", "secret"] and sorted(after["category"]) == ["c0", "c1", "c2"]
    scores = [Loaded.of(one).scores(KEPT_USERS, KEPT_ITEMS) for one in (file, done.file)]
    torch.testing.assert_close(*scores, rtol=0, atol=0)


def test_a_knowledge_graph_forgets_users_alone(shop):
    columns = {"inter": ["user_id", "item_id", "timestamp"], "kg": ["head_id", "relation_id", "tail_id"], "link": ["item_id", "entity_id"]}
    triples = [f"e{i}\tr{i % 3}\te{(i * step + 3) % 30}" for step in (3, 7) for i in range(30)]
    (shop.folder / "shop.kg").write_text("\n".join(["head_id:token\trelation_id:token\ttail_id:token", *triples]))
    (shop.folder / "shop.link").write_text("\n".join(["item_id:token\tentity_id:token", *(f"i{i}\te{i}" for i in range(20))]))
    file = train("CKE", shop, load_col=columns, **LAST)
    done = unlearn(str(file), asked(USERS), correct=False)
    scores = [Loaded.of(one).scores(KEPT_USERS, OLD_ITEMS) for one in (file, done.file)]
    torch.testing.assert_close(*scores, rtol=0, atol=0)
    with pytest.raises(InputError, match="the knowledge graph of CKE holds the items"):
        unlearn(str(file), asked((), ITEMS))


def test_a_model_whose_rows_nobody_knows_is_refused(shop):
    """DiffRec has the places of its steps behind those of the items, in one matrix."""
    file = train("DiffRec", shop, epochs=1, **RANDOM)
    with pytest.raises(InputError, match="of DiffRec is 300 x 31, and 300 x 30 without the forgotten, and nothing says whose its rows are"):
        unlearn(str(file), asked((), ITEMS))


def test_a_refitted_model_forgets(shop):
    file = train("VBPR", shop, epochs=1, refit=True, **RANDOM)
    done = unlearn(str(file), asked(USERS), correct=False)
    checkpoint = load_checkpoint(done.file)
    assert checkpoint["refit"]["epochs"] == 1 and len(checkpoint["training_interactions"]) == 100
    scores = [Loaded.of(one).scores(KEPT_USERS, OLD_ITEMS) for one in (file, done.file)]
    torch.testing.assert_close(*scores, rtol=0, atol=0)


def test_no_run_goes_on_from_it(finished):
    shop, file = finished
    done = unlearn(str(file), asked(USERS), correct=False)
    with pytest.raises(InputError, match="was unlearned, and no run goes on from there"):
        train("VBPR", shop, epochs=3, resume=done.file, **RANDOM)


def test_its_record_is_one_of_a_run(finished):
    _, file = finished
    done = unlearn(str(file), asked(USERS), "saved/new.pth", correct=False)
    record = read_record("saved/new.pth")
    assert record.test == done.result["test_result"] and record.data["n_users"] == 10 and record.asked == read_record(file).asked
    assert not {*record.users()["user"]} & {*USERS} and record.unlearned["users"] == 2 and read_record(file).unlearned is None
    facts = json.loads(record.file.read_text())["unlearned"]
    assert facts | {"correction": None} == {"from": file.name, "users": 2, "items": 0, "interactions": 20, "how": "rows removed",
                                            "correction": None, "before": None}  # fmt: skip


def test_a_model_trained_without_them(finished):
    """Over the run's own ids; the checkpoint of the run that it is compared with stays alone."""
    _, file = finished
    kept = kept_run(str(file), forgotten_of(file, USERS))
    found, again, other = retrain(kept), retrain(kept), retrain(kept, seed=7)
    assert found.valid == again.valid and found.test == again.test and found.run.model.n_users == 13
    weights = [run.model.user_embedding.weight for run in (found.run, again.run, other.run, kept)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2]) and not torch.equal(weights[0], weights[3])
    assert list(Path("saved").glob("*.pth")) == [file]


def test_mistakes_are_told_in_a_line(finished, capsys):
    (shop, file), missing = finished, Path("who.txt")
    lone = next(item for item in OLD_ITEMS if ("u1", item) not in {order[:2] for order in shop.orders})
    wrong = {
        "": "name what to forget",
        "--users=nobody.txt": "nobody.txt",
        "--users=u3x\n": "who.txt, line 1: unknown user 'u3x'",
        "--items=\n\n": "who.txt is empty",
        "--interactions=user_id:token\titem_id:token\n": "who.txt names no interaction",
        "--interactions=u1 i2\n": "who.txt, line 1: 'u1 i2' is no user and item",
        f"--interactions=user_id,item_id\nu1,{lone}\n": f"who.txt, line 2: user 'u1' has no interaction with item '{lone}'",
        "--users=" + "\n".join(OLD_USERS): "too little would stay: 0 users",
        "--items=" + "\n".join(OLD_ITEMS[1:]): "too little would stay: 1 items",
    }
    there, logs = set(Path("saved").iterdir()), set(Path("log").rglob("*"))
    for asks, told in wrong.items():
        option, _, text = asks.partition("=")
        missing.write_text(text)
        named = [] if not option else [f"{option}={text if text.endswith('.txt') else missing}"]
        assert main(["unlearn", str(file), *named]) == 2
        assert told in capsys.readouterr().err.splitlines()[-1], asks
    missing.write_text("u3\n")
    for output, told in (("x.txt", "must end with .pth"), (str(file), "is there already"), ("no/such/x.pth", "no folder no/such")):
        assert main(["unlearn", str(file), f"--users={missing}", f"--output={output}"]) == 2
        assert told in capsys.readouterr().err.splitlines()[-1]
    assert set(Path("saved").iterdir()) == there and set(Path("log").rglob("*")) == logs


def test_the_command(finished, capsys):
    (shop, file), who = finished, Path("who.csv")
    user, item, _ = shop.orders[0]
    who.write_text(f"user_id:token\titem_id:token\n{user}\t{item}\n")
    capsys.readouterr()
    assert main(["unlearn", str(file), f"--interactions={who}", "--output=saved/new.pth"]) == 0
    shown = capsys.readouterr().out
    assert "0 users, 0 items, 1 interaction (" in shown and f"the old run  {file}, " in shown and "recommend saved/new.pth" in shown
    assert (user, item) not in {pair for part in Loaded.of(Path("saved/new.pth")).parts for pair in pairs_of(part)}
