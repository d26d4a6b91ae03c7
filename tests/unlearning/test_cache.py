"""The cache of a data set without the forgotten: no token and no row of theirs, and everything of the others."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.data import column_cache
from recbole_mm.data.content import cache_folders
from recbole_mm.items.feature_store import FeatureStore
from recbole_mm.items.shards import read_shard
from recbole_mm.testing.planted import built, settings, write_planted
from recbole_mm.unlearning.cache import forget_in_cache
from recbole_mm.unlearning.names import Names
from recbole_mm.unlearning.own_files import files_that_hold
from recbole_mm.unlearning.traces import scan

FROZEN = {"encoder_training": "pretrained"}
CUT = {"encoder_tuning": "last_k", "encoder_last_k": 1, "cache_hidden_states": True}
CROSSED = {**FROZEN, "fusion": "cross"}
USERS, ITEMS = frozenset({"u3"}), frozenset({"i6", "i9"})


def pairs(folder: Path) -> frozenset[tuple[str, str]]:
    rows = [tuple(line.split("\t")[:2]) for line in (folder / "shop.inter").read_text().splitlines()[1:]]
    return frozenset(pair for pair in rows if pair[0] in USERS or pair[1] in ITEMS)


@pytest.fixture
def shop(tmp_path, monkeypatch, small_encoders) -> Path:
    """A shop over which runs have filled the cache: features, states below the last block, tokens, columns. The text of item i9 is its own,
    and item i6 shares the picture of i7 and, as all of a style do, the text of i10."""
    monkeypatch.setattr(column_cache, "LARGE", 0)
    folder = write_planted(tmp_path / "data" / "shop", n_users=16, n_items=24)
    shutil.copy(folder / "images" / "7.png", folder / "images" / "6.png")
    file = folder / "shop.item"
    file.write_text(
        "\n".join("i9\ta thing of its own\t\t9.png" if line.startswith("i9\t") else line for line in file.read_text().splitlines())
    )
    for picture in (folder / "images").iterdir():
        os.utime(picture, (1e9, 1e9))
    for keys in (FROZEN, CUT, CROSSED):
        built(folder, **keys)
    return folder


def config(folder: Path, model: str = "CLIPRec") -> MultiModalConfig:
    return MultiModalConfig(model, folder.name, config_dict=settings(folder) if model == "CLIPRec" else {"data_path": str(folder.parent)})


def stores(folder: Path) -> list[Path]:
    return sorted({file.parent for file in (folder / ".recbole_mm").glob("*/*/*/*.safetensors")})


def rows_of(folder: Path) -> dict[str, np.ndarray]:
    """All rows of a store by their digests."""
    found = {}
    for shard in map(read_shard, folder.glob("*.safetensors")):
        found |= dict(zip(shard.digests, shard.rows, strict=True))
    return found


@pytest.mark.parametrize("model", ["CLIPRec", "LightGCN"])
def test_nothing_of_the_forgotten_is_left_and_all_of_the_others(shop, model):
    names, cache = Names(USERS, ITEMS, pairs(shop)), shop / ".recbole_mm"
    before = {store: rows_of(store) for store in stores(shop)}
    assert len(before) == 6
    own = [
        shard.rows[shard.item_tokens.index("i9")].flatten()
        for shard in map(read_shard, cache.glob("*/*/*/*.safetensors"))
        if "i9" in shard.item_tokens
    ]
    pixels = np.array(Image.open(shop / "images" / "9.png").resize((32, 32), Image.Resampling.BICUBIC)).transpose(2, 0, 1).tobytes()
    found = scan([cache], USERS | ITEMS, [*own, pixels])
    assert {"u3", "i6", "i9", *range(len(own) + 1)} == {finding.what for finding in found}
    assert {finding.file.relative_to(cache).parts[0] for finding in found} >= {"columns", "features", "states"}
    gone = forget_in_cache(config(shop, model), shop, names)
    assert gone["features"] == 2 and gone["states"] == 4 and gone["pictures"] == 1 and gone["columns"] >= 1
    assert not scan([cache], USERS | ITEMS, [*own, pixels])
    for store, rows in before.items():
        after = rows_of(store)
        assert len(after) == len(rows) - 1 and all(after[digest].equal(rows[digest]) for digest in after)
    assert forget_in_cache(config(shop, model), shop, names) == dict.fromkeys(gone, 0)


def test_the_cache_stays_without_the_forgotten_as_long_as_the_files_have_them(shop):
    names = Names(USERS, ITEMS, pairs(shop))
    assert files_that_hold(config(shop), shop, names) == [
        shop / "shop.inter",
        shop / "shop.item",
        *(shop / "images" / f"{i}.png" for i in (6, 9)),
    ]
    forget_in_cache(config(shop), shop, names)
    built(shop, "BPR")
    assert not list((shop / ".recbole_mm" / "columns").glob("*.npz"))
    for name in ("inter", "item"):
        file = shop / f"shop.{name}"
        lines = [line for line in file.read_text().splitlines() if not (USERS | ITEMS) & set(line.split("\t"))]
        file.write_text("\n".join(lines) + "\n")
    assert files_that_hold(config(shop), shop, names) == []  # nor does a row say whose the pictures were
    built(shop, "BPR")
    assert list((shop / ".recbole_mm" / "columns").glob("*.npz"))


def test_interactions_alone(shop):
    """Their users and items stay, with all that the stores have of them."""
    some = frozenset(sorted(pairs(shop))[:2])
    before = {file: file.read_bytes() for file in (shop / ".recbole_mm").rglob("*.safetensors")}
    gone = forget_in_cache(config(shop), shop, Names(pairs=some))
    assert gone == {"features": 0, "states": 0, "pictures": 0, "columns": gone["columns"]} and gone["columns"] >= 1
    assert before == {file: file.read_bytes() for file in (shop / ".recbole_mm").rglob("*.safetensors")}
    assert files_that_hold(config(shop), shop, Names(pairs=some)) == [shop / "shop.inter"]
    assert files_that_hold(config(shop), shop, Names(pairs=frozenset({("u3", "i1000")}))) == []


def test_an_item_that_is_no_longer_in_the_item_file(shop):
    """What it was is known from the store, which names it."""
    file = shop / "shop.item"
    file.write_text("\n".join(line for line in file.read_text().splitlines() if not line.startswith("i9\t")) + "\n")
    (shop / "images" / "9.png").unlink()
    names = Names(items=frozenset({"i9"}))
    gone = forget_in_cache(config(shop), shop, names)
    assert gone["features"] == 2 and gone["pictures"] == 1
    assert not scan([shop / ".recbole_mm" / kind for kind in ("features", "states")], {"i9"})
    assert "images/9.png" not in (shop / ".recbole_mm" / "files.json").read_text()


def test_a_store_that_a_run_has_open(shop):
    (folder, rows), *_ = ((store, rows_of(store)) for store in stores(shop) if store.name == "image")
    width = len(next(iter(rows.values())))
    store = FeatureStore(folder, width)
    forget_in_cache(config(shop), shop, Names(items=ITEMS))
    kept = list(rows_of(folder))
    assert store.rows(kept).equal(FeatureStore(folder, width).rows(kept))


def test_a_cache_of_the_time_when_the_data_set_could_not_be_written(shop, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    other = cache_folders(shop / ".recbole_mm")[1]
    shutil.copytree(shop / ".recbole_mm", other)
    gone = forget_in_cache(config(shop), shop, Names(USERS, ITEMS, pairs(shop)))
    assert gone["states"] == 8 and not scan([other, shop / ".recbole_mm"], USERS | ITEMS)
    shutil.rmtree(shop / ".recbole_mm")
    shutil.rmtree(other)
    assert set(forget_in_cache(config(shop), shop, Names(USERS, ITEMS, pairs(shop))).values()) == {0} and not other.exists()


def test_a_cache_that_cannot_be_written_is_said(shop, monkeypatch, caplog):
    def refused(*_) -> int:
        raise PermissionError("read-only")

    monkeypatch.setattr("recbole_mm.unlearning.cache.forget_rows", refused)
    assert set(forget_in_cache(config(shop), shop, Names(items=ITEMS)).values()) == {0}
    assert "cannot be written and may still hold the forgotten (read-only)" in caplog.text
