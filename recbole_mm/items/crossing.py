"""Crossing: the tokens of items' pictures and texts through a cross-attention that trains with the recommender."""

import torch
from torch import Tensor

from recbole_mm.config.modalities import PAIR
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.cross.attention import CrossAttention
from recbole_mm.encoder.cross.token_states import Tokens, TokenStates
from recbole_mm.errors import InputError
from recbole_mm.items.inputs import EncoderInputs


class Crossing:
    """A cross-attention over the tokens of an encoder, and the items that have both a picture and a text.

    Args:
        encoder: gives the tokens.
        inputs: of the items.
        size: see ``CrossAttention``.
        seed: draws the weights of the attention.

    Attributes:
        tokens: takes them out of the encoder.
        attention: on the encoder's device.
        present: bool (n_items,), the items that have both.

    Raises:
        InputError: pictures and texts are not both in use, or no item has both.
    """

    def __init__(self, encoder: ItemEncoder, inputs: EncoderInputs, size: int, seed: int) -> None:
        if not set(PAIR) <= set(inputs.modalities):
            raise InputError(f"fusion: cross needs pictures and texts, and in use is only {', '.join(inputs.modalities)}: give the items "
                             "both and take an encoder that reads both, or set fusion: concat")  # fmt: skip
        self.present = inputs.present["image"] & inputs.present["text"]
        if not bool(self.present.any()):
            raise InputError("fusion: cross: no item has both a picture and a text; set fusion: concat")
        self.tokens = TokenStates(encoder, PAIR)
        self.attention = CrossAttention(self.tokens.widths, size, seed).to(next(encoder.parameters()).device)

    def rows(self, ids: Tensor, having: dict[str, Tensor], tokens: dict[str, Tokens], dtype: torch.dtype) -> Tensor:
        """(n, attention.width) rows of n items, zeros for those that lack a picture or a text.

        Args:
            having: bool (n,) by modality, which of the items have it.
            tokens: of these items, by modality.
        """
        both = self.present[ids.cpu()]
        rows = torch.zeros(len(ids), self.attention.width, dtype=dtype, device=ids.device)
        if not bool(both.any()):
            return rows
        crossed = self.attention({m: tokens[m].of(both[having[m]].to(ids.device)) for m in PAIR})
        return rows.index_copy(0, both.nonzero().squeeze(1).to(ids.device), crossed.to(dtype))
