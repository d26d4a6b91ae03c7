"""Several processes, as torchrun starts them, share the users that recommendations are made for."""

from collections.abc import Sequence

import pandas as pd

from recbole_mm.parallel.ranks import Ranks
from recbole_mm.serving.recommender import Recommender
from recbole_mm.terminal import Bar, end_bars

AT_LEAST = 1024
"""How many users a call ranks for at least, so that it is worth its while."""


def recommend_together(
    recommender: Recommender,
    users: Sequence[str],
    k: int,
    exclude_seen: bool = True,
    candidates: Sequence[str] | None = None,
    ranks: Ranks | None = None,
) -> pd.DataFrame | None:
    """``Recommender.recommend``, of which each process does a part, with a progress bar. All of them must call this, with the same
    arguments. The users are cut where one process alone would cut them, so that the scores are the same to the last digit.

    Args:
        ranks: the processes; None for this one alone.

    Returns:
        What ``Recommender.recommend`` returns in the first process, and None in the others.
    """
    ranks = ranks or Ranks()
    recommender.parts.items.take_features()  # an encoder that was trained encodes the items, each process a part
    recommender.user_ids(users)  # so that all processes complain, and none waits for one that has
    found = [recommender.recommend([], k, exclude_seen, candidates)]
    size = recommender.users_at_once * max(1, AT_LEAST // recommender.users_at_once)
    starts = range(0, len(users), size)
    try:
        for start in Bar(starts[ranks.slice(len(starts))], "Recommending", disable=ranks.rank > 0):
            found.append(recommender.recommend(users[start : start + size], k, exclude_seen, candidates))
    finally:
        end_bars()
    parts = [part for parts in ranks.bring(found[1:]) for part in parts] or found
    return pd.concat(parts, ignore_index=True) if ranks.rank == 0 else None
