"""ItemContent: the picture and the text of every item, by RecBole's internal item id."""

import logging
import os
import tempfile
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch

from recbole_mm.data.image import DEFAULT_SIZE, default_geometry
from recbole_mm.data.pack import ImagePack, Preprocess
from recbole_mm.data.pack_writer import PictureSize
from recbole_mm.data.picture_paths import resolve_image_path
from recbole_mm.errors import InputError

NAMED_IN_MESSAGE = 5
"""How many broken pictures a message names."""
logger = logging.getLogger(__name__)


class ItemContent:
    """The pictures and texts of n items. Item 0 is RecBole's padding and has neither.

    Args:
        tokens: the item tokens in internal id order, `tokens[0]` being "[PAD]".
        image_names: the path of each item's picture below `image_dir`, "" for no picture; None if the data set has no pictures.
        texts: the text of each item, "" for no text; None if the data set has no texts.
        image_dir: the folder of the pictures; needed with `image_names`.
        cache_dir: the folder of the packs of decoded pictures (see `writable_cache`).
        max_broken_images: the share of the named pictures that may be unreadable before a run stops.
        show_progress: whether to show a progress bar while pictures are packed.

    Attributes:
        modalities: which of "image" and "text" the data set has.
        present: modality -> bool (n,), the items that have it. Pictures that turn out to be unreadable when they are packed (by the first
            call of `images`, or by `use_preprocessing`) are taken out of `present["image"]`, in place.

    Raises:
        InputError: `image_dir` is missing, or the path of a picture leads out of it.
        ValueError: the sequences differ in length.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        image_names: Sequence[str] | None,
        texts: Sequence[str] | None,
        image_dir: Path | None,
        cache_dir: Path,
        max_broken_images: float = 0.01,
        show_progress: bool = False,
    ):
        given = {"image": image_names, "text": texts}
        for modality, values in given.items():
            if values is not None and len(values) != len(tokens):
                raise ValueError(f"{len(values)} {modality} values for {len(tokens)} item tokens")
        self.modalities = tuple(modality for modality, values in given.items() if values is not None)
        self.cache_dir, self.max_broken_images, self.show_progress = Path(cache_dir), max_broken_images, show_progress
        self._tokens = list(tokens)
        self._texts = [""] + list(texts[1:]) if texts is not None else None
        self._paths = self._resolve(image_names, image_dir) if image_names is not None else None
        self._pack: ImagePack | None = None
        self._rows: np.ndarray | None = None
        self._preprocessing: tuple[str, PictureSize] | None = None
        self.present: dict[str, torch.Tensor] = {}
        if self._paths is not None:
            self.present["image"] = torch.tensor([path is not None for path in self._paths], dtype=torch.bool)
        if self._texts is not None:
            self.present["text"] = torch.tensor([bool(text.strip()) for text in self._texts], dtype=torch.bool)

    def __len__(self) -> int:
        return len(self._tokens)

    def tokens(self, ids: Sequence[int] | torch.Tensor) -> list[str]:
        """The item tokens of n internal ids."""
        return [self._tokens[i] for i in self._checked(ids)]

    def texts(self, ids: Sequence[int] | torch.Tensor) -> list[str]:
        """The texts of n internal ids; "" where an item has none. Raises LookupError if the data set has no texts."""
        if self._texts is None:
            raise LookupError("this data set has no texts")
        return [self._texts[i] for i in self._checked(ids)]

    def images(self, ids: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """The pictures of n internal ids: uint8 (n, 3, H, W), or (n, L, B) with zeros after the shorter ones; all zero where an item has no
        picture. They are prepared by `default_geometry` unless `use_preprocessing` has been called.

        Raises:
            LookupError: the data set has no pictures.
            InputError: as `use_preprocessing`.
        """
        if self._paths is None:
            raise LookupError("this data set has no pictures")
        if self._pack is None:
            self.use_preprocessing(default_geometry, "default", DEFAULT_SIZE)
        return self._pack.read(self._rows[self._checked(ids)])

    def groups(self, modality: str) -> torch.Tensor:
        """Numbers the distinct contents of a modality: int64 (n,), the same number for items whose picture files have the same bytes (or
        whose texts are the same), -1 for items without. Pictures must have been packed (see `use_preprocessing`).

        Raises:
            KeyError: the data set does not have this modality.
        """
        here = self.present[modality].numpy()
        keys = self._rows if modality == "image" else np.unique(np.array(self._texts, dtype=object), return_inverse=True)[1]
        return torch.from_numpy(np.where(here, keys, -1).astype(np.int64))

    def digests(self, modality: str) -> list[str]:
        """The hash of each item's picture file, or of its text; "" for items without. Pictures must have been packed (see
        `use_preprocessing`).

        Raises:
            KeyError: the data set does not have this modality.
        """
        here = self.present[modality].tolist()
        if modality == "image":
            packed = self._pack.digests()
            return [packed[row] if there else "" for row, there in zip(self._rows.tolist(), here, strict=True)]
        return [text_digest(text) if there else "" for text, there in zip(self._texts, here, strict=True)]

    def use_preprocessing(self, preprocess: Preprocess, key: str, size: PictureSize) -> None:
        """Prepares all pictures with `preprocess`, as far as they are not packed yet; `images` gives them in this form from now on.
        Unreadable pictures are named in one warning and count as missing. Without pictures, or if the same key and size are in use
        already, the call does nothing.

        Args:
            preprocess: RGB image -> uint8 (3, H, W), or (L, B) with a length of its own.
            key: a name for the preprocessing.
            size: (H, W), or (None, B).

        Raises:
            InputError: more than the share `max_broken_images` of the named pictures cannot be read.
        """
        if self._paths is None or self._preprocessing == (key, tuple(size)):
            return
        pack, rows, broken = ImagePack.build(self.cache_dir, self._paths, preprocess, key, size, self.show_progress)
        if broken:
            self._report_broken(broken)
        self._pack, self._rows, self._preprocessing = pack, rows, (key, tuple(size))
        self.present["image"].copy_(torch.from_numpy(rows >= 0))

    def _report_broken(self, broken: dict[int, str]) -> None:
        named = sum(path is not None for path in self._paths)
        shown = [f"item {self._tokens[i]}: {self._paths[i]} ({broken[i]})" for i in sorted(broken)[:NAMED_IN_MESSAGE]]
        more = f"; and {len(broken) - len(shown)} more" if len(broken) > len(shown) else ""
        facts = f"{len(broken)} of {named} pictures cannot be used: {'; '.join(shown)}{more}"
        if len(broken) > self.max_broken_images * named:
            raise InputError(
                f"{facts}. Repair or replace them, empty their image field, or raise max_broken_images "
                f"(now {self.max_broken_images:g}, a share of them)."
            )
        logger.warning("%s. These items are treated as having no picture.", facts)

    def _resolve(self, image_names: Sequence[str], image_dir: Path | None) -> list[Path | None]:
        if image_dir is None:
            raise InputError("the items name pictures, but image_dir is not set; set it to the folder that holds them.")
        if not Path(image_dir).is_dir():
            raise InputError(f"image_dir {image_dir} is not a folder; set image_dir to the folder that holds the pictures.")
        paths: list[Path | None] = [None]
        for token, name in zip(self._tokens[1:], image_names[1:], strict=True):
            try:
                paths.append(resolve_image_path(Path(image_dir), name.strip()) if name.strip() else None)
            except InputError as error:
                raise InputError(f"item {token}: {error}") from None
        return paths

    def _checked(self, ids: Sequence[int] | torch.Tensor) -> np.ndarray:
        ids = torch.as_tensor(ids, dtype=torch.long).reshape(-1).cpu().numpy()
        if ids.size and (ids.min() < 0 or ids.max() >= len(self)):
            raise IndexError(f"item ids from {ids.min()} to {ids.max()}, but the content has items 0 to {len(self) - 1}")
        return ids


def text_digest(text: str) -> str:
    """The hash of a text."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def cache_folders(preferred: Path) -> tuple[Path, Path]:
    """The folders that ``writable_cache`` chooses from."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return Path(preferred), base / "recbole_mm" / blake2b(os.path.abspath(preferred).encode(), digest_size=8).hexdigest()


def writable_cache(preferred: Path) -> Path:
    """A folder that this process can write to: `preferred` if possible, else one under `$XDG_CACHE_HOME/recbole_mm` (by default
    `~/.cache/recbole_mm`) that belongs to `preferred` alone. It is not created,
    so that processes that ask at the same time get the same answer.

    Raises:
        InputError: neither can be written.
    """
    for folder in cache_folders(preferred):
        try:
            place = next(part for part in (folder, *folder.parents) if part.exists())
            with tempfile.TemporaryFile(dir=place):
                return folder
        except OSError:
            continue
    neither = " nor ".join(map(str, cache_folders(preferred)))
    raise InputError(f"no cache folder can be written, neither {neither}; set XDG_CACHE_HOME to a folder that can.")
