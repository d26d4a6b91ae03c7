"""What each layer of a frozen encoder gives for an item."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recbole_mm.encoder.base import Inputs, ItemEncoder
from recbole_mm.encoder.hooks import hidden_of, hooked
from recbole_mm.encoder.probe import probe_inputs

SHALLOW = 6
"""Towers of at most this many blocks are used in full; of deeper towers every second block is used, counted from the last."""


class LayerStates:
    """An encoder's rows together with the pooled output of its blocks (``ItemEncoder.pooled``), as one vector per item.

    Attributes:
        widths: ``{modality: (width of the row, of the first block's output, ..., of the last block's)}``, the parts of that vector.
    """

    def __init__(self, encoder: ItemEncoder, modalities: Sequence[str]) -> None:
        self.encoder = encoder
        self._blocks = {m: self._passed(m) for m in modalities}
        self.widths = {m: tuple(part.shape[1] for part in self._parts(m, probe_inputs(encoder, m))) for m in modalities}

    def __call__(self, modality: str, inputs: Inputs) -> Tensor:
        """What the encoder's ``forward`` takes of n items -> (n, sum of widths[modality])."""
        return torch.cat(self._parts(modality, inputs), 1)

    def _passed(self, modality: str) -> list[nn.Module]:
        """The blocks used, in order."""
        passed: list[nn.Module] = []
        with hooked(self.encoder.layers(), lambda block, *_: passed.append(block)):
            self._rows(modality, probe_inputs(self.encoder, modality))
        blocks = list(dict.fromkeys(passed))
        return blocks if len(blocks) <= SHALLOW else blocks[::-2][::-1]

    def _parts(self, modality: str, inputs: Inputs) -> list[Tensor]:
        outputs: dict[nn.Module, Tensor] = {}

        def note(block: nn.Module, args: tuple, output: object) -> None:
            outputs[block] = self.encoder.pooled(modality, hidden_of(output), inputs)

        with hooked(self._blocks[modality], note):
            rows = self._rows(modality, inputs)
        return [rows, *(outputs[block] for block in self._blocks[modality])]

    @torch.no_grad()
    def _rows(self, modality: str, inputs: Inputs) -> Tensor:
        return self.encoder({modality: inputs})[modality]
