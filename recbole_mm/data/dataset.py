"""MultiModalDataset: RecBole's Dataset, whose items also have pictures and texts, in ``content``."""

from collections.abc import Mapping
from logging import getLogger
from pathlib import Path

from recbole.data.dataset import Dataset
from recbole.utils import FeatureSource

from recbole_mm.data.content import ItemContent, writable_cache
from recbole_mm.data.content_settings import ContentSettings
from recbole_mm.data.item_file import ItemFile
from recbole_mm.data.reading import CheckedReading
from recbole_mm.data.text import join_fields
from recbole_mm.data.tokens import item_tokens
from recbole_mm.errors import InputError


class MultiModalDataset(CheckedReading, Dataset):
    """RecBole's Dataset with ``content``, an ItemContent in which item i is RecBole's internal item i.

    The columns ``image_field`` (paths below ``image_dir``) and ``text_field`` (several are joined in order) of the ``.item`` file are not
    read by RecBole: they get no vocabulary and no ids, and are in no batch.

    Raises:
        InputError: the ``.item`` file or a column that was asked for is missing, none of the items is in the file, an item is in it
            twice, the folder of the pictures is missing, or a picture's path leads out of it.

    Attributes:
        ready_features: the items' features by modality, where they are there already; None where they are to be made.
    """

    ready_features: Mapping[str, tuple] | None = None

    def _get_load_and_unload_col(self, source: FeatureSource | str) -> tuple[set | None, set | None]:
        load, unload = super()._get_load_and_unload_col(source)
        if source == FeatureSource.ITEM:
            settings = ContentSettings.from_config(self.config)
            raw = {*settings.text_fields} | ({settings.image_field} if settings.image_field else set())
            if load is None:
                unload = (unload or set()) | raw
            else:
                load = load - raw
        return load, unload

    @property
    def tokens(self) -> list[str]:
        """The token of every item by its internal id; the first is RecBole's padding, "[PAD]"."""
        return item_tokens(self)

    def _data_processing(self) -> None:
        super()._data_processing()
        self.content = self.read_content()

    def read_content(self) -> ItemContent:
        """Reads the picture paths and texts of the items that filtering has left, as far as the encoder needs them."""
        settings, folder = ContentSettings.from_config(self.config), Path(self.dataset_path)
        images = texts = None
        if settings.modalities != ():
            file = self._item_file()
            image_field, text_fields = _fields_to_read(settings, file)
            rows = file.rows(self.tokens)
            if image_field:
                images = file.column(image_field, "image_field", rows)
            if text_fields:
                values = [file.column(field, "text_field", rows) for field in text_fields]
                texts = [join_fields(parts) for parts in zip(*values, strict=True)]
        return ItemContent(
            self.tokens,
            images,
            texts,
            image_dir=folder / settings.image_dir,
            cache_dir=settings.cache_dir or writable_cache(folder / ".recbole_mm"),
            max_broken_images=settings.max_broken_images,
            show_progress=settings.show_progress,
        )

    def item_column(self, field: str, key: str) -> list[str]:
        """The raw values of a column of the ``.item`` file by internal item id, "" for items that have no row in it.

        Raises:
            InputError: there is no such column; the message names the configuration ``key`` that asked for it.
        """
        file = self._item_file()
        return file.column(field, key, file.rows(self.tokens))

    def _item_file(self) -> ItemFile:
        path = Path(self.dataset_path) / f"{self.dataset_name}.item"
        if not path.is_file():
            raise InputError(f"no item file {path}: pictures and texts come from its columns (image_field, text_field)")
        return ItemFile.of(self.config, path.parent)


def _fields_to_read(settings: ContentSettings, file: ItemFile) -> tuple[str | None, list[str]]:
    """The image column and the text columns to read: those that the user asked for, or those of the defaults that exist."""
    found = {}
    for key, fields in settings.columns().items():
        found[key] = [field for field in fields if field in file.columns]
        absent = [field for field in fields if field not in file.columns]
        if absent and key in settings.given:
            raise InputError(f"{file.path} has no column '{absent[0]}' ({key}); it has {', '.join(file.columns)}")
    if not any(found.values()):
        names = ", ".join(file.columns)
        raise InputError(f"{file.path} has no picture column and no text column; set image_field and text_field to some of {names}")
    image_field, text_fields = next(iter(found["image_field"]), None), found["text_field"]
    getLogger().info(f"Item content of {file.path}: image_field = {image_field}, text_field = {text_fields}")
    return image_field, text_fields
