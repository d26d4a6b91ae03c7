"""The contents of a data set's items: what stores and packs know an item by."""

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from recbole_mm.data.content import text_digest
from recbole_mm.data.file_index import FileIndex
from recbole_mm.data.item_file import ItemFile
from recbole_mm.data.picture_paths import resolve_image_path
from recbole_mm.data.text import join_fields
from recbole_mm.errors import InputError
from recbole_mm.items.inputs import PARTS
from recbole_mm.serving.item_texts import content_settings


class Content(NamedTuple):
    """The content of an item: the file of its picture, None without one, and its text."""

    token: str
    picture: Path | None
    text: str


class Contents:
    """The contents of forgotten items, and of the kept items that share some of them.

    Args:
        config: of a run, ours or RecBole's.
        folder: the data set's.
        cache_dir: its cache.
        forgotten: the tokens of the forgotten items.

    Attributes:
        pictures: the picture files that forgotten items alone have.
    """

    def __init__(self, config, folder: Path, cache_dir: Path, forgotten: Collection[str]) -> None:
        self._files = FileIndex(cache_dir)
        going, staying = _apart(_read(config, folder), forgotten)
        shown, texts = {row.picture for row in going if row.picture}, {row.text for row in going}
        self.pictures = _alone(going, staying)
        sizes = {_size(path) for path in shown}
        alike = [row for row in staying if row.text in texts or row.picture in shown or (row.picture and _size(row.picture) in sizes)]
        self._going, self._staying = ([(row.token, self._parts(row)) for row in some] for some in (going, alike))
        self._former = {digest for path in shown if (digest := self._files.recorded(path))}

    def of_forgotten(self, modality: str) -> set[str]:
        """The digests of what forgotten items have in a modality."""
        former = self._former if modality == "image" else set()
        return {digest for _, parts in self._going if (digest := _digest(parts, modality))} | former

    def of_kept(self, modality: str) -> dict[str, str]:
        """The digests of what kept items may share with them, each with the token of such an item."""
        return {digest: token for token, parts in reversed(self._staying) if (digest := _digest(parts, modality))}

    def _parts(self, row: Content) -> dict[str, str]:
        return {"image": self._of_picture(row.picture) if row.picture else "", "text": text_digest(row.text) if row.text.strip() else ""}

    def _of_picture(self, path: Path) -> str:
        with suppress(OSError):
            status = os.stat(path)
            known = self._files.digest(path, [status.st_size, status.st_mtime_ns])
            return known or blake2b(path.read_bytes(), digest_size=16).hexdigest()
        return ""


def pictures_alone(config, folder: Path, forgotten: Collection[str]) -> set[Path]:
    """The picture files that forgotten items alone have, whether they are there or not."""
    return _alone(*_apart(_read(config, folder), forgotten)) if forgotten else set()


def _apart(rows: Iterable[Content], forgotten: Collection[str]) -> tuple[list[Content], list[Content]]:
    """The items that go, and those that stay."""
    rows = list(rows)
    return [row for row in rows if row.token in forgotten], [row for row in rows if row.token not in forgotten]


def _alone(going: Iterable[Content], staying: Iterable[Content]) -> set[Path]:
    return {row.picture for row in going if row.picture} - {row.picture for row in staying}


def _digest(parts: dict[str, str], modality: str) -> str:
    """As ``EncoderInputs.digests`` has it."""
    names = [parts[part] for part in PARTS[modality]]
    return "".join(names) if all(names) else ""


def _read(config, folder: Path) -> Iterator[Content]:
    """The rows of the ``.item`` file; none where it cannot be read."""
    try:
        settings, file = content_settings(config, folder), ItemFile.of(config, folder)
    except InputError:
        return
    texts = [file.columns[field] for field in settings.text_fields if field in file.columns]
    names = file.columns.get(settings.image_field, [""] * len(file.ids))
    for row, token in enumerate(file.ids):
        picture = None
        with suppress(InputError):
            picture = resolve_image_path(folder / settings.image_dir, names[row].strip()) if names[row].strip() else None
        yield Content(token, picture, join_fields([column[row] for column in texts]))


def _size(path: Path) -> int:
    """In bytes; -1 for a file that is not there."""
    with suppress(OSError):
        return path.stat().st_size
    return -1
