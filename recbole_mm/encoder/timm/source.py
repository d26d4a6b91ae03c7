"""Finds a timm encoder: the name that the user gave -> architecture, configuration of its weights, weights file."""

import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

from recbole_mm.encoder.hub import hub_access
from recbole_mm.encoder.weights import fetch, require_file
from recbole_mm.errors import InputError, listed, nearest, one_line

logger = logging.getLogger(__name__)

POOLS = {"cls": "token", "avg": "avg"}
"""The value of ``?pool=`` -> timm's name for it."""
CONFIG_NAME = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".tar")
PREPROCESSING = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")
COPY_CACHE = "copy the Hugging Face cache (HF_HOME) of a machine that has it"


@dataclass(frozen=True)
class Source:
    """
    Attributes:
        label: the name that the user gave.
        architecture: timm's name of it.
        config: timm's ``pretrained_cfg``: preprocessing, number of classes, names of the classifier's layers.
        weights: the file.
        arguments: of timm's constructor, where they are not the architecture's own.
        pool: "cls" or "avg"; None for the model's own pooling.
    """

    label: str
    architecture: str
    config: dict
    weights: Path
    arguments: dict = field(default_factory=dict)
    pool: str | None = None


def find_source(name: str, source: str | None, download: bool = True) -> Source | None:
    """Resolves ``name[?pool=...][@source]``; downloads into the Hugging Face cache where needed. Without ``download`` the name is only
    checked, and what would have to be downloaded is None.

    ``name`` is an architecture of timm, with or without a tag (``resnet50.a1_in1k``); ``source`` is a tag, a weights file or a folder. A
    file is read as weights of the tag in the name, or of the architecture's default tag.

    Raises:
        InputError: an unknown architecture, tag or pooling; no such file or folder; one of another architecture; weights that are not
            cached and cannot be downloaded.
    """
    label = f"timm:{name}" + (f"@{source}" if source else "")
    name, pool, source = _pool(label, name, source)
    architecture, _, tag = name.partition(".")
    _check_architecture(label, architecture)
    path = Path(source).expanduser() if source else None
    if path is not None and (path.exists() or "/" in source or path.suffix in SUFFIXES):
        if path.is_dir():
            return read_folder(label, path, architecture, pool)
        require_file(label, path)
        if is_timm_folder(path.parent):
            config, arguments = _read_config(label, path.parent, architecture)[1:]
            return Source(label, architecture, config, path, arguments, pool)
        return Source(label, architecture, _config(label, architecture, tag, of_file=True), path, {}, pool)
    if tag and source:
        raise InputError(f"{label} names two tags, {tag} and {source}; give one: timm:{architecture}@{source}")
    config = _config(label, architecture, source or tag)
    return Source(label, architecture, config, _download(label, architecture, config), {}, pool) if download else None


def resized(source: Source, size: int) -> Source:
    """The same weights, for pictures of ``size`` x ``size`` pixels; timm resizes the position embeddings that are loaded."""
    arguments = {**source.arguments, **({"img_size": size} if "img_size" in source.arguments else {})}
    return replace(source, config={**source.config, "input_size": (3, size, size)}, arguments=arguments)


def is_timm_folder(folder: Path) -> bool:
    """Does the folder hold a model of timm's, as the hub's repositories of timm models do?"""
    try:
        content = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "architecture" in content and content.get("model_type", "timm_wrapper") == "timm_wrapper"


def read_folder(label: str, folder: Path, architecture: str | None = None, pool: str | None = None) -> Source:
    """The model in a folder with config.json and weights, as on the hub.

    Args:
        architecture: the one that it has to be; None for any.

    Raises:
        InputError: a file is missing or unreadable, or another architecture.
    """
    found, config, arguments = _read_config(label, folder, architecture)
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise InputError(f"{label}: {folder} holds no weights: {' or '.join(WEIGHTS)}")
    return Source(label, found, config, weights, arguments, pool)


