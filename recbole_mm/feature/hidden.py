"""HiddenItems: items through the blocks of an encoder that train, from what the frozen ones below made of them once."""

from logging import getLogger

from torch import Tensor

from recbole_mm.encoder.base import Inputs
from recbole_mm.encoder.cut import CutEncoder
from recbole_mm.feature.encode import Worker, fill, possible_precision, store_key
from recbole_mm.feature.encoded import ITEMS_A_CALL, EncodedItems
from recbole_mm.feature.states import StateTable
from recbole_mm.feature.store import FeatureStore

logger = getLogger(__name__)


class HiddenItems(EncodedItems):
    """EncodedItems of an encoder whose last ``k`` blocks train: the others have run once, their output is on the disk.

    Rows and gradients are those of EncodedItems: bit for bit where a batch has the size and the padding in which its items were
    stored, else to the rounding of floating point. Pictures are not read any more, and token ids only say where a text ends. The
    store (``<cache>/states/<key>/<modality>/``) keeps the discipline of the feature store; its key names the encoder's weights, its
    preprocessing, k, precision and dtype.

    Args:
        k: see ``CutEncoder``.
        dtype: ``fp32`` or ``fp16``, on the disk.
        fingerprint: the encoder's; taken now if not given.
        others: see ``EncodedItems``.

    Raises:
        InputError: see ``CutEncoder`` and ``EncodedItems``; numbers that ``dtype`` cannot hold.
    """

    def __init__(self, *others, k: int, dtype: str = "fp32", fingerprint: str | None = None, **named) -> None:
        super().__init__(*others, **named)
        self.cut = CutEncoder(self.encoder, self.modalities, k)
        precision = possible_precision("bf16" if self.bf16 else "fp32", self.device)
        key = store_key(self.encoder, fingerprint or self.encoder.fingerprint(), dtype, precision, f"below the last {k}")
        folder = self.content.cache_dir / "states" / key
        stores = {m: FeatureStore(folder / m, self.cut.widths[m], dtype) for m in self.cut.modalities}
        training = self.encoder.training
        worker = Worker(self.encoder, self.inputs, self.cut.lower, ITEMS_A_CALL, precision)
        new = fill(stores, worker, self.show_progress, self.ranks)
        self.encoder.train(training)
        self.cost = worker.cost
        self._states = {m: StateTable(store, self.inputs.digests(m)) for m, store in stores.items()}
        verb = "encoded into" if any(new.values()) else "reused from"
        logger.info(f"hidden states {verb} {folder}: {', '.join(f'{m} ({n} new)' for m, n in new.items())}")

    def read(self, modality: str, ids: Tensor) -> Inputs:
        if modality not in self._states:
            return super().read(modality, ids)
        hidden = self._states[modality].rows(ids)
        return (hidden,) if modality == "image" else (hidden, self.inputs.token_ids(ids))

    def compute(self, modality: str, inputs: Inputs) -> Tensor:
        if modality not in self._states:
            return super().compute(modality, inputs)
        return self.cut.upper(modality, *inputs)
