"""What does a trained model really use? Its metrics with the features of one modality replaced."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.compat.recbole_modules import no_tensorboard
from recbole_mm.data.tokens import user_tokens
from recbole_mm.errors import InputError
from recbole_mm.evaluation.per_user import kept_per_user, rows_of
from recbole_mm.model.feature_model import FeatureModel
from recbole_mm.parallel.randomness import random_state, set_random_state
from recbole_mm.quick_start import load_data_and_model
from recbole_mm.results.replacement import REPLACEMENTS, replaced
from recbole_mm.results.statistics import Comparison, compare_users, holm
from recbole_mm.terminal import Bar
from recbole_mm.training.build import build_trainer
from recbole_mm.training.trained_data import REFIT

ALL = "all"
"""Stands for all modalities at once."""
logger = getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """What an evaluation gave.

    Attributes:
        result: metric -> value.
        users: a row per user (by token) and a column per metric that is a mean over users; empty where items are not ranked.
    """

    result: Mapping[str, float]
    users: pd.DataFrame


@dataclass(frozen=True)
class KnockOut:
    """The metrics of a model, and those with a modality replaced.

    Attributes:
        model, dataset, part, metric: what was measured where; the metric is the one that chose the epoch.
        untouched: with all features as they are.
        replaced: (modality or ``all``, what it is replaced by) -> what that gave.
    """

    model: str
    dataset: str
    part: str
    metric: str
    untouched: Measured
    replaced: Mapping[tuple[str, str], Measured]

    def table(self, metrics: Sequence[str] | None = None) -> pd.DataFrame:
        """A row per metric, modality and replacement.

        Args:
            metrics: their names; None for all.

        Returns:
            The columns ``modality``, ``replaced_by``, ``metric``, ``value``, ``difference`` to the untouched value, ``relative`` (the
            same as a share of that value; NaN where it is 0), ``low`` and ``high`` (a bootstrap interval of the difference), ``p_t`` and
            ``p_wilcoxon`` (paired over users, corrected by Holm over the replacements). The last four are NaN for metrics that are no
            means over users.
        """
        return pd.concat([self._rows(metric) for metric in metrics or self.untouched.result], ignore_index=True)

    def _rows(self, metric: str) -> pd.DataFrame:
        before, values = self.untouched.result[metric], [measured.result[metric] for measured in self.replaced.values()]
        table = pd.DataFrame(self.replaced.keys(), columns=["modality", "replaced_by"]).assign(metric=metric, value=values)
        table["difference"] = table["value"] - before
        table["relative"] = table["difference"] / before if before else np.nan
        found = self._over_users(metric)
        table[["low", "high"]] = [one.interval for one in found] or np.nan
        for name in ("p_t", "p_wilcoxon"):
            table[name] = holm([getattr(one, name) for one in found]) if found else np.nan
        return table

    def _over_users(self, metric: str) -> list[Comparison]:
        """The replaced against the untouched; [] for a metric that is no mean over users."""
        if metric not in self.untouched.users:
            return []
        values = pd.DataFrame({key: measured.users[metric] for key, measured in self.replaced.items()})
        untouched = {key: self.untouched.users[metric] for key in self.replaced}
        return compare_users(values, pd.DataFrame(untouched))


def knock_out(checkpoint: str | Path, part: str = "test", show_progress: bool = False) -> KnockOut:
    """Measures a checkpoint's model with each modality, and with all of them, replaced in each way (see ``replaced``).

    Args:
        part: ``test`` or ``valid``.

    Raises:
        InputError: there is no such checkpoint, it does not fit the data set, its model reads no features, or there is no such part.
    """
    if REFIT in load_checkpoint(checkpoint, pickled=True):
        logger.warning(f"{checkpoint} was trained on all interactions (refit: True): its metrics are too good, replaced or not")
    config, model, dataset, train_data, valid_data, test_data = load_data_and_model(checkpoint)
    if not isinstance(model, FeatureModel) or model.item_features is None:
        raise InputError(f"{config['model']} in {checkpoint} reads no item features: there is nothing to replace")
    data, modalities = {"valid": valid_data, "test": test_data}[part], model.item_features.modalities
    if not data:
        raise InputError(f"the split of {checkpoint} has no {part} part")
    config["log_wandb"] = False
    with no_tensorboard():
        trainer = build_trainer(config, model)
    trainer.eval_collector.data_collect(train_data)
    names, drawn_from = np.array(user_tokens(dataset), dtype=object), random_state()

    def measure() -> Measured:
        set_random_state(drawn_from)
        with kept_per_user(trainer) as per_user:
            result = trainer.evaluate(data, load_best_model=False)
        users = pd.DataFrame(per_user.metrics, index=names[rows_of(data)[0].cpu().numpy()] if len(per_user) else [])
        users = users.groupby(level=0, sort=False).mean()  # of a sequential model, a user may have several rows
        return Measured({metric: float(value) for metric, value in result.items()}, users)

    model.eval()
    groups = {**{m: [m] for m in modalities}, **({ALL: list(modalities)} if len(modalities) > 1 else {})}
    untouched, found = measure(), {}
    for name, by in Bar([(name, by) for name in groups for by in REPLACEMENTS], "Replacing features", disable=not show_progress):
        with replaced(model, groups[name], by, config["seed"]):
            found[name, by] = measure()
    return KnockOut(config["model"], config["dataset"], part, str(config["valid_metric"]).lower(), untouched, found)
