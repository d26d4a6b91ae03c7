"""RawItems: items through the whole encoder, from their pictures and texts."""

from torch import Tensor

from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.base import Inputs
from recbole_mm.items.encoded_items import EncodedItems
from recbole_mm.items.inputs import EncoderInputs


class RawItems(EncodedItems):
    """EncodedItems that reads pictures and texts, and runs all of the encoder on them.

    Args:
        encoder, inputs, options: see ``EncodedItems``, of which ``options`` are the other arguments.
    """

    def __init__(self, encoder: ItemEncoder, inputs: EncoderInputs, **options) -> None:
        super().__init__(encoder, inputs, {m: encoder.output_dims[m] for m in inputs.modalities}, **options)
        self.inputs = inputs

    def read(self, modality: str, ids: Tensor) -> Inputs:
        return self.inputs.read(modality, ids)

    def compute(self, modality: str, inputs: Inputs) -> Tensor:
        return self.encoder({modality: inputs})[modality]
