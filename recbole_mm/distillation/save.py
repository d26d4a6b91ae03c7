"""Writes encoders so that every command reads them again by name."""

import tempfile
from pathlib import Path

import torch

from recbole_mm.distillation.importance import Importance
from recbole_mm.distillation.prune import pruned, require_same_rows, rows_of
from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.factory import create_encoder
from recbole_mm.encoder.separate import SeparateEncoder
from recbole_mm.errors import InputError


def check_prunable(encoder: ItemEncoder, blocks: float, widths: float) -> None:
    """Prunes a copy as if its last parts were the least important, writes it to a temporary folder and reads it again: what works there
    works after training, for other parts as well but for a few architectures, which ``pruned`` refuses.

    Raises:
        InputError: see ``pruned`` and ``save_pruned``.
    """
    names = {module: name for name, module in encoder.named_modules()}
    made_up = Importance({names[block]: -float(i) for i, block in enumerate(encoder.layers())}, {})
    with tempfile.TemporaryDirectory() as folder:
        save_pruned(pruned(encoder, blocks, widths, made_up), Path(folder))


def save_pruned(encoder: ItemEncoder, folder: Path) -> str:
    """Writes an encoder, pruned or not, into an empty folder, and reads it again.

    Returns:
        The value for ``--encoder``. Prompt and number of patches are not part of it: ``encoder_prompt`` and ``encoder_max_patches``, where
        they were given for the encoder, have to be given again.

    Raises:
        InputError: it cannot be read again from files alone.
    """
    folder = folder.resolve()
    name, options = _save(encoder, folder)
    try:
        with torch.random.fork_rng(devices=[]):
            back = create_encoder(name, **options)
    except InputError as error:
        raise InputError(f"{encoder.name} cannot have this shape: {error}") from error
    if back.fingerprint() != encoder.fingerprint():
        raise InputError(f"{encoder.name} cannot be saved: its files in {folder} do not give the same encoder again")
    require_same_rows(back, rows_of(encoder))
    return name


def _save(encoder: ItemEncoder, folder: Path) -> tuple[str, dict[str, object]]:
    """The name, and those options that are keys of a run rather than files of the encoder."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(encoder, SeparateEncoder):
        names = {modality: _save(getattr(encoder, modality), folder / modality)[0] for modality in encoder.modalities}
        return f"separate:image={names['image']},text={names['text']}", {}
    name, options = encoder.save_files(folder)
    return name.replace("{folder}", str(folder)), {key: options[key] for key in ("prompt", "max_patches") if key in options}
