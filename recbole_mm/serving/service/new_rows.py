"""New items as they come from outside."""

from collections.abc import Iterator, Mapping, Sequence

from recbole_mm.errors import InputError
from recbole_mm.serving.recommender import Recommender
from recbole_mm.serving.service.bounds import MAX_TOKEN
from recbole_mm.serving.service.pictures import picture_of_base64

Row = Mapping[str, object]


def checked_rows(recommender: Recommender, rows: Sequence[Row]) -> Iterator[Row]:
    """The rows one by one, as ``Recommender.add_items`` takes them, each with its picture decoded: never as a path.

    Raises:
        InputError: a row that cannot be used.
    """
    source, vectors = recommender.parts.items.source, set(recommender.modalities)
    id_field, image_field = source.id_field, source.columns.image_field
    for row in rows:
        item = _token(row.get(id_field), id_field)
        for column, value in row.items():
            if column not in vectors | {image_field} and not isinstance(value, str | int | float | None):
                raise InputError(f"item '{item}': '{column}' must be text")
        yield {**row, id_field: item, **({image_field: picture_of_base64(row.get(image_field), item)} if image_field else {})}


def _token(value: object, id_field: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"'{id_field}' must be text")
    token = value.strip()
    if len(token) > MAX_TOKEN:
        raise InputError(f"'{id_field}' may have at most {MAX_TOKEN} characters")
    if not token.isprintable():
        raise InputError(f"'{id_field}' may have no control characters")
    return token
