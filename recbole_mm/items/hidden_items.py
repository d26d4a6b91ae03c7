"""HiddenItems: items through the blocks of an encoder that train, from what the frozen ones below made of them once."""

from torch import Tensor

from recbole_mm.encoder.base import Inputs
from recbole_mm.encoder.frozen.cut import CutEncoder
from recbole_mm.items.encoded_items import EncodedItems
from recbole_mm.items.states import state_tables


class HiddenItems(EncodedItems):
    """EncodedItems of an encoder whose last ``k`` blocks train: the others have run once, their output is on the disk.

    Rows and gradients are those of EncodedItems: bit for bit where a batch has the size and the padding in which its items were
    stored, else to the rounding of floating point. Pictures are not read any more, and token ids only say where a text ends. The
    store keeps the discipline of the feature store; its key names the encoder's weights, its preprocessing, k, precision and dtype.

    Args:
        k: see ``CutEncoder``.
        dtype, fingerprint: see ``state_tables``.
        others, named: see ``EncodedItems``.

    Raises:
        InputError: see ``CutEncoder``, ``state_tables`` and ``EncodedItems``.
    """

    def __init__(self, *others, k: int, dtype: str = "fp32", fingerprint: str | None = None, **named) -> None:
        super().__init__(*others, **named)
        self.cut = CutEncoder(self.encoder, self.modalities, k)
        self._states = state_tables(self, self.cut.lower, self.cut.widths, dtype, fingerprint, f"below the last {k}")

    def read(self, modality: str, ids: Tensor) -> Inputs:
        if modality not in self._states:
            return super().read(modality, ids)
        hidden = self._states[modality].rows(ids)
        return (hidden,) if modality == "image" else (hidden, self.inputs.token_ids(ids))

    def compute(self, modality: str, inputs: Inputs) -> Tensor:
        if modality not in self._states:
            return super().compute(modality, inputs)
        return self.cut.upper(modality, *inputs)
