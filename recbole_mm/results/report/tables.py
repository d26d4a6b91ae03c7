"""Tables of a report: heads, and rows of texts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from recbole_mm.results.records import Record
from recbole_mm.results.report.loaded_run import LoadedRun
from recbole_mm.results.slices import each_slice
from recbole_mm.results.statistics import bootstrap_interval, compare_values, holm

COSTS = (
    ("seconds_finetuning", "fine-tuning the encoder", "{:,.1f} s"), ("seconds_encoding", "encoding items", "{:,.1f} s"),
    ("seconds_training", "training", "{:,.1f} s"), ("seconds_evaluating", "evaluating", "{:,.1f} s"),
    ("items_encoded", "items encoded", "{:,}"), ("items_per_second", "items per second", "{:,.0f}"),
    ("share_of_bare_encoder", "share of the bare encoder's speed", "{:.2f}"), ("peak_memory_mib", "peak memory", "{:,.0f} MiB"),
    ("trainable_parameters", "trainable parameters", "{:,}"), ("total_parameters", "parameters", "{:,}"),
)  # fmt: skip
BY = {"activity": "users by activity", "popularity": "items by popularity", "training": "items in training", "all": "all"}


@dataclass(frozen=True)
class Cell:
    """A text, a smaller one behind it, whether it stands out, and whether it is underlined."""

    text: str
    small: str = ""
    strong: bool = False
    close: bool = False


@dataclass(frozen=True)
class Table:
    """Heads and rows; the first column holds names. ``strong`` are the numbers of rows that stand out."""

    heads: list[str]
    rows: list[list[Cell]]
    strong: frozenset[int] = field(default_factory=frozenset)


def results(run: LoadedRun, other: LoadedRun | None, labels: Sequence[str]) -> Table:
    """A row per metric: validation and test with intervals, beside the most popular items, and, against another run, the difference."""
    record, tested = run.record, run.test_users()
    names = list(record.test or record.valid or {})
    names.sort(key=lambda name: name != record.valid_metric)
    pops = [part for part in ("valid", "test") if part in record.popularity]
    parts = [part for part in ("valid", "test") if getattr(record, part)]
    heads = ["metric", *(head for part in parts for head in (LONG[part], *([f"Pop, {LONG[part]}"] if part in pops else [])))]
    per_user = {"valid": run.valid, "test": tested if len(tested) else None}
    intervals = {part: _intervals(per_user[part], names) for part in parts}
    rows = []
    for name in names:
        cells = [Cell(name)]
        for part in parts:
            cells.append(_value(getattr(record, part).get(name), intervals[part].get(name), part == "test"))
            if part in pops:
                cells.append(_value(record.popularity[part].get(name)))
        rows.append(cells)
    if other is not None:
        heads, rows = _beside(run, other, names, [*heads, f"{labels[1]}, test"], rows)
    return Table(heads, rows, frozenset([0]))


LONG = {"valid": "validation", "test": "test"}


def _beside(run: LoadedRun, other: LoadedRun, names: Sequence[str], heads: list[str], rows: list[list[Cell]]) -> tuple[list, list]:
    """Adds the other run's test, the difference and the p-value, corrected by Holm over the metrics."""
    one, two = (some.test_users().set_index("user") for some in (run, other))
    both = [name for name in names if name in one and name in two]
    found = {name: compare_values(name, one[name].to_numpy(), two[name].reindex(one.index).to_numpy()) for name in both}
    p = dict(zip(both, holm([found[name].p_wilcoxon for name in both]), strict=True))
    for name, row in zip(names, rows, strict=True):
        row.append(_value((other.record.test or {}).get(name)))
        if name in found:
            low, high = found[name].interval
            row += [Cell(f"{found[name].difference:+.4f}", f"{low:+.3f} to {high:+.3f}", p[name] < 0.05), Cell(p_text(p[name]))]
        else:
            row += [Cell(""), Cell("")]
    return [*heads, "difference", "p"], rows


def p_text(p: float) -> str:
    """A p-value."""
    return "< .001" if p < 0.001 else f"{p:.3f}"


def labels(records: Sequence[Record]) -> list[str]:
    """Runs in as few words as tell them apart."""
    long = [f"{record.model} ({record.encoder_training})" if record.encoder_training else record.model for record in records]
    for names in ([record.model for record in records], long, [f"{name}, seed {r.seed}" for name, r in zip(long, records, strict=True)]):
        if len(set(names)) == len(records):
            return names
    return [record.stem.name for record in records]


def _intervals(users: pd.DataFrame | None, names: Sequence[str]) -> dict[str, tuple[float, float]]:
    known = [name for name in names if users is not None and name in users]
    if not known:
        return {}
    low, high = bootstrap_interval(users[known].to_numpy())
    return {name: (float(low[place]), float(high[place])) for place, name in enumerate(known)}


