"""TokenItems: the cross-attention between pictures and texts, from the tokens that a frozen encoder gave them once."""

from dataclasses import replace

from torch import Tensor

from recbole_mm.config.modalities import CROSS, PAIR
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.base import Inputs
from recbole_mm.encoder.cross.token_states import Tokens
from recbole_mm.items.crossing import Crossing
from recbole_mm.items.encoded_items import EncodedItems
from recbole_mm.items.encoding_cost import EncodingCost
from recbole_mm.items.inputs import EncoderInputs
from recbole_mm.items.states import state_tables


class TokenItems(EncodedItems):
    """Items whose ``encoder`` is a ``CrossAttention``, and whose only modality is ``cross``. The frozen encoder is let go once every
    item's tokens are on the disk.

    Args:
        encoder: the frozen encoder.
        inputs, options: see ``EncodedItems``.
        size, seed: see ``Crossing``.
        dtype, precision: see ``state_tables``.

    Raises:
        InputError: see ``Crossing`` and ``state_tables``.
    """

    from_states = True
    encoder_trains = False

    def __init__(
        self, encoder: ItemEncoder, inputs: EncoderInputs, *, size: int, seed: int, dtype: str, precision: str, cost: EncodingCost,
        **options,
    ) -> None:  # fmt: skip
        crossing = Crossing(encoder.eval(), inputs, size, seed)
        tokens = crossing.tokens
        widths = {m: width + 1 for m, width in tokens.widths.items()}
        stored = {"fingerprint": encoder.fingerprint(), "dtype": dtype, "precision": precision, "what": "tokens"}
        self.states, spent = state_tables(encoder, inputs, lambda m, values: tokens.with_rows(m, values)[1].packed(), widths, **stored)
        cost = replace(cost, items=cost.items + spent.items, seconds=cost.seconds + spent.seconds)
        super().__init__(crossing.attention, inputs, {CROSS: crossing.attention.width}, cost=cost, **options)
        self.cross, self.modalities, self.present = crossing.attention, (CROSS,), {CROSS: crossing.present}

    def read(self, modality: str, ids: Tensor) -> Inputs:
        return tuple(self.states[m].rows(ids) for m in PAIR)

    def compute(self, modality: str, inputs: Inputs) -> Tensor:
        return self.encoder({m: Tokens.unpacked(packed) for m, packed in zip(PAIR, inputs, strict=True)})
