"""The feature store: what is there is used, what is not is encoded, and neither is ever mistaken for the other."""

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recbole_mm.data.content import ItemContent
from recbole_mm.encoder import create_encoder
from recbole_mm.errors import InputError
from recbole_mm.items import fill_stores as fill_module
from recbole_mm.items.catalogue import encode_catalogue
from recbole_mm.items.feature_store import FeatureStore
from recbole_mm.testing.planted import built, write_planted

N = 14


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    """Pictures of items 0..N-1."""
    folder = tmp_path_factory.mktemp("shop")
    for i in range(N):
        Image.new("RGB", (20, 20), (i * 15, 250 - i * 15, 90)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def encoder():
    return create_encoder("open_clip:tiny", seed=1)


def content_of(shop: Path, cache: Path, items: list[int], text: str = "item {}") -> ItemContent:
    """Item i has picture i (but for every fifth) and a text (but for every fourth); tokens carry the number."""
    names = ["", *(f"{i}.png" if i % 5 else "" for i in items)]
    texts = ["", *(text.format(i) * (i % 4 > 0) for i in items)]
    return ItemContent(["[PAD]", *(f"t{i}" for i in items)], names, texts, shop, cache)


@pytest.fixture(scope="module")
def truth(shop, encoder, tmp_path_factory) -> dict[str, torch.Tensor]:
    """Rows by item number, encoded without any store."""
    content = content_of(shop, tmp_path_factory.mktemp("truth"), list(range(N)))
    content.use_preprocessing(encoder.preprocess_image, encoder.preprocess_key, encoder.image_size)
    ids = torch.arange(1, N + 1)
    with torch.no_grad():
        rows = encoder.eval()({"image": content.images(ids), "text": encoder.tokenize(content.texts(ids))})
    return {m: rows[m] * content.present[m][1:, None] for m in rows}


def check(encoded, items: list[int], truth) -> None:
    for m, table in encoded.tables.items():
        divisor = 5 if m == "image" else 4
        assert table.present.tolist() == [False, *(i % divisor > 0 for i in items)]
        torch.testing.assert_close(table.rows[1:], truth[m][items], rtol=1e-4, atol=1e-5)
        assert not table.rows[0].any()


def test_only_what_is_new_is_encoded(shop, encoder, truth, tmp_path):
    first = encode_catalogue(encoder, content_of(shop, tmp_path, list(range(10))), None)
    check(first, list(range(10)), truth)
    assert first.new == {"image": 8, "text": 7} and first.reused == {"image": 0, "text": 0} and first.cost.items == 10 - 1
    grown = list(range(N))[::-1]
    second = encode_catalogue(encoder, content_of(shop, tmp_path, grown), None)
    check(second, grown, truth)
    assert second.new == {"image": 3, "text": 3} and second.cost.items == 4
    third = encode_catalogue(encoder, content_of(shop, tmp_path, [3, 2]), ["text"])
    check(third, [3, 2], truth)
    assert third.new == {"text": 0} and third.cost.items == 0
    assert torch.equal(third.tables["text"].rows[1], second.tables["text"].rows[N - 3])


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_any_order_growth_filtering_and_names(shop, encoder, truth, tmp_path_factory, data):
    """One cache, catalogues in a row: every item gets the features of its own content, each content encoded once."""
    cache, seen = tmp_path_factory.mktemp("any"), set()
    for _ in range(3):
        items = data.draw(st.permutations(range(N)))[: data.draw(st.integers(6, N))]
        folder = shop if data.draw(st.booleans()) else Path(shutil.copytree(shop, tmp_path_factory.mktemp("renamed") / "pictures"))
        encoded = encode_catalogue(encoder, content_of(folder, cache, items), None, chunk_size=data.draw(st.integers(1, 20)))
        check(encoded, items, truth)
        assert encoded.new["image"] == len({i for i in items if i % 5} - seen)
        seen |= set(items)


def test_nothing_old_is_returned_for_something_new(shop, encoder, tmp_path):
    items = list(range(1, N))

    def rows(encoder, modality="text", **keys):
        content = content_of(shop, tmp_path, items, keys.pop("text", "item {}"))
        encoded = encode_catalogue(encoder, content, [modality], **keys)
        return encoded.tables[modality].rows, encoded.new[modality]

    old, new = rows(encoder)
    assert new == len([i for i in items if i % 4])
    changed = create_encoder("open_clip:tiny", seed=1)
    name, weight = next((n, p) for n, p in changed.named_parameters() if "token_embedding" in n)
    with torch.no_grad():
        weight[5, 3] += 1e-3
    assert rows(changed)[1] == new, f"{name} differs in one number"
    assert rows(create_encoder("open_clip:tiny", seed=2))[1] == new
    assert rows(encoder, dtype="fp16")[1] == new
    assert rows(encoder, precision="bf16")[1] == new
    again, none = rows(encoder)
    assert none == 0 and torch.equal(again, old)
    other, all_new = rows(encoder, text="thing {}")
    assert all_new == new and not torch.equal(other, old)
    assert rows(encoder, "image")[1] > 0


def test_half_precision(shop, encoder, truth, tmp_path):
    items = list(range(N))
    for _ in range(2):
        half = encode_catalogue(encoder, content_of(shop, tmp_path, items), None, dtype="fp16").tables["image"].rows
        assert half.dtype == torch.float32 and torch.equal(half, half.half().float())
        torch.testing.assert_close(half[1:], truth["image"], rtol=2e-3, atol=2e-3)
    bf16 = encode_catalogue(encoder, content_of(shop, tmp_path, items), None, precision="bf16").tables["image"].rows
    torch.testing.assert_close(bf16[1:], truth["image"], rtol=0.1, atol=0.1)


def test_equal_contents_are_encoded_once(shop, encoder, tmp_path):
    content = ItemContent(["[PAD]", "a", "b", "c"], ["", "1.png", "1.png", "2.png"], ["", "x", "x", "x"], shop, tmp_path)
    encoded = encode_catalogue(encoder, content, None)
    assert encoded.new == {"image": 2, "text": 1}
    rows = encoded.tables["image"].rows
    assert torch.equal(rows[1], rows[2]) and not torch.equal(rows[1], rows[3])


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    path.write_bytes({
        "empty": b"", "cut": data[:-40], "longer": data + b"1234", "bit": data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
        "name": data.replace(b'\\"t', b'\\"u', 1), "header": data[:3] + b"\xff" + data[4:],
    }[how])  # fmt: skip


@pytest.mark.parametrize("how", ["empty", "cut", "longer", "bit", "name", "header"])
def test_a_damaged_shard_is_made_anew(shop, encoder, tmp_path, how, monkeypatch, caplog):
    monkeypatch.setattr(fill_module, "SHARD_ROWS", 4)
    items = list(range(N))
    whole = encode_catalogue(encoder, content_of(shop, tmp_path, items), None, chunk_size=2)
    shards = sorted((whole.folder / "image").glob("*.safetensors"))
    assert len(shards) == 3
    kept = shards[1].read_bytes()
    damage(shards[1], how)
    assert shards[1].read_bytes() != kept
    again = encode_catalogue(encoder, content_of(shop, tmp_path, items), None, chunk_size=2)
    assert again.new["text"] == 0 and 0 < again.new["image"] <= 4
    assert [r.getMessage() for r in caplog.records if "damaged" in r.getMessage() and shards[1].name in r.getMessage()]
    for m in whole.tables:
        assert torch.equal(whole.tables[m].rows, again.tables[m].rows)
    assert encode_catalogue(encoder, content_of(shop, tmp_path, items), None).new["image"] == 0


def test_stores_side_by_side(tmp_path):
    one, two = FeatureStore(tmp_path, 2), FeatureStore(tmp_path, 2)
    one.add(["a", "b"], torch.tensor([[1.0, 2], [3, 4]]), ["x", "y"])
    two.add(["a", "b"], torch.tensor([[1.0, 2], [3, 4]]), ["x", "y"])
    two.add(["c"], torch.tensor([[5.0, 6]]), ["z"])
    assert "c" not in one
    one.reload()
    assert one.rows(["c", "", "a"]).tolist() == [[5, 6], [0, 0], [1, 2]]
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(KeyError):
        one.rows(["d"])


def test_what_another_run_is_encoding_is_waited_for(shop, encoder, truth, tmp_path, monkeypatch):
    items, true_lock, calls = list(range(N)), fill_module.locked, []

    def lock(path, doing):  # meanwhile another run fills the store
        monkeypatch.setattr(fill_module, "locked", true_lock)
        calls.append(encode_catalogue(encoder, content_of(shop, tmp_path, items), None).new)
        return true_lock(path, doing)

    monkeypatch.setattr(fill_module, "locked", lock)
    encoded = encode_catalogue(encoder, content_of(shop, tmp_path, items), None)
    assert calls[0]["image"] > 0 and set(encoded.new.values()) == {0} and encoded.cost.items == 0
    check(encoded, items, truth)


def test_an_encoder_that_gives_nonsense(shop, tmp_path):
    broken = create_encoder("open_clip:tiny", seed=1)
    with torch.no_grad():
        next(p for n, p in broken.named_parameters() if "text" in n and p.ndim > 1).fill_(torch.nan)
    with pytest.raises(InputError, match="NaN or infinite .*text of item t"):
        encode_catalogue(broken, content_of(shop, tmp_path, [1, 2, 3]), ["text"])


def test_a_run_reuses_what_a_run_encoded(tmp_path, caplog):
    caplog.set_level("INFO")
    folder = write_planted(tmp_path / "data" / "shop")
    keys = {"encoder_training": "pretrained", "state": "INFO", "modalities": ["text", "image"]}
    first = built(folder, **keys)[1].item_features
    assert "features encoded into" in caplog.text and first.cost.items == 48 and first.modalities == ("text", "image")
    second = built(folder, **keys)[1].item_features
    assert "features reused from" in caplog.text and second.cost.items == 0 and second.cost.seconds == 0
    for m, rows in first.table().items():
        assert torch.equal(rows, second.table()[m])
    assert first.fingerprint == second.fingerprint
    assert built(folder, encoder_training="pretrained", feature_dtype="fp16")[1].item_features.fingerprint != first.fingerprint
