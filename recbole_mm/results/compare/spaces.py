"""Where hyper-parameters are searched: spaces in the form of RecBole's HyperTuning."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import yaml

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.properties import properties_dir
from recbole_mm.errors import InputError, listed, nearest

PUBLISHED = "published"
RANGES = {"uniform": 2, "quniform": 3, "loguniform": 2}
KINDS = ("choice", *RANGES)
FORM = "such as {choice: {n_layers: [1, 2]}, loguniform: {learning_rate: [-8, -4]}}"


@dataclass(frozen=True)
class Space:
    """A space of settings.

    Attributes:
        choice: key -> the values to choose from.
        uniform, quniform, loguniform: key -> low and high, and for quniform the step; those of loguniform are natural logarithms of the
            bounds, as in RecBole.
        trials: how many points are tried at most; None for all.
    """

    choice: Mapping[str, Sequence] | None = None
    uniform: Mapping[str, Sequence] | None = None
    quniform: Mapping[str, Sequence] | None = None
    loguniform: Mapping[str, Sequence] | None = None
    trials: int | None = None

    @property
    def whole(self) -> bool:
        """Are all of its points tried?"""
        ranges = self.uniform or self.quniform or self.loguniform
        return not ranges and (self.trials is None or math.prod(map(len, (self.choice or {}).values())) <= self.trials)

    def points(self) -> Iterator[dict[str, object]]:
        """All points of a space of choices."""
        for values in itertools.product(*self.choice.values()):
            yield dict(zip(self.choice, values, strict=True))

    def suggest(self, trial) -> dict[str, object]:
        """The point that a trial of Optuna's asks for."""
        found = {key: values[trial.suggest_int(key, 0, len(values) - 1)] for key, values in (self.choice or {}).items()}
        found |= {key: trial.suggest_float(key, low, high) for key, (low, high) in (self.uniform or {}).items()}
        found |= {key: trial.suggest_float(key, low, high, step=step) for key, (low, high, step) in (self.quniform or {}).items()}
        logs = (self.loguniform or {}).items()
        return found | {key: trial.suggest_float(key, math.exp(low), math.exp(high), log=True) for key, (low, high) in logs}

    def check(self, config: MultiModalConfig) -> None:
        """Checks the values of choices, and the ends of ranges, in a cell.

        Args:
            config: the cell's configuration.

        Raises:
            InputError: the model has no such key, or the key cannot have such a value.
        """
        tried = [(key, value) for key, values in (self.choice or {}).items() for value in values]
        for key, (low, high, *_) in {**(self.uniform or {}), **(self.quniform or {})}.items():
            tried += [(key, low), (key, high)]
        tried += [(key, math.exp(end)) for key, ends in (self.loguniform or {}).items() for end in ends]
        for key, value in tried:
            asked = {**config.external_config_dict, key: value}
            try:
                built = MultiModalConfig(config["model"], config["dataset"], config_dict=asked, command_line=[])
            except InputError as error:
                raise InputError(f"search: {config['model']}: {error}") from error
            if key not in built.external_config_dict:
                raise InputError(f"search: {config['model']} has no {key}")


def read_spaces(search: object, trials: object, models: Sequence[str]) -> dict[str, Space]:
    """The spaces of models, from the entries ``search`` and ``trials`` of a grid file.

    Raises:
        InputError: they hold something else.
    """
    if trials is not None and not (isinstance(trials, int) and not isinstance(trials, bool) and trials > 0):
        raise InputError(f"trials '{trials}': a positive whole number, of points that are tried in each cell")
    if search is None:
        if trials is not None:
            raise InputError("trials: there is no search that makes any; add search, or leave trials out")
        return {}
    wanted = {model: PUBLISHED for model in models if _published_file(model).is_file()} if search == PUBLISHED else search
    if not isinstance(wanted, Mapping):
        raise InputError(f"search '{search}': {PUBLISHED}, or a mapping from model to {PUBLISHED} or to a space {FORM}")
    if not wanted:
        raise InputError(f"search: {PUBLISHED}: there is no published grid of {listed(models)}")
    return {model: _space(model, space, trials, models) for model, space in wanted.items()}


def _space(model: str, given: object, trials: int | None, models: Sequence[str]) -> Space:
    if model not in models:
        raise InputError(f"search: {model}{nearest(str(model), models)} is none of the grid's models ({listed(models)})")
    if given == PUBLISHED:
        if not _published_file(model).is_file():
            raise InputError(f"search: there is no published grid of {model}; give a space {FORM}")
        given = yaml.safe_load(_published_file(model).read_text(encoding="utf-8"))
    if not (isinstance(given, Mapping) and given and all(isinstance(keys, Mapping) and keys for keys in given.values())):
        raise InputError(f"search: {model} '{given}': {PUBLISHED}, or a space {FORM}")
    for kind, keys in given.items():
        if kind not in KINDS:
            raise InputError(f"search: {model}: there is no kind '{kind}'{nearest(str(kind), KINDS)}; there are {', '.join(KINDS)}")
        for key, values in keys.items():
            _check_values(model, kind, key, values)
    space = Space(**{kind: dict(keys) for kind, keys in given.items()}, trials=trials)
    if not space.whole and trials is None:
        raise InputError(f"search: {model} has a range, of which not all points can be tried: set trials")
    return space


def _check_values(model: str, kind: str, key: str, values: object) -> None:
    many = isinstance(values, list) and values
    numbers = many and all(isinstance(value, Real) and not isinstance(value, bool) for value in values)
    if kind == "choice" and not many:
        raise InputError(f"search: {model}: choice: {key} '{values}': a list of values")
    if kind != "choice" and not (numbers and len(values) == RANGES[kind] and values[0] < values[1]):
        named = "the lowest and the highest number" + (", and a step" if kind == "quniform" else "")
        raise InputError(f"search: {model}: {kind}: {key} '{values}': {named}")


def _published_file(model: str):
    return properties_dir() / "hyper" / f"{model}.yaml"
