"""SideItems: items through a side network, from the states that a frozen encoder gave them once."""

import torch
from torch import Tensor

from recbole_mm.encoder.base import Inputs
from recbole_mm.encoder.frozen.layer_states import LayerStates
from recbole_mm.encoder.tuning.side_network import PAIR, SideNetwork
from recbole_mm.items.encoded_items import EncodedItems
from recbole_mm.items.states import state_tables


class SideItems(EncodedItems):
    """EncodedItems whose ``encoder`` is a ``SideNetwork``; the encoder itself is gone once every item's states are on the disk.

    Args:
        dim, seed: see ``SideNetwork``.
        dtype, fingerprint: see ``state_tables``.
        others, named: see ``EncodedItems``.

    Raises:
        InputError: see ``state_tables`` and ``EncodedItems``.
    """

    tabled = True

    def __init__(self, *others, dim: int, seed: int = 0, dtype: str = "fp32", fingerprint: str | None = None, **named) -> None:
        super().__init__(*others, **named)
        states = LayerStates(self.encoder.eval(), self.modalities)
        widths = {m: sum(parts) for m, parts in states.widths.items()}
        self._states = state_tables(self, states, widths, dtype, fingerprint, "row and layers")
        self.encoder, device = SideNetwork(self.encoder, states.widths, dim, seed), self.device
        self.encoder.to(device)
        del self.inputs

    def read(self, modality: str, ids: Tensor) -> Inputs:
        own = self._states[modality].rows(ids)
        if not (self.encoder.pair and modality in PAIR):
            return (own,)
        opposite = PAIR[1 - PAIR.index(modality)]
        here = self.present[opposite][ids.cpu()].to(ids.device)
        other = torch.zeros(len(ids), self._states[opposite].width, device=ids.device)
        if bool(here.any()):
            other[here] = self._states[opposite].rows(ids[here])
        return own, other

    def compute(self, modality: str, inputs: Inputs) -> Tensor:
        return self.encoder(modality, *inputs)
