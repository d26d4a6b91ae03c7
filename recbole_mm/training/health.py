"""Numbers that tell a slow start from training that goes wrong: collapsed items, an encoder without gradients, ids that drown content."""

import math
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

PAIRS = 4096


def mean_cosine(rows: Tensor) -> float:
    """The mean cosine similarity over all pairs of different rows of an (n, d) tensor; 1 where all items look alike (collapse)."""
    rows, n = functional.normalize(rows.float(), dim=-1), len(rows)
    total = rows.sum(0)
    return float((total @ total - (rows * rows).sum()) / max(1, n * (n - 1)))


@torch.no_grad()
def health_of(model, gradient_norms: Sequence[Tensor] = ()) -> dict[str, object]:
    """Measures a model that has just been evaluated.

    Args:
        model: a MultiModalRecommender.
        gradient_norms: the norm of the encoder's gradients in each step of the epoch, a scalar each.

    Returns:
        ``cosines``: modality -> ``mean_cosine`` of the items' features; ``gradient_norm``: the mean of the given norms without those of
        steps in which a scaled loss overflowed, None where no others are left; ``spreads``: see ``score_spreads``. {} for a model without
        item features.
    """
    features = model.item_features
    if features is None:
        return {}
    cosines = {m: mean_cosine(rows[features.present(m)]) for m, rows in features.table().items()}
    norms = [norm for norm in torch.stack(list(gradient_norms)).tolist() if math.isfinite(norm)] if gradient_norms else []
    norm = statistics.fmean(norms) if norms else None
    return {"cosines": cosines, "gradient_norm": norm, "spreads": score_spreads(model)}


@torch.no_grad()
def score_spreads(model) -> dict[str, float]:
    """The standard deviation of each part of the score (``model.score_parts``) over random pairs of a user and an item. A part whose
    spread is small beside another's has no say in the ranking.

    Returns:
        part -> standard deviation; {} for a model that names no parts.
    """
    parts = model.score_parts()
    if not parts:
        return {}
    users, items = model.final_embeddings()
    draw = torch.Generator().manual_seed(0)
    u, i = (torch.randint(1, len(table), (PAIRS,), generator=draw).to(table.device) for table in (users, items))
    return {name: float((users[u, part] * items[i, part]).sum(-1).std()) for name, part in parts.items()}


def health_line(health: dict) -> str:
    """Writes what ``health_of`` measured as one line for the log."""
    norm, spreads = health["gradient_norm"], health["spreads"]
    parts = [f"mean cosine of items: {_listed_values(health['cosines'])}"]
    parts += [f"encoder gradient norm: {norm:.3g}"] if norm is not None else []
    parts += [f"spread of scores: {_listed_values(spreads)}"] if spreads else []
    return f"health [{'; '.join(parts)}]"


def _listed_values(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())
