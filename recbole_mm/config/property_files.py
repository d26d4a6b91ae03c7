"""The property files that users read: ``python -m recbole_mm.config.property_files`` writes them from the table of keys and the models.

A model's file begins with the keys that its class declares. What follows the first empty line is written by hand: the model's defaults for
RecBole's keys.
"""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import yaml

from recbole_mm.config.keys import SECTIONS, TUNINGS
from recbole_mm.config.kinds import SWITCH, Key
from recbole_mm.config.properties import properties_dir
from recbole_mm.config.registry import get_model, our_models

COMMENT_COLUMN = 32
LINE_LENGTH = 140
HEAD = "# What recbole_mm adds to RecBole's overall.yaml. These keys may stand in any RecBole YAML file or on the command line."


def property_files() -> dict[Path, str]:
    """Every property file that is written from keys, and the text that it must have."""
    folder = properties_dir()
    return {folder / "overall.yaml": overall_text()} | {file: model_text(file) for file in map(model_file, our_models())}


def overall_text() -> str:
    """The text of overall.yaml: the table of keys."""
    parts = [HEAD, *(f"# {title}\n{key_lines(keys)}" for title, keys in SECTIONS.items())]
    return "\n\n".join(parts) + "\n"


def model_text(file: Path) -> str:
    """The text of a model's property file: the keys of its class, and what the file says by hand."""
    text, keys = file.read_text(encoding="utf-8"), shown_keys(get_model(file.stem))
    by_hand = text.partition("\n\n")[2]
    return f"{key_lines(keys)}\n\n{by_hand}" if keys else text


def shown_keys(model_class: type) -> dict[str, Key]:
    """The keys of a class and its bases, but for those in the property file of a base."""
    keys: dict[str, Key] = {}
    for parent in model_class.__mro__:
        if parent is not model_class and model_file(parent.__name__).is_file():
            break
        keys = {**keys, **{name: key for name, key in vars(parent).get("keys", {}).items() if name not in keys}}
    return keys


def model_file(name: str) -> Path:
    return properties_dir() / "model" / f"{name}.yaml"


def key_lines(keys: Mapping[str, Key]) -> str:
    """``name: default  # (type) help`` for each key, one below the other."""
    return "\n".join(_lines(name, key) for name, key in keys.items())


def _lines(name: str, key: Key) -> str:
    setting = f"{name}: {_yaml(key.default)}".ljust(COMMENT_COLUMN - 1)
    choices = f" Range in [{', '.join(map(repr, key.kind.choices))}]." if key.kind.choices and key.kind is not SWITCH else ""
    owner = f"{key.belongs_to}: " if key.belongs_to in TUNINGS else ""
    comment, indent = f"({key.kind.type}) {owner}{key.help}{choices}", " " * COMMENT_COLUMN + "# "
    return textwrap.fill(comment, LINE_LENGTH, initial_indent=f"{setting} # ", subsequent_indent=indent, break_on_hyphens=False)


def _yaml(value: object) -> str:
    if value is None:
        return "~"
    return (
        str(value)
        if isinstance(value, bool)
        else yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=LINE_LENGTH).split("\n")[0]
    )


if __name__ == "__main__":
    for path, text in property_files().items():
        path.write_text(text, encoding="utf-8")
