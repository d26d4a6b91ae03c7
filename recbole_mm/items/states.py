"""StateTable: what parts of an encoder made of the items of a catalogue, on the disk, read as a batch asks for it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.base import Inputs
from recbole_mm.items.encoded_items import ITEMS_A_CALL
from recbole_mm.items.encoding_cost import EncodingCost
from recbole_mm.items.feature_store import FeatureStore
from recbole_mm.items.fill_stores import BatchEncoder, fill_stores, store_key, supported_precision
from recbole_mm.items.inputs import EncoderInputs
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.terminal import labelled, say

SAMPLED = 500
"""Items that ``StateTable.spread`` is taken from."""


class StateTable:
    """The rows of a feature store by item id. Its shards are mapped: only the rows of a batch come into memory.

    Args:
        store: holds the rows, each of shape (width,) or (length, width); lengths may differ from shard to shard.
        digests: names the content of each item; "" for items that have none, whose rows are not asked for.

    Attributes:
        width: the store's.

    Raises:
        KeyError: the store does not hold one of the contents.
    """

    def __init__(self, store: FeatureStore, digests: Sequence[str]) -> None:
        try:
            places, shards = _found(store, digests)
        except FileNotFoundError:  # another process has forgotten some rows of a shard
            store.reload()
            places, shards = _found(store, digests)
        number = {path: i for i, path in enumerate(shards)}
        self._shards = list(shards.values())
        self.width = store.width
        self._place = torch.tensor([(number[place[0]], place[1]) if place else (-1, -1) for place in places])

    def rows(self, ids: Tensor) -> Tensor:
        """float32 (n, width) or (n, longest length, width) of n > 0 items, on the device of ``ids``; shorter rows are padded with zeros."""
        shard, row = self._place[ids.cpu()].unbind(1)
        numbers = shard.unique().tolist()
        shape = [max(sizes) for sizes in zip(*(self._shards[i].shape[1:] for i in numbers), strict=True)]
        out = torch.zeros(len(ids), *shape, pin_memory=ids.is_cuda)
        for i in numbers:
            at = (shard == i).nonzero().squeeze(1)
            rows = self._shards[i][row[at]]
            out[at, : rows.shape[1]] = rows.float()
        return out.to(ids.device, non_blocking=True)

    def spread(self) -> Tensor:
        """(width,), how much each number differs between items (and their positions): its standard deviation over up to 500 items."""
        known = (self._place[:, 0] >= 0).nonzero().squeeze(1)
        some = known[torch.linspace(0, len(known) - 1, min(len(known), SAMPLED)).long()]
        rows = torch.cat([rows[rows.any(1)] for rows in (self.rows(ids[None]).reshape(-1, self.width) for ids in some)])
        return rows.std(0, correction=0)


class NoisyStates:
    """Stored states, with noise while the network that reads them trains: independent normal numbers, whose standard deviation is ``noise``
    times the ``spread`` of each number.

    It stands in for what cannot be done to states any more, augmentation of the pictures and texts that they were made of, and keeps the
    network from telling items apart by small differences (training with noise as regularisation: Bishop, Neural Computation 1995).

    Args:
        table: holds the states.
        noise: 0 for none.
    """

    def __init__(self, table: StateTable, noise: float) -> None:
        self.table, self.width = table, table.width
        self._scale = table.spread() * noise if noise else None

    def rows(self, ids: Tensor, training: bool) -> Tensor:
        """See ``StateTable.rows``. ``training``: put noise on them; padding stays zero."""
        rows = self.table.rows(ids)
        if self._scale is None or not training:
            return rows
        self._scale = self._scale.to(rows.device)
        return rows + self._scale * torch.randn_like(rows) * rows.any(-1, keepdim=True)


def state_tables(
    encoder: ItemEncoder, inputs: EncoderInputs, compute: Callable[[str, Inputs], Tensor], widths: Mapping[str, int], *, fingerprint: str,
    dtype: str, precision: str, what: str,
) -> tuple[dict[str, StateTable], EncodingCost]:  # fmt: skip
    """The states of all items, in the modalities of ``widths``: from the store in ``<cache>/states/``, or computed into it now.

    Args:
        encoder: the whole encoder, in eval mode or not.
        compute: (modality, what the encoder's ``forward`` takes for n items) -> their states, in eval mode and without gradient.
        widths: ``{modality: numbers in a row, or in its last dimension}``.
        fingerprint: the encoder's.
        dtype: ``fp32`` or ``fp16``, on the disk.
        precision: ``fp32`` or ``bf16``, of the encoder's arithmetic.
        what: names which part of the encoder ``compute`` is.

    Returns:
        ``{modality: StateTable}``, and what it has cost to compute the states that were not there.

    Raises:
        InputError: states that are not finite in ``dtype``.
    """
    training, precision = encoder.training, supported_precision(precision, next(encoder.parameters()).device)
    folder = inputs.content.cache_dir / "states" / store_key(encoder, fingerprint, dtype, precision, what)
    stores = {m: FeatureStore(folder / m, width, dtype) for m, width in widths.items()}
    batches = BatchEncoder(encoder, inputs, compute, ITEMS_A_CALL, precision)
    new = fill_stores(stores, batches, Ranks.current())
    encoder.train(training)
    verb = "encoded into" if any(new.values()) else "reused from"
    counts = ", ".join(f"{m} ({n} new)" for m, n in new.items())
    say(labelled("states", counts), text=f"states of the encoder {verb} {folder}: {counts}")
    return {m: StateTable(store, inputs.digests(m)) for m, store in stores.items()}, batches.cost


def _found(store: FeatureStore, digests: Sequence[str]) -> tuple[list[tuple[Path, int] | None], dict[Path, Tensor]]:
    """Where the rows of contents are, None for "", and the shards that they are in."""
    places = [store.place(digest) if digest else None for digest in digests]
    return places, {path: _mapped(path) for path in sorted({place[0] for place in places if place})}


def _mapped(path: Path) -> Tensor:
    """A shard's tensor; safetensors maps the file, and nothing of it is read yet."""
    with safe_open(str(path), framework="pt") as file:
        return file.get_tensor("features")
