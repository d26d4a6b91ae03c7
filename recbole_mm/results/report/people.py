"""Users as a report shows them: what they had, what they then took, and what was recommended."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recbole_mm.results.records import metrics_per_user
from recbole_mm.results.report.loaded_run import LoadedRun
from recbole_mm.results.report.pictures import Item, Pictures

WELL, BADLY = 3, 3
TOP, SHOWN = 10, 16


@dataclass(frozen=True)
class Ranking:
    """What one model recommends to a user."""

    model: str
    items: list[Item]
    summary: str


@dataclass(frozen=True)
class Person:
    """A user: the latest items before the test, those of the test, and a ranking per model."""

    user: str
    served: str
    n_before: int
    before: list[Item]
    taken: list[Item]
    rankings: list[Ranking]


def people(runs: Sequence[LoadedRun], names: Sequence[str], pictures: Pictures) -> list[Person]:
    """Some users whom the first run serves well, and some whom it serves badly, drawn with its seed.

    Args:
        runs: one or two, on the same split, and what they are called.
    """
    first = runs[0]
    metric = judged_by(first)
    well, badly = _drawn(first.users["user"].to_numpy(), first.users[metric].to_numpy(), first.record.seed)
    return [_person(user, served, runs, names, metric, pictures) for served, users in (("well", well), ("badly", badly)) for user in users]


def judged_by(run: LoadedRun) -> str:
    """The metric by which a user is well or badly served: ndcg with the largest k, or else the one that chose the epoch."""
    names = metrics_per_user(run.users)
    ndcg = [name for name in names if name.startswith("ndcg@")]
    return max(ndcg, key=lambda name: int(name.partition("@")[2])) if ndcg else next(
        (name for name in names if name == run.record.valid_metric), names[0]
    )  # fmt: skip


def _drawn(users: np.ndarray, values: np.ndarray, seed: int) -> tuple[list[str], list[str]]:
    """Draws from the quarter with the best values above 0, and from the quarter with the worst."""
    order, rng = np.argsort(-values, kind="stable"), np.random.default_rng(seed)
    quarter = max(1, len(users) // 4)
    best, worst = [place for place in order[:quarter] if values[place] > 0], order[quarter:][-quarter:]
    draw = [sorted(rng.choice(some, min(n, len(some)), replace=False), key=list(order).index) for some, n in
            ((best, WELL), (worst, BADLY)) if len(some)]  # fmt: skip
    found = [[str(users[place]) for place in places] for places in draw]
    return (found[0], found[1]) if len(found) == 2 else (found[0], []) if best else ([], found[0] if found else [])


def _person(user: str, served: str, runs: Sequence[LoadedRun], names: Sequence[str], metric: str, pictures: Pictures) -> Person:
    first = runs[0]
    before, taken = first.before(user), first.taken(user)
    return Person(
        user, served, len(before), [pictures.item(item) for item in before[::-1][:SHOWN]],
        [pictures.item(item, _where(runs, names, user, place)) for place, item in list(enumerate(taken))[:SHOWN]],
        [_ranking(run, name, user, set(taken), metric, pictures) for run, name in zip(runs, names, strict=True)],
    )  # fmt: skip


def _where(runs: Sequence[LoadedRun], names: Sequence[str], user: str, place: int) -> str:
    """At which ranks the models had an item that the user took."""
    if len(runs) == 1:
        return _rank(runs[0].ranks(user)[place])
    item = runs[0].taken(user)[place]
    found = []
    for run, name in zip(runs, names, strict=True):
        ranks = dict(zip(run.taken(user), run.ranks(user), strict=True))
        found.append(f"{name}: {_rank(ranks.get(item, 0))}")
    return ", ".join(found)


def _rank(rank: int) -> str:
    return f"rank {rank}" if rank else "not found"


def _ranking(run: LoadedRun, name: str, user: str, taken: set[str], metric: str, pictures: Pictures) -> Ranking:
    ranked = run.recommended[user]
    items = [pictures.item(item, hit=item in taken) for item in ranked[:TOP]]
    n = sum(item in taken for item in ranked)
    value = f"{metric} {run.value(user, metric):.3f}" if metric in run.users else ""
    return Ranking(name, items, f"{n} of {len(taken)} in the top {len(ranked)}" + (f", {value}" if value else ""))
