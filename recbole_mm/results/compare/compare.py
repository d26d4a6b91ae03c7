"""``compare``: runs the cells of a grid that have not ended yet, and makes the leaderboard."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml

from recbole_mm.checkpoint import plain
from recbole_mm.disk import write_whole
from recbole_mm.errors import InputError
from recbole_mm.results.compare.board import Leaderboard
from recbole_mm.results.compare.cells import Cell, finished, outdated
from recbole_mm.results.compare.execute import LOG, Ended, run_locally
from recbole_mm.results.compare.formats import screen, write_leaderboard
from recbole_mm.results.compare.grid import Grid, label, read_grid
from recbole_mm.results.compare.leaderboard import leaderboard
from recbole_mm.results.compare.ray_executor import run_on_ray
from recbole_mm.terminal import Bar, end_bars, labelled, show

Executor = Callable[[Sequence[Path], int | None], Iterator[Ended]]
EXECUTORS: dict[str, Executor] = {"local": run_locally, "ray": run_on_ray}
RUNS, CELLS, FAILED = "runs", "cells.yaml", "failed.txt"


def compare(
    grid: str | Path | Mapping, output: str | Path = "comparison", executor: str = "local", workers: int | None = None
) -> pd.DataFrame:
    """Compares models over encoders, paradigms, data sets, seeds and whatever else a grid spans.

    Every cell of the grid is a run of its own. Those that have ended before are found by their records, and killed runs go on.

    Args:
        grid: a YAML file, or what it holds.
        output: the folder that gets the runs, and the leaderboard as CSV, Markdown and LaTeX.
        executor: ``local`` for processes on this machine, ``ray`` for a cluster.
        workers: how many cells run at a time; None for one, or for as many as a cluster has cores.

    Returns:
        The leaderboard: a row for all seeds of a cell (see ``leaderboard.csv``).

    Raises:
        InputError: something is wrong with the grid, or all cells have failed.
    """
    failed = compare_and_tell(grid, Path(output), executor, workers)
    file = Path(output) / "leaderboard.csv"
    if failed and not file.exists():
        raise InputError(next(iter(failed.values())))
    return pd.read_csv(file)


def compare_and_tell(grid: str | Path | Mapping, output: Path, executor: str, workers: int | None) -> dict[str, str]:
    """``compare``, for the command.

    Returns:
        What failed: a cell in words -> why.
    """
    if executor not in EXECUTORS:
        raise InputError(f"executor '{executor}' is none of {', '.join(EXECUTORS)}")
    if workers is not None and workers < 1:
        raise InputError(f"workers {workers}: at least 1")
    if output.is_file():
        raise InputError(f"output {output} is a file, not a folder")
    asked = read_grid(grid)
    failed = _run(asked, output, EXECUTORS[executor], workers)
    lines = "".join(f"{cell}: {reason}\n" for cell, reason in failed.items())
    (output / FAILED).unlink(missing_ok=True)
    if failed:
        write_whole(output / FAILED, lambda file: file.write_text(lines, encoding="utf-8"))
    _tell(read_leaderboard(output), output)
    return failed


def read_leaderboard(output: str | Path) -> Leaderboard:
    """The leaderboard of a comparison, as far as its cells have ended.

    Args:
        output: the folder that ``compare`` has written.

    Raises:
        InputError: it is none.
    """
    runs, file = Path(output) / RUNS, Path(output) / CELLS
    if not file.is_file():
        raise InputError(f"no file {file}: {output} is no folder that compare has written")
    facts = yaml.safe_load(file.read_text(encoding="utf-8"))
    cells = [Cell.read(runs / name) for name in facts["cells"]]
    records = {cell.key: record for cell in cells if (record := finished(runs / cell.name))}
    return leaderboard(Grid(cells, facts["columns"], facts["metric"], facts["reference"]), records)


def _run(grid: Grid, output: Path, execute: Executor, workers: int | None) -> dict[str, str]:
    """Runs what has not ended yet. Returns what failed."""
    runs, failed = output / RUNS, {}
    todo = {runs / cell.name: cell for cell in grid.cells if not finished(runs / cell.name)}
    for line in grid.notices:
        show(line)
    for dataset, n in outdated(runs, grid.cells).items():
        show(f"the files of {dataset}, or of a preset, have changed since {_counted(n)} ran on them, which run anew")
    show(f"{_counted(len(grid.cells))}: {len(grid.cells) - len(todo)} have ended before, {len(todo)} to run")
    for folder, cell in todo.items():
        cell.write(folder)
    facts = {"metric": grid.metric, "columns": grid.columns, "reference": dict(grid.reference), "cells": [c.name for c in grid.cells]}
    text = yaml.safe_dump(plain(facts), sort_keys=False, allow_unicode=True)
    write_whole(output / CELLS, lambda file: file.write_text(text, encoding="utf-8"))
    seconds = 0.0
    try:
        with Bar(total=len(todo), desc="Cells", disable=not todo) as bar:
            for n, (folder, reason) in enumerate(execute(list(todo), workers) if todo else (), 1):
                name = label(todo[folder], grid.columns)
                if reason is None:
                    said = _result(folder, grid.metric)
                else:
                    failed[name] = f"{reason} ({folder / LOG})"
                    said = f"FAILED: {reason}"
                record = finished(folder)
                seconds += record.seconds if record else 0.0
                rest = seconds / n * (len(todo) - n) / (workers or 1)
                show(f"[{n}/{len(todo)}] {name}: {said}" + (f"; about {_duration(rest)} left" if n < len(todo) else ""))
                bar.update()
    finally:
        end_bars()
    return failed


def _result(folder: Path, metric: str) -> str:
    record = finished(folder)
    value = (record.test or {}).get(metric)
    return f"{metric} {'none' if value is None else f'{value:.4f}'}, {_duration(record.seconds)}"


def _tell(board: Leaderboard, output: Path) -> None:
    """Writes the leaderboard and shows it, once there is anything in it."""
    if not board.rows:
        return
    files = write_leaderboard(board, output)
    for shown in screen(board):
        show(shown)
    show(labelled("files", ", ".join(map(str, files))))


def _counted(n: int) -> str:
    return f"{n} cell{'' if n == 1 else 's'}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
