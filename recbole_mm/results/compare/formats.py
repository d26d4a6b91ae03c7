"""A leaderboard in the forms in which it is read: on the screen, as CSV, Markdown and LaTeX."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pandas as pd
import rich.table
from rich import box
from rich.text import Text

from recbole_mm.disk import write_whole
from recbole_mm.results.compare.board import COSTS, FLOOR, MASKS, Leaderboard, Row

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip
UNMISTAKABLE = ("activity", "popularity", "training")
"""What slices are by whose names are no other slices' names."""
ON_SCREEN = 2
"""How many metrics the screen has room for."""


@dataclass(frozen=True)
class Written:
    """A cell of a table: its text, and whether it is the best or not significantly worse than the best."""

    text: str
    best: bool = False
    close: bool = False


Table = tuple[list[str], list[list[Written]]]
"""The heads and the rows of a table."""


def write_leaderboard(board: Leaderboard, folder: Path) -> list[Path]:
    """Writes the leaderboard into a folder, as ``leaderboard.csv``, ``.md`` and ``.tex``, and its slices as ``slices.csv``."""
    tables, n_labels = [table(board), *slice_table(board)], len(board.columns)
    texts = {
        "leaderboard.csv": board.frame().to_csv(index=False),
        "leaderboard.md": "\n".join([f"{caption(board)}\n", *(markdown(*found) for found in tables)]),
        "leaderboard.tex": "\n".join(latex(*found, n_labels) for found in tables),
        "slices.csv": board.slices.to_csv(index=False),
    }
    for name, text in texts.items():
        write_whole(folder / name, lambda file, text=text: file.write_text(text, encoding="utf-8"))
    return [folder / name for name in texts]


def table(board: Leaderboard, metrics: int | None = None, decimals: int = 4) -> Table:
    """The heads and the rows of a leaderboard.

    Args:
        metrics: how many at most; None for all with the same k as the chosen one.
        decimals: of metrics.
    """
    at = board.metric.partition("@")[2]
    shown = [name for name in board.metrics if name.partition(" ")[0].partition("@")[2] == at][:metrics]
    heads = [*board.columns, *shown, "difference", "95 % interval", "p (t)", "p (W)", "seconds", *COSTS.values()]
    parts = [(_texts(row, board.columns), _metrics(row, shown, decimals), _statistics(row, decimals), _costs(row)) for row in board.rows]
    return heads, [list(chain.from_iterable(found)) for found in parts]


def slice_table(board: Leaderboard, decimals: int = 4) -> list[Table]:
    """The heads and the rows of the metric on slices; [] where nothing is sliced into more than one."""
    if not len(board.slices):
        return []
    by = pd.Series(board.slices.drop_duplicates(["by", "slice"])["by"]).value_counts()
    sliced = board.slices[board.slices["by"].map(by) > 1]
    names = list(dict.fromkeys(zip(sliced["by"], sliced["slice"], strict=True)))
    rows: dict[tuple, dict[tuple, float]] = {}
    for found in sliced.to_dict("records"):
        label = tuple(found[column] for column in board.columns)
        rows.setdefault(label, {})[found["by"], found["slice"]] = found[board.metric]
    body = [[*map(Written, label), *(Written(_number(row.get(name), decimals)) for name in names)] for label, row in rows.items()]
    return [([*board.columns, *(f"{by}: {name}" for by, name in names)], body)] if names else []


def screen(board: Leaderboard) -> list[rich.table.Table]:
    """Tables for the screen: metrics, cost and slices. The best is bold, what is not significantly worse underlined, the floor dim."""
    n_labels, (heads, rows) = len(board.columns), table(board, ON_SCREEN, 3)
    cut = len(heads) - len(COSTS) - 1
    costs = heads[:n_labels] + heads[cut:], [[*row[:n_labels], *row[cut:]] for row in rows if row[0].text != FLOOR]
    found = [(heads[:cut], [row[:cut] for row in rows]), costs, *slice_table(board, 3)]
    return [_on_screen([_short(head) for head in heads], rows, n_labels) for heads, rows in found]


