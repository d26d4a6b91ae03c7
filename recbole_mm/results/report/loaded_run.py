"""A finished run with its model at hand: what its record says, and what the model ranks in the test."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.compat.recbole_modules import no_tensorboard
from recbole_mm.data.tokens import item_tokens, user_tokens
from recbole_mm.evaluation.per_user import kept_per_user, rows_of
from recbole_mm.evaluation.popularity import training_counts
from recbole_mm.quick_start import load_data_and_model
from recbole_mm.results.records import Record, read_record
from recbole_mm.serving.parts import run_parts
from recbole_mm.serving.recommender import Recommender
from recbole_mm.training.build import build_trainer
from recbole_mm.training.record import users_table
from recbole_mm.training.trained_data import REFIT

logger = getLogger(__name__)


@dataclass
class LoadedRun:
    """A run whose checkpoint has been loaded, and evaluated once more.

    Attributes:
        record: of the run.
        config: of the run.
        recommender: its model in use.
        counts: how many training interactions each item has, by token.
        valid: a row per user of the validation part (by token) and a column per metric; None where there is none.
        users: a row per test user (see ``training.record.users_table``), by the evaluation of now; empty where items are not ranked.
        recommended: user -> the items that were ranked first in the test, the best first. A user whom a sequential model gives several
            rankings has the first of them here.
        refitted: whether the checkpoint was trained on the test's interactions as well, so that what it ranks is too good.
    """

    record: Record
    config: object
    recommender: Recommender
    counts: Mapping[str, int]
    valid: pd.DataFrame | None
    users: pd.DataFrame
    recommended: Mapping[str, list[str]] = field(default_factory=dict)
    refitted: bool = False

    @classmethod
    def load(cls, checkpoint: str | Path, show_progress: bool = False) -> "LoadedRun":
        """Loads a checkpoint, and evaluates it on validation and test.

        Raises:
            InputError: there is no such checkpoint or no record beside it, or it does not fit the data set that is there now.
        """
        stored = load_checkpoint(checkpoint, pickled=True)
        record = read_record(checkpoint)
        config, model, dataset, *loaders = load_data_and_model(checkpoint)
        training, valid_data, test_data = loaders
        model.eval()
        config["log_wandb"] = False
        with no_tensorboard():
            trainer = build_trainer(config, model)
        found = {}
        for name, data in (("valid", valid_data), ("test", test_data)):
            if data:
                with kept_per_user(trainer) as found[name]:
                    trainer.evaluate(data, load_best_model=False, show_progress=show_progress)
        refitted, names = REFIT in stored, np.array(user_tokens(dataset), dtype=object)
        valid, users, recommended = None, pd.DataFrame(), {}
        if len(found.get("valid", ())) and not refitted:
            valid = pd.DataFrame(found["valid"].metrics, index=names[rows_of(valid_data)[0].cpu().numpy()]).groupby(level=0).mean()
        if len(found.get("test", ())):
            users = users_table(model, tuple(loaders), found["test"])
            items = np.array(item_tokens(dataset), dtype=object)
            for user, row in zip(names[rows_of(test_data)[0].cpu().numpy()], found["test"].recommended.numpy(), strict=True):
                recommended.setdefault(user, items[row].tolist())
        counts = dict(zip(item_tokens(dataset), training_counts(training._dataset).tolist(), strict=True))
        return cls(record, config, Recommender(run_parts(config, model, dataset, training._dataset)), counts, valid, users,
                   recommended, refitted)  # fmt: skip

    def test_users(self) -> pd.DataFrame:
        """The table of users that the run left behind; the one of now where that is gone."""
        return self.record.users() if self.record.users_file.is_file() else self.users

    @property
    def draws_candidates(self) -> bool:
        """Whether the test ranks among some candidates that are drawn, not among all items."""
        mode = self.config["eval_args"]["mode"]
        return (mode["test"] if isinstance(mode, Mapping) else mode) != "full"

    def before(self, user: str) -> list[str]:
        """What a user had before the test, the oldest first."""
        taken = set(self.taken(user))
        return [item for item in self.recommender.history(user) if item not in taken]

    def taken(self, user: str) -> list[str]:
        """What a user took in the test."""
        return list(self._by_user.loc[user, "items"])

    def ranks(self, user: str) -> list[int]:
        """The ranks of what the user took, in the same order; 0 beyond the end of the list."""
        return list(map(int, self._by_user.loc[user, "ranks"]))

    def value(self, user: str, metric: str) -> float:
        """A metric of a user."""
        return float(self._by_user.loc[user, metric])

    @property
    def _by_user(self) -> pd.DataFrame:
        if not hasattr(self, "_indexed"):
            self._indexed = self.users.set_index("user")
        return self._indexed

    def agrees(self) -> bool:
        """Whether the evaluation of now gives the metrics of the record. Candidates that are sampled are others."""
        means = self.users[[name for name in self.users if "@" in name]].mean()
        return all(abs(means[name] - value) < 2e-3 for name, value in (self.record.test or {}).items() if name in means)
