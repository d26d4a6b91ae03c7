"""What people see of the items: titles and pictures, from the ``.item`` file of a run's data set."""

from collections.abc import Mapping, Sequence
from logging import getLogger
from pathlib import Path

import yaml

from recbole_mm.config.config_files import read_config_files
from recbole_mm.config.keys import KEYS
from recbole_mm.config.parse import parse_container
from recbole_mm.data.atomic_file import read_kinds
from recbole_mm.data.content_settings import ContentSettings
from recbole_mm.data.item_file import ItemFile
from recbole_mm.data.text import one_line_of
from recbole_mm.data.tokens import item_tokens
from recbole_mm.errors import InputError
from recbole_mm.serving.thumbnails import FilePictures

TITLES = ("title", "name")
TITLE_LENGTH = 200
CONTENT_KEYS = ("image_field", "image_dir", "text_field")


def title_of(cells: Mapping[str, object], text_fields: Sequence[str]) -> str:
    """The title of an item on one line of at most 200 characters: what stands in its column ``title``, or else in ``name``, or else in
    the first of the text fields that is not empty."""
    values = (cells.get(field) for field in (*TITLES, *text_fields))
    title = next((line for value in values if isinstance(value, str) and (line := one_line_of(value))), "")
    return title if len(title) <= TITLE_LENGTH else title[: TITLE_LENGTH - 1].rstrip() + "…"


def titles_and_pictures(config, dataset) -> tuple[list[str], FilePictures]:
    """The titles of a data set's items by their internal ids, and their pictures. It may be RecBole's, which reads neither. Items without
    a row have neither, and where the ``.item`` file cannot be read, none has; the log says why.

    Args:
        config, dataset: of the run, as ``load_data_and_model`` returns them.
    """
    tokens, folder = item_tokens(dataset), Path(dataset.dataset_path)
    try:
        settings, file = content_settings(config, folder), ItemFile.of(config, folder)
    except InputError as error:
        getLogger(__name__).warning(f"the items have no titles and no pictures: {error}")
        return [""] * len(tokens), FilePictures([""] * len(tokens), folder)
    kinds = read_kinds(file.path, config["field_separator"], config["encoding"] or "utf-8")
    texts = [field for field in settings.text_fields if field in kinds] or [f for f, kind in kinds.items() if kind == "token_seq"]
    shown = {field: file.columns[field] for field in (*TITLES, *texts) if field in kinds}
    images = file.columns.get(settings.image_field, [""] * len(file.ids))
    row_of = {token: row for row, token in reversed(list(enumerate(file.ids)))}
    rows = [None, *(row_of.get(token) for token in tokens[1:])]
    titles = ["" if row is None else title_of({field: cells[row] for field, cells in shown.items()}, texts) for row in rows]
    names = ["" if row is None else images[row].strip() for row in rows]
    return titles, FilePictures(names, folder / settings.image_dir)


def content_settings(config, folder: Path) -> ContentSettings:
    """Which columns hold titles and pictures. A model of RecBole's has no keys for them: then the data set's own file says it, or else the
    keys' defaults hold."""
    absent, own = [key for key in CONTENT_KEYS if key not in config], folder / f"{config['dataset']}.yaml"
    if absent:
        said = read_config_files([own], yaml.SafeLoader) if own.is_file() else {}
        values = {key: parse_container(key, said.get(key, KEYS[key].default), yaml.SafeLoader) for key in absent}
        config = config.changed(**values)
    return ContentSettings.from_config(config)
