"""What settings that are written as text mean: those of the command line, and what hyper-tuning gives."""

import ast

import yaml

from recbole_mm.errors import InputError

LIST_KEYS = ("text_field", "modalities", "metrics", "benchmark_filename")


def literal(text: str) -> object:
    """As Python or YAML would read it, or the text itself; nothing is evaluated."""
    lowered = text.strip().lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    if lowered in ("~", "null"):
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def container(key: str, value: object, loader: type) -> object:
    """Lists of words may stand without brackets or quotes; what stands in braces is a mapping, as YAML (``loader``) has it."""
    if isinstance(value, tuple) and key in (*LIST_KEYS, "topk"):
        return list(value)
    if isinstance(value, str) and key in LIST_KEYS:
        parts = (part.strip(" '\"") for part in value.strip().removeprefix("[").removesuffix("]").split(","))
        return [part for part in parts if part]
    if not (isinstance(value, str) and value.lstrip().startswith("{")):
        return value
    try:
        return yaml.load(value, Loader=loader)
    except yaml.YAMLError as error:
        raise InputError(f"{key} '{value}' is no mapping such as '{{name: value}}'") from error
