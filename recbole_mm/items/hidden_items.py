"""HiddenItems: items through the last blocks of an encoder, from what the frozen blocks below made of them once."""

from torch import Tensor

from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.base import Inputs
from recbole_mm.encoder.frozen.cut import CutEncoder
from recbole_mm.items.encoded_items import AUTO_CHUNK_SIZE
from recbole_mm.items.inputs import EncoderInputs
from recbole_mm.items.raw_items import RawItems
from recbole_mm.items.states import state_tables


class HiddenItems(RawItems):
    """Items of an encoder whose last ``k`` blocks train: the other blocks have run once, and their output is on the disk.

    Rows and gradients are those of ``RawItems``: bit for bit where a batch has the size and the padding in which its items were
    stored, else to the rounding of floating point. Token ids only say where a text ends. Pictures are not read any more, except those that
    keep their shape, which say where they end. States are stored as features are; the key of the store names the encoder's weights, its
    preprocessing, k, precision and dtype.

    Args:
        encoder, inputs, options: see ``EncodedItems``. ``chunk_size`` None: as many items as have the activations of the number that
            ``EncodedItems`` takes then, since most blocks keep none.
        k: see ``CutEncoder``.
        fingerprint, dtype, precision: see ``state_tables``.

    Raises:
        InputError: see ``CutEncoder`` and ``state_tables``.
    """

    def __init__(
        self, encoder: ItemEncoder, inputs: EncoderInputs, *, k: int, fingerprint: str, dtype: str, precision: str,
        chunk_size: int | None = None, **options,
    ) -> None:  # fmt: skip
        self._cut = CutEncoder(encoder, inputs.modalities, k)
        stored = {"fingerprint": fingerprint, "dtype": dtype, "precision": precision, "what": f"below the last {k}"}
        self.states, cost = state_tables(encoder, inputs, self._cut.lower, self._cut.widths, **stored)
        if chunk_size is None and not encoder.from_scratch:
            chunk_size = AUTO_CHUNK_SIZE[False] * max(1, min(len(tower) for tower in encoder.towers()) // k)
        super().__init__(encoder, inputs, chunk_size=chunk_size, precision=precision, cost=cost, **options)

    def read(self, modality: str, ids: Tensor) -> Inputs:
        if modality not in self.states:
            return super().read(modality, ids)
        hidden = self.states[modality].rows(ids)
        if modality != "text" and self.encoder.keeps_shapes:
            inputs = self.inputs.read(modality, ids)
            return (hidden, inputs) if modality == "image" else (hidden, *reversed(inputs))
        return (hidden,) if modality == "image" else (hidden, self.inputs.token_ids(ids))

    def raw(self, modality: str, inputs: Inputs) -> Inputs:
        return inputs[-1] if modality in self.states else inputs

    def compute(self, modality: str, inputs: Inputs) -> Tensor:
        if modality not in self.states:
            return super().compute(modality, inputs)
        return self._cut.upper(modality, *inputs)
