"""The YAML files of a configuration."""

from collections.abc import Iterable
from pathlib import Path

import yaml

from recbole_mm.errors import InputError


class Loader(getattr(yaml, "CFullLoader", yaml.FullLoader)):
    """RecBole's YAML loader over libyaml's parser, which is ten times faster than Python's, where PyYAML was built with it. It has a name
    of its own, by which it is pickled with a configuration."""


def over_libyaml(loader: type) -> type:
    """``Loader``, which reads as RecBole's ``loader`` does."""
    Loader.yaml_implicit_resolvers = loader.yaml_implicit_resolvers
    return Loader


def read_config_files(files: Iterable[str], loader: type) -> dict:
    """The keys of some files, of which a later one goes before an earlier one.

    Args:
        loader: RecBole's YAML loader.

    Raises:
        InputError: a file cannot be read, or is something else.
    """
    merged = {}
    for file in files:
        try:
            content = yaml.load(Path(file).read_text(encoding="utf-8"), Loader=loader)
        except OSError as error:
            raise InputError(f"config file {file}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"config file {file} is not UTF-8") from error
        except yaml.YAMLError as error:
            raise InputError(f"config file {file} is not valid YAML: {' '.join(str(error).split())}") from error
        if content is not None and not isinstance(content, dict):
            raise InputError(f"config file {file} must hold `key: value` lines")
        merged.update(content or {})
    return merged