def _value(value: float | None, interval: tuple[float, float] | None = None, strong: bool = False) -> Cell:
    if value is None or value != value:
        return Cell("")
    return Cell(f"{value:.4f}", f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "", strong)


def slice_rows(users: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The slices with intervals, for ``figures.dots``, with the columns ``users`` and ``interactions`` besides. What is sliced into one
    part alone is left out."""
    rows, found_slices = [], list(each_slice(users, [metric]))
    by = Counter(found.by for found in found_slices)
    for found in (found for found in found_slices if found.by == "all" or by[found.by] > 1):
        values = found.values[metric].to_numpy()
        if len(values) and not np.isnan(values).all():
            low, high = bootstrap_interval(values) if len(values) > 1 else (np.nan, np.nan)
            name, mean = slice_name(found.by, found.name), float(values.mean())
            text = f"{name}: {mean:.4f} ({low:.3f} to {high:.3f}); {len(values):,} users"
            rows.append({"name": name, "group": BY.get(found.by, found.by), "value": mean, "low": low, "high": high, "text": text,
                         "users": len(values), "interactions": found.n_interactions})  # fmt: skip
    return pd.DataFrame(rows)


def slice_name(by: str, name: str) -> str:
    """A slice in words."""
    if by == "all":
        return "all users"
    kind = {"activity": "users", "popularity": "items", "training": "items"}.get(by)
    head, _, bounds = name.partition(" (")
    return f"{head} {kind or by}" + (f" ({bounds}" if bounds else "")


def slice_table(rows: pd.DataFrame, metric: str, others: Mapping[str, pd.DataFrame] | None = None) -> Table:
    """The slices as a table, with further runs' values beside."""
    others = others or {}
    heads = ["slice", "users", "test interactions", metric, *others]
    body = []
    for row in rows.itertuples():
        cells = [Cell(row.name), Cell(f"{row.users:,}"), Cell(f"{row.interactions:,}"), _value(row.value, (row.low, row.high), True)]
        for own in others.values():
            same = own[own["name"] == row.name]
            cells.append(_value(*((same["value"].iloc[0], (same["low"].iloc[0], same["high"].iloc[0])) if len(same) else (None,))))
        body.append(cells)
    return Table(heads, body)


def knock_out(rows: pd.DataFrame, metric: str) -> Table:
    """What is left of a metric without each modality, from ``KnockOut.table``."""
    body = [
        [Cell(row.modality), Cell(row.replaced_by), Cell(f"{row.value:.4f}"),
         Cell(f"{row.difference:+.4f}", "" if pd.isna(row.low) else f"{row.low:+.3f} to {row.high:+.3f}", True),
         Cell("" if pd.isna(row.relative) else f"{row.relative:+.0%}"), Cell("" if pd.isna(row.p_wilcoxon) else p_text(row.p_wilcoxon))]
        for row in rows.itertuples()
    ]  # fmt: skip
    return Table(["modality", "replaced by", metric, "difference", "relative", "p"], body)


def cost(records: Sequence[Record], names: Sequence[str]) -> Table | None:
    """What the runs cost, a column each; None where no account was kept."""
    columns = [{"total": record.seconds, **(record.cost or {})} for record in records]
    kinds = [("total", "seconds from start to end", "{:,.1f} s"), *COSTS]
    rows = [
        [Cell(words), *(Cell("" if column.get(name) is None else written.format(column[name])) for column in columns)]
        for name, words, written in kinds
        if any(column.get(name) for column in columns)
    ]
    return Table(["", *(names if len(records) > 1 else ["this run"])], rows) if rows else None


def facts(record: Record) -> list[tuple[str, str]]:
    """What was run, in words and values."""
    data, split = record.data, [("training", "n_training"), ("validation", "n_valid"), ("test", "n_test")]
    counts = ", ".join(f"{data[key]:,} {word}" for word, key in split if key in data)
    found = [("model", record.model), ("data set", record.dataset), ("encoder", record.encoder or ""),
             ("paradigm", record.encoder_training or ""), ("modalities", ", ".join(record.settings.get("modalities") or [])),
             ("feature files", ", ".join(record.settings.get("feature_files") or {})), ("seed", str(record.seed))]  # fmt: skip
    if "n_users" in data:
        found.append(("data", f"{data['n_users']:,} users, {data['n_items']:,} items"))
    found += [("interactions", counts), ("chosen by", f"{record.valid_metric} in validation"),
              ("finished", f"{record.when:%Y-%m-%d %H:%M}"), ("machine", record.machine),
              ("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items()))]  # fmt: skip
    return [(name, value) for name, value in found if value]
