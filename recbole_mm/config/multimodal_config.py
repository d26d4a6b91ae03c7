"""MultiModalConfig: RecBole's Config, which also finds our models and property files, and checks the values that it is given."""

import os
import sys
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from types import MappingProxyType

from recbole.config import Config
from recbole.utils import EvaluatorType, InputType, ModelType

from recbole_mm.config.checks import PICKLES, check_recboles_values, check_values
from recbole_mm.config.config_files import over_libyaml, read_config_files
from recbole_mm.config.data_keys import check_data_keys, default_columns, separators, sequential_order, with_features
from recbole_mm.config.evaluation_keys import settle_valid_metric
from recbole_mm.config.keys import KEYS
from recbole_mm.config.kinds import EVERY_MODEL, NAMES, SEQUENTIAL_MODELS
from recbole_mm.config.known_keys import DERIVED, check_keys, foreign_facts, foreign_keys, known_keys, our_keys
from recbole_mm.config.levels import data_set_file, has_preset, our_defaults, property_file, recboles_defaults
from recbole_mm.config.loss_keys import unread_loss_keys
from recbole_mm.config.negatives import settle_negatives, takes_no_negatives
from recbole_mm.config.parse import parse_container, parse_scalar, parse_settings
from recbole_mm.config.plugins import load_plugins, plugin_paths
from recbole_mm.config.properties import properties_dir, recbole_properties
from recbole_mm.config.registry import get_model, is_ours, require_dataset, require_model
from recbole_mm.errors import InputError, recbole_complaints
from recbole_mm.parallel.device import choose_device

ENUMS = {"MODEL_TYPE": ModelType, "MODEL_INPUT_TYPE": InputType, "eval_type": EvaluatorType}


