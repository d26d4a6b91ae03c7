"""Catalogue: what people see of the items that are served."""

from collections.abc import Iterable, Sequence
from functools import cached_property

from recbole_mm.data.tokens import item_tokens
from recbole_mm.serving.item_texts import titles_and_pictures
from recbole_mm.serving.part_search import PartSearch
from recbole_mm.serving.thumbnails import FilePictures, StoredThumbnails


class Catalogue:
    """Titles and small pictures by item token.

    Args:
        tokens: the model's items by internal id; the first is padding.
        titles: of these items, "" for none.
        thumbnails: of these items; None where there are none.
        gone: items that are no longer sold, which ``search`` does not find.
    """

    def __init__(
        self, tokens: Sequence[str], titles: Sequence[str], thumbnails: FilePictures | StoredThumbnails | None = None,
        gone: Iterable[str] = (),
    ) -> None:  # fmt: skip
        self.tokens, self.titles, self.thumbnails = tokens, titles, thumbnails
        self._rows = {token: row for row, token in enumerate(tokens) if row}
        self._added: dict[str, tuple[str, bytes | None]] = {}
        self._removed = set(gone)

    @classmethod
    def of_run(cls, config, dataset) -> "Catalogue":
        """That of a run's data set (see ``titles_and_pictures``)."""
        tokens = item_tokens(dataset)
        return cls(tokens, *titles_and_pictures(config, dataset), [tokens[item] for item in getattr(dataset, "gone_items", ())])

    def title(self, token: str) -> str:
        """The title of an item; "" for one without, and for an unknown one."""
        if token in self._added:
            return self._added[token][0]
        return self.titles[self._rows[token]] if token in self._rows else ""

    def has_thumbnail(self, token: str) -> bool:
        """Whether an item has a picture."""
        if token in self._added:
            return self._added[token][1] is not None
        return self.thumbnails is not None and token in self._rows and self.thumbnails.has(self._rows[token])

    def thumbnail(self, token: str) -> bytes | None:
        """The JPEG of an item, of at most 256 pixels on the longer side; None without one."""
        if token in self._added:
            return self._added[token][1]
        return self.thumbnails[self._rows[token]] if self.has_thumbnail(token) else None

    def add(self, token: str, title: str, jpeg: bytes | None) -> None:
        """Takes over what an added item shows, in the place of what an item of this token showed before."""
        self._added[token] = title, jpeg
        self._removed.discard(token)

    def remove(self, token: str) -> None:
        """An item is no longer found by ``search``. Its title and picture stay, since histories may show it."""
        self._removed.add(token)

    def search(self, part: str, limit: int) -> list[str]:
        """Up to ``limit`` item tokens that have a part in their token or title, added ones first (see ``PartSearch``)."""
        added = {token: title for token, (title, _) in dict(self._added).items() if token not in self._removed}
        newest = list(added)
        found = [newest[row] for row in PartSearch(newest, list(added.values())).find(part, limit)]
        hidden = {token for token in (*dict(self._added), *set(self._removed)) if token in self._rows}
        known = (self.tokens[row + 1] for row in self._known.find(part, limit + len(hidden)))
        return [*found, *(token for token in known if token not in hidden)][:limit]

    @cached_property
    def _known(self) -> PartSearch:
        return PartSearch(self.tokens[1:], self.titles[1:])
