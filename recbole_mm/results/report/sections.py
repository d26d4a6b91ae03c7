"""What a report consists of: sections of blocks, which the template shows one after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Block:
    """A part of a section.

    Attributes:
        kind: which part of the template shows it: ``table``, ``figure``, ``facts``, ``people``, ``neighbours``, ``misses``, ``cards``
            or ``note``.
        content: what that shows.
        title: what stands above it, and what a figure is for those who cannot see it.
        half: whether two such blocks stand side by side where there is room.
    """

    kind: str
    content: object
    title: str = ""
    half: bool = False


@dataclass(frozen=True)
class Section:
    """A section.

    Attributes:
        name: of its anchor.
        title: its heading.
        how: how to read it, a short paragraph.
    """

    name: str
    title: str
    how: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Tile:
    """A number that a reader should see first."""

    value: str
    words: str
    small: str = ""


@dataclass
class Report:
    """All that a page shows.

    Attributes:
        kind, title, lead, about: its head; ``lead`` says what came out, ``about`` what it is about.
        tiles: the numbers to see first.
        sections: in their order. Those without blocks are left out.
        pictures: data URIs by number.
        shape: of most pictures: ``square``, ``portrait`` or ``landscape``.
    """

    kind: str
    title: str
    lead: str
    about: str
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    pictures: Sequence[str] = field(default_factory=list)
    shape: str = "square"

    def context(self) -> Mapping[str, object]:
        """What the template is given."""
        sections = [section for section in self.sections if section.blocks]
        figures = [block.content for section in sections for block in section.blocks if block.kind == "figure"]
        numbers = {id(figure): number for number, figure in enumerate(figures)}
        return {
            "kind": self.kind, "title": self.title, "lead": self.lead, "about": self.about, "tiles": self.tiles, "sections": sections,
            "figures": figures, "number": lambda figure: numbers[id(figure)], "pictures": self.pictures, "shape": self.shape,
        }  # fmt: skip
