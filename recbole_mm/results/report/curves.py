"""The curves of a run, from its TensorBoard files."""

import json
from collections.abc import Mapping
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recbole_mm.results.records import Record

LOSSES, VALID, SCORE = ("loss/", "Loss/"), "valid/", "Vaild_score"
Curve = tuple[list[int], list[float]]
"""Epochs, from 1, and values."""


def curves(record: Record) -> tuple[Mapping[str, Curve], Mapping[str, Curve]]:
    """The losses of training, and the metric that chose the epoch, by name; {} twice where the files are gone."""
    folder = _folder(record)
    if folder is None:
        return {}, {}
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()["scalars"]
    chosen = next((tag for tag in (VALID + record.valid_metric, SCORE) if tag in tags), None)
    losses = {tag.partition("/")[2]: _curve(events, tag) for tag in tags if tag.startswith(LOSSES)}
    return losses, {} if chosen is None else {record.valid_metric: _curve(events, chosen)}


def _curve(events: EventAccumulator, tag: str) -> Curve:
    points = events.Scalars(tag)
    return [point.step + 1 for point in points], [point.value for point in points]


def _folder(record: Record) -> Path | None:
    """Where the files lie: as the record says, seen from here or from a folder above the checkpoint."""
    said = json.loads(record.file.read_text(encoding="utf-8")).get("files", {}).get("tensorboard")
    if not said:
        return None
    places = (Path(said), *(folder / said for folder in record.stem.resolve().parents))
    return next((place for place in places if place.is_dir()), None)
