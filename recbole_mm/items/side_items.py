"""SideItems: items through a side network, from the states that a frozen encoder gave them once."""

import torch
from torch import Tensor

from recbole_mm.config.modalities import PAIR
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.base import Inputs
from recbole_mm.encoder.frozen.layer_states import LayerStates
from recbole_mm.encoder.tuning.side_network import SideNetwork
from recbole_mm.items.encoded_items import EncodedItems
from recbole_mm.items.inputs import EncoderInputs
from recbole_mm.items.states import NoisyStates, state_tables


class SideItems(EncodedItems):
    """Items whose ``encoder`` is a ``SideNetwork``. The frozen encoder is let go once every item's states are on the disk.

    Args:
        encoder: the frozen encoder.
        inputs, options: see ``EncodedItems``.
        dim, seed: see ``SideNetwork``.
        noise: see ``NoisyStates``.
        fingerprint, dtype, precision: see ``state_tables``.

    Raises:
        InputError: see ``state_tables``.
    """

    from_states = True

    def __init__(
        self, encoder: ItemEncoder, inputs: EncoderInputs, *, dim: int, seed: int, noise: float, fingerprint: str, dtype: str,
        precision: str, **options,
    ) -> None:  # fmt: skip
        layers = LayerStates(encoder.eval(), inputs.modalities)
        widths = {m: sum(parts) for m, parts in layers.widths.items()}
        stored = {"fingerprint": fingerprint, "dtype": dtype, "precision": precision, "what": "row and layers"}
        tables, cost = state_tables(encoder, inputs, layers, widths, **stored)
        self.states = {m: NoisyStates(table, noise) for m, table in tables.items()}
        network = SideNetwork(encoder, layers.widths, dim, seed).to(next(encoder.parameters()).device)
        dims = {m: encoder.output_dims[m] for m in inputs.modalities}
        super().__init__(network, inputs, dims, precision=precision, cost=cost, **options)

    def read(self, modality: str, ids: Tensor) -> Inputs:
        own = self.states[modality].rows(ids, self.encoder.training)
        if not (self.encoder.pair and modality in PAIR):
            return (own,)
        opposite = PAIR[1 - PAIR.index(modality)]
        here = self.present[opposite][ids.cpu()].to(ids.device)
        other = torch.zeros(len(ids), self.states[opposite].width, device=ids.device)
        if bool(here.any()):
            other[here] = self.states[opposite].rows(ids[here], self.encoder.training)
        return own, other

    def compute(self, modality: str, inputs: Inputs) -> Tensor:
        return self.encoder(modality, *inputs)
