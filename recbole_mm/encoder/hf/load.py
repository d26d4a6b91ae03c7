"""Loads a transformers model with all of its weights from the file, or says in one line why that is impossible."""

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR, getLogger
from pathlib import Path

import torch
from torch import nn

from recbole_mm.encoder.hf.source import read_json, weights_files
from recbole_mm.encoder.weights import misfit, weight_shapes
from recbole_mm.errors import InputError, nearest, one_line

ENCODER_HALVES = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}
TRUST = "it brings Python code of its own; read that code, and set `trust_remote_code: True` to run it"


@contextmanager
def quiet() -> Iterator[None]:
    """Inside the block, transformers and sentence-transformers show no progress bars, loading reports or warnings."""
    from transformers.utils import logging

    level, bars, sentences = logging.get_verbosity(), logging.is_progress_bar_enabled(), getLogger("sentence_transformers")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    own_level = sentences.level
    sentences.setLevel(ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        sentences.setLevel(own_level)
        if bars:
            logging.enable_progress_bar()


def read_config(label: str, folder: Path, trust_remote_code: bool) -> object:
    """The folder's transformers configuration.

    Raises:
        InputError: there is no config.json, it is not transformers' own, its model type is unknown, it needs code that is not trusted, or
            its weights are quantised.
    """
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    content = read_json(label, folder / "config.json")
    kind = content.get("model_type") if isinstance(content, dict) else None
    if not kind:
        raise InputError(f"{label}: {folder / 'config.json'} names no model_type, so it is not transformers' own")
    if kind not in CONFIG_MAPPING and not (content.get("auto_map") and trust_remote_code):
        reason = TRUST if content.get("auto_map") else "a newer transformers may know it"
        raise InputError(f"{label}: transformers has no model_type '{kind}'{nearest(kind, CONFIG_MAPPING.keys())}: {reason}")
    if content.get("quantization_config"):
        raise InputError(f"{label}: {folder} holds quantised weights, which cannot be trained; take the original ones")
    try:
        config = AutoConfig.from_pretrained(str(folder), **_local(trust_remote_code))
        for part in (config, getattr(config, "text_config", config)):
            part.use_cache = False  # decoders would keep every layer's keys and values, for texts that nobody continues
        return config
    except Exception as error:
        raise InputError(f"{label}: {folder / 'config.json'} cannot be used ({type(error).__name__}: {one_line(error)})") from error


def find_class(label: str, folder: Path, config: object, trust_remote_code: bool) -> tuple[str, type]:
    """What the configuration describes: "dual", "image" or "text", and the class of transformers that computes it.

    Raises:
        InputError: none of the three.
    """
    import transformers
    from transformers.dynamic_module_utils import get_class_from_dynamic_module
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    own_code = (getattr(config, "auto_map", None) or {}).get("AutoModel") if trust_remote_code else None
    if own_code:
        try:
            found = get_class_from_dynamic_module(own_code, str(folder))
        except Exception as error:
            raise InputError(f"{label}: the code in {folder} cannot be loaded ({type(error).__name__}: {one_line(error)})") from error
    elif config.model_type in ENCODER_HALVES:
        found = getattr(transformers, ENCODER_HALVES[config.model_type])
    else:
        found = MODEL_MAPPING.get(type(config), None)
        found = found[0] if isinstance(found, tuple) else found
    if found is None:
        raise InputError(f"{label}: transformers has no plain model for model_type '{config.model_type}'")
    if hasattr(found, "get_image_features") and hasattr(found, "get_text_features"):
        return "dual", found
    several = any(hasattr(config, part) for part in ("vision_config", "audio_config", "text_config"))
    decoder = getattr(config, "is_encoder_decoder", False) and config.model_type not in ENCODER_HALVES
    kind = {"pixel_values": "image", "input_ids": "text"}.get(getattr(found, "main_input_name", None))
    if several or decoder or kind is None:
        raise InputError(
            f"{label}: a {config.model_type} model does not give one row per picture or text; hf: takes dual encoders with image and text "
            "features (CLIP, SigLIP), image encoders and text encoders, neither generative ones nor audio"
        )
    return kind, found


def load_model(label: str, folder: Path, config: object, found: type, *, pooler: bool, trust_remote_code: bool) -> nn.Module:
    """The float32 model on the CPU in eval mode, with all of its weights from the folder.

    Args:
        pooler: keep the pooling layer; it is left out all the same if the file has no weights for it.

    Raises:
        InputError: there are no weights, they are unreadable, or some are missing or of another shape.
    """
    for path in weights_files(label, folder):
        if not path.is_file():
            raise InputError(f"{label}: no such weights file: {path}")
        weight_shapes(label, path)  # whose error names a truncated file, or a pickle with code in it
    optional = "add_pooling_layer" in inspect.signature(found.__init__).parameters
    options = {} if pooler or not optional else {"add_pooling_layer": False}
    try:
        model, info = found.from_pretrained(
            str(folder),
            config=config,
            output_loading_info=True,
            weights_only=True,
            ignore_mismatched_sizes=True,
            **{dtype_argument(): torch.float32},
            **_local(trust_remote_code),
            **options,
        )
    except Exception as error:
        raise InputError(f"{label}: {folder} cannot be loaded as a {config.model_type} model ({one_line(error)})") from error
    other = sorted(info["mismatched_keys"])
    there = {key: tuple(shape) for key, shape, _ in other}
    wanted = dict.fromkeys(sorted(info["missing_keys"]), ()) | {key: tuple(shape) for key, _, shape in other}
    if not wanted:
        return model.eval()
    if pooler and optional and not there and all("pooler" in key.split(".") for key in wanted):
        return load_model(label, folder, config, found, pooler=False, trust_remote_code=trust_remote_code)
    hint = f"; {TRUST}" if getattr(config, "auto_map", None) and not trust_remote_code else ""
    raise InputError(f"{label}: the weights in {folder} do not fit a {config.model_type} model: {misfit(there, wanted, n=5)}{hint}")


def _local(trust_remote_code: bool) -> dict:
    """Nothing is downloaded for a folder, unless its trusted code lies in another repository."""
    return {"trust_remote_code": trust_remote_code, "local_files_only": not trust_remote_code}


def dtype_argument() -> str:
    """What ``from_pretrained`` calls the dtype of the weights."""
    from transformers import __version__

    return "dtype" if torch.torch_version.TorchVersion(__version__) >= "4.56" else "torch_dtype"
