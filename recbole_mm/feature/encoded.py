"""EncodedItems: items of a data set through an encoder, a batch or the whole catalogue."""

from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from recbole_mm.data.content import ItemContent
from recbole_mm.encoder import ItemEncoder
from recbole_mm.feature.cost import EncodingCost
from recbole_mm.feature.inputs import EncoderInputs


class EncodedItems:
    """What an encoder makes of items, by internal item id.

    Args:
        encoder: reads the items.
        content: pictures and texts by item id.
        modalities: which of the encoder's and the content's modalities to use; None for image and text as far as both have them.
        chunk_size: items an encoder call; beyond about 1,000 a CPU slows down, on a GPU it bounds the memory of a refresh.
        show_progress: a progress bar over catalogue-wide encoding.

    Attributes:
        modalities, dims: those in use, and the width of their rows.
        present: which items have them, ``{modality: bool (n_items,)}``.
    """

    def __init__(
        self, encoder: ItemEncoder, content: ItemContent, modalities: Sequence[str] | None = None, chunk_size: int = 256,
        show_progress: bool = False,
    ) -> None:  # fmt: skip
        self.inputs = EncoderInputs(encoder, content, modalities, show_progress)
        self.encoder, self.content, self.chunk_size, self.show_progress = encoder, content, chunk_size, show_progress
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
        chunks = ids.split(self.chunk_size) if len(ids) else (ids,)
        with self.cost.measure(len(ids), self.device):
            parts = [self._encode_chunk(chunk) for chunk in chunks]
        return {m: torch.cat([part[m] for part in parts]) for m in self.modalities}

    @torch.no_grad()
    def catalogue(self) -> dict[str, Tensor]:
        """``encode`` of all items in order, in eval mode and without gradient."""
        training = self.encoder.training
        self.encoder.eval()
        chunks = torch.arange(len(self)).split(self.chunk_size)
        slow = self.show_progress and len(chunks) > 8
        with torch.autocast(self.device.type, enabled=False):
            bar = tqdm(chunks, desc="Encoding items", ncols=100, disable=not slow, leave=False)
            parts = [self.encode(ids.to(self.device)) for ids in bar]
        self.encoder.train(training)
        return {m: torch.cat([part[m] for part in parts]) for m in self.modalities}

    def version(self) -> tuple:
        """Changes with every update of the encoder's weights: an optimiser's step, a load, a move to another dtype or device."""
        return tuple((id(p), p._version, p.dtype, p.device) for p in self.encoder.parameters())

    def _encode_chunk(self, ids: Tensor) -> dict[str, Tensor]:
        rows = {}
        for m in self.modalities:
            here = self.present[m][ids.cpu()].to(ids.device)
            encoded = self.encoder({m: self.inputs(m, ids[here])})[m] if bool(here.any()) else None
            dtype = next(self.encoder.parameters()).dtype if encoded is None else encoded.dtype
            row = torch.zeros(len(ids), self.dims[m], dtype=dtype, device=ids.device)
            rows[m] = row if encoded is None else row.index_copy(0, here.nonzero().squeeze(1), encoded)
        return rows
