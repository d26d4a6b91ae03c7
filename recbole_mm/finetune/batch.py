"""Batch: the units of one step of fine-tuning, and what the encoder makes of them."""

from collections.abc import Callable
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.utils.checkpoint import checkpoint

from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.losses import shared_pairs
from recbole_mm.encoder.random_views import augment_pictures
from recbole_mm.finetune.units import Units
from recbole_mm.items.encoded_items import EncodedItems


class Batch:
    """The units of one step. Whatever objectives read of them is encoded when the first objective asks for it.

    Args:
        items: encodes items.
        units: all units of the catalogue.
        chosen: int64 (n,), the distinct units of this step.
        generator: objectives draw their random numbers from it.
    """

    def __init__(self, items: EncodedItems, units: Units, chosen: Tensor, generator: Generator) -> None:
        self.items, self.units, self.chosen, self.generator = items, units, chosen, generator
        self.encoder: ItemEncoder = items.encoder

    @cached_property
    def rows(self) -> dict[str, Tensor]:
        """{modality: (n, d)}; zeros for units that lack the modality."""
        return self.items.encode(self.units.ids[self.chosen].to(self.items.device))

    def having(self, modality: str) -> Tensor:
        """(k,): the places in the batch of the units that have the modality."""
        return (self.units.groups[modality][self.chosen] >= 0).nonzero().squeeze(1)

    def views(self, modality: str) -> tuple[Tensor, Tensor]:
        """Rows of two random views of each picture, (2k, d), or of each text as it is, (k, d), and the places in the batch of their
        units. Texts get other rows than from ``rows`` only where the encoder has dropout."""
        places = self.having(modality)
        inputs = self.items.read(modality, self.units.ids[self.chosen[places]].to(self.items.device))
        if modality == "image":
            inputs, places = torch.cat([augment_pictures(inputs, generator=self.generator) for _ in range(2)]), places.repeat(2)
        return self.in_chunks(lambda part: self.items.forward(modality, part), inputs), places

    @cached_property
    def pairs(self) -> Tensor:
        """(p,): the places in the batch of the units that have both a picture and a text."""
        return self.units.pairs[self.chosen].nonzero().squeeze(1)

    @cached_property
    def pair_rows(self) -> dict[str, Tensor]:
        return {m: self.rows[m][self.pairs] for m in ("image", "text")}

    @cached_property
    def same(self) -> Tensor:
        """bool (p, p): which pairs share their picture or their text, and so are not each other's negatives."""
        return shared_pairs(*(groups[self.chosen[self.pairs]] for groups in self.units.groups.values())).to(self.items.device)

    @cached_property
    def inputs(self) -> tuple[Tensor, Tensor]:
        """The pictures, uint8 (p, 3, H, W), and token ids, int64 (p, L), of the pairs."""
        pixels, tokens = self.items.read("joint", self.units.ids[self.chosen[self.pairs]].to(self.items.device))
        return pixels, self.encoder.shorten(tokens, self.encoder.pad_id)

    @cached_property
    def similarity(self) -> Tensor:
        """(p, p) scaled cosines, without gradient; zeros if the encoder's image and text rows do not lie in one space."""
        if not self.encoder.aligned:
            return torch.zeros(len(self.pairs), len(self.pairs), device=self.items.device)
        image, text = (F.normalize(rows.detach().float(), dim=-1) for rows in self.pair_rows.values())
        return image @ text.T * self.encoder.similarity()[0].detach()

    def in_chunks(self, read: Callable[..., Tensor], *parts: Tensor) -> Tensor:
        """``read(*parts)``, on as many of their n rows at a time as a chunk has. The activations of one chunk are kept; those of the others
        are computed again in the backward pass (see ``EncodedItems``)."""
        *others, last = zip(*(part.split(self.items.chunk_size) for part in parts), strict=True)
        return torch.cat([checkpoint(read, *some, use_reentrant=False) for some in others] + [read(*last)])
