"""MultiModalDataset: RecBole's Dataset, whose items have pictures and texts beside it in ``content``."""

from logging import getLogger
from pathlib import Path

from recbole.data.dataset import Dataset
from recbole.utils import FeatureSource

from recbole_mm.config.modalities import from_encoder
from recbole_mm.data.content import ItemContent, writable_cache
from recbole_mm.data.text import join_fields, read_item_table
from recbole_mm.data.tokens import item_tokens
from recbole_mm.errors import InputError


class MultiModalDataset(Dataset):
    """RecBole's Dataset with ``content``, an ItemContent whose row i belongs to internal item id i.

    ``image_field`` (one column of the ``.item`` file: paths below ``image_dir``) and ``text_field`` (columns, joined in order) are
    read beside RecBole: they get no vocabulary, no id, and are in no batch.

    Raises:
        InputError: a column that was asked for and is not there, no ``.item`` file or none of the items in it, an item that is in it
            twice, no picture folder, a picture path outside it.
    """

    def _get_load_and_unload_col(self, source: FeatureSource | str) -> tuple[set | None, set | None]:
        load, unload = super()._get_load_and_unload_col(source)
        if source == FeatureSource.ITEM:
            raw = {field for field in (self.config["image_field"], *(self.config["text_field"] or [])) if field}
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
        """Pictures' names and texts of the items that are left after filtering, found by item token, of the modalities in use."""
        tokens = self.tokens
        folder = Path(self.dataset_path)
        images = texts = None
        if from_encoder(self.config) != []:
            file = folder / f"{self.dataset_name}.item"
            table = self._item_table(file)
            image_field, text_fields = self._content_fields(table, file)
            rows = self._rows(table, tokens, file)
            images = _take(table[image_field], rows) if image_field else None
            if text_fields:
                texts = _take([join_fields(parts) for parts in zip(*(table[f] for f in text_fields), strict=True)], rows)
        return ItemContent(
            tokens,
            images,
            texts,
            image_dir=folder / (self.config["image_dir"] or "images"),
            cache_dir=Path(self.config["cache_dir"] or writable_cache(folder / ".recbole_mm")),
            max_broken_images=self.config["max_broken_images"],
            show_progress=bool(self.config["show_progress"]),
        )

    def item_column(self, field: str, key: str) -> list[str]:
        """The raw values of a column of the ``.item`` file by internal item id, "" for items that have no row in it.

        Raises:
            InputError: there is no such column; it names the configuration ``key`` that asked for it.
        """
        file = Path(self.dataset_path) / f"{self.dataset_name}.item"
        table = self._item_table(file)
        if field not in table:
            raise InputError(f"{file} has no column '{field}' ({key}); it has {', '.join(table)}")
        return _take(table[field], self._rows(table, self.tokens, file))

    def _item_table(self, file: Path) -> dict[str, list[str]]:
        if not file.is_file():
            raise InputError(f"no item file {file}: pictures and texts come from its columns (image_field, text_field)")
        table = read_item_table(file, self.config["field_separator"], self.config["encoding"] or "utf-8")
        if self.iid_field not in table:
            raise InputError(f"{file} has no column '{self.iid_field}' (ITEM_ID_FIELD); it has {', '.join(table)}")
        return table

    def _rows(self, table: dict[str, list[str]], tokens: list[str], file: Path) -> list[int | None]:
        """The table's row of every item, None for padding and for items it does not have."""
        row_of: dict[str, int] = {}
        for row, token in enumerate(table[self.iid_field]):
            if row_of.setdefault(token, row) != row:
                raise InputError(f"{file} has item {token} more than once: leave the row that is right (audit names all such items)")
        rows = [None, *(row_of.get(token) for token in tokens[1:])]
        without = [token for token, row in zip(tokens[1:], rows[1:], strict=True) if row is None]
        if len(without) == len(tokens) - 1:
            there = next(iter(row_of), "nothing")
            raise InputError(f"no item of the interactions is in {file}: they are called {tokens[1]}, ..., and there {there}, ...")
        if without:
            getLogger().warning(f"{len(without)} of {len(tokens) - 1} items have no row in {file}, the first of them {without[0]}")
        return rows

    def _content_fields(self, table: dict[str, list[str]], file: Path) -> tuple[str | None, list[str]]:
        """The image column and the text columns to read: those asked for, or, of the defaults, those that are there."""
        image_field, text_fields = self.config["image_field"], list(self.config["text_field"] or [])
        wanted = None if self.config["encoder_training"] == "finetuned" else from_encoder(self.config)
        if wanted is not None and "joint" not in wanted:
            image_field, text_fields = image_field if "image" in wanted else None, text_fields if "text" in wanted else []
        asked = self.config.external_config_dict
        for key, fields in (("image_field", [image_field] if image_field else []), ("text_field", text_fields)):
            for field in fields:
                if field not in table and key in asked:
                    raise InputError(f"{file} has no column '{field}' ({key}); it has {', '.join(table)}")
        if image_field not in table:
            image_field = None
        text_fields = [field for field in text_fields if field in table]
        if not image_field and not text_fields:
            raise InputError(f"{file} has no picture and no text column; set image_field and text_field to some of {', '.join(table)}")
        getLogger().info(f"Item content of {file}: image_field = {image_field}, text_field = {text_fields}")
        return image_field, text_fields


def _take(column: list[str], rows: list[int | None]) -> list[str]:
    return ["" if row is None else column[row] for row in rows]
