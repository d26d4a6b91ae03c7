"""StateTable: what an encoder made of a catalogue's items on the way to their rows, on the disk, read as a batch asks for it."""

from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from recbole_mm.encoder.base import Inputs
from recbole_mm.items.catalogue import Worker, fill, possible_precision, store_key
from recbole_mm.items.encoded_items import ITEMS_A_CALL, EncodedItems
from recbole_mm.items.feature_store import FeatureStore

logger = getLogger(__name__)


class StateTable:
    """Rows of a feature store by item id, mapped from its shards: of a batch only its own rows come into memory.

    Args:
        store: holds the rows, (width,) or (length, width) each; lengths may differ from shard to shard.
        digests: the content of each item, "" where it has none (its rows are not asked for). Raises KeyError for one not stored.

    Attributes:
        width: the store's.
    """

    def __init__(self, store: FeatureStore, digests: Sequence[str]) -> None:
        places = [store.place(digest) if digest else None for digest in digests]
        paths = sorted({place[0] for place in places if place})
        number = {path: i for i, path in enumerate(paths)}
        self._shards = [_mapped(path) for path in paths]
        self.width = store.width
        self._place = torch.tensor([(number[place[0]], place[1]) if place else (-1, -1) for place in places])

    def rows(self, ids: Tensor) -> Tensor:
        """float32 (n, width) or (n, longest, width) of n > 0 items, on the device of ``ids``; shorter rows are padded with zeros."""
        shard, row = self._place[ids.cpu()].unbind(1)
        numbers = shard.unique().tolist()
        shape = [max(sizes) for sizes in zip(*(self._shards[i].shape[1:] for i in numbers), strict=True)]
        out = torch.zeros(len(ids), *shape, pin_memory=ids.is_cuda)
        for i in numbers:
            at = (shard == i).nonzero().squeeze(1)
            rows = self._shards[i][row[at]]
            out[at, : rows.shape[1]] = rows.float()
        return out.to(ids.device, non_blocking=True)


def state_tables(
    items: EncodedItems, compute: Callable[[str, Inputs], Tensor], widths: Mapping[str, int], dtype: str, fingerprint: str | None, what: str
) -> dict[str, StateTable]:
    """The states of all items, in the modalities of ``widths``: from the store in ``<cache>/states/``, or computed into it now.

    Args:
        items: of the whole encoder, in eval mode or not.
        compute: (modality, what the encoder's ``forward`` takes of n items) -> their states, in eval mode and without gradient.
        widths: numbers a row, or of its last dimension.
        dtype: ``fp32`` or ``fp16``, on the disk.
        fingerprint: the encoder's; None to take it now.
        what: names what ``compute`` is of the encoder.

    Raises:
        InputError: states that are not finite in ``dtype``.
    """
    precision, training = possible_precision("bf16" if items.bf16 else "fp32", items.device), items.encoder.training
    key = store_key(items.encoder, fingerprint or items.encoder.fingerprint(), dtype, precision, what)
    folder = items.content.cache_dir / "states" / key
    stores = {m: FeatureStore(folder / m, width, dtype) for m, width in widths.items()}
    worker = Worker(items.encoder, items.inputs, compute, ITEMS_A_CALL, precision)
    new = fill(stores, worker, items.show_progress, items.ranks)
    items.encoder.train(training)
    items.cost = worker.cost
    verb = "encoded into" if any(new.values()) else "reused from"
    logger.info(f"states of the encoder {verb} {folder}: {', '.join(f'{m} ({n} new)' for m, n in new.items())}")
    return {m: StateTable(store, items.inputs.digests(m)) for m, store in stores.items()}


def _mapped(path: Path) -> Tensor:
    """A shard's tensor; safetensors maps the file, and nothing of it is read yet."""
    with safe_open(str(path), framework="pt") as file:
        return file.get_tensor("features")
