"""Feature files: what is wrong with them, and with whose row."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.audit.shops import N_ITEMS, Drawn, found

FILES = "--feature_files={image: image.npy}"


@pytest.fixture
def shop(tmp_path) -> Drawn:
    return Drawn(tmp_path / "data" / "shop").write()


def features(n: int = N_ITEMS, width: int = 6) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)


def save(shop: Drawn, rows: np.ndarray, tokens: list[str]) -> None:
    np.save(shop.folder / "image.npy", rows)
    (shop.folder / "image.ids.txt").write_text("\n".join(tokens) + "\n")


def test_sound_features(shop, capsys):
    rows, tokens = features(), list(shop.items)
    save(shop, rows, tokens)
    report = shop.audit(capsys, FILES)
    assert report["findings"] == []
    numbers, norms = report["numbers"]["features"]["image"], np.linalg.norm(rows, axis=1)
    assert (numbers["rows"], numbers["dims"], numbers["dtype"], numbers["order"]) == (N_ITEMS, 6, "float32", "as the items")
    expected = [float(norms.min()), float(np.median(norms)), float(norms.max())]
    assert list(numbers["norms"].values()) == pytest.approx(expected)
    save(shop, rows[::-1], tokens[::-1])
    report = shop.audit(capsys, FILES)
    assert report["findings"] == [] and "from row 0 on: i49, not i0" in report["numbers"]["features"]["image"]["order"]


def test_bad_rows(shop, capsys):
    rows, tokens = features(), list(shop.items)
    rows[3, 2], rows[4, 0], rows[5], rows[6], rows[8] = np.nan, np.inf, 0, 2.5, rows[7]
    rows[np.isfinite(rows).all(1), 5] = 0
    rows[6] = 2.5
    rows[6, 5] = 2.5
    save(shop, rows, tokens)
    findings = found(shop.audit(capsys, FILES, status=1))
    wanted = {"not_finite": ["i3", "i4"], "zero": ["i5"], "constant": ["i6"], "duplicate": ["i7", "i8"]}
    assert {code: findings[f"features.{code}"]["items"] for code in wanted} == wanted
    assert findings["features.not_finite"]["level"] == "error" and findings["features.zero"]["level"] == "warning"


def test_a_constant_column(shop, capsys):
    rows = features()
    rows[:, 1] = 3
    save(shop, rows, list(shop.items))
    assert "1 of 6 columns" in found(shop.audit(capsys, FILES))["features.constant_columns"]["message"]


def test_tokens(shop, capsys):
    tokens = list(shop.items)
    tokens[0], tokens[1] = "stranger", "i2"
    save(shop, features(), tokens)
    findings = found(shop.audit(capsys, FILES, status=1))
    assert findings["features.items_without"]["items"] == ["i0", "i1"] or set(findings["features.items_without"]["items"]) == {"i0", "i1"}
    assert findings["features.items_without"]["level"] == "warning"
    assert findings["features.foreign"]["items"] == ["stranger"] and findings["features.duplicate_token"]["items"] == ["i2"]
    assert findings["features.duplicate_token"]["level"] == "error"


def test_the_file_of_another_data_set(shop, capsys):
    save(shop, features(), [f"other{i}" for i in range(N_ITEMS)])
    finding = found(shop.audit(capsys, FILES, status=1))["features.items_without"]
    assert finding["level"] == "error" and finding["count"] == N_ITEMS and "other0" in finding["message"]


@pytest.mark.parametrize(
    ("rows", "fact"),
    [
        (np.array([[1, "a"]] * N_ITEMS, dtype=object), "object"),
        (features()[0], "shape (6,)"),
        (features(N_ITEMS - 1), f"{N_ITEMS - 1} rows"),
        (np.ones((N_ITEMS, 3), dtype=np.int64), "int64"),
    ],
    ids=["object", "vector", "a row less", "integers"],
)
def test_no_features_at_all(shop, capsys, rows, fact):
    save(shop, rows, list(shop.items))
    finding = found(shop.audit(capsys, FILES, status=1))["features.unusable"]
    assert finding["level"] == "error" and "image.npy" in finding["message"] and fact.lower() in finding["message"].lower()


def test_no_such_file_and_no_ids(shop, capsys):
    assert "no such file" in found(shop.audit(capsys, FILES, status=1))["features.unusable"]["message"]
    np.save(shop.folder / "image.npy", features())
    assert "feature_ids" in found(shop.audit(capsys, FILES, status=1))["features.unusable"]["message"]


def test_several_modalities_and_half_precision(shop, capsys):
    save(shop, features(), list(shop.items))
    half = {"features": features(width=3).astype(np.float16)}
    save_file(half, shop.folder / "audio.safetensors", {"item_tokens": json.dumps(list(shop.items))})
    report = shop.audit(capsys, "--feature_files={image: image.npy, audio: audio.safetensors}")
    assert report["numbers"]["features"]["audio"]["dtype"] == "F16" and report["numbers"]["features"]["image"]["dims"] == 6
