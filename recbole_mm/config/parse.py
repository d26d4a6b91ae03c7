"""Settings that are written as text, on the command line or by hyper-tuning: what they mean."""

import ast
from collections.abc import Iterable

import yaml

from recbole_mm.config.keys import KEYS
from recbole_mm.config.kinds import NAMES
from recbole_mm.errors import InputError

LIST_KEYS = {"metrics", "benchmark_filename"} | {name for name, key in KEYS.items() if key.kind is NAMES}


def parse_settings(arguments: Iterable[str]) -> dict[str, str]:
    """Settings on a command line, ``--key=value``, as text by key.

    Raises:
        InputError: an argument is not of this form, or gives a key a second value.
    """
    settings: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not equals:
            raise InputError(f"argument '{argument}': settings are written --key=value")
        if settings.get(key, value) != value:
            raise InputError(f"--{key} is given twice, as '{settings[key]}' and as '{value}'")
        settings[key] = value
    return settings


def parse_scalar(text: str) -> object:
    """The value as Python or YAML would read it, or the text itself; nothing is evaluated."""
    lowered = text.strip().lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    if lowered in ("~", "null"):
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def parse_container(key: str, value: object, loader: type) -> object:
    """A list of words may be written without brackets or quotes; what is written in braces is a mapping, as YAML (``loader``) reads it.

    Raises:
        InputError: the braces hold no mapping.
    """
    if isinstance(value, tuple) and (key in LIST_KEYS or key == "topk"):
        return list(value)
    if isinstance(value, str) and key in LIST_KEYS:
        parts = (part.strip(" '\"") for part in value.strip().removeprefix("[").removesuffix("]").split(","))
        return [part for part in parts if part]
    if not (isinstance(value, str) and value.lstrip().startswith("{")):
        return value
    try:
        return yaml.load(value, Loader=loader)
    except yaml.YAMLError as error:
        raise InputError(f"{key} '{value}' is not a mapping such as '{{name: value}}'") from error
