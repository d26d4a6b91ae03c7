"""The best items by the product of vectors, exactly, over very many items."""

import torch
from torch import Tensor

from recbole_mm.serving.ranking import GROUP, best, found, members, top

AT_ONCE = (256, 64 * GROUP)
"""Queries and items whose product stays in a processor's cache (2 MB)."""
Found = tuple[Tensor, Tensor, Tensor]


def best_products(
    queries: Tensor,
    items: Tensor,
    k: int,
    allowed: Tensor | None = None,
    banned: tuple[Tensor, Tensor] | None = None,
    at_once: tuple[int, int] = AT_ONCE,
) -> Found:
    """What ``best`` finds in ``queries @ items.T``, which never exists as a whole. Of each block of it the maxima of groups of items are
    kept; the scores in the best groups are computed again.

    Args:
        queries: float (n, d).
        items: float (m, d).
        allowed: bool (m,), which items may be found; None for all.
        banned: int64 (p,) each: the place of a query, and the row of an item that it must not find.
        at_once: how many queries and items make a block; of items a multiple of GROUP.

    Returns:
        The queries' places, the rows of the items and the scores, (q,) each, with q <= n * k.
    """
    places, rows = banned if banned is not None else (torch.zeros(0, dtype=torch.int64),) * 2
    allowed = torch.ones(len(items), dtype=torch.bool) if allowed is None else allowed
    if 2 * int(allowed.sum()) < len(items):
        chosen, kept = allowed.nonzero().squeeze(1), allowed[rows]
        banned = places[kept], torch.searchsorted(chosen, rows[kept])
        of_all, columns, values = best_products(queries, items[chosen], k, None, banned, at_once)
        return of_all, chosen[columns], values
    if len(queries) <= at_once[0]:
        return _of_few(queries, items, k, allowed, (places, rows), at_once)
    order = torch.argsort(places, stable=True)
    places, rows = places[order], rows[order]
    starts = range(0, len(queries), at_once[0])
    cuts, parts = torch.searchsorted(places, torch.tensor([*starts, len(queries)])).tolist(), []
    for start, first, last in zip(starts, cuts, cuts[1:], strict=False):
        own = places[first:last] - start, rows[first:last]
        some = _of_few(queries[start : start + at_once[0]], items, k, allowed, own, at_once)
        parts.append((some[0] + start, *some[1:]))
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _of_few(queries: Tensor, items: Tensor, k: int, allowed: Tensor, banned: tuple[Tensor, Tensor], at_once: tuple[int, int]) -> Found:
    """``best_products`` of queries that are few enough for a block. Of very few, or of few items, the whole product costs less."""
    if len(queries) <= at_once[0] // 16 or len(items) <= 2 * k * GROUP:
        scores = (queries @ items.T).masked_fill_(~allowed, -torch.inf)
        scores[banned] = -torch.inf
        return best(scores, k)
    groups = top(_group_maxima(queries, items, allowed, banned, at_once[1]), k)[1].sort(dim=1).values
    columns = members(groups)
    behind = columns >= len(items)
    columns = columns.masked_fill_(behind, 0)
    scores = torch.stack([items[own] @ query for own, query in zip(columns, queries, strict=True)])
    scores.masked_fill_(behind | ~allowed[columns], -torch.inf)
    places, rows = banned
    pairs, which = (groups[places] == (rows // GROUP).unsqueeze(1)).nonzero(as_tuple=True)
    scores[places[pairs], which * GROUP + rows[pairs] % GROUP] = -torch.inf
    values, chosen = top(scores, k)
    return found(values, columns.gather(1, chosen))


def _group_maxima(queries: Tensor, items: Tensor, allowed: Tensor, banned: tuple[Tensor, Tensor], at_once: int) -> Tensor:
    """The largest score of each query in each GROUP of items: (n, n_groups). Groups of none that may be found have -inf."""
    starts = torch.arange(0, len(items) + at_once, at_once)
    nowhere, order = (~allowed).nonzero().squeeze(1), torch.argsort(banned[1])
    places, rows = (part[order] for part in banned)
    cuts = [torch.searchsorted(ascending, starts).tolist() for ascending in (nowhere, rows)]
    block, columns = torch.empty(at_once, len(queries)), queries.T.contiguous()
    maxima = torch.empty(len(starts) - 1, at_once // GROUP, len(queries))
    for number, out in enumerate(maxima):
        start, (hidden, own) = number * at_once, (slice(*cut[number : number + 2]) for cut in cuts)
        part = items[start : start + at_once]
        torch.mm(part, columns, out=block[: len(part)])
        block[len(part) :] = -torch.inf
        block[nowhere[hidden] - start] = -torch.inf
        block[rows[own] - start, places[own]] = -torch.inf
        torch.amax(block.unflatten(0, (-1, GROUP)), 1, out=out)
    return maxima.flatten(0, 1).T.contiguous()
