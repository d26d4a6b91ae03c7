"""The units of a step of fine-tuning."""

from collections.abc import Callable
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.utils.checkpoint import checkpoint

from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.losses import shared_pairs
from recbole_mm.finetune.units import Units
from recbole_mm.items.encoded_items import EncodedItems


class Batch:
    """Units of a step: what objectives read of them, encoded when one first asks.

    Args:
        chosen: int64 (n,) distinct units.
        generator: whatever an objective draws.
    """

    def __init__(self, items: EncodedItems, units: Units, chosen: Tensor, generator: Generator) -> None:
        self.items, self.units, self.chosen, self.generator = items, units, chosen, generator
        self.encoder: ItemEncoder = items.encoder

    @cached_property
    def rows(self) -> dict[str, Tensor]:
        """{modality: (n, d)}, of units that lack it zeros."""
        return self.items.encode(self.units.ids[self.chosen].to(self.items.device))

    def having(self, modality: str) -> Tensor:
        """(k,) places of the units that have the modality."""
        return (self.units.groups[modality][self.chosen] >= 0).nonzero().squeeze(1)

    @cached_property
    def pairs(self) -> Tensor:
        """(p,) places of the units that have both a picture and a text."""
        return self.units.pairs[self.chosen].nonzero().squeeze(1)

    @cached_property
    def pair_rows(self) -> dict[str, Tensor]:
        return {m: self.rows[m][self.pairs] for m in ("image", "text")}

    @cached_property
    def same(self) -> Tensor:
        """bool (p, p): pairs that share their picture or their text, and so are not each other's negatives."""
        return shared_pairs(*(groups[self.chosen[self.pairs]] for groups in self.units.groups.values())).to(self.items.device)

    @cached_property
    def inputs(self) -> tuple[Tensor, Tensor]:
        """Pictures and token ids of the pairs."""
        pixels, tokens = self.items.read("joint", self.units.ids[self.chosen[self.pairs]].to(self.items.device))
        return pixels, self.encoder.shorten(tokens, self.encoder.pad_id)

    @cached_property
    def similarity(self) -> Tensor:
        """(p, p) scaled cosines, without gradient; zeros where the encoder's rows lie in no common space."""
        if not self.encoder.aligned:
            return torch.zeros(len(self.pairs), len(self.pairs), device=self.items.device)
        image, text = (F.normalize(rows.detach().float(), dim=-1) for rows in self.pair_rows.values())
        return image @ text.T * self.encoder.similarity()[0].detach()

    def in_chunks(self, read: Callable[..., Tensor], *parts: Tensor) -> Tensor:
        """``read(*parts)``, the encoder's chunk size of their n rows at a time: activations of one chunk are kept, those of the others
        computed again in the backward pass (see ``EncodedItems``)."""
        *others, last = zip(*(part.split(self.items.chunk_size) for part in parts), strict=True)
        return torch.cat([checkpoint(read, *some, use_reentrant=False) for some in others] + [read(*last)])
