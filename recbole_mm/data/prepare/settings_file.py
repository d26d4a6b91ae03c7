"""The data set's own settings, ``<name>.yaml`` in its folder, which every run on it reads."""

from collections.abc import Iterable
from pathlib import Path

import yaml

HEAD = """\
# The settings of the data set {name}, written by recbole-mm prepare. Every run on it reads them; what stands in other files or on the
# command line counts more.
"""
Setting = tuple[str, object, str]
"""A key, its value, and what it says about the data set."""


def write_settings(file: Path, settings: Iterable[Setting]) -> None:
    """Writes the settings, each below a comment."""
    lines = [HEAD.format(name=file.stem)]
    for key, value, about in settings:
        written = yaml.safe_dump(value, default_flow_style=True, width=1000, allow_unicode=True, sort_keys=False)
        lines.append(f"\n# {about}\n{key}: {written.removesuffix('...' + chr(10)).strip()}\n")
    file.write_text("".join(lines), encoding="utf-8")


def fields(roles: Iterable[str]) -> list[Setting]:
    """The fields of the interactions, by the roles of the columns that they come from."""
    settings: list[Setting] = [("USER_ID_FIELD", "user_id", "Who"), ("ITEM_ID_FIELD", "item_id", "took what")]
    settings += [("TIME_FIELD", "timestamp", "when, in seconds since 1970 (UTC)")] if "time" in roles else []
    return settings + ([("RATING_FIELD", "rating", "and how it was rated.")] if "rating" in roles else [])


def content(described: bool | None, pictures: bool) -> list[Setting]:
    """The columns of the item file that hold content.

    Args:
        described: whether the items have descriptions besides their titles; None if they have no texts.
    """
    settings: list[Setting] = []
    if described is not None:
        settings.append(
            ("text_field", ["title", "description"] if described else ["title"], "The columns of the item file whose texts are joined.")
        )
    if pictures:
        settings.append(("image_field", "image", "The column of the item file that names pictures,"))
        settings.append(("image_dir", "images", "and their folder."))
    return settings
