"""An encoder and the cross-attention over its tokens, from pictures and texts to rows."""

import torch
from torch import Tensor, nn

from recbole_mm.config.modalities import CROSS, PAIR
from recbole_mm.encoder.base import Inputs, ItemEncoder
from recbole_mm.encoder.cross.attention import CrossAttention
from recbole_mm.encoder.cross.token_states import TokenStates


class CrossEncoder(nn.Module):
    """Encodes items as they are encoded in training with ``fusion: cross``. It is no ``ItemEncoder``, because the rows of ``cross``
    depend on two modalities.

    Args:
        encoder: the encoder, as it is after training.
        attention: what was trained on its tokens.

    Attributes:
        modalities: those of the encoder, and ``cross``.
    """

    def __init__(self, encoder: ItemEncoder, attention: CrossAttention) -> None:
        super().__init__()
        self.encoder, self.attention = encoder.eval(), attention
        self.name, self.aligned, self.modalities = encoder.name, encoder.aligned, (*encoder.modalities, CROSS)
        self.tokenize, self.preprocess_image = encoder.tokenize, encoder.preprocess_image
        self._tokens = TokenStates(encoder, PAIR)

    @torch.no_grad()
    def forward(self, inputs: dict[str, Inputs]) -> dict[str, Tensor]:
        """What the encoder takes of n items -> their rows, (n, d) in each modality; of ``cross`` it is a pair of picture and text."""
        given, rows, tokens = inputs | dict(zip(PAIR, inputs.get(CROSS, ()), strict=False)), {}, {}
        for modality in given.keys() - {CROSS}:
            if modality in PAIR:
                rows[modality], tokens[modality] = self._tokens.with_rows(modality, given[modality])
            else:
                rows |= self.encoder({modality: given[modality]})
        if CROSS in inputs:
            rows[CROSS] = self.attention(tokens)
        return {modality: rows[modality] for modality in inputs}
