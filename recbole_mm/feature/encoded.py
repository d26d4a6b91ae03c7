"""EncodedItems: items of a data set through an encoder, a batch or the whole catalogue."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from tqdm import tqdm

from recbole_mm.data.content import ItemContent
from recbole_mm.encoder import ItemEncoder
from recbole_mm.feature.cost import EncodingCost
from recbole_mm.feature.inputs import EncoderInputs

ITEMS_A_CALL = 256
"""A CPU encodes fewer items a second in larger calls; a GPU is busy with as many."""
AUTO_CHUNK_SIZE = {True: 1024, False: 128}


class EncodedItems:
    """What an encoder makes of items, by internal item id.

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
    """

    def __init__(
        self, encoder: ItemEncoder, content: ItemContent, modalities: Sequence[str] | None = None, chunk_size: int | None = None,
        precision: str = "fp32", show_progress: bool = False,
    ) -> None:  # fmt: skip
        self.inputs = EncoderInputs(encoder, content, modalities, show_progress)
        self.encoder, self.content, self.bf16, self.show_progress = encoder, content, precision == "bf16", show_progress
        self.chunk_size = chunk_size or AUTO_CHUNK_SIZE[encoder.from_scratch]
        self.modalities, self.present = self.inputs.modalities, self.inputs.present
        self.dims = {m: encoder.output_dims[m] for m in self.modalities}
        self.cost = EncodingCost()

    def __len__(self) -> int:
        return len(self.content)

    @property
    def device(self) -> torch.device:
        return next(self.encoder.parameters()).device

    def encode(self, ids: Tensor) -> dict[str, Tensor]:
        """(n,) distinct ids -> {modality: (n, d)}, in chunks; zeros in the rows of items that lack the modality."""
        *others, last = ids.split(self.chunk_size) if len(ids) else (ids,)
        with self.cost.measure(len(ids), self.device):
            parts = [self._recomputed(chunk) for chunk in others] + [self._encode_chunk(last)]
        return _joined(parts)

    @torch.no_grad()
    def catalogue(self) -> dict[str, Tensor]:
        """``encode`` of all items in order, in eval mode and without gradient."""
        training = self.encoder.training
        self.encoder.eval()
        chunks = torch.arange(len(self)).split(ITEMS_A_CALL)
        slow = self.show_progress and len(chunks) > 8
        with torch.autocast(self.device.type, enabled=False):
            bar = tqdm(chunks, desc="Encoding items", ncols=100, disable=not slow, leave=False)
            parts = [self.encode(ids.to(self.device)) for ids in bar]
        self.encoder.train(training)
        return _joined(parts)

    def version(self) -> tuple:
        """Changes with every update of the encoder's weights: an optimiser's step, a load, a move to another dtype or device."""
        return tuple((id(p), p._version, p.dtype, p.device) for p in self.encoder.parameters())

    def _recomputed(self, ids: Tensor) -> dict[str, Tensor]:
        if not torch.is_grad_enabled():
            return self._encode_chunk(ids)
        return checkpoint(self._encode_chunk, ids, use_reentrant=False)

    def _encode_chunk(self, ids: Tensor) -> dict[str, Tensor]:
        return _joined([self._encode_call(some) for some in ids.split(ITEMS_A_CALL)]) if len(ids) else self._encode_call(ids)

    def _encode_call(self, ids: Tensor) -> dict[str, Tensor]:
        rows = {}
        for m in self.modalities:
            here = self.present[m][ids.cpu()].to(ids.device)
            encoded = self._rows(m, ids[here]) if bool(here.any()) else None
            dtype = next(self.encoder.parameters()).dtype if encoded is None else encoded.dtype
            row = torch.zeros(len(ids), self.dims[m], dtype=dtype, device=ids.device)
            rows[m] = row if encoded is None else row.index_copy(0, here.nonzero().squeeze(1), encoded)
        return rows

    def _rows(self, modality: str, ids: Tensor) -> Tensor:
        """(n, d) of items that all have the modality."""
        if not self.bf16:
            return self.encoder({modality: self.inputs(modality, ids)})[modality]
        with torch.autocast(self.device.type, torch.bfloat16):
            return self.encoder({modality: self.inputs(modality, ids)})[modality].float()


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return parts[0] if len(parts) == 1 else {m: torch.cat([part[m] for part in parts]) for m in parts[0]}
