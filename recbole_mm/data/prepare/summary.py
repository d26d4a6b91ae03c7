"""What was kept, and what was dropped and why: counted while a data set is prepared, printed at the end and written to prepare.json."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Summary:
    """The counts of a preparation. ``dropped`` is in the order of the filters."""

    source: str
    rows: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    users: int = 0
    items: int = 0
    interactions: int = 0
    columns: dict[str, str] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    text_columns: list[str] = field(default_factory=list)
    items_with_text: int = 0
    items_with_picture: int = 0
    items_without_metadata: int = 0
    metadata_without_interactions: int = 0
    repeated_metadata: int = 0
    missing_pictures: int = 0
    features: dict[str, list[int]] = field(default_factory=dict)
    first_unreadable: list[str] = field(default_factory=list)
    first_missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def drop(self, reason: str, number: int) -> None:
        self.dropped[reason] = number

    @property
    def sparsity(self) -> float:
        """The share of user-item pairs without an interaction."""
        return 1 - self.interactions / (self.users * self.items)

    def write(self, file: Path) -> None:
        file.write_text(json.dumps({**asdict(self), "sparsity": self.sparsity}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def lines(self) -> list[str]:
        """The summary as lines of text, without the counts that are zero."""
        said = [f"{self.rows:,} interactions read" + (f" ({_pairs(self.columns)})" if self.columns else "")]
        said += [f"  {number:,} dropped: {reason}" for reason, number in self.dropped.items() if number]
        said += [f"  the first unreadable one: {first}" for first in self.first_unreadable]
        said.append(
            f"kept: {self.interactions:,} interactions, {self.users:,} users, {self.items:,} items; "
            f"{self.sparsity:.2%} of all user-item pairs have no interaction"
        )
        if self.parts:
            said.append("  " + ", ".join(f"{part} {number:,}" for part, number in self.parts.items()))
        said.append(f"items: {self.items_with_text:,} with text{self._text_columns()}, {self.items_with_picture:,} with a picture")
        for number, what in (
            (self.items_without_metadata, "kept with empty text: they have no row in the item table"),
            (self.metadata_without_interactions, "dropped: they are in the item table, but have no interactions"),
            (self.repeated_metadata, "rows of the item table repeat an item: the first row counts"),
            (self.missing_pictures, "without their picture, which was not found: " + ", ".join(self.first_missing)),
        ):
            if number:
                said.append(f"  {number:,} {what}")
        said += [f"features: {name}, {rows:,} rows of {width:,}" for name, (rows, width) in self.features.items()]
        return said + self.notes

    def _text_columns(self) -> str:
        return f" ({', '.join(self.text_columns)})" if self.text_columns else ""


def _pairs(columns: dict[str, str]) -> str:
    return ", ".join(f"{role}: {column}" for role, column in columns.items())
