"""The demo shop: a small synthetic RecBole data set with pictures and texts, in which the tastes of the users are known.

The colour, pattern and shape of an item are only in its picture; its material and use are only in its text. A third of the users
chooses by colour and pattern, a third by material and use, and a third by both. See `write_demo`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from recbole_mm.data.demo_pictures import COLOURS, PATTERNS, SHAPES, draw_item
from recbole_mm.data.demo_texts import MATERIALS, USES, Factors, describe
from recbole_mm.disk import whole_folder

TASTES = ("visual", "textual", "both")
TASTE_SHARE = 0.88
"""The share of a user's interactions that follow the taste; the rest is noise."""
SHARPNESS = 4.5
"""An item with one more matching factor is exp(SHARPNESS) times as likely."""
COLD_SHARE, COLD_IN_TEST = 0.1, 0.5
MIN_WARM, MIN_COLD = 4, 2

Style = dict[str, list[str]]


def split_counts(n: int) -> tuple[int, int, int]:
    """The sizes of train, valid and test that RecBole gives a user with `n` interactions under the ratios 8:1:1."""
    counts = [n - 2 * int(0.1 * n), int(0.1 * n), int(0.1 * n)]
    for part in (2, 1):
        if counts[0] > 1 and 0 < 0.1 * n < 1:
            counts[part] += 1
            counts[0] -= 1
    return counts[0], counts[1], counts[2]


def affinity(style: Style | None, item: Factors) -> int:
    """How many of the factors named in a style (none for no style) the item satisfies."""
    return sum(item[factor] in wanted for factor, wanted in (style or {}).items())


