"""A cell of a comparison: one run, in a folder of its own, where its record is found again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import blake2b
from logging import getLogger
from pathlib import Path

import yaml

from recbole_mm.checkpoint import plain
from recbole_mm.config.plugins import load_plugins
from recbole_mm.config.registry import get_model, is_ours
from recbole_mm.disk import locked, write_whole
from recbole_mm.errors import InputError
from recbole_mm.quick_start import run_command
from recbole_mm.results.compare.search import searched
from recbole_mm.results.compare.spaces import Space
from recbole_mm.results.records import Record, read_record
from recbole_mm.training.resumable_trainer import LAST

CELL = "cell.yaml"
logger = getLogger(__name__)


@dataclass(frozen=True)
class Cell:
    """What a run is asked for.

    Attributes:
        model, dataset, seed: of the run.
        settings: all others that the model has.
        data: a digest of the files that it reads.
        space: where its hyper-parameters are searched, if they are.
    """

    model: str
    dataset: str
    seed: int
    settings: Mapping[str, object]
    data: str
    space: Space | None = None

    @classmethod
    def of(cls, model: str, dataset: str, seed: int, settings: Mapping[str, object], data: str, space: Space | None) -> "Cell":
        return cls(model, dataset, int(seed), plain(settings), data, space)

    @classmethod
    def read(cls, folder: Path) -> "Cell":
        """The cell whose folder it is."""
        facts = yaml.safe_load((folder / CELL).read_text(encoding="utf-8"))
        return cls(**{**facts, "space": Space(**facts["space"]) if facts["space"] else None})

    def write(self, folder: Path) -> None:
        """Says in the folder which cell it is of."""
        folder.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(asdict(self), sort_keys=False, allow_unicode=True)
        write_whole(folder / CELL, lambda file: file.write_text(text, encoding="utf-8"))

    @cached_property
    def group(self) -> str:
        """The same one for cells that differ in nothing but seed and data."""
        return _digest([self.model, self.dataset, self.settings, self.space and asdict(self.space)])

    @cached_property
    def key(self) -> str:
        """The same one for the same settings, seed and data."""
        return _digest([self.group, self.seed, self.data])

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.model}-{self.dataset}-{self.key[:12]}"

    def has(self, key: str) -> bool:
        """Does its model have the key, as far as the grid sets it?"""
        return key in ("model", "dataset") or key in self.settings

    def value(self, key: str) -> object:
        """Of one of its keys; None where its model has none."""
        return {"model": self.model, "dataset": self.dataset}.get(key, self.settings.get(key))


def run_cell(folder: Path) -> None:
    """Runs the cell of a folder to its end, unless it has ended already: from its beginning, or from the checkpoint of one of our models
    that was interrupted. Another process that runs the same cell is waited for.

    Raises:
        InputError: see ``quick_start.run``.
    """
    with locked(folder / "lock", f"running the cell in {folder}"):
        if finished(folder):
            return
        cell = Cell.read(folder)
        if cell.space:
            cell = replace(cell, settings={**cell.settings, **searched(cell, folder)})
        checkpoint = _interrupted(cell, folder)
        if checkpoint:
            try:
                return _run(cell, folder, {"resume": checkpoint})
            except InputError as error:
                logger.warning(f"{checkpoint} cannot be continued, and its run begins again: {error}")
                _remove(checkpoint)
        _run(cell, folder, {})


def finished(folder: Path) -> Record | None:
    """The record of the cell of a folder; None until it has ended."""
    for file in sorted(folder.glob("*.json")):
        try:
            record = read_record(file)
        except InputError as error:
            logger.warning(f"{error}; the cell is run again")
            continue
        if record.refit or not record.settings.get("refit"):
            return record
    return None


def outdated(folder: Path, cells: Sequence[Cell]) -> dict[str, int]:
    """Data set -> how many of the cells were run on other files than those of now."""
    names, found = {cell.name for cell in cells}, {}
    settings = {(cell.group, cell.seed) for cell in cells if not finished(folder / cell.name)}
    for file in folder.glob(f"*/{CELL}"):
        if file.parent.name not in names and finished(file.parent):
            before = Cell.read(file.parent)
            if (before.group, before.seed) in settings:
                found[before.dataset] = found.get(before.dataset, 0) + 1
    return found


def _run(cell: Cell, folder: Path, more: Mapping[str, object]) -> None:
    settings = {**cell.settings, "seed": cell.seed, "checkpoint_dir": str(folder), "show_progress": False, **more}
    run_command(cell.model, cell.dataset, None, [], settings)


def _interrupted(cell: Cell, folder: Path) -> str | None:
    """The checkpoint that a killed run of the cell has left. One of a trainer of RecBole's is removed: it keeps no random states, so the
    results would be others."""
    load_plugins(cell.settings.get("plugins"))
    ours, found = is_ours(get_model(cell.model)), None
    for file in sorted({str(file).removesuffix(LAST) for file in folder.glob("*.pth*")}):
        if ours:
            found = file
        else:
            _remove(file)
    return found


def _remove(checkpoint: str) -> None:
    for name in (checkpoint, checkpoint + LAST):
        Path(name).unlink(missing_ok=True)


def _digest(value: object) -> str:
    return blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()
