"""Which of an encoder's parameters train, chosen by module: all, the last blocks, low-rank updates, adapters, or biases."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.tuning.adapter import add_adapters
from recbole_mm.encoder.tuning.lora import add_lora
from recbole_mm.errors import InputError, listed, nearest

TUNINGS = ("full", "last_k", "lora", "adapter", "bitfit")


def tune(
    encoder: ItemEncoder, tuning: str = "full", *, last_k: int = 2, lora_rank: int = 8, lora_alpha: float = 16.0,
    adapter_dim: int = 64, seed: int = 0,
) -> list[str]:  # fmt: skip
    """Chooses what trains, in place. Parameters that an encoder has frozen by itself (nothing reads them) stay frozen.

    Args:
        tuning: ``full``: everything. ``last_k``: the last ``last_k`` blocks of each tower, final norms and projections. ``lora``:
            updates of rank ``lora_rank``, scaled by ``lora_alpha`` / rank, of every linear map in the blocks (Hu et al.,
            arXiv 2106.09685). ``adapter``: bottleneck adapters of width ``adapter_dim`` after every block, or after every
            modality expert where blocks have them (Houlsby et al., arXiv 1902.00751; one per expert as in Multiway-Adapter,
            arXiv 2309.01516). ``bitfit``: the biases (Ben Zaken et al., arXiv 2106.10199).
        seed: draws the new parameters; the global random state stays as it is.

    Returns:
        The names of the parameters that train. LoRA and adapters start as the identity: the encoder's rows are as before.

    Raises:
        InputError: an unknown tuning, more blocks than a tower has, nothing to train.
    """
    if tuning not in TUNINGS:
        raise InputError(f"encoder_tuning '{tuning}' is none of {listed(TUNINGS)}{nearest(tuning, TUNINGS)}")
    if tuning == "full":
        return _trainable(encoder)
    candidates = {"last_k": _last_blocks, "bitfit": _biases}.get(tuning, lambda *_: set())(encoder, last_k)
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name in candidates)
    with _drawn(seed):
        if tuning == "lora":
            add_lora(encoder, lora_rank, lora_alpha)
        elif tuning == "adapter":
            add_adapters(encoder, adapter_dim)
    for name, parameter in encoder.named_parameters():
        if "lora_" in name or name.startswith("adapters."):
            parameter.requires_grad_(True)
    trained = _trainable(encoder)
    if not trained:
        raise InputError(f"encoder_tuning {tuning}: {encoder.name} has no such parameters; use full or last_k")
    return trained


def _last_blocks(encoder: ItemEncoder, k: int) -> set[str]:
    towers = encoder.towers()
    shortest = min(len(tower) for tower in towers)
    if not 0 < k <= shortest:
        raise InputError(f"encoder_last_k {k}: {encoder.name} has a tower of {shortest} blocks; give 1 to {shortest}")
    inside = {id(parameter) for tower in towers for block in tower[-k:] for parameter in block.parameters()}
    return {name for name, parameter in encoder.named_parameters() if id(parameter) in inside} | set(encoder.head())


def _biases(encoder: ItemEncoder, _: int) -> set[str]:
    return {name for name, parameter in encoder.named_parameters() if _is_bias(name, parameter)}


def _is_bias(name: str, parameter: Tensor) -> bool:
    last = name.rpartition(".")[2]
    return parameter.ndim == 1 and (last == "bias" or last.endswith("_bias"))


def _trainable(encoder: ItemEncoder) -> list[str]:
    return [name for name, parameter in encoder.named_parameters() if parameter.requires_grad]


@contextmanager
def _drawn(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
