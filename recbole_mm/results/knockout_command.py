"""The command ``knockout``: a table on the screen, a CSV file, a plot."""

import argparse
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from rich import box
from rich.console import Console
from rich.table import Table

from recbole_mm.config.plugins import load_plugins
from recbole_mm.disk import write_whole
from recbole_mm.errors import InputError
from recbole_mm.results.knockout import KnockOut, knock_out

CERTAIN = 0.001


def knockout(arguments: argparse.Namespace, _: list[str]) -> int:
    """Shows what a model loses without each of its modalities."""
    if arguments.plot and Path(arguments.plot).suffix != ".html":
        raise InputError(f"--plot={arguments.plot} must end in .html")
    load_plugins(arguments.plugins.split(",") if arguments.plugins else None)
    found = knock_out(arguments.checkpoint, arguments.part, show_progress=True)
    Console(highlight=False).print(_shown(found))
    if arguments.csv:
        write_whole(Path(arguments.csv), lambda file: found.table().to_csv(file, index=False))
        print(f"{arguments.csv}: all metrics")
    if arguments.plot:
        write_whole(Path(arguments.plot), lambda file: figure(found).write_html(file, include_plotlyjs=True))
        print(f"{arguments.plot}: a plot of {found.metric}")
    return 0


def figure(found: KnockOut) -> go.Figure:
    """Bars of the differences, in percent of the untouched value, with their intervals: a group per modality."""
    rows, before = found.table([found.metric]), found.untouched.result[found.metric]
    bars = [
        go.Bar(
            name=by, x=group["modality"], y=100 * group["relative"],
            error_y={"array": 100 * (group["high"] - group["difference"]) / before, "symmetric": False,
                     "arrayminus": 100 * (group["difference"] - group["low"]) / before},
            hovertext=[f"{value:.4f} ({difference:+.4f})" for value, difference in zip(group["value"], group["difference"], strict=True)],
        )
        for by, group in rows.groupby("replaced_by", sort=False)
    ] if before else []  # fmt: skip
    title = f"{found.model} on {found.dataset}, {found.part}: {found.metric} is {before:.4f} untouched"
    return go.Figure(bars, {"title": title, "legend": {"title": "replaced by"}, "yaxis": {"title": f"{found.metric}, change in %"}})


def _shown(found: KnockOut) -> Table:
    title = f"{found.model} on {found.dataset}, {found.part}: {found.metric} is {found.untouched.result[found.metric]:.4f} untouched"
    n = len(found.untouched.users)
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left",
        caption=f"p by Wilcoxon's test over {n:,} users, corrected by Holm; intervals of 95 %" if n else None,
    )  # fmt: skip
    for name in ("modality", "replaced by"):
        table.add_column(name)
    for name in (found.metric, "difference", "relative", "interval", "p"):
        table.add_column(name, justify="right")
    for row in found.table([found.metric]).itertuples():
        interval = "" if pd.isna(row.low) else f"{row.low:+.3f} {row.high:+.3f}"
        p = "" if pd.isna(row.p_wilcoxon) else f"<{CERTAIN}" if row.p_wilcoxon < CERTAIN else f"{row.p_wilcoxon:.3f}"
        relative = "" if pd.isna(row.relative) else f"{row.relative:+.0%}"
        table.add_row(row.modality, row.replaced_by, f"{row.value:.4f}", f"{row.difference:+.4f}", relative, interval, p)
    return table
