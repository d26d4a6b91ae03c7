"""Finds a transformers encoder: the name that the user gave -> a folder with its files, and the weights files in it."""

import json
import re
from pathlib import Path

from recbole_mm.encoder.hub import hub_access
from recbole_mm.errors import InputError, one_line

REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
SMALL_FILES = ["*.json", "*.txt", "*.jinja", "*.model", "*.py", "[0-9]_*/*"]
ADVICE = "download it elsewhere and pass hf:/folder, or copy the Hugging Face cache (HF_HOME) of a machine that has it"


def find_folder(label: str, name: str, revision: str | None, download: bool = True) -> Path | None:
    """The folder that ``name`` means: itself, or a hub repository's in the Hugging Face cache, downloaded where needed. Without
    ``download`` the name of a repository is only checked.

    Raises:
        InputError: no such folder, a malformed name, or a repository that is not cached and cannot be downloaded.
    """
    if name.startswith(("/", "./", "../", "~")):
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise InputError(f"{label}: no such folder: {folder}")
        return folder
    if not REPOSITORY.fullmatch(name):
        raise InputError(f"{label}: '{name}' is neither a hub repository (org/name) nor a folder (/folder, ./folder)")
    return _download(label, name, revision) if download else None


def weights_files(label: str, folder: Path) -> list[Path]:
    """The files that transformers reads the weights from: safetensors before torch's own, whole or in shards.

    Raises:
        InputError: there are none, or an index that cannot be read.
    """
    chosen = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if chosen is None:
        raise InputError(f"{label}: {folder} holds no weights: model.safetensors or pytorch_model.bin")
    if chosen.suffix != ".json":
        return [chosen]
    names = read_json(label, chosen).get("weight_map", {}).values()
    if not names:
        raise InputError(f"{label}: {chosen} lists no weights files under weight_map")
    return [folder / name for name in dict.fromkeys(names)]


def read_json(label: str, path: Path) -> dict | list:
    """A JSON file's content. Raises InputError if it is not there or not JSON."""
    if not path.is_file():
        raise InputError(f"{label}: {path.parent} holds no {path.name}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{label}: {path} is not readable JSON ({one_line(error)})") from error


def _download(label: str, repository: str, revision: str | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    with hub_access() as online:
        try:
            patterns = [*SMALL_FILES, "model*.safetensors"]
            if online:
                files = [file.rfilename for file in HfApi().model_info(repository, revision=revision).siblings or []]
                if not {"model.safetensors", "model.safetensors.index.json"} & set(files):
                    patterns = [*SMALL_FILES, "pytorch_model*.bin"]
            options = {"allow_patterns": patterns} if online else {"local_files_only": True}
            return Path(snapshot_download(repository, revision=revision, **options))
        except Exception as error:
            if Path(repository).is_dir():
                raise InputError(f"{label}: no such hub repository: {repository}; the folder is named ./{repository}") from error
            cause = one_line(error) if online else "no network, or HF_HUB_OFFLINE is set"
            what = f"the hub repository {repository}" + (f" at revision {revision}" if revision else "")
            raise InputError(f"{label}: {what} is not in the cache and cannot be downloaded ({cause}); {ADVICE}") from error
