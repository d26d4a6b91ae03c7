"""The demo shop: its files, its split, and the truth planted in its pictures, texts and tastes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recbole_mm.data import demo
from recbole_mm.data.demo import affinity, split_counts, write_demo
from recbole_mm.data.demo_pictures import COLOURS, PATTERNS, SHAPES, draw_item

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"seed": 5, "n_users": 30, "n_items": 60}
VISUAL_WORDS = re.compile(
    r"red|mustard|yellow|gold|green|blue|navy|purple|violet|plum|charcoal|gr[ae]y|black|white|cream|colou?r\w*|plain|strip\w+|"
    r"dot\w*|polka|check\w*|gingham|pattern\w*|print\w*|shirt|tee|dress|tote|bag|backpack|cushion|pillow|mug|cup|shape\w*"
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop") / "demo"
    write_demo(folder)
    return folder


@pytest.fixture(scope="module")
def truth(shop: Path) -> dict:
    return json.loads((shop / "truth.json").read_text())


def rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def histories(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[tuple[float, str]]] = {}
    for user, item, stamp in rows(folder / "demo.inter")[1:]:
        found.setdefault(user, []).append((float(stamp), item))
    return {user: [item for _, item in sorted(history)] for user, history in found.items()}


def recbole_counts(n: int) -> list[int]:
    """RecBole's rule, written down once more."""
    ratios = [r / sum([0.8, 0.1, 0.1]) for r in [0.8, 0.1, 0.1]]
    cnt = [int(ratio * n) for ratio in ratios]
    cnt[0] = n - sum(cnt[1:])
    for i in (1, 2):
        if cnt[0] <= 1:
            break
        if 0 < ratios[-i] * n < 1:
            cnt[-i] += 1
            cnt[0] -= 1
    return cnt


def test_split_counts_follow_recbole() -> None:
    assert [list(split_counts(n)) for n in range(1, 200)] == [recbole_counts(n) for n in range(1, 200)]


def test_files_and_headers(shop: Path, truth: dict) -> None:
    assert sorted(p.name for p in shop.iterdir()) == ["demo.inter", "demo.item", "images", "truth.json"]
    inter, item = rows(shop / "demo.inter"), rows(shop / "demo.item")
    assert inter[0] == ["user_id:token", "item_id:token", "timestamp:float"]
    assert item[0] == ["item_id:token", "title:token_seq", "description:token_seq", "image:token"]
    assert {len(row) for row in inter} == {3} and {len(row) for row in item} == {4}
    assert [row[0] for row in item[1:]] == list(truth["items"]) and len(item) == 401
    assert '"' not in (shop / "demo.item").read_text()
    for token, title, description, image in item[1:]:
        assert title and description and image == f"{token}.jpg"
        with Image.open(shop / "images" / image) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (128, 128))
    assert len(list((shop / "images").iterdir())) == 400


def test_histories(shop: Path, truth: dict) -> None:
    seen = histories(shop)
    assert set(seen) == set(truth["users"]) and len(seen) == 300
    assert all(12 <= len(h) <= 30 and len(set(h)) == len(h) for h in seen.values())
    assert 19 < np.mean([len(h) for h in seen.values()]) < 21
    stamps: dict[str, list[float]] = {}
    for user, _, stamp in rows(shop / "demo.inter")[1:]:
        stamps.setdefault(user, []).append(float(stamp))
    assert all((np.diff(np.array(s, dtype=np.float32)) > 0).all() for s in stamps.values())  # RecBole keeps 32 bits
    assert Counter(u["taste"] for u in truth["users"].values()) == {"visual": 100, "textual": 100, "both": 100}


def test_cold_items_are_only_in_test(shop: Path, truth: dict) -> None:
    cold = {token for token, item in truth["items"].items() if item["cold"]}
    assert len(cold) == 40
    before, test = Counter(), Counter()
    trained = set()
    for history in histories(shop).values():
        train, valid, _ = recbole_counts(len(history))
        trained.update(history[:train])
        before.update(history[: train + valid])
        test.update(history[train + valid :])
    assert not cold & set(before)
    assert trained == set(truth["items"]) - cold
    assert min(test[token] for token in cold) >= 2
    assert min(before[token] + test[token] for token in trained) >= 4
    assert 0.4 < sum(test[token] for token in cold) / test.total() < 0.6


def test_tastes_decide(shop: Path, truth: dict) -> None:
    items = truth["items"]
    styles = {key: [u[key] for u in truth["users"].values() if u[key]] for key in ("visual_style", "textual_style")}
    for key, some in styles.items():
        distinct = {json.dumps(style): style for style in some}.values()
        assert len(distinct) == 8
        for style in distinct:
            assert 0.07 < np.mean([affinity(style, item) == 2 for item in items.values()]) < 0.1, key
    seen = histories(shop)
    for user, told in truth["users"].items():
        assert (told["visual_style"] is None) == (told["taste"] == "textual")
        assert (told["textual_style"] is None) == (told["taste"] == "visual")
        if told["taste"] == "both":
            both = [affinity(told["visual_style"], items[i]) + affinity(told["textual_style"], items[i]) >= 3 for i in seen[user]]
            assert np.mean(both) > 0.4, user
    for taste, own, other in (("visual", "visual_style", "textual_style"), ("textual", "textual_style", "visual_style")):
        members = [user for user, told in truth["users"].items() if told["taste"] == taste]
        share = [affinity(truth["users"][u][own], items[i]) == 2 for u in members for i in seen[u]]
        assert 0.75 < np.mean(share) < 0.88
        # their items spread over the other kind of styles as the catalogue does
        alien = [affinity(style, items[i]) == 2 for k, u in enumerate(members) for i in seen[u] for style in styles[other][k::9]]
        assert abs(np.mean(alien) - 1 / 12) < 0.02


