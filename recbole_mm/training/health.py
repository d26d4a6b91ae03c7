"""Numbers that tell a slow start from training that goes wrong: collapsed items, an encoder without gradients, ids that drown content."""

import math
import statistics
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

PAIRS = 4096
ALIKE = 0.99
"""The mean cosine from which items count as all alike."""
SILENT = 0.01
"""A part of the score whose spread is less than this share of the largest one's has no say."""


def mean_cosine(rows: Tensor) -> float:
    """The mean cosine similarity over all pairs of different rows of an (n, d) tensor; 1 where all items look alike (collapse)."""
    rows, n = functional.normalize(rows.float(), dim=-1), len(rows)
    total = rows.sum(0)
    return float((total @ total - (rows * rows).sum()) / max(1, n * (n - 1)))


@torch.no_grad()
def health_of(model, gradient_norms: Sequence[Tensor] = ()) -> dict[str, object]:
    """Measures a model that has just been evaluated.

    Args:
        model: a FeatureModel.
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
    if not model.score_parts():
        return {}
    draw = torch.Generator().manual_seed(0)
    users, items = (torch.randint(1, n, (PAIRS,), generator=draw).to(model.device) for n in (model.n_users, model.n_items))
    return {name: float(scores.std()) for name, scores in model.part_scores(users, items).items()}


def health_values(health: Mapping[str, object]) -> dict[str, float]:
    """What ``health_of`` measured under one name each, as TensorBoard takes it: ``cosine_<modality>``, ``gradient_norm``,
    ``spread_<part>``."""
    values = {f"cosine_{modality}": value for modality, value in health.get("cosines", {}).items()}
    if health.get("gradient_norm") is not None:
        values["gradient_norm"] = health["gradient_norm"]
    return values | {f"spread_{part}": value for part, value in health.get("spreads", {}).items()}


def alarms(health: Mapping[str, object]) -> list[str]:
    """What is wrong with a model, in a few words each; [] for a sound one."""
    spreads = health.get("spreads", {})
    found = [f"! {modality}s look alike: cosine {value:.3f}" for modality, value in health.get("cosines", {}).items() if value > ALIKE]
    found += ["! no gradient reaches the encoder"] if health.get("gradient_norm") == 0 else []
    return found + [f"! {part} has no say" for part, value in spreads.items() if value < SILENT * max(spreads.values())]


def health_line(health: Mapping[str, object]) -> str:
    """Writes what ``health_of`` measured as one line for the log."""
    norm, spreads = health["gradient_norm"], health["spreads"]
    parts = [f"mean cosine of items: {_listed_values(health['cosines'])}"]
    parts += [f"encoder gradient norm: {norm:.3g}"] if norm is not None else []
    parts += [f"spread of scores: {_listed_values(spreads)}"] if spreads else []
    return f"health [{'; '.join(parts)}]"


def _listed_values(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())
