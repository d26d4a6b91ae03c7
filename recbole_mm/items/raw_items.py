"""RawItems: items through the whole encoder, from their pictures and texts."""

from collections.abc import Sequence

from torch import Tensor

from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.augmentation import Augmentation
from recbole_mm.encoder.base import Inputs
from recbole_mm.items.encoded_items import LARGE_ENCODERS_CALL, EncodedItems
from recbole_mm.items.inputs import EncoderInputs

TEXTUAL = {"text", "joint"}
TEXT_CALLS = 8
"""On a GPU, calls of texts for one call of pictures."""


class RawItems(EncodedItems):
    """EncodedItems that reads pictures and texts, and runs all of the encoder on them.

    A text is padded to the longest one that it is encoded with. A large encoder therefore takes texts in order of their lengths, in smaller
    calls; a small one from random weights has so little to compute that smaller calls cost more than they save.

    Args:
        encoder, inputs, options: see ``EncodedItems``, of which ``options`` are the other arguments.
        augmentation: changes what the encoder reads in training mode; None for nothing.
    """

    def __init__(self, encoder: ItemEncoder, inputs: EncoderInputs, augmentation: Augmentation | None = None, **options) -> None:
        super().__init__(encoder, inputs, {m: encoder.output_dims[m] for m in inputs.modalities}, **options)
        self.inputs, self._augmentation = inputs, augmentation

    def order(self, ids: Tensor) -> Tensor | None:
        if self.encoder.from_scratch or not set(self.modalities) & TEXTUAL:
            return None
        return self.inputs.text_lengths[ids.cpu()].argsort(stable=True).to(ids.device)

    def calls(self, modality: str, ids: Tensor) -> Sequence[Tensor]:
        if self.encoder.from_scratch or self.sharded:
            return (ids,)
        if self.device.type == "cpu":
            return ids.split(LARGE_ENCODERS_CALL[modality])
        return ids.split(self.items_a_call // TEXT_CALLS) if modality in TEXTUAL else (ids,)

    def read(self, modality: str, ids: Tensor) -> Inputs:
        inputs = self.inputs.read(modality, ids)
        return self._augmentation(modality, inputs) if self._augmentation and self.encoder.training else inputs

    def compute(self, modality: str, inputs: Inputs) -> Tensor:
        return self.encoder({modality: inputs})[modality]