def _short(head: str) -> str:
    """A head in less room: over two lines, and without what its slice is by where the slice's name tells."""
    by, _, name = head.partition(": ")
    return name if by in UNMISTAKABLE and name else head.replace("_", "_\n").replace(": ", ":\n")


def _on_screen(heads: Sequence[str], rows: Sequence[Sequence[Written]], n_labels: int) -> rich.table.Table:
    found = rich.table.Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for place, head in enumerate(heads):
        is_label = place < n_labels
        found.add_column(head, justify="left" if is_label else "right", no_wrap=not is_label)
    for row in rows:
        dim = "dim" if row[0].text == FLOOR else ""
        found.add_row(*(Text(cell.text, "bold" if cell.best else "underline" if cell.close else dim) for cell in row))
    return found


def markdown(heads: Sequence[str], rows: Sequence[Sequence[Written]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *([_marked(cell, "**{}**", "<u>{}</u>", _escaped) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(heads: Sequence[str], rows: Sequence[Sequence[Written]], n_labels: int) -> str:
    """A table in LaTeX, for the package booktabs."""
    lines = [rf"\begin{{tabular}}{{{'l' * n_labels}{'r' * (len(heads) - n_labels)}}}", r"\toprule"]
    lines += [" & ".join(map(_tex, heads)) + r" \\", r"\midrule"]
    for row in rows:
        lines += [r"\midrule"] if row[0].text == FLOOR else []
        lines.append(" & ".join(_marked(cell, r"\textbf{{{}}}", r"\underline{{{}}}", _tex) for cell in row) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def caption(board: Leaderboard) -> str:
    """What the marks and columns of a leaderboard mean."""
    seeds = sorted({seed for row in board.rows for seed in row.records})
    chosen = [", ".join(filter(None, row.columns.values())) for row in board.rows if row.is_reference]
    masks = f" {MASKS}: whether items that a user had before are masked; rows that differ in it are not compared."
    return (
        f"Means and standard deviations over seeds {', '.join(map(str, seeds))}. Bold: the best. Underlined: not significantly worse than "
        f"the best (paired t-tests over users, Holm-corrected, level .05). Difference: of {board.metric} to {'; '.join(chosen)}, with a "
        "95 % bootstrap interval over users, and Holm-corrected p-values of the paired t-test and of Wilcoxon's signed-rank test (W)."
        + (masks if MASKS in board.columns else "")
    )


def _texts(row: Row, columns: Sequence[str]) -> list[Written]:
    return [Written(row.columns[column]) for column in columns]


def _metrics(row: Row, shown: Sequence[str], decimals: int) -> list[Written]:
    found = []
    for name in shown:
        value, deviation = row.metrics.get(name, (None, None))
        spread = f" ± {_number(deviation, decimals)}" if deviation is not None else ""
        found.append(Written(_number(value, decimals) + spread, name in row.best, name in row.close))
    return found


def _statistics(row: Row, decimals: int) -> list[Written]:
    if row.against is None:
        return [Written("reference" if row.is_reference else ""), *[Written("")] * 3]
    difference, low, high = (f"{value:+.{decimals}f}" for value in (row.against.difference, *row.against.interval))
    return [Written(difference), Written(f"[{low}, {high}]"), *(Written(_p(p)) for p in (row.against.p_t, row.against.p_wilcoxon))]


def _costs(row: Row) -> list[Written]:
    return [Written("" if row.cost.get(name) is None else f"{row.cost[name]:,.0f}") for name in ("seconds", *COSTS)]


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None or value != value else f"{value:.{decimals}f}"


def _p(value: float) -> str:
    return "< .001" if value < 0.001 else f"{value:.3f}"


def _marked(cell: Written, bold: str, underlined: str, escape: Callable[[str], str]) -> str:
    text = escape(cell.text)
    return bold.format(text) if cell.best else underlined.format(text) if cell.close else text


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")


def _tex(text: str) -> str:
    replaced = "".join(SPECIAL.get(letter, letter) for letter in text)
    return replaced.replace("±", r"$\pm$").replace("<", "$<$")
