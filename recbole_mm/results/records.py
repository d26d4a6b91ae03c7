"""The records that finished runs leave behind (see ``training.record``), read back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from logging import getLogger
from pathlib import Path

import duckdb
import pandas as pd

from recbole_mm.config.modalities import ModalitySources
from recbole_mm.errors import InputError, listed, one_line

FORMAT = 1
ENDINGS = (".json", ".users.parquet", ".pth")
KINDS = {
    "model": str, "dataset": str, "finished": str, "seconds": int | float, "asked": dict, "settings": dict, "data": dict,
    "valid_metric": str, "valid": dict | None, "test": dict | None, "versions": dict, "parts": dict, "popularity": dict,
    "cost": dict | None, "unlearned": dict | None,
}  # fmt: skip
DEFAULTS = {"parts": {}, "popularity": {}, "cost": None, "refit": None, "unlearned": None}
"""What the records of some runs lack."""
logger = getLogger(__name__)

Result = Mapping[str, float]


class NoRecord(InputError):
    """A file that is something else."""


@dataclass(frozen=True)
class Record:
    """A finished run.

    Attributes:
        stem: what the names of all its files begin with, wherever the folder lies now.
        when: it had finished, by the clock of this machine.
        model, dataset, seed: what was run on what.
        started, finished: times with their zone, as ISO 8601 has them; ``seconds`` lie between them.
        asked: the settings that were given, and ``settings``, all of them.
        data: ``fingerprint`` of the split's interactions, ``n_users``, ``n_items``, ``n_training``, ``n_valid``, ``n_test``.
        valid_metric, valid_metric_bigger, best_valid_score: what chose the epoch, and its best value; None without validation.
        valid, test: metric -> value, None where it is not finite; None where the split has no such part.
        parts: "warm" and "cold" -> the test's result, in runs with cold items.
        popularity: "valid" and "test" -> the result of the most popular items; {} where items are not ranked.
        cost: see ``CostAccount.report``; None for trainers of RecBole that keep no account.
        versions, machine: what it ran with, and on.
        refit: what the checkpoint was trained on anew, if it was.
        unlearned: how many ``users``, ``items`` and ``interactions`` the checkpoint has forgotten, and ``how``, if it has.
    """

    stem: Path
    when: datetime
    model: str
    dataset: str
    seed: int
    started: str
    finished: str
    seconds: float
    asked: Mapping[str, object]
    settings: Mapping[str, object]
    data: Mapping[str, object]
    valid_metric: str
    valid_metric_bigger: bool
    best_valid_score: float | None
    valid: Result | None
    test: Result | None
    versions: Mapping[str, str]
    machine: str
    parts: Mapping[str, Result]
    popularity: Mapping[str, Result]
    cost: Mapping[str, float] | None
    refit: Mapping[str, int] | None
    unlearned: Mapping[str, object] | None

    @property
    def file(self) -> Path:
        """The record itself."""
        return Path(f"{self.stem}.json")

    @property
    def checkpoint(self) -> Path:
        """The checkpoint, which may have been deleted."""
        return Path(f"{self.stem}.pth")

    @property
    def users_file(self) -> Path:
        """The table of users; runs that rank no items have none."""
        return Path(f"{self.stem}.users.parquet")

    @property
    def fingerprint(self) -> str:
        """The same one for runs on the same split of the same data."""
        return self.data["fingerprint"]

    @property
    def is_sequential(self) -> bool:
        """Does the model read histories?"""
        return "SEQUENTIAL" in str(self.settings.get("MODEL_TYPE"))

    @property
    def masks_history(self) -> bool:
        """Whether items that a user had before were left out of the rankings."""
        return self.settings.get("mask_history", not self.is_sequential)

    @property
    def encoder(self) -> str | None:
        """The encoder that read the items; None for feature files, models without features, and RecBole's own."""
        return self.settings["encoder"] if self._encodes else None

    @property
    def encoder_training(self) -> str | None:
        """``pretrained``, ``finetuned`` or ``end2end``, where there is an encoder."""
        return self.settings["encoder_training"] if self._encodes else None

    @property
    def _encodes(self) -> bool:
        return "encoder" in self.settings and ModalitySources.from_config(self.settings).encoded != ()

    def users(self) -> pd.DataFrame:
        """A row per test user (see ``training.record.users_table``).

        Raises:
            InputError: the run ranked no items, or the file is gone or damaged.
        """
        if not self.users_file.is_file():
            raise InputError(f"no file {self.users_file}: it is gone, or the run ranked no items and has no metrics per user")
        try:
            return duckdb.read_parquet(str(self.users_file)).df()
        except duckdb.Error as error:
            raise InputError(f"{self.users_file} is damaged: {one_line(error)}") from error


def read_record(file: str | Path) -> Record:
    """Reads a record.

    Args:
        file: the stem of a run, or any of its files.

    Raises:
        InputError: there is no record of that run, or it cannot be read.
    """
    stem = str(file)
    for ending in ENDINGS:
        stem = stem.removesuffix(ending)
    path = Path(f"{stem}.json")
    if not path.is_file():
        raise InputError(f"no record {path}: runs write it when they have ended")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is no record: {one_line(error)}") from error
    if not (isinstance(facts, dict) and {"asked", "valid_metric"} & facts.keys()):
        raise NoRecord(f"{path} is no record of a run")
    if facts.get("format") != FORMAT:
        raise InputError(f"{path} has the format {facts.get('format')}, and this version of recbole_mm reads {FORMAT}")
    names = [field.name for field in fields(Record) if field.name not in ("stem", "when")]
    facts = DEFAULTS | {name: facts[name] for name in names if name in facts}
    missing = [name for name in names if name not in facts]
    if missing:
        raise InputError(f"{path} is no whole record: it lacks {listed(missing)}")
    wrong = [name for name, kind in KINDS.items() if not isinstance(facts[name], kind)]
    if wrong or "fingerprint" not in facts["data"]:
        raise InputError(f"{path} is no whole record: wrong {listed(wrong or ['data'])}")
    try:
        return Record(stem=Path(stem), when=datetime.fromisoformat(facts["finished"]).astimezone(), **facts)
    except ValueError as error:
        raise InputError(f"{path} is no whole record: wrong finished ({one_line(error)})") from error


def metrics_per_user(users: pd.DataFrame, wanted: Sequence[str] | None = None) -> list[str]:
    """The names of the metrics that a table of users has.

    Args:
        wanted: the names that it must have, which are then returned; None for all.

    Raises:
        InputError: it has no such metric.
    """
    there = [name for name in users if "@" in name]
    missing = [name for name in wanted or () if name not in there]
    if missing:
        raise InputError(f"there is no {listed(missing)} per user, but {listed(there)}")
    return there if wanted is None else list(wanted)


def find_records(folder: str | Path) -> list[Record]:
    """The records in a folder and those below it, the newest first. What cannot be read is named in the log, a line each; JSON files that
    are no records are passed over.

    Raises:
        InputError: there is no such folder.
    """
    if not Path(folder).is_dir():
        raise InputError(f"no folder {folder}")
    found = []
    for file in sorted(Path(folder).rglob("*.json")):
        try:
            found.append(read_record(file))
        except NoRecord:
            continue
        except InputError as error:
            logger.warning(f"skipped: {error}")
    return sorted(found, key=lambda record: record.when, reverse=True)