def _cells(rng: np.random.Generator, n: int, first: list[str], second: list[str]) -> list[tuple[str, str]]:
    """A pair of values for each of `n` items, such that all pairs are about equally frequent."""
    cells = rng.permutation(np.resize(np.arange(len(first) * len(second)), n)).tolist()
    return [(first[cell // len(second)], second[cell % len(second)]) for cell in cells]


def _draw_items(rng: np.random.Generator, n: int) -> dict[str, dict]:
    """Draws the items: token -> factors, and whether the item is cold."""
    looks, words = _cells(rng, n, list(COLOURS), list(PATTERNS)), _cells(rng, n, list(MATERIALS), list(USES))
    shapes = rng.choice(list(SHAPES), n).tolist()
    cold = set(rng.permutation(n)[: round(COLD_SHARE * n)].tolist())
    return {
        f"sku-{i + 1:04d}": {
            "colour": looks[i][0], "pattern": looks[i][1], "shape": shapes[i],
            "material": words[i][0], "use": words[i][1], "cold": i in cold,
        }
        for i in range(n)
    }  # fmt: skip


def _styles(rng: np.random.Generator, many: tuple[str, list[str]], one: tuple[str, list[str]]) -> list[Style]:
    """Draws two styles for each value of the factor `one`. Each also has two values of the factor `many`, which the two do not share."""
    styles: list[Style] = []
    for value in one[1]:
        order = rng.permutation(many[1]).tolist()
        styles += [{many[0]: sorted(order[k : k + 2]), one[0]: [value]} for k in (0, 2)]
    return styles


def _draw_users(rng: np.random.Generator, n: int) -> dict[str, dict]:
    """Draws the users: token -> taste; every kind of taste is equally frequent."""
    visual = _styles(rng, ("colour", list(COLOURS)), ("pattern", list(PATTERNS)))
    textual = _styles(rng, ("material", list(MATERIALS)), ("use", list(USES)))
    users = {}
    for i, taste in enumerate(rng.permutation(np.resize(TASTES, n)).tolist()):
        look, words = visual[rng.integers(len(visual))], textual[rng.integers(len(textual))]
        users[f"u{i + 1:03d}"] = {
            "taste": taste,
            "visual_style": None if taste == "textual" else look,
            "textual_style": None if taste == "visual" else words,
        }
    return users


def _choose(rng: np.random.Generator, liking: np.ndarray, popularity: np.ndarray, pool: np.ndarray, count: int) -> np.ndarray:
    """Draws distinct items of `pool`: most of them in proportion to exp(liking) and popularity, the rest by popularity alone."""
    by_taste = rng.binomial(count, TASTE_SHARE)
    keys = (SHARPNESS * liking + popularity)[pool] + rng.gumbel(size=len(pool))
    chosen = pool[np.argsort(-keys)[:by_taste]]
    rest = np.setdiff1d(pool, chosen)
    keys = popularity[rest] + rng.gumbel(size=len(rest))
    return np.concatenate([chosen, rest[np.argsort(-keys)[: count - by_taste]]])


def _top_up(rng: np.random.Generator, owned: np.ndarray, liking: np.ndarray, pool: np.ndarray, minimum: int) -> None:
    """Gives each item of `pool` a minimum of owners, who give up items that have owners to spare, at the least cost in liking."""
    for item in pool.tolist():
        while owned[:, item].sum() < minimum:
            price = np.where(owned & (owned.sum(axis=0) > minimum), liking, np.inf)
            gain = np.where(owned[:, item], -np.inf, liking[:, item] - price.min(axis=1)) + rng.uniform(0.0, 0.1, len(owned))
            user = int(gain.argmax())
            if not np.isfinite(gain[user]):
                break
            owned[user, price[user].argmin()] = False
            owned[user, item] = True


def _histories(rng: np.random.Generator, users: dict[str, dict], items: dict[str, dict]) -> list[list[int]]:
    """The item numbers of each user in the order of time. Cold items come last and fall into the test part."""
    liking = np.array([[affinity(u["visual_style"], i) + affinity(u["textual_style"], i) for i in items.values()] for u in users.values()])
    cold = np.array([item["cold"] for item in items.values()])
    popularity = rng.normal(0.0, 0.4, len(items))
    lengths = np.clip(rng.normal(20.0, 4.0, len(users)).round(), 12, 30).astype(int)
    tests = np.array([split_counts(int(n))[2] for n in lengths])
    arrivals = rng.binomial(tests, COLD_IN_TEST)
    owned = [np.zeros(liking.shape, dtype=bool) for _ in range(2)]
    pools = [np.flatnonzero(~cold), np.flatnonzero(cold)]
    for part, counts in enumerate((lengths - arrivals, arrivals)):
        for user, count in enumerate(counts.tolist()):
            owned[part][user, _choose(rng, liking[user], popularity, pools[part], count)] = True
        _top_up(rng, owned[part], liking, pools[part], (MIN_WARM, MIN_COLD)[part])
    return _in_time(rng, owned[0], owned[1])


def _in_time(rng: np.random.Generator, warm: np.ndarray, cold: np.ndarray) -> list[list[int]]:
    """Orders the items of each user: cold items last, and every warm item in the training part of at least one owner."""
    keeper = np.where(warm, rng.uniform(size=warm.shape), -1.0).argmax(axis=0)
    histories = []
    for user in range(len(warm)):
        new = rng.permutation(np.flatnonzero(cold[user])).tolist()
        old = rng.permutation(np.flatnonzero(warm[user])).tolist()
        later = len(old) - split_counts(len(old) + len(new))[0]
        held = [item for item in old if keeper[item] != user][:later]
        histories.append([item for item in old if item not in held] + held + new)
    return histories


def _write_inter(rng: np.random.Generator, path: Path, users: list[str], items: list[str], histories: list[list[int]]) -> None:
    """Writes the interactions. Gaps of an hour or more stay apart in RecBole's 32-bit floats."""
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user, history in zip(users, histories, strict=True):
        stamps = 1_672_531_200 + rng.integers(0, 90 * 86400) + np.cumsum(rng.integers(3600, 12 * 86400, len(history)))
        lines += [f"{user}\t{items[item]}\t{stamp}" for item, stamp in zip(history, stamps.tolist(), strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _fill(folder: Path, seed: int, n_users: int, n_items: int) -> None:
    """Writes all files of the demo into an existing empty folder."""
    rng = np.random.default_rng(seed)
    items, users = _draw_items(rng, n_items), _draw_users(rng, n_users)
    _write_inter(rng, folder / "demo.inter", list(users), list(items), _histories(rng, users, items))
    lines = ["item_id:token\ttitle:token_seq\tdescription:token_seq\timage:token"]
    lines += ["\t".join([token, *describe(rng, item), f"{token}.jpg"]) for token, item in items.items()]
    (folder / "demo.item").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    truth = {"seed": seed, "users": users, "items": items}
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8", newline="\n")
    (folder / "images").mkdir()
    for token, item in items.items():
        picture = draw_item(rng, item["colour"], item["pattern"], item["shape"])
        picture.save(folder / "images" / f"{token}.jpg", quality=85)


def write_demo(folder: Path, seed: int = 2026, n_users: int = 300, n_items: int = 400) -> None:
    """Writes the demo shop as a RecBole data set folder, unless the folder exists.

    The folder appears whole or not at all (see ``whole_folder``), whether the process is killed or another one writes it too.

    Args:
        folder: the data set folder itself; RecBole finds its files if it is called `demo`.
        seed: the same seed gives the same files.
        n_users: number of users.
        n_items: number of items, at least 40; a tenth of them are cold.
    """
    if n_items < 40:
        raise ValueError(f"n_items is {n_items}: the demo needs 40 or more, or its users run out of items")
    folder = Path(folder)
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with whole_folder(folder) as part:
            _fill(part, seed, n_users, n_items)
    except OSError:
        if not folder.is_dir():  # otherwise another process was faster
            raise
