"""What an audit found: numbers by section, and findings, each with a level and with what to do."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain

LEVELS = ("error", "warning", "info")
SECTIONS = ("interactions", "items", "pictures", "texts", "features", "split", "shuffle_test")
BY_MODALITY = ("features", "shuffle_test")
NAMED, KEPT = 5, 1000


@dataclass(frozen=True)
class Finding:
    """One thing that an audit found.

    Attributes:
        level: "error" (it would stop a run or corrupt its result), "warning" or "info".
        code: names the kind of finding, for example "pictures.missing".
        message: what was found.
        action: what to do about it.
        count: how many items it concerns.
        items: the tokens of up to ``KEPT`` of them.
    """

    level: str
    code: str
    message: str
    action: str
    count: int = 0
    items: tuple[str, ...] = ()


@dataclass
class Report:
    """The report of an audit.

    Attributes:
        numbers: ``{section: {name: value}}``, or ``{section: {modality: {name: value}}}`` in the sections ``BY_MODALITY``. A value is a
            number, a string, or a mapping of such. Names that begin with "share" are fractions of 1.
        findings: in the order in which they were found.
    """

    dataset: str
    folder: str
    numbers: dict[str, dict[str, object]] = field(default_factory=lambda: {section: {} for section in SECTIONS})
    findings: list[Finding] = field(default_factory=list)

    def add(self, level: str, code: str, message: str, action: str, items: Sequence[str] = ()) -> None:
        """Adds a finding. The items that it concerns are counted, and the first of them are named at the end of the message."""
        items = [str(item) for item in items]
        named = f": {named_items(items)}" if items else ""
        self.findings.append(Finding(level, code, message + named, action, len(items), tuple(items[:KEPT])))

    @property
    def sound(self) -> bool:
        """Whether no error was found."""
        return all(finding.level != "error" for finding in self.findings)

    def as_dict(self) -> dict[str, object]:
        """The report as ``--json`` prints it."""
        numbers = {section: values for section, values in self.numbers.items() if values}
        found = [asdict(finding) for finding in self._by_level()]
        return {"dataset": self.dataset, "folder": self.folder, "sound": self.sound, "numbers": numbers, "findings": found}

    def as_text(self) -> str:
        """The report for people: the numbers in aligned columns, then the findings, the gravest first."""
        lines = [f"audit of {self.dataset} ({self.folder})"]
        tables = dict(self._tables())
        width = max(map(len, chain(*tables.values())), default=0)
        for title, values in tables.items():
            lines += ["", title, *(f"  {name.replace('_', ' '):<{width}}  {shown(name, value)}" for name, value in values.items())]
        counts = {level: sum(f.level == level for f in self.findings) for level in LEVELS}
        lines += ["", "findings: " + (", ".join(f"{n} {level}" for level, n in counts.items() if n) or "none")]
        for found in self._by_level():
            lines += [f"  {found.level:<8} {found.code}: {found.message}", f"           -> {found.action}"]
        return "\n".join(lines)

    def _tables(self) -> Iterator[tuple[str, dict[str, object]]]:
        for section, values in self.numbers.items():
            title = section.replace("_", " ")
            if section in BY_MODALITY:
                yield from ((f"{title}: {modality}", numbers) for modality, numbers in values.items())
            elif values:
                yield title, values

    def _by_level(self) -> Iterable[Finding]:
        return sorted(self.findings, key=lambda finding: LEVELS.index(finding.level))


def named_items(items: Sequence[str]) -> str:
    """The first few of the items, for a message."""
    return ", ".join(items[:NAMED]) + (f", ... ({len(items):,} in all)" if len(items) > NAMED else "")


def shown(name: str, value: object) -> str:
    """A value as text; a mapping as all of its entries with their names."""
    if isinstance(value, dict):
        return ", ".join(f"{shown(key, entry):>6} {key.removeprefix('share_').replace('_', ' ')}" for key, entry in value.items())
    if name.startswith("share") and isinstance(value, float):
        return f"{100 * value:.1f} %"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
