"""Writes a tuned encoder as a weights file that its backend reads."""

import copy
from pathlib import Path

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.tuning.lora import merge_lora
from recbole_mm.encoder.weights import write_weights
from recbole_mm.errors import InputError, listed


def export_weights(encoder: ItemEncoder, file: str | Path) -> None:
    """Writes the encoder's weights, LoRA merged into them, as safetensors under the names that its backend reads
    (``backend:name@file``; of an hf encoder, the folder's model.safetensors). The encoder stays as it is.

    Raises:
        InputError: see ``check_exportable``.
    """
    check_exportable(encoder)
    write_weights(merge_lora(copy.deepcopy(encoder).cpu()).weights_module(), file)


def check_exportable(encoder: ItemEncoder) -> None:
    """Checks that everything that trains can be exported.

    Raises:
        InputError: no single file holds the encoder (of ``separate``, export ``encoder.image`` and ``encoder.text``); adapters, which
            no released architecture has; a side network; or trained layers after the model (sentence-transformers' Dense), which are
            files of their own.
    """
    if not isinstance(encoder, ItemEncoder):
        raise InputError("a side network is no encoder's weights: keep the checkpoint")
    held = set(encoder.weights_module().parameters())
    if encoder.adapters:
        raise InputError(f"{encoder.name} has adapters, which cannot be merged into its weights: keep the checkpoint, or tune by lora")
    beside = [name for name, parameter in encoder.named_parameters() if parameter.requires_grad and parameter not in held]
    if beside:
        raise InputError(
            f"{encoder.name} trains layers that its model's weights file does not hold ({listed(beside)}): keep the "
            "checkpoint, or tune by lora"
        )
