"""The values of the key ``encoder_tuning``: what each one trains, and which other keys belong to it.

A tuning is added by one class in this file (and its keys in ``recbole_mm/config/keys.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar

from torch import nn

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.seeding import seeded
from recbole_mm.encoder.tuning.adapter import add_adapters
from recbole_mm.encoder.tuning.lora import add_lora
from recbole_mm.encoder.tuning.multiway_adapter import add_multiway
from recbole_mm.errors import InputError, listed, nearest


@dataclass(frozen=True)
class Tuning:
    """Decides which parameters train. Its fields are sizes; each is read from the configuration key of the same name, unless the
    field's metadata name another key.

    Attributes:
        name: the value of ``encoder_tuning``.
        few: it trains few parameters beside pretrained weights that stay as they are, which then bear a larger learning rate.
    """

    name: ClassVar[str]
    few: ClassVar[bool] = False

    @classmethod
    def keys(cls) -> dict[str, str]:
        """Configuration key -> field, for the keys that belong to this tuning."""
        return {size.metadata.get("key", size.name): size.name for size in fields(cls)}

    @classmethod
    def from_config(cls, config: Mapping) -> "Tuning":
        """The tuning that ``encoder_tuning`` names, with its own keys. Raises InputError: there is none of this name."""
        kind = tuning_class(config["encoder_tuning"])
        return kind(**{name: config[key] for key, name in kind.keys().items()})

    def apply(self, encoder: ItemEncoder, seed: int = 0) -> list[str]:
        """Chooses what trains, in place. Parameters that an encoder has frozen by itself (nothing reads them) stay frozen.

        Args:
            seed: draws the new parameters; the global random state stays as it is.

        Returns:
            The names of the parameters that train. New parameters start as the identity: the encoder's rows are as before.

        Raises:
            InputError: there is nothing to train, or see the tuning.
        """
        chosen, own = self.chosen(encoder), set(encoder.parameters())
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and name in chosen)
        with seeded(seed):
            self.extend(encoder)
        for parameter in set(encoder.parameters()) - own:
            parameter.requires_grad_(True)
        trained = _trainable(encoder)
        if not trained:
            raise InputError(f"encoder_tuning {self.name}: {encoder.name} has no such parameters; use full or last_k")
        return trained

    def chosen(self, encoder: ItemEncoder) -> set[str]:
        """Names of the encoder's own parameters that may train: none, unless a tuning says otherwise."""
        return set()

    def extend(self, encoder: ItemEncoder) -> None:
        """Adds new parameters to the encoder: none, unless a tuning says otherwise."""


@dataclass(frozen=True)
class Full(Tuning):
    """Everything trains that the encoder has not frozen by itself."""

    name = "full"

    def apply(self, encoder: ItemEncoder, seed: int = 0) -> list[str]:
        return _trainable(encoder)


@dataclass(frozen=True)
class LastK(Tuning):
    """The last ``last_k`` blocks of each tower train, with final norms and projections.

    ``apply`` raises InputError: a tower has fewer blocks.
    """

    name = "last_k"
    last_k: int = field(default=2, metadata={"key": "encoder_last_k"})

    def chosen(self, encoder: ItemEncoder) -> set[str]:
        towers = encoder.towers()
        shortest = min(len(tower) for tower in towers)
        if not 0 < self.last_k <= shortest:
            raise InputError(f"encoder_last_k {self.last_k}: {encoder.name} has a tower of {shortest} blocks; give 1 to {shortest}")
        inside = {parameter for tower in towers for block in tower[-self.last_k :] for parameter in block.parameters()}
        return {name for name, parameter in encoder.named_parameters() if parameter in inside} | set(encoder.head())


@dataclass(frozen=True)
class Lora(Tuning):
    """Every linear map in the blocks gets an update of rank ``lora_rank``, scaled by ``lora_alpha / lora_rank`` (Hu et al.,
    arXiv 2106.09685). Only the updates train."""

    name = "lora"
    few = True
    lora_rank: int = 8
    lora_alpha: float = 16

    def extend(self, encoder: ItemEncoder) -> None:
        add_lora(encoder, self.lora_rank, self.lora_alpha)


@dataclass(frozen=True)
class Adapters(Tuning):
    """Bottleneck adapters of width ``adapter_dim`` train after every block, or after every modality's expert where the blocks have
    experts (Houlsby et al., arXiv 1902.00751)."""

    name = "adapter"
    few = True
    adapter_dim: int = 64

    def extend(self, encoder: ItemEncoder) -> None:
        add_adapters(encoder, self.adapter_dim)


@dataclass(frozen=True)
class Multiway(Tuning):
    """Bottlenecks of width ``multiway_dim`` train beside every block's feed-forward part, or beside every modality's expert where the
    blocks have experts, and on top of every block (Multiway-Adapter: Long et al., arXiv 2309.01516).

    ``apply`` raises InputError: a block has no feed-forward part.
    """

    name = "multiway"
    few = True
    multiway_dim: int = 64

    def extend(self, encoder: ItemEncoder) -> None:
        add_multiway(encoder, self.multiway_dim)


@dataclass(frozen=True)
class BitFit(Tuning):
    """Only the biases train (Ben Zaken et al., arXiv 2106.10199)."""

    name = "bitfit"
    few = True

    def chosen(self, encoder: ItemEncoder) -> set[str]:
        return {name for name, parameter in encoder.named_parameters() if _is_bias(name, parameter)}


@dataclass(frozen=True)
class Side(Tuning):
    """A ``SideNetwork`` with bottlenecks of width ``side_dim`` trains on what the frozen encoder made of each item once (Fu et al.,
    arXiv 2404.02059), with noise of ``side_noise`` on it. The encoder itself is left as it is, so ``apply`` raises InputError."""

    name = "side"
    side_dim: int = 64
    side_noise: float = 0.3

    def apply(self, encoder: ItemEncoder, seed: int = 0) -> list[str]:
        raise InputError(f"encoder_tuning side trains a network beside {encoder.name}, and nothing inside of it; choose another")


TUNINGS: dict[str, type[Tuning]] = {kind.name: kind for kind in (Full, LastK, Lora, Adapters, Multiway, BitFit, Side)}
"""The value of ``encoder_tuning`` -> its class."""


def tuning_class(name: str) -> type[Tuning]:
    """Raises InputError: no tuning has this name."""
    if name not in TUNINGS:
        raise InputError(f"encoder_tuning '{name}' is none of {listed(TUNINGS)}{nearest(name, TUNINGS)}")
    return TUNINGS[name]


def tuning_of_key() -> dict[str, str]:
    """Configuration key -> the name of the tuning that it belongs to."""
    return {key: kind.name for kind in TUNINGS.values() for key in kind.keys()}  # noqa: SIM118, a method of the class


def _trainable(encoder: ItemEncoder) -> list[str]:
    return [name for name, parameter in encoder.named_parameters() if parameter.requires_grad]


def _is_bias(name: str, parameter: nn.Parameter) -> bool:
    last = name.rpartition(".")[2]
    return parameter.ndim == 1 and (last == "bias" or last.endswith("_bias"))
