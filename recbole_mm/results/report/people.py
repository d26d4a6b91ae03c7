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
    """A user: some items from before the test and from the test, how many of both there are, and a ranking per model."""

    user: str
    served: str
    n_before: int
    before: list[Item]
    n_taken: int
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


def _drawn(users: np.ndarray, values: np.ndarray, seed: int) -> list[list[str]]:
    """Draws from the quarter with the best values, as far as they are above 0, and from the quarter with the worst."""
    order, rng, quarter = np.argsort(-values, kind="stable"), np.random.default_rng(seed), max(1, len(users) // 4)
    best, worst = order[:quarter], order[quarter:][-quarter:]
    quarters = ((best[values[best] > 0], WELL), (worst, BADLY))
    return [[str(users[places[n]]) for n in sorted(rng.choice(len(places), min(most, len(places)), replace=False))]
            for places, most in quarters]  # fmt: skip


def _person(user: str, served: str, runs: Sequence[LoadedRun], names: Sequence[str], metric: str, pictures: Pictures) -> Person:
    first = runs[0]
    before, taken = first.before(user), first.taken(user)
    return Person(
        user, served, len(before), [pictures.item(item) for item in before[::-1][:SHOWN]], len(taken),
        [pictures.item(item, _where(runs, user, place)) for place, item in list(enumerate(taken))[:SHOWN]],
        [_ranking(run, name, user, set(taken), metric, pictures) for run, name in zip(runs, names, strict=True)],
    )  # fmt: skip


def _where(runs: Sequence[LoadedRun], user: str, place: int) -> str:
    """At which ranks the models had an item that the user took, in the order of the models."""
    item, found = runs[0].taken(user)[place], []
    for run in runs:
        ranks = dict(zip(run.taken(user)[::-1], run.ranks(user)[::-1], strict=True))
        found.append(_rank(ranks.get(item, 0)))
    return " · ".join(found)


def _rank(rank: int) -> str:
    return f"rank {rank}" if rank else "not found"


def _ranking(run: LoadedRun, name: str, user: str, taken: set[str], metric: str, pictures: Pictures) -> Ranking:
    ranked = run.recommended[user]
    items = [pictures.item(item, hit=item in taken) for item in ranked[:TOP]]
    n = sum(item in taken for item in ranked)
    value = f"{metric} {run.value(user, metric):.3f}" if metric in run.users else ""
    return Ranking(name, items, f"{n} of {len(taken)} in the top {len(ranked)}" + (f", {value}" if value else ""))