def test_factors_are_independent(truth: dict) -> None:
    factors = ("colour", "pattern", "shape", "material", "use", "cold")
    values = {f: [str(item[f]) for item in truth["items"].values()] for f in factors}
    values["number"] = [str(int(token[-4:]) * 5 // 401) for token in truth["items"]]
    names = list(values)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            ca, cb, cab = Counter(values[a]), Counter(values[b]), Counter(zip(values[a], values[b], strict=True))
            chi = sum((cab[x, y] - ca[x] * cb[y] / 400) ** 2 / (ca[x] * cb[y] / 400) for x in ca for y in cb)
            freedom = (len(ca) - 1) * (len(cb) - 1)
            assert chi < freedom + 4 * (2 * freedom) ** 0.5, (a, b)


def test_texts_tell_material_and_use_only(shop: Path, truth: dict) -> None:
    texts = {row[0]: f"{row[1]} {row[2]}".lower() for row in rows(shop / "demo.item")[1:]}
    for text in texts.values():
        found = set(re.findall(r"[a-z]+", text))
        assert not [word for word in found if VISUAL_WORDS.fullmatch(word)]
    for factor, groups in (("material", demo.MATERIALS), ("use", demo.USES)):
        words = {value: re.compile(rf"\b({'|'.join(group)})\b", re.IGNORECASE) for value, group in groups.items()}
        for token, text in texts.items():
            told = {value for value, pattern in words.items() if pattern.search(text)}
            assert told == {truth["items"][token][factor]}, (token, text)
    assert len(set(texts.values())) > 390


def test_pictures_tell_the_colour(shop: Path, truth: dict) -> None:
    means, labels = [], []
    for token, item in truth["items"].items():
        pixels = np.asarray(Image.open(shop / "images" / f"{token}.jpg"), dtype=np.float32)
        product = np.abs(pixels - pixels[:6, :6].mean(axis=(0, 1))).max(axis=2) > 60
        means.append(pixels[product].mean(axis=0))
        labels.append(list(COLOURS).index(item["colour"]))
    x, y = np.array(means), np.array(labels)
    centres = np.array([x[::2][y[::2] == c].mean(axis=0) for c in range(len(COLOURS))])  # from half of the items
    guess = ((x[1::2, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert (guess == y[1::2]).mean() > 0.9


def test_patterns_and_shapes_differ() -> None:
    for options, draw in (
        (PATTERNS, lambda name: draw_item(np.random.default_rng(0), "blue", name, "cushion")),
        (SHAPES, lambda name: draw_item(np.random.default_rng(0), "blue", "plain", name)),
    ):
        pictures = [np.asarray(draw(name), dtype=float) for name in options]
        assert all(np.abs(a - b).mean() > 4 for i, a in enumerate(pictures) for b in pictures[:i])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_same_seed_same_bytes_and_an_existing_folder_is_kept(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_demo(tmp_path / name / "demo", **SMALL)
    write_demo(tmp_path / "c" / "demo", **{**SMALL, "seed": 6})
    a, b, c = (contents(tmp_path / name / "demo") for name in "abc")
    assert a == b and len(a) == 63
    assert a["demo.inter"] != c["demo.inter"] and a["images/sku-0001.jpg"] != c["images/sku-0001.jpg"]
    write_demo(tmp_path / "a" / "demo", **{**SMALL, "seed": 6})
    assert contents(tmp_path / "a" / "demo") == a
    (tmp_path / "empty").mkdir()
    write_demo(tmp_path / "empty", **SMALL)
    assert not list((tmp_path / "empty").iterdir())


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(10))

    def stop(*args: object) -> Image.Image:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return draw_item(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(demo, "draw_item", stop)
    with pytest.raises(KeyboardInterrupt):
        write_demo(tmp_path / "demo", **SMALL)
    assert not list(tmp_path.iterdir())


def test_a_killed_write_is_not_taken_for_a_dataset(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from recbole_mm.data.demo import write_demo; write_demo(Path({str(tmp_path / 'demo')!r}))"
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    until = time.monotonic() + 30
    while not list(tmp_path.glob(".demo.*.tmp/demo/images/*")) and time.monotonic() < until:
        time.sleep(0.01)
    child.kill()
    child.wait()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".demo.")
    write_demo(tmp_path / "demo", **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]
    assert len(contents(tmp_path / "demo")) == 63


def test_two_writers_at_once(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            write_demo(tmp_path / "demo", **SMALL)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and [p.name for p in tmp_path.iterdir()] == ["demo"]
    write_demo(tmp_path / "alone" / "demo", **SMALL)
    assert contents(tmp_path / "demo") == contents(tmp_path / "alone" / "demo")


@pytest.mark.parametrize(("n_users", "n_items"), [(1, 40), (3, 40), (5, 120), (40, 50)])
def test_small_shops_keep_the_split(tmp_path: Path, n_users: int, n_items: int) -> None:
    write_demo(tmp_path / "demo", n_users=n_users, n_items=n_items)
    truth = json.loads((tmp_path / "demo" / "truth.json").read_text())
    for history in histories(tmp_path / "demo").values():
        train, valid, _ = recbole_counts(len(history))
        assert not any(truth["items"][i]["cold"] for i in history[: train + valid])


def test_too_few_items(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="40 or more"):
        write_demo(tmp_path / "demo", n_items=39)
