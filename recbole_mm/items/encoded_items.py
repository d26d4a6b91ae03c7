"""EncodedItems: the items of a data set through an encoder, a batch or the whole catalogue at a time."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from recbole_mm.config.modalities import CROSS, PAIR
from recbole_mm.encoder.base import FeatureNetwork, Inputs
from recbole_mm.encoder.cross.token_states import Tokens
from recbole_mm.items.crossing import Crossing
from recbole_mm.items.encoding_cost import EncodingCost
from recbole_mm.items.inputs import EncoderInputs, contents_fingerprint
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.parallel.sharding import OneByOne, shard
from recbole_mm.terminal import Bar

ITEMS_A_CALL = 256
"""Items in one call of the encoder on a CPU, which encodes fewer items per second in larger calls."""
LARGE_ENCODERS_CALL = {"image": 16, "text": 32, "joint": 16}
"""The same for an encoder with released weights, whose activations of more items do not stay in the caches of a CPU."""
AUTO_CHUNK_SIZE = {True: 1024, False: 128}


class EncodedItems(ABC):
    """Rows of features that an encoder makes of items, by internal item id. Subclasses say what is read of an item, and what runs on it.

    Where several processes train together (see ``Ranks``), each of them encodes its share of the items. After ``shard``, a process can
    only encode while all others do. They then call the encoder equally often: a process with fewer items, or with none that have a
    modality, encodes stand-ins, whose rows nothing reads.

    Args:
        encoder: the network that trains and gives the rows.
        inputs: the pictures and texts of the items, in the modalities in use.
        dims: ``{modality: width of its rows}``.
        chunk_size: how many items' activations are kept at a time. Where more are encoded with gradient, the activations of the others
            are computed again in the backward pass, chunk by chunk with the same random numbers: exact gradients in the memory of one
            chunk, for a second forward pass (Gao et al., arXiv 2101.06983). None: 1024 for a small encoder that starts from random
            weights and for a side network, else 128.
        precision: ``fp32`` or ``bf16`` (autocast); rows are float32 either way.
        cost: what encoding has cost before.
        ranks: the processes that share the work; None for all there are.
        crossing: makes rows of the modality ``cross`` from the encoder's tokens; None for no such rows.

    Attributes:
        modalities, dims: the modalities in use, and the width of their rows.
        present: which items have them, ``{modality: bool (n_items,)}``.
        contents: a fingerprint of the content of each item.
        cost: items and seconds of encoding.
        largest_call: how many ``items`` the largest call in training had, and how many of those had each modality.
        cross: the cross-attention that gives the rows of the modality ``cross``, which are not among ``modalities``; None without.
        encoder_trains: whether ``encoder`` is an encoder of pictures and texts; where only a cross-attention trains, it is that.
        from_states: whether rows are made from what a frozen encoder gave before, so that ``encoder`` alone does not decide them.
    """

    from_states = False
    encoder_trains = True

    def __init__(
        self, encoder: FeatureNetwork, inputs: EncoderInputs, dims: dict[str, int], chunk_size: int | None = None, precision: str = "fp32",
        cost: EncodingCost | None = None, ranks: Ranks | None = None, crossing: Crossing | None = None,
    ) -> None:  # fmt: skip
        self.encoder, self.dims, self.bf16 = encoder, dims, precision == "bf16"
        self.modalities, self.content, self.present = inputs.modalities, inputs.content, inputs.present
        self._crossing, self.cross = crossing, crossing and crossing.attention
        if crossing is not None:
            self.dims, self.present = {**dims, CROSS: self.cross.width}, {**inputs.present, CROSS: crossing.present}
        self.contents = contents_fingerprint({m: inputs.digests(m) for m in self.modalities})
        self.chunk_size = chunk_size or AUTO_CHUNK_SIZE[encoder.from_scratch or self.from_states]
        self.cost, self.ranks = cost or EncodingCost(), ranks or Ranks.current()
        self.largest_call: dict[str, int] = {}
        self.sharded, self._repeating = False, nullcontext()
        self._show_progress, self._step = inputs.show_progress, 0

    @abstractmethod
    def read(self, modality: str, ids: Tensor) -> Inputs:
        """What ``compute`` takes for n items that all have the modality."""

    @abstractmethod
    def compute(self, modality: str, inputs: Inputs) -> Tensor:
        """(n, d) rows, with gradient to the encoder."""

    def order(self, ids: Tensor) -> Tensor | None:
        """The order in which n items are best encoded, as (n,) places in ``ids``; None for the order in which they come."""
        return None

    def calls(self, modality: str, ids: Tensor) -> Sequence[Tensor]:
        """The items of one call in parts, where it is faster to encode a modality of them one part after the other."""
        return (ids,)

    def raw(self, modality: str, inputs: Inputs) -> Inputs:
        """The part of what ``read`` gave that ``ItemEncoder.token_states`` takes as its ``inputs``."""
        return inputs

    def __len__(self) -> int:
        return len(self.content)

    @property
    def device(self) -> torch.device:
        return next(self.encoder.parameters()).device

    @property
    def items_a_call(self) -> int:
        """A GPU waits for its next kernels if a small encoder is given few items at a time, so it gets a whole chunk."""
        return ITEMS_A_CALL if self.device.type == "cpu" else max(ITEMS_A_CALL, self.chunk_size)

    def start_step(self, step: int) -> None:
        """To be called before every training batch, with the number of batches before it: each draws random numbers of its own."""
        self._step = step

    def shard(self, device: torch.device) -> None:
        """Leaves this process its share of the encoder; see ``sharding.shard``."""
        self.sharded, self._repeating = True, OneByOne(shard(self.encoder, self.encoder.layers(), device))

    def encode(self, ids: Tensor) -> dict[str, Tensor]:
        """(n,) distinct ids -> {modality: (n, d)}, in chunks; zeros in the rows of items that lack the modality."""
        with self.ranks.own_randomness(self._step):
            rows = self._encode(ids[self.ranks.slice(len(ids))], self.ranks.most(len(ids)), self._modalities_of(ids))
        return self._gathered(rows, [1] * len(ids))

    @torch.no_grad()
    def catalogue(self) -> dict[str, Tensor]:
        """``encode`` of all items in order, in eval mode and without gradient."""
        training = self.encoder.training
        self.encoder.eval()
        calls = torch.arange(len(self)).split(self.items_a_call)
        own = calls[self.ranks.slice(len(calls))]
        own += (calls[0][:0],) * (self.ranks.most(len(calls)) - len(own))
        slow = self._show_progress and len(calls) > 8
        with torch.autocast(self.device.type, enabled=False):
            bar = Bar(own, desc="Encoding items", disable=not slow)
            rows = _concatenated([self._encode(ids.to(self.device), len(calls[0]), self.modalities) for ids in bar])
        self.encoder.train(training)
        return self._gathered(rows, [len(ids) for ids in calls])

    def version(self) -> tuple:
        """Changes with every update of the weights that make the rows: an optimiser's step, a load, a move to another dtype or device."""
        parameters = chain(self.encoder.parameters(), () if self.cross is None else self.cross.parameters())
        return tuple((id(p), p._version, p.dtype, p.device) for p in parameters)

    def forward(self, modality: str, inputs: Inputs) -> Tensor:
        """``compute`` in the precision that was asked for."""
        with torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext():
            return self.compute(modality, inputs)

    def _gathered(self, rows: dict[str, Tensor], lengths: list[int]) -> dict[str, Tensor]:
        """The rows of all processes, each of which has encoded its slice of a list of parts with ``lengths`` items."""
        sizes = [sum(lengths[self.ranks.slice(len(lengths), rank)]) for rank in range(self.ranks.world)]
        return {m: self.ranks.gather(row, sizes) for m, row in rows.items()}

    def _modalities_of(self, ids: Tensor) -> Sequence[str]:
        """The modalities that any of the items has. Nobody needs to know unless the encoder is sharded."""
        return [m for m in self.modalities if bool(self.present[m][ids.cpu()].any())] if self.sharded else self.modalities

    def _encode(self, ids: Tensor, most: int, read: Sequence[str]) -> dict[str, Tensor]:
        """This process's rows.

        Args:
            most: the number of items of the process that encodes the most of them at the same time.
            read: the modalities that the items of all processes have between them.
        """
        all_ids = F.pad(ids, (0, most - len(ids))) if self.sharded else ids
        order = self.order(all_ids)
        *others, last = (all_ids if order is None else all_ids[order]).split(self.chunk_size)
        with self.cost.measure(len(ids), self.device):
            rows = _concatenated([self._recomputed(chunk, read) for chunk in others] + [self._encode_chunk(last, read)])
        own = slice(len(ids)) if order is None else order.argsort()[: len(ids)]
        return {m: row[own] for m, row in rows.items()}

    def _recomputed(self, ids: Tensor, read: Sequence[str]) -> dict[str, Tensor]:
        if not torch.is_grad_enabled():
            return self._encode_chunk(ids, read)
        contexts = nullcontext(), self._repeating
        return checkpoint(self._encode_chunk, ids, read, use_reentrant=False, context_fn=lambda: contexts)

    def _encode_chunk(self, ids: Tensor, read: Sequence[str]) -> dict[str, Tensor]:
        return _concatenated([self._encode_call(some, read) for some in ids.split(self.items_a_call)])

    def _encode_call(self, ids: Tensor, read: Sequence[str]) -> dict[str, Tensor]:
        rows, tokens = {}, {}
        having = {m: self.present[m][ids.cpu()] for m in self.modalities}
        if torch.is_grad_enabled() and len(ids) > self.largest_call.get("items", 0):
            self.largest_call = {"items": len(ids), **{m: int(here.sum()) for m, here in having.items()}}
        for m in self.modalities:
            here = having[m].to(ids.device)
            row = torch.zeros(len(ids), self.dims[m], dtype=next(self.encoder.parameters()).dtype, device=ids.device)
            places = here.nonzero().squeeze(1)
            some = ids[places]
            if self.sharded and m in read and not len(some):
                some = self.present[m].nonzero()[:1, 0].to(ids.device)
            if len(some):
                encoded, tokens[m] = self._called(m, some)
                row = row.index_copy(0, places, encoded[: len(places)].to(row.dtype))
            rows[m] = row
        if self._crossing is not None:
            rows[CROSS] = self._crossing.rows(ids, having, tokens, row.dtype)
        return rows

    def _called(self, modality: str, ids: Tensor) -> tuple[Tensor, Tokens | None]:
        """The rows of n items, and, where they are crossed, the tokens that the encoder passes on its way to these."""
        crossing = self._crossing if modality in PAIR else None
        rows, tokens = [], []
        for part in self.calls(modality, ids):
            inputs = self.read(modality, part)
            with nullcontext([]) if crossing is None else crossing.tokens.taken(modality) as hidden:
                rows.append(self.forward(modality, inputs))
            tokens += [crossing.tokens.tokens(modality, states, self.raw(modality, inputs)) for states in hidden]
        return torch.cat(rows), Tokens.joined(tokens) if tokens else None


def _concatenated(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return parts[0] if len(parts) == 1 else {m: torch.cat([part[m] for part in parts]) for m in parts[0]}
