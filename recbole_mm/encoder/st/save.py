"""Writes a sentence-transformers model as a folder that stands alone."""

from pathlib import Path

from torch import nn

from recbole_mm.encoder.hf.load import quiet
from recbole_mm.errors import InputError


def save_chain(label: str, model: nn.Module, folder: Path) -> None:
    """Writes a ``SentenceTransformer`` as it is now: weights, configuration, tokenizer, image processor.

    Raises:
        InputError: it needs Python code of its own, which no folder may bring along.
    """
    if any(type(module).__module__.startswith("transformers_modules.") for module in model.modules()):
        raise InputError(f"{label} needs Python code that came with it, so it cannot be saved with an export")
    with quiet():
        model.save_pretrained(str(folder), create_model_card=False)
