"""What was kept, and what was dropped and why: counted while a data set is prepared, shown at the end and written to prepare.json."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from recbole_mm.data.prepare.input_table import InputTable
from recbole_mm.data.prepare.pictures import Pictures


@dataclass(frozen=True)
class Table:
    """What was used of an input table.

    Attributes:
        file: its name, or how many files there are.
        rows: how many rows it has.
        used: the column of each role, or several.
        said: how the cells of a role are written, in words.
        not_used: the other columns.
    """

    file: str
    rows: int
    used: dict[str, str]
    said: dict[str, str]
    not_used: list[str]

    @classmethod
    def of(cls, table: InputTable, rows: int, used: Mapping[str, str], said: Mapping[str, str] | None = None) -> "Table":
        names = {name for columns in used.values() for name in (columns, *columns.split(", "))}
        file = table.path.name + (f" and {len(table.parts) - 1} more files" if len(table.parts) > 1 else "")
        return cls(file, rows, dict(used), dict(said or {}), [*table.ignored, *(c for c in table.columns if c not in names)])


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
    tables: list[Table] = field(default_factory=list)
    parts: dict[str, int] = field(default_factory=dict)
    text_columns: list[str] = field(default_factory=list)
    kept_columns: list[str] = field(default_factory=list)
    items_with_text: int = 0
    items_with_picture: int = 0
    items_without_metadata: int = 0
    items_without_interactions: int = 0
    metadata_without_interactions: int = 0
    repeated_metadata: int = 0
    pictures_found: dict[str, int] = field(default_factory=dict)
    missing_pictures: int = 0
    ambiguous_pictures: int = 0
    shared_pictures: int = 0
    features: dict[str, list[int]] = field(default_factory=dict)
    first_unreadable: list[str] = field(default_factory=list)
    first_missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def drop(self, reason: str, number: int) -> None:
        self.dropped[reason] = number

    @property
    def sparsity(self) -> float:
        """The share of user-item pairs without an interaction."""
        return 1 - self.interactions / (self.users * self.items)

    def count_pictures(self, pictures: Pictures) -> None:
        """Takes over what is known of the pictures. Where most items that name one have none, that is a warning."""
        self.pictures_found, self.shared_pictures = dict(pictures.ways), pictures.shared
        self.missing_pictures, self.first_missing = pictures.missing, pictures.first_missing
        self.ambiguous_pictures = pictures.rivals
        if pictures.rivals:
            self.notes.append(
                f"{pictures.rivals:,} pictures have several files of the name; taken was, for example, {pictures.first_rivals}"
            )
        if pictures.shared:
            self.notes.append(f"{pictures.shared:,} items have no picture because paths to different folders would all have meant one file")
        if pictures.missing > pictures.named / 2:
            named = f"that the column {pictures.column} names" if pictures.column else "that are called like the items"
            self.warnings.append(
                f"{pictures.missing:,} of {pictures.named:,} pictures {named} are not in the folder {pictures.folder}; "
                "give the right one as --images, after downloading them if they are on the web"
            )

    def count_lacking(self, number: int) -> None:
        """Takes over how many items have no row in the item table. If these are most, that is a warning."""
        self.items_without_metadata = number
        if number > self.items / 2:
            self.warnings.append(f"{number:,} of {self.items:,} items have no row in the item table: does it belong to these interactions?")

    def write(self, file: Path) -> None:
        """Writes all of it as JSON, but for the names of the files, so that the same tables give the same report."""
        tables = [{key: value for key, value in asdict(table).items() if key != "file"} for table in self.tables]
        report = {**asdict(self), "tables": tables, "sparsity": self.sparsity}
        file.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
