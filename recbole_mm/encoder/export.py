"""A tuned encoder as a weights file that its own name takes."""

import copy
from pathlib import Path

from safetensors.torch import save_file

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.tuning.lora import merge_lora
from recbole_mm.errors import InputError, listed


def export_weights(encoder: ItemEncoder, file: str | Path) -> None:
    """Writes the encoder's weights, LoRA merged into them, as safetensors under the names that its backend reads
    (``backend:name@file``; of an hf encoder, the folder's model.safetensors). The encoder stays as it is.

    Raises:
        InputError: see ``check_exportable``.
    """
    check_exportable(encoder)
    merged = merge_lora(copy.deepcopy(encoder).cpu())
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in merged.model.state_dict().items()}, str(file))


def check_exportable(encoder: ItemEncoder) -> None:
    """Can all that trains be exported?

    Raises:
        InputError: adapters, which no released architecture has; or two encoders in one (``separate``): export ``encoder.image``
            and ``encoder.text``; a side network; or trained layers after the model (sentence-transformers' Dense), which are files of
            their own.
    """
    if hasattr(encoder, "adapters"):
        raise InputError(f"{encoder.name} has adapters, which cannot be merged into its weights: keep the checkpoint, or tune by lora")
    if not isinstance(encoder, ItemEncoder):
        raise InputError("a side network is no encoder's weights: keep the checkpoint")
    if not hasattr(encoder, "model"):
        raise InputError(f"{encoder.name} is several encoders: export each of them")
    beside = [name for name, parameter in encoder.named_parameters() if parameter.requires_grad and not name.startswith("model.")]
    if beside:
        raise InputError(f"{encoder.name} trains layers that its model's weights file does not hold ({listed(beside)}): keep the "
                         "checkpoint, or tune by lora")
