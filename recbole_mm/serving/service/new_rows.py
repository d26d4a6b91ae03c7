"""New items as they come from outside."""

from collections.abc import Iterator, Mapping, Sequence

from recbole_mm.errors import InputError
from recbole_mm.serving.recommender import Recommender
from recbole_mm.serving.service.bounds import MAX_CELL, MAX_TOKEN
from recbole_mm.serving.service.pictures import picture_of_base64

Row = Mapping[str, object]


def checked_rows(recommender: Recommender, rows: Sequence[Row]) -> Iterator[Row]:
    """The rows one by one, as ``Recommender.add_items`` takes them, each with its picture decoded: never as a path.

    Raises:
        InputError: a row that cannot be used.
    """
    source = recommender.parts.items.source
    id_field, image_field = source.id_field, source.columns.image_field
    for row in rows:
        item = _token(row.get(id_field), id_field)
        yield {id_field: item} | {
            column: _checked(value, column, item, column in source.vector_fields, column == image_field)
            for column, value in row.items()
            if column != id_field
        }


def _checked(value: object, column: str, item: str, may_be_vector: bool, is_picture: bool) -> object:
    """The value of a column. Whatever could name a file is decoded as a picture or refused."""
    if may_be_vector and isinstance(value, list):
        return value
    if is_picture:
        return picture_of_base64(value, item)
    if may_be_vector and value is not None:
        raise InputError(f"item '{item}': '{column}' must be a list of numbers")
    _check_text(value, column, item)
    return value


def _check_text(value: object, column: str, item: str) -> None:
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise InputError(f"item '{item}': '{column}' must be text")
    if isinstance(value, str) and len(value) > MAX_CELL:
        raise InputError(f"item '{item}': '{column}' may have at most {MAX_CELL} characters")
    if isinstance(value, str) and not is_unicode(value):
        raise InputError(f"item '{item}': '{column}' has half of a surrogate pair")


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold a text, which JSON can bring from outside in halves."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _token(value: object, id_field: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"'{id_field}' must be text")
    token = value.strip()
    if len(token) > MAX_TOKEN:
        raise InputError(f"'{id_field}' may have at most {MAX_TOKEN} characters")
    if not token.isprintable():
        raise InputError(f"'{id_field}' must be printable")
    return token
