"""A frozen encoder and the side network beside it, from pictures and texts to rows."""

import torch
from torch import Tensor, nn

from recbole_mm.config.modalities import PAIR
from recbole_mm.encoder.base import Inputs, ItemEncoder
from recbole_mm.encoder.frozen.layer_states import LayerStates
from recbole_mm.encoder.tuning.side_network import SideNetwork


class SideEncoder(nn.Module):
    """Encodes items as ``SideItems`` does, without keeping their states. It is no ``ItemEncoder``, since a picture's row also depends on
    the text of its item, and the other way round.

    Args:
        encoder: the frozen one.
        network: the side network beside it.

    Attributes:
        modalities: those of the network.
    """

    def __init__(self, encoder: ItemEncoder, network: SideNetwork) -> None:
        super().__init__()
        self.encoder, self.network = encoder.eval(), network.eval()
        self.name, self.aligned, self.modalities = network.name, network.aligned, tuple(network.ladders)
        self._layers = LayerStates(self.encoder, self.modalities)
        self.tokenize, self.preprocess_image = encoder.tokenize, encoder.preprocess_image

    @torch.no_grad()
    def forward(self, inputs: dict[str, Inputs]) -> dict[str, Tensor]:
        """What the encoder takes of n items -> their rows, (n, d) in each modality. Where only one of picture and text is given, the items
        have no other."""
        states, rows = {m: self._layers(m, values) for m, values in inputs.items()}, {}
        for modality, own in states.items():
            opposite = PAIR[1 - PAIR.index(modality)] if self.network.pair and modality in PAIR else None
            absent = None if opposite is None else own.new_zeros(len(own), sum(self._layers.widths[opposite]))
            rows[modality] = self.network(modality, own, states.get(opposite, absent))
        return rows