def _pool(label: str, name: str, source: str | None) -> tuple[str, str | None, str | None]:
    """Name, pooling and source; ``?pool=`` may stand at the end of either."""
    name, query, value = name.partition("?")
    if source and not query:
        source, query, value = source.partition("?pool=")
        value = f"pool={value}" if query else ""
    if not query:
        return name, None, source
    key, _, pool = value.partition("=")
    if key != "pool" or pool not in POOLS:
        raise InputError(f"{label}: '?{value}' is none of {listed(f'?pool={pool}' for pool in POOLS)}")
    return name, pool, source


def _check_architecture(label: str, architecture: str) -> None:
    import timm

    known = timm.is_model(architecture)
    if architecture.startswith(("/", "~")) or not architecture or (not known and Path(architecture).is_dir()):
        raise InputError(f"{label} names a folder without its architecture; write timm:architecture@/folder, or hf:/folder")
    if not known:
        raise InputError(
            f"{label}: timm has no architecture '{architecture}'{nearest(architecture, timm.list_models(), n=3)}; "
            "timm.list_models('*name*') lists them"
        )


def _read_config(label: str, folder: Path, architecture: str | None) -> tuple[str, dict, dict]:
    """Architecture, pretrained_cfg and arguments of the constructor."""
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise InputError(f"{label}: {folder} holds no {CONFIG_NAME}")
    if not is_timm_folder(folder):
        raise InputError(f"{label}: {path} is not a timm model's (it names no architecture); use hf:{folder} for transformers' models")
    content = json.loads(path.read_text(encoding="utf-8"))
    found = str(content["architecture"]).partition(".")[0]
    if architecture not in (None, found):
        raise InputError(f"{label}: {path} is of the architecture {found}, not {architecture}; write timm:{found}@{folder}")
    _check_architecture(label, found)
    config, arguments = content.get("pretrained_cfg", content), content.get("model_args") or {}  # old repositories have no inner dictionary
    if not (isinstance(config, dict) and isinstance(arguments, dict)):
        raise InputError(f"{label}: {path} has a pretrained_cfg or model_args that is no dictionary")
    return found, config, arguments


def _config(label: str, architecture: str, tag: str | None, of_file: bool = False) -> dict:
    """timm's configuration of the tag, or of the architecture's default tag."""
    from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg

    tags = {name.partition(".")[2]: found for name, found in get_arch_pretrained_cfgs(architecture).items()}
    tags = {name: found for name, found in tags.items() if found.has_weights}
    if tag:
        if tag not in tags:
            known = f"one of: {listed(tags)}" if tags else "it has none; give a file or a folder"
            raise InputError(f"{label}: {architecture} has no tag '{tag}'{nearest(tag, tags)}: {known}")
        return tags[tag].to_dict()
    if not tags and not of_file:
        raise InputError(f"{label}: timm has no released weights of {architecture}; give a file or a folder: timm:{architecture}@/path")
    config = get_pretrained_cfg(architecture).to_dict()
    others = [name for name, found in tags.items() if any(found.to_dict().get(key) != config.get(key) for key in PREPROCESSING)]
    if of_file and others:
        logger.warning(
            "%s: pictures are prepared as for the tag %s; weights of a tag with other preprocessing (%s) are named %s.tag@/path",
            label, config.get("tag") or "that is the default", listed(others), architecture,
        )  # fmt: skip
    return config


def _download(label: str, architecture: str, config: dict) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    repository = config.get("hf_hub_id")
    if not repository:
        return fetch(label, config["url"])
    with hub_access() as online:
        try:
            for name in WEIGHTS:
                try:
                    return Path(hf_hub_download(repository, name, local_files_only=not online))
                except EntryNotFoundError as error:
                    missing = error
            raise missing
        except Exception as error:
            cause = one_line(error) if online else "no network, or HF_HUB_OFFLINE is set"
            raise InputError(
                f"{label}: weights not in the cache and cannot be downloaded ({cause}): they come from the hub repository {repository}; "
                f"download it elsewhere and pass timm:{architecture}@/folder, or {COPY_CACHE}"
            ) from error