class MultiModalConfig(Config):
    """RecBole's Config with recbole_mm's models, property files and keys.

    Precedence is RecBole's: overall < model < data set properties < config files < config_dict < command line. Our property files come
    right after RecBole's of the same level, and the data set's own file, ``<data_path>/<name>/<name>.yaml``, after both. The command line
    is ``sys.argv``, as in RecBole: since the program may be the user's own, its arguments that are not configuration keys are ignored. Our
    commands give ``command_line`` instead, where every argument must be a key.

    A key that nobody has is refused wherever it stands. A key that only other models have is refused on the command line. Config files and
    config_dict may serve many models, and should still fit when only the model's name changes, so there the key is ignored and a notice
    says so.

    Attributes:
        notices: warnings for the run's log.
        data_set_config_dict: what the data set's own file says.
        data_set_settings: that file and its keys, for the run's log; "" without one.

    Raises:
        InputError: no or unknown model, no dataset, unknown or contradictory key, a config file that cannot be read.
    """

    notices: Sequence[str] = ()
    data_set_config_dict: Mapping[str, object] = MappingProxyType({})
    data_set_settings: str = ""

    def __init__(
        self,
        model: str | type | None = None,
        dataset: str | None = None,
        config_file_list: list[str] | None = None,
        config_dict: dict | None = None,
        command_line: Sequence[str] | None = None,
    ) -> None:
        self._command_line = command_line
        files = [config_file_list] if isinstance(config_file_list, str) else config_file_list
        with recbole_complaints():
            super().__init__(model, dataset, files, dict(config_dict or {}))
        check_values(self)

    @classmethod
    def from_final(cls, final_config: Mapping, model_class: type | None = None) -> "MultiModalConfig":
        """A config of the finished configuration that a checkpoint holds, on this machine's device.

        Raises:
            InputError: its model is a user's own, and ``model_class`` does not say which class that is.
        """
        self = cls.__new__(cls)
        self.compatibility_settings()
        self._init_parameters_category()
        self.yaml_loader = self._build_yaml_loader()
        self.external_config_dict = {}
        self.final_config_dict = {key: value for key, value in final_config.items() if key != "nproc"}
        for key, enum in ENUMS.items():
            if isinstance(final_config[key], str):
                self.final_config_dict[key] = enum[final_config[key]]
        self.model, self.dataset = final_config["model"], final_config["dataset"]
        if model_class is None:
            load_plugins(self.final_config_dict.get("plugins"))
        self.model_class = model_class or get_model(self.model)
        if self.model_class is None:
            raise InputError(f"no model named '{self.model}' in recbole_mm or RecBole; give its class as model_class")
        choose_device(self.final_config_dict, False, super(cls, self)._init_device, several=True)  # whose model is trained already
        return self

    def __getstate__(self) -> dict:
        """RecBole's trainer pickles the whole configuration. The class of the model stays outside, so that a checkpoint can be read before
        the module that defines it is imported."""
        return {key: value for key, value in vars(self).items() if key != "model_class"}

    def changed(self, **values: object) -> "MultiModalConfig":
        """A copy in which some keys have other values, which are not checked. The configuration itself stays as it is."""
        other = copy(self)
        other.model_class = self.model_class
        other.final_config_dict = {**self.final_config_dict, **values}
        return other

    def _build_yaml_loader(self) -> type:
        return over_libyaml(Config._build_yaml_loader(self))

    def _load_config_files(self, file_list: list[str] | None) -> dict:
        return read_config_files(file_list or [], self.yaml_loader)

    def _convert_config_dict(self, config_dict: dict) -> dict:
        """Turns strings (of the command line, or of hyper-tuning) into values, and paths into strings. Nothing is evaluated."""
        for key, value in config_dict.items():
            if isinstance(value, str):
                config_dict[key] = parse_scalar(value)
            elif isinstance(value, os.PathLike):
                config_dict[key] = os.fspath(value)
        return config_dict

    def _load_cmd_line(self) -> dict:
        arguments = self._command_line
        if arguments is None:  # whatever else a program of the user's own takes is not ours to read
            settings = (argument for argument in sys.argv[1:] if argument.startswith("--") and "=" in argument)
            arguments = [argument for argument in settings if argument[2:].partition("=")[0] in known_keys() - {*DERIVED}]
        return self._convert_config_dict(parse_settings(arguments))

    def _merge_external_config_dict(self) -> None:
        super()._merge_external_config_dict()
        external = self.external_config_dict
        self.external_config_dict = {key: parse_container(key, value, self.yaml_loader) for key, value in external.items()}

    def _get_model_and_dataset(self, model: str | type | None, dataset: str | None) -> tuple[str, type, str]:
        model = model or self.external_config_dict.get("model")
        dataset = dataset or self.external_config_dict.get("dataset")
        self._load_plugins()
        if not isinstance(model, type):
            require_model(model)
        require_dataset(dataset)
        name, model_class = (model.__name__, model) if isinstance(model, type) else (model, get_model(model))
        check_keys(self.external_config_dict, model_class)
        self._leave_aside(foreign_keys(self.external_config_dict, model_class), model_class)
        self._leave_pickles_aside()
        return name, model_class, str(dataset)

    def _load_plugins(self) -> None:
        plugins = self.external_config_dict.get("plugins")
        if plugins is not None and not NAMES.accepts(plugins):
            raise InputError(NAMES.complaint("plugins", plugins))
        load_plugins(plugins)
        if plugins:
            self.external_config_dict["plugins"] = plugin_paths(plugins)

    def _leave_aside(self, foreign: Mapping[str, str], model_class: type) -> None:
        """Takes out the keys of other models, and says so: in one line where they stand on the command line, else in the log."""
        told = {key: owner for key, owner in foreign.items() if key in self.cmd_config_dict}
        if told:
            raise InputError("; ".join(foreign_facts(told, model_class)))
        for key in foreign:
            del self.external_config_dict[key]
        self.notices = [f"not used: {'; '.join(foreign_facts(foreign, model_class))}"] if foreign else []

    def _leave_pickles_aside(self) -> None:
        """RecBole's pickled data sets and loaders would not notice changed files, so every run reads the files."""
        given = [key for key in PICKLES if self.external_config_dict.pop(key, None)]
        facts = f"{', '.join(given)}: a data set is read from its files every time, because pickles do not notice when they change"
        if set(given) & set(self.cmd_config_dict):
            raise InputError(f"{facts}; leave it out")
        self.notices = [*self.notices, *([f"not used: {facts}"] if given else [])]

    def _load_internal_config_dict(self, model: str, model_class: type, dataset: str) -> None:
        """RecBole's levels. For one of RecBole's models, or one built on it, the keys for every model, what the class declares and our data
        set's RecBole keys come on top; for one of ours, our overall and model files come below RecBole's data set file, and our data set's
        file on top."""
        super()._load_internal_config_dict(model, model_class, dataset)
        internal, loader = self.internal_config_dict, self.yaml_loader
        own_data = property_file(properties_dir() / "dataset" / f"{dataset}.yaml", loader)
        if is_ours(model_class):
            internal.update(our_defaults(model_class, self._preset(model_class), loader))
            internal.update(property_file(recbole_properties() / "dataset" / f"{dataset}.yaml", loader))
            internal.update(own_data)
        else:
            overall = property_file(properties_dir() / "overall.yaml", loader)
            internal.update({name: overall[name] for name, key in KEYS.items() if key.belongs_to in (EVERY_MODEL, SEQUENTIAL_MODELS)})
            internal.update(recboles_defaults(model_class, loader))
            internal.update({name: value for name, value in own_data.items() if name not in our_keys()})
        self.data_set_config_dict = self._read_data_set_file(model_class, dataset)
        internal.update(self.data_set_config_dict)

    def _read_data_set_file(self, model_class: type, dataset: str) -> Mapping[str, object]:
        folder = self.external_config_dict.get("data_path", self.internal_config_dict["data_path"])
        path = Path(str(folder)) / dataset / f"{dataset}.yaml"
        used, unused = data_set_file(path, model_class, self.yaml_loader)
        if unused:
            self.notices = [*self.notices, f"{path}: not used by {model_class.__name__}: {', '.join(unused)}"]
        if used:
            self.data_set_settings = f"{path}: {', '.join(used)}"
        return used

    def _preset(self, model_class: type) -> str | None:
        preset = self.external_config_dict.get("preset")
        if preset is None:
            return None
        if not has_preset(model_class, str(preset), self.yaml_loader):
            self.notices = [*self.notices, f"preset: {preset} has no other settings for {model_class.__name__} than its own"]
        return str(preset)

    def _get_final_config_dict(self) -> dict:
        """``load_col`` follows the names of the fields, and a sequential model is split by time, unless somebody says otherwise."""
        final = super()._get_final_config_dict()
        given = {**self.data_set_config_dict, **self.external_config_dict}
        final.update(separators(final))
        if "load_col" not in given:
            final["load_col"] = with_features(default_columns(final["load_col"], final), final)
        if final["MODEL_TYPE"] == ModelType.SEQUENTIAL:
            final["eval_args"] = sequential_order(final, given)
        else:
            final["mask_history"] = True
        check_data_keys(final)
        return final

    @property
    def given_keys(self) -> set[str]:
        """The keys that the user or the data set's own file has set, and not a property file."""
        return {*self.external_config_dict, *self.data_set_config_dict}

    def _set_default_parameters(self) -> None:
        final, ours = self.final_config_dict, is_ours(self.model_class)
        self.notices = [*self.notices, *settle_valid_metric(final, self.given_keys)]
        check_recboles_values(final, self.external_config_dict, self.internal_config_dict, self.model_class)
        if ours and final["encoder"] and ":" not in str(final["encoder"]):
            backend = str(our_defaults(self.model_class, None, self.yaml_loader)["encoder"]).partition(":")[0]
            final["encoder"] = f"{backend}:{final['encoder']}"
        self.notices = [*self.notices, *settle_negatives(final, self.external_config_dict, self.model_class)]
        self.notices = [*self.notices, *(unread_loss_keys(final, self.internal_config_dict) if ours else [])]
        super()._set_default_parameters()
        if takes_no_negatives(self.model_class, final.get("loss_type")):
            final["MODEL_INPUT_TYPE"] = InputType.POINTWISE

    def _init_device(self) -> None:
        given, several = "gpu_id" in self.external_config_dict, is_ours(self.model_class)
        choose_device(self.final_config_dict, given, super()._init_device, several)
