"""Finds an open_clip encoder: the name that the user gave -> architecture, preprocessing, weights file, tokenizer."""

import json
from dataclasses import dataclass
from pathlib import Path

from recbole_mm.encoder.hub import hub_access
from recbole_mm.encoder.open_clip.tags import Architecture
from recbole_mm.errors import InputError, listed, nearest, one_line

TINY = {"tiny": Path(__file__).with_name("tiny.json")}
CONFIG_NAME = "open_clip_config.json"
WEIGHT_STEMS = ("open_clip_model", "open_clip_pytorch_model", "model", "pytorch_model")
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
COPY_CACHE = "copy the Hugging Face cache (HF_HOME) of a machine that has it"


@dataclass(frozen=True)
class Source:
    """``config``: open_clip's model_cfg; ``preprocess``: what overrides open_clip's default; ``weights``: None only for the tiny
    encoders; ``tokenizer``: what ``open_clip.get_tokenizer`` takes, None for its byte-pair encoding at the config's length."""

    label: str
    config: dict
    preprocess: dict
    weights: Path | None
    tokenizer: str | None
    may_resize: bool = True


def find_source(name: str, source: str | None, download: bool = True) -> Source | None:
    """Resolves ``name[@source]``; downloads into the Hugging Face cache where needed. Without ``download`` the name is only checked, and
    what would have to be downloaded is None.

    ``source`` is a tag, a weights file, or ``tag=file``: a file that holds the weights of that tag.

    Raises:
        InputError: the name or tag is unknown, no weights are named, they are not cached and cannot be downloaded, there is no such file,
            or activation or preprocessing do not match.
    """
    label = f"open_clip:{name}" + (f"@{source}" if source else "")
    if name in TINY:
        config, preprocess = _read_config(label, TINY[name])
        weights = _existing_file(label, Path(source).expanduser()) if source else None
        return Source(label, config, preprocess, weights, None, may_resize=False)
    if name.startswith("local-dir:"):
        return _from_folder(label, Path(name.removeprefix("local-dir:")).expanduser())
    if name.startswith("hf-hub:"):
        return _from_hub(label, name.removeprefix("hf-hub:"), source) if download else None
    return _from_architecture(label, name.replace("/", "-"), source, download)


def _from_folder(label: str, folder: Path) -> Source:
    if not folder.is_dir():
        raise InputError(f"{label}: no such folder: {folder}")
    if not (folder / CONFIG_NAME).is_file():
        raise InputError(f"{label}: {folder} holds no {CONFIG_NAME}")
    config, preprocess = _read_config(label, folder / CONFIG_NAME)
    found = [path for suffix in WEIGHT_SUFFIXES for path in sorted(folder.glob(f"*{suffix}"))]
    named = [path for stem in WEIGHT_STEMS for path in found if path.stem == stem]
    if not found:
        raise InputError(f"{label}: {folder} holds no weights; save them there as open_clip_model.safetensors")
    if not named and len(found) > 1:
        raise InputError(
            f"{label}: {folder} holds several weights files ({listed(p.name for p in found)}); "
            "name the right one open_clip_model" + found[0].suffix
        )
    return Source(label, config, preprocess, (named or found)[0], f"local-dir:{folder}")


def _from_hub(label: str, repository: str, source: str | None) -> Source:
    from open_clip.pretrained import download_pretrained_from_hf

    if source:
        raise InputError(f"{label}: a hub repository brings its own weights; drop '@{source}'")
    with hub_access() as online:
        try:
            config_path = download_pretrained_from_hf(repository, filename=CONFIG_NAME)
            weights = download_pretrained_from_hf(repository)
        except Exception as error:
            raise InputError(
                f"{label}: not in the cache and cannot be downloaded ({_cause(error, online)}): it needs {CONFIG_NAME} and the weights "
                f"of the hub repository {repository}; download it elsewhere and pass open_clip:local-dir:/folder, or {COPY_CACHE}"
            ) from error
    config, preprocess = _read_config(label, Path(config_path))
    return Source(label, config, preprocess, Path(weights), f"hf-hub:{repository}")


def _from_architecture(label: str, name: str, source: str | None, download: bool) -> Source | None:
    import open_clip

    if name not in open_clip.list_models():
        near = nearest(name, [*open_clip.list_models(), *TINY], n=3)
        raise InputError(f"{label}: open_clip has no architecture '{name}'{near}; local-dir:/folder and hf-hub:org/repo work too")
    architecture = Architecture(name)
    advice = f"open_clip:{name}@<tag> with one of: {listed(architecture.usable)}; or open_clip:{name}@/path/to/file"
    if not source:
        raise InputError(f"{label} names no weights, and random ones are never used silently: {advice}")
    path = Path(source).expanduser()
    tag, _, file = source.partition("=")
    if not file or path.exists() or Path(tag).name != tag:
        tag, file = source, ""
    known = architecture.tag(label, tag, source)
    if known is not None and not file and not download:
        return None
    if known is not None:
        weights = _existing_file(label, Path(file).expanduser()) if file else _download(label, name, tag, known)
        return Source(label, architecture.config, known, weights, name, may_resize=not file)
    if file or not (path.exists() or "/" in source or "\\" in source or path.suffix in WEIGHT_SUFFIXES):
        raise InputError(f"{label}: {name} has no tag '{tag}'{nearest(tag, architecture.usable)}: {advice}")
    beside = _existing_file(label, path).parent / CONFIG_NAME
    preprocess = architecture.preprocess_of_file(label, path, _read_config(label, beside) if beside.is_file() else None)
    return Source(label, architecture.config, preprocess, path, name, may_resize=False)


def _download(label: str, name: str, tag: str, cfg: dict) -> Path:
    import open_clip

    with hub_access() as online:
        try:
            return Path(open_clip.download_pretrained(cfg))
        except Exception as error:
            origin = f"the hub repository {cfg['hf_hub'].strip('/')}" if cfg.get("hf_hub") else cfg.get("url")
            raise InputError(
                f"{label}: weights not in the cache and cannot be downloaded ({_cause(error, online)}): they come from {origin}; "
                f"download them elsewhere and pass open_clip:{name}@{tag}=/path/to/file, or {COPY_CACHE}"
            ) from error


def _existing_file(label: str, path: Path) -> Path:
    if path.is_dir():
        raise InputError(f"{label}: {path} is a folder; with an {CONFIG_NAME} in it, use open_clip:local-dir:{path}")
    if not path.is_file():
        raise InputError(f"{label}: no such weights file: {path}")
    return path


def _read_config(label: str, path: Path) -> tuple[dict, dict]:
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        config, preprocess = whole["model_cfg"], whole.get("preprocess_cfg", {})
        embed_dim, vision, text = config["embed_dim"], config["vision_cfg"], config["text_cfg"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{label}: {path} is not open_clip's: it needs model_cfg with embed_dim, vision_cfg and text_cfg "
            f"({type(error).__name__}: {one_line(error)})"
        ) from error
    if not (isinstance(embed_dim, int) and isinstance(vision, dict) and isinstance(text, dict) and isinstance(preprocess, dict)):
        raise InputError(f"{label}: {path}: embed_dim must be an integer, vision_cfg, text_cfg and preprocess_cfg objects")
    return config, preprocess


def _cause(error: Exception, online: bool) -> str:
    return one_line(error) if online else "no network, or HF_HUB_OFFLINE is set"
