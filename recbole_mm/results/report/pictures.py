"""Items as a report shows them: titles, and pictures that are in the file once each."""

from base64 import b64encode
from dataclasses import dataclass, field
from io import BytesIO
from statistics import median

from PIL import Image

from recbole_mm.serving.catalogue import Catalogue

SIDE, QUALITY = 144, 78
NARROW = 0.8
"""Width divided by height from which on pictures are upright."""
BUDGET = 3_300_000
"""How many characters all pictures of a report have at most, beside the 5 MB of plotly.js and the limit of 10 MB."""


@dataclass(frozen=True)
class Item:
    """An item as it is shown.

    Attributes:
        token, title: the title is the token where there is none.
        picture: its number among the pictures of the report; None for an item without one.
        note: a few words below the title.
        hit: whether the user took it.
    """

    token: str
    title: str
    picture: int | None
    note: str = ""
    hit: bool = False

    @property
    def initial(self) -> str:
        """What stands in the place of a picture."""
        return next((letter.upper() for letter in self.title if letter.isalnum()), "?")


@dataclass
class Pictures:
    """The pictures of a report.

    Attributes:
        catalogue: of the model whose items are shown.
        uris: the pictures as data URIs, by number.
    """

    catalogue: Catalogue
    uris: list[str] = field(default_factory=list)
    _numbers: dict[str, int | None] = field(default_factory=dict)
    _known: dict[bytes, int] = field(default_factory=dict)
    _ratios: list[float] = field(default_factory=list)
    _size: int = 0

    def item(self, token: str, note: str = "", hit: bool = False) -> Item:
        """An item with its title and picture."""
        return Item(token, self.catalogue.title(token) or token, self._number(token), note, hit)

    @property
    def shape(self) -> str:
        """That of most pictures: ``square``, ``portrait`` or ``landscape``."""
        ratio = median(self._ratios) if self._ratios else 1
        return "portrait" if ratio < NARROW else "landscape" if ratio > 1 / NARROW else "square"

    def _number(self, token: str) -> int | None:
        if token not in self._numbers:
            jpeg = self.catalogue.thumbnail(token)
            self._numbers[token] = None if jpeg is None else self._kept(jpeg)
        return self._numbers[token]

    def _kept(self, jpeg: bytes) -> int | None:
        if jpeg not in self._known:
            small, ratio = _smaller(jpeg)
            uri = "data:image/jpeg;base64," + b64encode(small).decode()
            if self._size + len(uri) > BUDGET:
                return None
            self._size += len(uri)
            self._known[jpeg] = len(self.uris)
            self.uris.append(uri)
            self._ratios.append(ratio)
        return self._known[jpeg]


def _smaller(jpeg: bytes) -> tuple[bytes, float]:
    """The JPEG of a smaller picture, and its width divided by its height."""
    picture, file = Image.open(BytesIO(jpeg)), BytesIO()
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    picture.save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue(), picture.width / picture.height
