"""Item features of a trained model, replaced for a while by ones that say less or nothing of the item."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from recbole_mm.feature import ItemFeatures
from recbole_mm.feature.projection import project_rows
from recbole_mm.model.feature_model import FeatureModel
from recbole_mm.model.trained import TrainedFeatures

ZEROS, MEAN, ANOTHER = "zeros", "mean", "another item"
REPLACEMENTS = (ZEROS, MEAN, ANOTHER)


@contextmanager
def replaced(model: FeatureModel, modalities: Sequence[str], by: str, seed: int = 0) -> Iterator[None]:
    """Replaces features of a model, in evaluation mode, within a ``with``.

    What the encoder, the files or ``TrainedFeatures`` give is replaced, so the model itself does not notice. Graphs between items are made
    anew from what is there instead. Where all items have the same, none has a neighbour in the graph of that modality.

    Args:
        modalities: those to replace, all in the same way.
        by: ``zeros``; the ``mean`` over the items that have the modality; or ``another item``, whose features each of these gets: the same
            one in all modalities, unless items lack some.
        seed: of the order in which features are passed on.
    """
    features = model.item_features
    here = {m: features.present(m) for m in features.modalities}
    nowhere = {m: torch.zeros_like(present) for m, present in here.items() if m in modalities and by != ANOTHER}
    with ExitStack() as changes:
        for source in [module for module in model.modules() if isinstance(module, ItemFeatures | TrainedFeatures)]:
            with torch.no_grad():
                rows = {m: _replace(table, here[m], by, seed) if m in modalities else table for m, table in source.table().items()}
            changes.enter_context(_giving(source, rows))
        changes.enter_context(_having(features, present=(here | nowhere).__getitem__))
        model.forget_features()
        try:
            yield
        finally:
            model.forget_features()


def _giving(source: nn.Module, rows: Mapping[str, Tensor]):
    """Lets a source of features give these rows of the catalogue, {modality: (n_items, d)}."""

    def projected(maps: Mapping[str, tuple], item_ids: Tensor | None = None, fresh_ids: Tensor | None = None) -> dict[str, Tensor]:
        return {m: project_rows(table, item_ids, *maps[m]) for m, table in rows.items()}

    table, forward = (lambda fresh_ids=None: dict(rows)), (lambda item_ids: {m: table[item_ids] for m, table in rows.items()})
    given = {"table": table, "forward": forward, "projected": projected}
    if isinstance(source, ItemFeatures) and source.centres:
        centred = {m: source.directions(m, values) for m, values in rows.items()}
        given["centred"] = lambda fresh_ids=None: dict(centred)
    return _having(source, **given)


@contextmanager
def _having(module: nn.Module, **methods) -> Iterator[None]:
    """A module with other methods within a ``with``."""
    vars(module).update(methods)
    try:
        yield
    finally:
        for name in methods:
            del vars(module)[name]


def _replace(rows: Tensor, present: Tensor, by: str, seed: int) -> Tensor:
    """What stands in for the rows (n_items, d) of a modality that the items ``present`` (n_items,) have."""
    if by == ZEROS:
        return torch.zeros_like(rows)
    if by == MEAN:
        return rows[1:][present[1:]].mean(0).expand_as(rows).clone()
    return rows[_others(present, seed).to(rows.device)]


def _others(present: Tensor, seed: int) -> Tensor:
    """The id of another item for each that has a modality, (n_items,): the next one in a random circle. The rest keep their own."""
    order = np.random.default_rng(seed).permutation(len(present))
    circle = order[present.cpu().numpy()[order] & (order > 0)]
    ids = np.arange(len(present))
    ids[circle] = np.roll(circle, 1)
    return torch.from_numpy(ids)
