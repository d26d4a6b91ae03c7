"""EncodedItems: items of a data set through an encoder, a batch or the whole catalogue."""

from collections.abc import Sequence
from contextlib import nullcontext
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from tqdm import tqdm

from recbole_mm.data.content import ItemContent
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.base import Inputs
from recbole_mm.items.encoding_cost import EncodingCost
from recbole_mm.items.inputs import EncoderInputs, contents_fingerprint
from recbole_mm.parallel.randomness import drawn_gpus
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.parallel.sharding import OneByOne, shard

ITEMS_A_CALL = 256
"""A CPU encodes fewer items a second in larger calls; a GPU is busy with as many."""
AUTO_CHUNK_SIZE = {True: 1024, False: 128}


class EncodedItems:
    """What an encoder makes of items, by internal item id; where several processes train together (``Ranks``), each does its share.

    After ``shard``, a process can only encode while all others do. They then call the encoder equally often: those with fewer items, or
    none that has a modality, encode stand-ins, whose rows nothing reads.

    Args:
        encoder: reads the items.
        content: pictures and texts by item id.
        modalities: which of the encoder's and the content's modalities to use; None for image and text as far as both have them.
        chunk_size: items whose activations are kept at a time. Where more are encoded with gradient, those of the others are computed
            again in the backward pass, chunk by chunk with the same random numbers: exact gradients in the memory of one chunk, for a
            second forward pass (Gao et al., arXiv 2101.06983). None: 1024 for a small encoder that starts from scratch, else 128.
        precision: ``fp32`` or ``bf16`` (autocast); rows are float32 either way.
        show_progress: a progress bar over catalogue-wide encoding.

    Attributes:
        modalities, dims: those in use, and the width of their rows.
        present: which items have them, ``{modality: bool (n_items,)}``.
        contents: a fingerprint of what each item has in them.
        largest_call: ``items`` of the largest call in training, and how many of those have each modality.
        tabled: rows are made from what a frozen encoder gave, so that ``encoder`` alone does not decide them.
    """

    tabled = False

    def __init__(
        self, encoder: ItemEncoder, content: ItemContent, modalities: Sequence[str] | None = None, chunk_size: int | None = None,
        precision: str = "fp32", show_progress: bool = False,
    ) -> None:  # fmt: skip
        self.inputs = EncoderInputs(encoder, content, modalities, show_progress)
        self.encoder, self.content, self.bf16, self.show_progress = encoder, content, precision == "bf16", show_progress
        self._chunk_size, self.largest_call = chunk_size, {}
        self.modalities, self.present = self.inputs.modalities, self.inputs.present
        self.contents = contents_fingerprint({m: self.inputs.digests(m) for m in self.modalities})
        self.dims = {m: encoder.output_dims[m] for m in self.modalities}
        self.cost, self.ranks = EncodingCost(), Ranks.current()
        self.sharded, self._repeating = False, nullcontext()

    def __len__(self) -> int:
        return len(self.content)

    @property
    def chunk_size(self) -> int:
        """The given one, or the default for the encoder."""
        return self._chunk_size or AUTO_CHUNK_SIZE[self.encoder.from_scratch]

    @property
    def device(self) -> torch.device:
        return next(self.encoder.parameters()).device

    def shard(self, device: torch.device) -> None:
        """Leaves this process its share of the encoder; see ``sharding.shard``."""
        self.sharded, self._repeating = True, OneByOne(shard(self.encoder, self.encoder.layers(), device))

    def encode(self, ids: Tensor) -> dict[str, Tensor]:
        """(n,) distinct ids -> {modality: (n, d)}, in chunks; zeros in the rows of items that lack the modality."""
        with self.ranks.own_randomness():
            rows = self._encode(ids[self.ranks.slice(len(ids))], self.ranks.most(len(ids)), self._read_of(ids))
        return self._gathered(rows, [1] * len(ids))

    @torch.no_grad()
    def catalogue(self) -> dict[str, Tensor]:
        """``encode`` of all items in order, in eval mode and without gradient."""
        training = self.encoder.training
        self.encoder.eval()
        calls = torch.arange(len(self)).split(ITEMS_A_CALL)
        own = calls[self.ranks.slice(len(calls))]
        own += (calls[0][:0],) * (self.ranks.most(len(calls)) - len(own))
        slow = self.show_progress and len(calls) > 8
        with torch.autocast(self.device.type, enabled=False):
            bar = tqdm(own, desc="Encoding items", ncols=100, disable=not slow, leave=False)
            rows = _joined([self._encode(ids.to(self.device), len(calls[0]), self.modalities) for ids in bar])
        self.encoder.train(training)
        return self._gathered(rows, [len(ids) for ids in calls])

    def version(self) -> tuple:
        """Changes with every update of the encoder's weights: an optimiser's step, a load, a move to another dtype or device."""
        return tuple((id(p), p._version, p.dtype, p.device) for p in self.encoder.parameters())

    def read(self, modality: str, ids: Tensor) -> Inputs:
        """What ``compute`` takes of n items that all have the modality."""
        return self.inputs(modality, ids)

    def compute(self, modality: str, inputs: Inputs) -> Tensor:
        """(n, d) rows, with gradient to the encoder."""
        return self.encoder({modality: inputs})[modality]

    def bare_throughput(self) -> float | None:
        """Items a second of the encoder's forward and backward pass alone: the median of up to 3 calls, in 5 seconds, on inputs that are in
        memory already, of as many items as the largest call in training had, as many of which have each modality. None where there was
        none. To be called by all processes."""
        calls = self.ranks.collect(self.largest_call)
        most = {key: max(call.get(key, 0) for call in calls) for key in ("items", *self.modalities)}
        here = {m: self.present[m].nonzero().squeeze(1)[: most[m]].to(self.device) for m in self.modalities if most[m]}
        if not here:
            return None
        ready = {m: self.read(m, ids) for m, ids in here.items()}
        training, seconds = self.encoder.training, []
        self.encoder.train()
        with torch.random.fork_rng(devices=drawn_gpus()), torch.enable_grad():
            self._pass({m: _first(values, 8) for m, values in ready.items()})
            while len(seconds) < 3 and self.ranks.agree(sum(seconds) < 5):
                seconds.append(self._pass(ready))
        self.encoder.train(training)
        return most["items"] / median(seconds)

    def _pass(self, inputs: dict[str, Inputs]) -> float:
        """Seconds of the encoder's forward and backward pass."""
        spent = EncodingCost()
        with spent.measure(0, self.device):
            sum(self._forward(m, values).square().sum() for m, values in inputs.items()).backward()
        self.encoder.zero_grad()
        return spent.seconds

    def _gathered(self, rows: dict[str, Tensor], lengths: list[int]) -> dict[str, Tensor]:
        """All processes' rows, each of which has encoded its slice of parts that are so many items long."""
        sizes = [sum(lengths[self.ranks.slice(len(lengths), rank)]) for rank in range(self.ranks.world)]
        return {m: self.ranks.gather(row, sizes) for m, row in rows.items()}

    def _read_of(self, ids: Tensor) -> Sequence[str]:
        """The modalities that any of the items has, which nobody needs to know unless sharded."""
        return [m for m in self.modalities if bool(self.present[m][ids.cpu()].any())] if self.sharded else self.modalities

    def _encode(self, ids: Tensor, most: int, read: Sequence[str]) -> dict[str, Tensor]:
        """``most``: how many items the process with the most of them encodes at the same time; ``read``: the modalities that they all have
        between them."""
        all_ids = F.pad(ids, (0, most - len(ids))) if self.sharded else ids
        *others, last = all_ids.split(self.chunk_size)
        with self.cost.measure(len(ids), self.device):
            rows = _joined([self._recomputed(chunk, read) for chunk in others] + [self._encode_chunk(last, read)])
        return {m: row[: len(ids)] for m, row in rows.items()}

    def _recomputed(self, ids: Tensor, read: Sequence[str]) -> dict[str, Tensor]:
        if not torch.is_grad_enabled():
            return self._encode_chunk(ids, read)
        contexts = nullcontext(), self._repeating
        return checkpoint(self._encode_chunk, ids, read, use_reentrant=False, context_fn=lambda: contexts)

    def _encode_chunk(self, ids: Tensor, read: Sequence[str]) -> dict[str, Tensor]:
        return _joined([self._encode_call(some, read) for some in ids.split(ITEMS_A_CALL)])

    def _encode_call(self, ids: Tensor, read: Sequence[str]) -> dict[str, Tensor]:
        rows = {}
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
                row = row.index_copy(0, places, self._rows(m, some)[: len(places)].to(row.dtype))
            rows[m] = row
        return rows

    def _rows(self, modality: str, ids: Tensor) -> Tensor:
        """(n, d) of items that all have the modality."""
        return self._forward(modality, self.read(modality, ids))

    def _forward(self, modality: str, inputs: Inputs) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext():
            return self.compute(modality, inputs)


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return parts[0] if len(parts) == 1 else {m: torch.cat([part[m] for part in parts]) for m in parts[0]}


def _first(inputs: Inputs, n: int) -> Inputs:
    return tuple(part[:n] for part in inputs) if isinstance(inputs, tuple) else inputs[:n]
