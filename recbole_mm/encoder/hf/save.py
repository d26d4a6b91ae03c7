"""Writes a transformers encoder as a folder that stands alone."""

import json
import shutil
from pathlib import Path

from torch import nn

from recbole_mm.encoder.hf.sentence import Sentence, dense_folders, read_sentence
from recbole_mm.encoder.hf.source import SMALL_FILES
from recbole_mm.encoder.weights import write_weights
from recbole_mm.errors import InputError

LEFT_OUT = (".py", ".bin", ".safetensors", ".index.json")
"""What the names of files end in that are not copied: code, and weights as they were."""
OF_A_MACHINE = ("_name_or_path", "name_or_path")


def save_folder(label: str, source: Path, folder: Path, model: nn.Module, dense: nn.Sequential, resized: bool = False) -> None:
    """Copies the small files of ``source`` (configuration, tokenizer, image processor, sentence-transformers' modules), and writes the
    weights as they are now; ``resized``: the configuration too.

    Raises:
        InputError: the model needs Python code of its own, which no folder may bring along.
    """
    if type(model).__module__.startswith("transformers_modules."):
        raise InputError(f"{label} needs Python code that came with it, so it cannot be saved with an export")
    for file in sorted({file for pattern in SMALL_FILES for file in source.glob(pattern)}):
        if file.is_file() and not file.name.endswith(LEFT_OUT):
            target = folder / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(file, target)
    inner: Sentence = read_sentence(label, source)
    target = folder / inner.folder.relative_to(source)
    target.mkdir(parents=True, exist_ok=True)
    write_weights(model, target / "model.safetensors")
    if resized:
        _write(json.loads(model.config.to_json_string(use_diff=False)), target / "config.json")
    for layer, path in zip(dense, dense_folders(label, source), strict=True):
        write_weights(nn.ModuleDict({"linear": layer[0]}), folder / path.relative_to(source) / "model.safetensors")


def _copy(file: Path, target: Path) -> None:
    """Copies a file, without the name that a configuration had on the machine that wrote it."""
    if file.name not in ("config.json", "tokenizer_config.json"):
        shutil.copyfile(file, target)
        return
    _write(json.loads(file.read_text(encoding="utf-8")), target)


def _write(content: dict, target: Path) -> None:
    target.write_text(json.dumps({key: value for key, value in content.items() if key not in OF_A_MACHINE}, indent=2), encoding="utf-8")
