"""The model itself in an exported folder: rebuilt over what the folder holds, without the data set and without the encoder."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from recbole.utils import ModelType
from safetensors.torch import load_file, save_file
from scipy import sparse
from torch import Tensor

from recbole_mm.checkpoint import plain
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.registry import is_ours
from recbole_mm.disk import share
from recbole_mm.errors import InputError, one_line
from recbole_mm.parallel.randomness import random_state, set_random_state
from recbole_mm.serving.export.layout import FEATURES, INTERACTIONS, MODEL, SETTINGS
from recbole_mm.serving.export.stand_in import columns, described, stand_in
from recbole_mm.serving.item_source import features_of
from recbole_mm.training.build import model_over

ENCODERS, OTHER = ("item_features.encoder.", "item_features.cross."), "other/"
SPARSE = ("data", "indices", "indptr")
OF_A_MACHINE = {"device", "plugins", "nproc", "config_files", "resume", "init_from", "trust_remote_code"}
"""Settings that are another machine's, or run code that is no part of the folder."""
PLACE = re.compile(r"(^|[=@:,])(?:~|[A-Za-z]:)?[/\\][^,@=]*[/\\]")
"""The folders before the name of a file, wherever in a setting it stands."""


def write_model(folder: Path, config, model, training_part) -> None:
    """Writes settings, weights and training interactions of a model into a folder that holds its features already.

    Raises:
        InputError: no model can be built of them again; then nothing is left of them.
    """
    sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
    ours = is_ours(config.model_class)
    try:
        other, numbers, shapes = _other_parameters(model)
        state = model.trained_state() if ours else model.state_dict()
        _save({**{name: value for name, value in state.items() if not name.startswith(ENCODERS)}, **other}, folder / MODEL)
        _save(columns(training_part, sequential), folder / INTERACTIONS)
        features = features_of(model)
        settings = {
            "config": _settings(config), "modalities": [] if features is None else list(features.modalities),
            "data": described(training_part), "other": numbers, "sparse": shapes,
        }  # fmt: skip
        (folder / SETTINGS).write_text(json.dumps(settings, indent=1, ensure_ascii=False), encoding="utf-8")
        load_model(folder, type(model) if not ours else config.model_class)
    except Exception as error:  # a model of RecBole's may need anything of its data set
        for name in (SETTINGS, MODEL, INTERACTIONS):
            (folder / name).unlink(missing_ok=True)
        reason = error if isinstance(error, InputError) else f"{type(error).__name__}: {one_line(error)}"
        raise InputError(f"{config['model']} cannot be built again from a folder ({reason})") from error


def load_settings(folder: Path, model_class: type | None = None) -> MultiModalConfig:
    """The configuration of the run that a folder with a model was exported from, on this machine's device.

    Raises:
        InputError: see ``MultiModalConfig.from_final``.
    """
    settings = {key: value for key, value in _read(folder)["config"].items() if key not in OF_A_MACHINE}
    return MultiModalConfig.from_final(settings, model_class)


def load_model(folder: Path, model_class: type | None = None) -> tuple:
    """Builds the model that ``write_model`` wrote. No pickle is read, and no random state is changed.

    Returns:
        config, model (in eval mode), and the data set that stands in for the training part.

    Raises:
        InputError: the files do not fit, or the class of the model is not known here.
    """
    config, stored = load_settings(folder, model_class), _read(folder)
    dataset = stand_in(config, stored["data"], load_file(folder / INTERACTIONS), load_features(folder, stored["modalities"]))
    before = random_state()
    model = model_over(config, dataset)
    set_random_state(before)
    state = load_file(folder / MODEL)
    kept = {name: state.pop(name).to(config["device"]) for name in list(state) if name.startswith(OTHER)}
    other = dict(stored["other"]) | {name.removeprefix(OTHER): tensor for name, tensor in kept.items()}
    for name, shape in stored["sparse"].items():
        data, indices, starts = (other.pop(f"{name}/{part}").cpu().numpy() for part in SPARSE)
        other[name] = sparse.csc_matrix((data, indices, starts), shape)
    model.load_state_dict(state)
    if other:
        model.load_other_parameter(other)
    return config, model.eval(), dataset


def load_features(folder: Path, modalities: Sequence[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """By modality, the features (n_items, d) of the items, memory-mapped, and which items have it: bool (n_items,)."""
    tensors = load_file(folder / FEATURES) if modalities else {}
    return {m: (tensors[m], tensors[f"present_{m}"]) for m in modalities}


def _read(folder: Path) -> dict:
    if not (folder / SETTINGS).is_file():
        raise InputError(f"{folder} holds no model, only what it scores: use the checkpoint")
    return json.loads((folder / SETTINGS).read_text(encoding="utf-8"))


def _settings(config) -> dict[str, object]:
    return {key: _without_places(value) for key, value in plain(config.final_config_dict).items() if key not in OF_A_MACHINE}


def _without_places(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _without_places(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_places(item) for item in value]
    return PLACE.sub(r"\1", value) if isinstance(value, str) else value


def _other_parameters(model) -> tuple[dict[str, Tensor], dict[str, object], dict[str, list[int]]]:
    """What a model keeps beside its state: tensors, numbers, and the shapes of sparse matrices, which are tensors too."""
    tensors, numbers, shapes = {}, {}, {}
    for name, value in (model.other_parameter() or {}).items():
        if isinstance(value, Tensor):
            tensors[OTHER + name] = value
        elif sparse.issparse(value):
            shapes[name], matrix = list(value.shape), value.tocsc()
            tensors |= {f"{OTHER}{name}/{part}": torch.from_numpy(getattr(matrix, part)) for part in SPARSE}
        elif value is None or isinstance(value, bool | int | float | str):
            numbers[name] = value
        elif not isinstance(value, torch.nn.Module):  # whose weights are in the state
            raise InputError(f"it keeps a {type(value).__name__} beside its weights: {name}")
    return tensors, numbers, shapes


def _save(tensors: Mapping[str, Tensor], file: Path) -> None:
    save_file({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}, file)
    share(file)
