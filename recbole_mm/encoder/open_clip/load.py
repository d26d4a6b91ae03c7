"""Builds an open_clip model with its weights, or says in one line why that is impossible."""

import copy
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from torch import nn

from recbole_mm.encoder.hub import hub_access
from recbole_mm.encoder.open_clip.source import CONFIG_NAME, COPY_CACHE, Source
from recbole_mm.encoder.open_clip.tags import PREPROCESS_KEYS
from recbole_mm.encoder.seeding import seeded
from recbole_mm.encoder.weights import misfit, shapes_of, weight_shapes
from recbole_mm.errors import InputError, listed, one_line

TEXT_TOWER = "text_tower"
"""The folder inside of a ``local-dir:`` that may hold the configuration of a text tower of transformers, which else the hub has."""
CHOICES = {"resize_mode": ("shortest", "longest", "squash"), "interpolation": ("bicubic", "bilinear", "random")}


def build_model(source: Source, seed: int) -> nn.Module:
    """The float32 model on the CPU. ``seed`` decides the weights that no file brings; the global random state stays as it is.

    Raises:
        InputError: the configuration or the weights do not fit open_clip.
    """
    with seeded(seed):
        model = _construct(source)
    if source.weights is not None:
        _load_weights(model, source)
    return model


def preprocess_config(source: Source, model: nn.Module) -> dict:
    """The source's values, and open_clip's defaults for the others, at the picture size that the model was built for: size [H, W], mean,
    std, interpolation, resize_mode, fill_color.

    Raises:
        InputError: a value open_clip does not know.
    """
    from open_clip.transform import PreprocessCfg

    size = model.visual.image_size
    given = {key: value for key, value in source.preprocess.items() if key in PREPROCESS_KEYS and value is not None}
    merged = {**asdict(PreprocessCfg()), **given, "size": list(size) if isinstance(size, (tuple, list)) else [size, size]}
    for key, valid in CHOICES.items():
        if merged[key] not in valid:
            raise InputError(f"{source.label}: preprocess_cfg has {key} '{merged[key]}'; open_clip knows {listed(valid)}")
    for key in ("mean", "std"):
        if not (isinstance(merged[key], (tuple, list)) and len(merged[key]) == 3):
            raise InputError(f"{source.label}: preprocess_cfg has {key} {merged[key]}; it takes one number per RGB channel")
        merged[key] = [float(value) for value in merged[key]]
    return {key: merged[key] for key in ("size", *PREPROCESS_KEYS)}


def build_tokenizer(source: Source) -> object:
    """open_clip's tokenizer for this source.

    Raises:
        InputError: it needs hub files that are not cached and cannot be downloaded.
    """
    import open_clip

    text = source.config["text_cfg"]
    if source.tokenizer is None:
        return open_clip.SimpleTokenizer(context_length=text["context_length"])
    local = source.tokenizer.startswith("local-dir:")
    if not text.get("hf_tokenizer_name"):
        return open_clip.get_tokenizer(source.tokenizer)
    try:
        with nullcontext() if local else hub_access():
            return open_clip.get_tokenizer(source.tokenizer)
    except Exception as error:
        where = source.tokenizer if local else f"hub repository {text['hf_tokenizer_name']}"
        raise InputError(
            f"{source.label}: its tokenizer comes from the {where} and cannot be loaded ({one_line(error)}); {COPY_CACHE}, "
            f"or use open_clip:local-dir:/folder with the weights, {CONFIG_NAME} and the tokenizer's files"
        ) from error


def _construct(source: Source) -> nn.Module:
    from open_clip import CLIP, CoCa, CustomTextCLIP

    config = copy.deepcopy(source.config)
    text, vision = config["text_cfg"], config["vision_cfg"]
    hub_text = text.get("hf_model_name")
    custom = config.pop("custom_text", False) or hub_text
    kind = CLIP if not custom else CoCa if "multimodal_cfg" in config else CustomTextCLIP
    if hub_text:
        text["hf_model_pretrained"] = False
        schema, _, folder = (source.tokenizer or "").partition(":")
        if schema == "local-dir" and (Path(folder) / TEXT_TOWER).is_dir():
            text["hf_model_name"] = str(Path(folder) / TEXT_TOWER)
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    try:
        with hub_access() if hub_text else nullcontext():
            return kind(**config)
    except Exception as error:
        if hub_text and isinstance(error, OSError):
            raise InputError(
                f"{source.label}: its text tower needs the configuration of the hub repository {hub_text} ({one_line(error)}); {COPY_CACHE}"
            ) from error
        if source.tokenizer and source.tokenizer.startswith(("local-dir:", "hf-hub:")):
            cause = f"{type(error).__name__}: {one_line(error)}"
            raise InputError(f"{source.label}: open_clip cannot build its model_cfg ({cause})") from error
        raise


def _load_weights(model: nn.Module, source: Source) -> None:
    import open_clip

    found = weight_shapes(source.label, source.weights)
    wanted = shapes_of(model.state_dict())
    if not source.may_resize:
        for key in ("visual.positional_embedding", "positional_embedding", "text.positional_embedding"):
            if key in found and key in wanted and found[key] != wanted[key]:
                raise InputError(
                    f"{source.label}: {source.weights} does not fit: {key} is {found[key]} in the file and {wanted[key]} in the "
                    "architecture, so it was trained at another resolution or text length (or is another model)"
                )
    try:
        open_clip.load_checkpoint(model, str(source.weights), strict=True, weights_only=True)
    except Exception as error:
        difference = misfit(found, wanted)
        if not difference:
            raise
        raise InputError(f"{source.label}: {source.weights} does not fit: {difference}") from error
