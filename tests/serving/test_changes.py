"""Items added to an exported folder and removed from it: seen by everybody who has it loaded, and by those who load it later."""

import threading

import pytest

from recbole_mm.errors import InputError, UnknownToken
from recbole_mm.serving import Recommender
from recbole_mm.serving.export.write import write_folder
from recbole_mm.serving.journal import Journal
from recbole_mm.serving.parts import run_parts
from recbole_mm.testing.planted import built, write_features, write_planted

FILES = {"modalities": ["a", "b"], "feature_files": {"a": "a.safetensors", "b": "b.safetensors"}}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    shop = write_planted(tmp_path_factory.mktemp("changes") / "shop", n_users=24, n_items=48)
    write_features(shop)
    config, net, train_data, *_ = built(shop, "VBPR", **FILES)
    folder = tmp_path_factory.mktemp("exported") / "folder"
    write_folder(run_parts(config, net, train_data.dataset, train_data.dataset), folder, {})
    return folder, shop / "images"


@pytest.fixture()
def folder(exported):
    yield exported[0]
    (exported[0] / "added.jsonl").unlink(missing_ok=True)


def like(recommender: Recommender, item: str) -> dict[str, object]:
    """The features of an item."""
    row = int(recommender.parts.items.served.rows([item])[0])
    return {m: recommender.parts.items.features(m)[0][row].numpy() for m in recommender.modalities}


def test_everybody_sees_what_one_changes(folder, exported):
    one, other = Recommender.load(folder), Recommender.load(folder)
    row = {"item_id": "new", "title": "Red boots", "image": exported[1] / "4.png", **like(one, "i4")}
    assert one.add_items([row, {**row, "item_id": "second"}]) == ["new", "second"]
    for recommender in (one, other, Recommender.load(folder)):
        assert {"new", "second"} <= set(recommender.recommend(["u0"], k=60)["item"]) and "new" in recommender
        assert {"i4", "second"} == set(recommender.similar("new", k=2, by="a")["item"])
        assert recommender.counts() == {"users": 24, "items": 50, "added": 2}
        assert recommender.catalogue.title("new") == "Red boots" and recommender.catalogue.thumbnail("new")[:2] == b"\xff\xd8"
        assert recommender.catalogue.search("red boots", 5) == ["new", "second"]
    other.add_items([{"item_id": "new", "title": "Blue boots", **like(one, "i5")}])
    other.remove_items(["second", "i7"])
    for recommender in (one, other, Recommender.load(folder)):
        assert not {"second", "i7"} & set(recommender.recommend(["u0"], k=60)["item"]) and "second" not in recommender
        assert recommender.similar("new", k=1, by="a")["item"][0] == "i5" and recommender.counts()["added"] == 1
        assert recommender.catalogue.title("new") == "Blue boots" and recommender.catalogue.thumbnail("new") is None
        with pytest.raises(UnknownToken, match="unknown item 'second'"):
            recommender.remove_items(["second"])


def test_an_update_in_the_same_batch_and_one_of_a_known_item(folder):
    one = Recommender.load(folder)
    having = next(user for user in one.users if "i5" in one.history(user))
    rows = [{"item_id": "twice", **like(one, "i4")}, {"item_id": "twice", **like(one, "i5")}, {"item_id": "i5", **like(one, "i4")}]
    one.add_items(rows)
    for recommender in (one, Recommender.load(folder)):
        assert list(recommender.recommend(["u0"], k=60, exclude_seen=False)["item"]).count("twice") == 1
        assert recommender.counts() == {"users": 24, "items": 49, "added": 2}
        assert "i5" not in set(recommender.recommend([having], k=60)["item"]), "it is still what this user has"
        recommender.remove_items(["i5"])
        recommender.add_items([rows[2]])


def test_what_cannot_be_journalled_is_not_added(folder, monkeypatch):
    one = Recommender.load(folder)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "append", full)
    for change in (lambda: one.add_items([{"item_id": "new", **like(one, "i4")}]), lambda: one.remove_items(["i4"])):
        with pytest.raises(OSError, match="No space"):
            change()
    assert "new" not in one and "i4" in one


def test_a_damaged_journal_is_told_when_the_folder_is_loaded(folder):
    one = Recommender.load(folder)
    for token in "nm":
        one.add_items([{"item_id": token, **like(one, "i4")}])
    file = folder / "added.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"added": "n"', b'"added": "x"'))
    with pytest.raises(InputError, match=r"added\.jsonl: line 1 is damaged"):
        Recommender.load(folder).recommend(["u0"])


def test_no_reader_sees_half_of_an_item(folder):
    """Several threads of one recommender read while items come and go, some of them from another recommender."""
    one, other, failed, ended = Recommender.load(folder), Recommender.load(folder), [], threading.Event()
    row = like(one, "i4")

    def read() -> None:
        while not ended.is_set():
            try:
                table = one.recommend(["u0", "u1"], k=100)
                newest = [item for item in table["item"] if item.startswith("n")]
                assert not newest or len(one.similar(newest[-1], 3, "a")) == 3
                assert len(set(table[table["user"] == "u0"]["item"])) == (table["user"] == "u0").sum()
            except Exception as error:
                failed.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(12):
        (one, other)[number % 2].add_items([{"item_id": f"n{number}", **row}, {"item_id": f"n{number}+", **row}])
        (other, one)[number % 2].remove_items([f"n{number}+"])
    ended.set()
    for reader in readers:
        reader.join()
    assert not failed and one.items == other.items == Recommender.load(folder).items and len(one.items) == 60
