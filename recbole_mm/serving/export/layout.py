"""The files of an exported folder."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from recbole_mm.errors import InputError, one_line

FORMAT = 1
MANIFEST = "manifest.json"
USERS = "users.parquet"
ITEMS = "items.parquet"
VECTORS = "vectors.safetensors"
SIMILARITIES = "similarities.safetensors"
INDEX = "index.faiss"
SEEN = "seen.safetensors"
FEATURES = "features.safetensors"
THUMBNAILS = "thumbnails.safetensors"
SETTINGS = "settings.json"
MODEL = "model.safetensors"
INTERACTIONS = "training.safetensors"
ENCODER = "encoder"


def write_manifest(folder: Path, facts: Mapping[str, object]) -> None:
    """Writes the manifest of a folder whose other files are there: the facts, and the size and the digest of every file."""
    files = {str(file.relative_to(folder)): _described(file) for file in sorted(folder.rglob("*")) if file.is_file()}
    text = json.dumps({"format": FORMAT, **facts, "files": files}, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, object]:
    """The manifest of an exported folder.

    Raises:
        InputError: it is no such folder, comes from another version, or a file of it is missing or has another size.
    """
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} is no exported folder: it has no {MANIFEST} (recbole-mm export makes one of a checkpoint)")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        written_by, files = manifest["format"], manifest["files"]
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{folder / MANIFEST} cannot be read: {one_line(error)}") from error
    if written_by != FORMAT:
        raise InputError(f"{folder} has format {written_by}, and this version reads {FORMAT}: export the checkpoint again")
    for name, facts in files.items():
        if not (folder / name).is_file() or (folder / name).stat().st_size != facts["bytes"]:
            raise InputError(f"{folder / name} is missing or not whole: export the checkpoint again")
    return manifest


def _described(file: Path) -> dict[str, object]:
    digest = hashlib.sha256()
    with open(file, "rb") as opened:
        while part := opened.read(2**20):
            digest.update(part)
    return {"bytes": file.stat().st_size, "sha256": digest.hexdigest()}
