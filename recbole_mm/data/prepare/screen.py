"""The summary of a preparation as a person reads it: which columns were used, what was dropped and why, what is there now."""

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table as Grid

from recbole_mm.data.prepare.summary import Summary, Table

WIDTH = 100
"""Characters of a line, or fewer where the terminal is narrower."""
SHOWN = 20
"""How many of the columns that were not used are named."""


def show(summary: Summary) -> None:
    """Prints the summary."""
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    with console.capture() as shown:
        console.print(Group(*_blocks(summary)))
    print("\n".join(line.rstrip() for line in shown.get().rstrip().splitlines()))


def _blocks(summary: Summary) -> Iterator[RenderableType]:
    for table in summary.tables:
        yield f"[bold]{escape(table.file)}[/]  {table.rows:,} rows"
        yield Padding(_columns(table), (0, 0, 1, 2))
    yield "[bold]interactions[/]"
    yield Padding(_grid(_interactions(summary)), (0, 0, 1, 2))
    yield "[bold]items[/]"
    yield Padding(_grid(_items(summary)), (0, 0, 1 if summary.notes or summary.warnings else 0, 2))
    for style, word, lines in (("", "note", summary.notes), ("bold yellow", "WARNING", summary.warnings)):
        if lines:
            yield _grid(((word, line) for line in lines), style)


def _columns(table: Table) -> Grid:
    named = [(role, columns + (f"  ({table.said[role]})" if role in table.said else "")) for role, columns in table.used.items()]
    if table.not_used:
        more = len(table.not_used) - SHOWN
        named.append(("not used", ", ".join(table.not_used[:SHOWN]) + (f" and {more} more" if more > 0 else "")))
    return _grid(named)


def _interactions(summary: Summary) -> Iterator[tuple[str, str]]:
    yield f"{summary.rows:,}", "read"
    for reason, number in summary.dropped.items():
        if number:
            first = f"; the first: {', '.join(summary.first_unreadable)}" if reason.startswith("unreadable") else ""
            yield f"{number:,}", f"dropped: {reason}{first}"
    yield (
        f"{summary.interactions:,}",
        f"kept, of {summary.users:,} users; {summary.sparsity:.2%} of all user-item pairs have none",
    )
    for part, number in summary.parts.items():
        yield f"{number:,}", f"for {part}"


def _items(summary: Summary) -> Iterator[tuple[str, str]]:
    ways = ", ".join(f"{number:,} {way}" for way, number in summary.pictures_found.items())
    yield f"{summary.items:,}", "kept"
    yield f"{summary.items_with_text:,}", "with text"
    yield f"{summary.items_with_picture:,}", "with a picture" + (f": {ways}" if summary.pictures_found else "")
    for number, what in (
        (summary.missing_pictures, "without their picture, which was not found: " + ", ".join(summary.first_missing[:3])),
        (summary.items_without_metadata, "kept with empty text: they have no row in the item table"),
        (summary.items_without_interactions, "kept though nobody has interacted with them (--keep-all-items)"),
        (summary.metadata_without_interactions, "dropped: nobody has interacted with them (--keep-all-items keeps them)"),
        (summary.repeated_metadata, "rows of the item table repeat an item: the first row counts"),
    ):
        if number:
            yield f"{number:,}", what
    for name, (rows, width) in summary.features.items():
        yield f"{rows:,}", f"feature vectors of {width:,} numbers: {name}"
    if summary.kept_columns:
        yield "", f"carried along: {', '.join(summary.kept_columns)}"


def _grid(rows: Iterator[tuple[str, str]] | list[tuple[str, str]], style: str = "") -> Grid:
    """Two columns: the left one to the right if it holds numbers."""
    rows = list(rows)
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, justify="right" if rows[0][0][:1].isdigit() else "left", style=style, min_width=11)
    grid.add_column(overflow="fold")
    for left, right in rows:
        grid.add_row(escape(left), escape(right))
    return grid
