"""The report of a checkpoint, or of two on the same split."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from recbole_mm.errors import InputError
from recbole_mm.results.knockout import knock_out
from recbole_mm.results.records import Record, read_record
from recbole_mm.results.report import figures, tables
from recbole_mm.results.report.curves import curves
from recbole_mm.results.report.loaded_run import LoadedRun
from recbole_mm.results.report.picture_sections import picture_sections
from recbole_mm.results.report.pictures import Pictures
from recbole_mm.results.report.sections import Block, Report, Section, Tile
from recbole_mm.results.statistics import bootstrap_interval


def run_report(checkpoint: Path, against: Path | None = None, knockout: bool = True, show_progress: bool = False) -> Report:
    """Makes the report of a checkpoint.

    Args:
        against: a checkpoint to show beside it.
        knockout: whether to measure the model without each of its modalities.

    Raises:
        InputError: a checkpoint or its record is missing or does not fit the data set, or the two were not run on the same split.
    """
    records = [read_record(file) for file in (checkpoint, against) if file is not None]
    if len({record.fingerprint for record in records}) > 1:
        raise InputError(f"{against} cannot stand beside {checkpoint}: other data, or another split")
    runs = [LoadedRun.load(file, show_progress) for file in (checkpoint, against) if file is not None]
    run, other, pictures = runs[0], runs[1] if len(runs) > 1 else None, Pictures(runs[0].recommender.catalogue)
    record, metric = run.record, run.record.valid_metric
    names = tables.labels(records)
    sections = [
        _results(run, other, names),
        *_slices(runs, metric, names),
        *([_knock_out(checkpoint, record, show_progress)] if knockout and run.recommender.modalities and not run.refitted else []),
        *(picture_sections(runs, names, pictures) if len(run.users) else []),
        _curves(records, names),
        _cost(records, names),
        _facts(record),
    ]
    title = f"{names[0]} and {names[1]}" if other else record.model
    return Report("Report of a run" if other is None else "Report of two runs", f"{title} on {record.dataset}", _lead(records, names),
                  "; ".join(map(_about, records)), _tiles(run), sections, pictures.uris, pictures.shape)  # fmt: skip


def _lead(records: Sequence[Record], names: Sequence[str]) -> str:
    metric, test, pop = records[0].valid_metric, records[0].test or {}, records[0].popularity.get("test", {}).get(records[0].valid_metric)
    if metric not in test:
        return ""
    if len(records) > 1:
        values = " and ".join(f"{(record.test or {}).get(metric, 0):.3f} for {name}" for record, name in zip(records, names, strict=True))
        return f"In the test, {metric} is {values}" + ("." if pop is None else f"; the most popular items reach {pop:.3f}.")
    if not pop:
        return f"In the test, {metric} is {test[metric]:.3f}."
    return f"In the test, {metric} is {test[metric]:.3f}, {test[metric] / pop:.1f} times what the same most popular items for everybody " \
           f"reach ({pop:.3f})."  # fmt: skip


def _about(record: Record) -> str:
    words = [record.model, *([record.encoder, record.encoder_training] if record.encoder else []), f"seed {record.seed}"]
    return f"{', '.join(words)}, {record.when:%Y-%m-%d}"


def _tiles(run: LoadedRun) -> list[Tile]:
    record, users = run.record, run.test_users()
    metric, found = record.valid_metric, []
    if record.test and metric in record.test:
        low, high = bootstrap_interval(users[metric].to_numpy()) if metric in users else (None, None)
        found.append(Tile(f"{record.test[metric]:.3f}", f"{metric} in the test", "" if low is None else f"95 %: {low:.3f} to {high:.3f}"))
        pop = record.popularity.get("test", {}).get(metric)
        if pop is not None:
            found.append(Tile(f"{pop:.3f}", "most popular items", "the floor"))
    found += [Tile(f"{record.data[key]:,}", words) for key, words in (("n_users", "users"), ("n_items", "items")) if key in record.data]
    return [*found, Tile(_duration(record.seconds), "from start to end")]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _results(run: LoadedRun, other: LoadedRun | None, names: Sequence[str]) -> Section:
    how = (
        "Each number is a mean over users; beside it stands its 95 % interval, by drawing the users anew (bootstrap). Pop recommends the "
        "same most popular items to everybody: a model that is not clearly above it has learned little."
    )
    if other is not None:
        how += f" The difference is {names[0]} minus {names[1]} over the same users; p is by Wilcoxon's test, corrected by Holm."
    blocks = [Block("table", tables.results(run, other, names))]
    if run.record.unlearned:
        counts = {kind: run.record.unlearned.get(kind) for kind in ("users", "items", "interactions")}
        gone = ", ".join(f"{n:,} {kind if n > 1 else kind[:-1]}" for kind, n in counts.items() if n)
        blocks.append(Block("note", f"The checkpoint has forgotten {gone} of an earlier run; the numbers are those without them."))
    if run.refitted:
        blocks.append(Block("note", "The checkpoint was trained once more on all interactions (refit: True), after these numbers were "
                                    "measured. The lists of this report come from that model, which knows the test already."))  # fmt: skip
    elif len(run.users) and not run.agrees():
        blocks.append(Block("note", "Evaluated again for this report, the checkpoint gave other values than the record says: the data set "
                                    "has changed since, or the candidates of the evaluation are drawn at random."))  # fmt: skip
    return Section("results", "Results", how, blocks)


def _curves(records: Sequence[Record], names: Sequence[str]) -> Section:
    blocks = []
    for record, name in zip(records, names, strict=True):
        losses, valid = curves(record)
        prefix = f"{name}: " if len(records) > 1 else ""
        if losses:
            blocks.append(Block("figure", figures.lines(losses, "loss in training"), f"{prefix}loss in training", half=True))
        if valid:
            x, y = next(iter(valid.values()))
            place = (max if record.valid_metric_bigger else min)(range(len(y)), key=y.__getitem__)
            title = f"{record.valid_metric} in validation"
            blocks.append(Block("figure", figures.lines(valid, title, x[place]), prefix + title, half=True))
    how = (
        "A loss that falls while the validation metric no longer rises means that more epochs would only fit the training part. The "
        "dotted line is the epoch that was kept."
    )
    return Section("curves", "Training", how, blocks)


def _slices(runs: Sequence[LoadedRun], metric: str, names: Sequence[str]) -> list[Section]:
    found = [tables.slice_rows(run.test_users(), metric) for run in runs if metric in run.test_users()]
    if not found or len(found) < len(runs):
        return []
    shown = found[0] if len(found) == 1 else pd.concat([own.assign(group=name) for own, name in zip(found, names, strict=True)])
    how = (
        "Where is the model good, and where not? Users are sliced by how many training interactions they have, test items by how popular "
        "they are in training, and by what is known of them. In a slice of items only these count as right. Lines are 95 % intervals: "
        "the smaller a slice, the longer."
    )
    table = tables.slice_table(found[0], names[0] if len(runs) > 1 else metric, dict(zip(names[1:], found[1:], strict=True)))
    blocks = [Block("figure", figures.dots(shown, metric), f"{metric} on slices of users and items"), Block("table", table)]
    return [Section("slices", "Slices", how, blocks)]


def _knock_out(checkpoint: Path, record: Record, show_progress: bool) -> Section:
    found = knock_out(checkpoint, show_progress=show_progress)
    rows = found.table([found.metric])
    how = (
        "What does the model really use? The test is evaluated again while the features of a modality are replaced: by zeros, by their "
        "mean, or by those of another item. The more the metric falls, the more the model relies on that modality. Lines are 95 % "
        "intervals."
    )
    return Section("knockout", "Knock-out", how, [
        Block("figure", figures.differences(rows, found.metric), f"change of {found.metric} with a modality replaced"),
        Block("table", tables.knock_out(rows, found.metric)),
    ])  # fmt: skip


def _cost(records: Sequence[Record], names: Sequence[str]) -> Section:
    table = tables.cost(records, names)
    phases = {"encoding items": "seconds_encoding", "training": "seconds_training", "evaluating": "seconds_evaluating",
              "fine-tuning the encoder": "seconds_finetuning"}  # fmt: skip
    blocks = [Block("table", table, half=True)] if table else []
    for record, name in zip(records, names, strict=True):
        spent = {words: record.cost[key] for words, key in phases.items() if record.cost and record.cost.get(key)}
        if spent:
            title = "seconds" if len(records) == 1 else f"{name}: seconds"
            blocks.append(Block("figure", figures.bars(spent, title), f"{title} by phase", half=True))
    return Section("cost", "Cost", "What the run took, on the machine that is named below.", blocks)


def _facts(record: Record) -> Section:
    asked = [(str(key), str(value)) for key, value in record.asked.items()]
    blocks = [Block("facts", tables.facts(record), half=True)]
    if asked:
        blocks.append(Block("facts", asked, "settings that were given", half=True))
    return Section("run", "What was run", f"All settings are in the record, {record.file.name}.", blocks)
