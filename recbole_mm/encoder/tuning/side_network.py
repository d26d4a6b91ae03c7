"""A side network over the states of a frozen encoder: only it trains, and the encoder does not run again."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_mm.config.modalities import PAIR
from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.losses import image_text_contrastive
from recbole_mm.encoder.network import FeatureNetwork
from recbole_mm.encoder.seeding import seeded
from recbole_mm.encoder.tuning.adapter import Adapter


class Ladder(nn.Module):
    """h <- block_l(mu_l x_l + (1 - mu_l) h), with a learnt mu_l = sigmoid(gate_l) and a bottleneck block per layer, beginning with
    block_1(x_1). Layers whose width differs from the last one's first pass through a linear map.

    Args:
        widths: the widths of the layers, from input to output.
        dim: the width of the bottlenecks.
    """

    def __init__(self, widths: Sequence[int], dim: int) -> None:
        super().__init__()
        self.width = widths[-1]
        self.maps = nn.ModuleList(nn.Identity() if width == self.width else nn.Linear(width, self.width) for width in widths)
        self.blocks = nn.ModuleList(Adapter(self.width, dim) for _ in widths)
        self.gates = nn.Parameter(torch.zeros(len(widths) - 1))

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """(n, widths[l]) for each layer l -> (n, widths[-1])."""
        first, *others = (into(x) for into, x in zip(self.maps, layers, strict=True))
        hidden = self.blocks[0](first)
        for gate, block, x in zip(torch.sigmoid(self.gates), self.blocks[1:], others, strict=True):
            hidden = block(gate * x + (1 - gate) * hidden)
        return hidden


class SideNetwork(FeatureNetwork):
    """IISAN's decoupled tuning (Fu et al., arXiv 2404.02059): a side network in each modality, and one between pictures and texts.

    A row is the frozen encoder's row plus a linear map, zero at the start, of two outputs: that of the modality's own ladder, and that of
    the ladder between the modalities. The latter mixes the layers of both towers, last with last, second last with second last, and so
    on; for an item that has only one of the two modalities, the other one's layers are zero.

    Deviations from the paper: rows start as the encoder's own, not as random projections; layers are normalised; which layers are left
    out depends on the depth alone (see ``LayerStates``).

    Args:
        encoder: the frozen encoder; only its name, its similarity and whether it is ``from_scratch`` are kept.
        widths: see ``LayerStates``.
        dim: the width of the bottlenecks.
        seed: draws the weights; the global random state stays as it is.
    """

    def __init__(self, encoder: ItemEncoder, widths: Mapping[str, Sequence[int]], dim: int = 64, seed: int = 0) -> None:
        super().__init__()
        self.name, self._widths = f"the side network of {encoder.name}", {m: list(parts) for m, parts in widths.items()}
        self.from_scratch, self.dim, self.pair = encoder.from_scratch, dim, set(PAIR) <= set(widths)
        self.aligned = encoder.aligned and self.pair
        with seeded(seed):
            self.ladders = nn.ModuleDict({m: Ladder(parts[1:], dim) for m, parts in widths.items()})
            if self.pair:
                self._between(dim)
            self.out = nn.ModuleDict({m: nn.Linear(self._side_width(m), parts[0]) for m, parts in widths.items()})
        for linear in self.out.values():
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        scale, bias = encoder.similarity() if self.aligned else (None, None)
        for name, value in (("scale", scale), ("bias", bias)):
            self.register_buffer(name, None if value is None else value.detach().clone(), persistent=False)

    def forward(self, modality: str, own: Tensor, other: Tensor | None = None) -> Tensor:
        """(n, widths[modality][0]) rows.

        Args:
            own: (n, sum of widths[modality]), states from ``LayerStates``.
            other: the states of the other modality, a picture's text or a text's picture, zeros for an item that has none; None where
                pictures and texts are not both in use.
        """
        dtype = self.ladders[modality].gates.dtype
        row, layers = self._parts(modality, own.to(dtype))
        side = [self.ladders[modality](layers)]
        if other is not None:
            opposite = PAIR[1 - PAIR.index(modality)]
            found = {modality: layers, opposite: self._parts(opposite, other.to(dtype))[1]}
            side.append(self._mixed(*(found[m] for m in PAIR)))
        return row + self.out[modality](torch.cat(side, 1))

    def towers(self) -> list[list[nn.Module]]:
        """The blocks of each ladder, as of an encoder's towers."""
        ladders = [*self.ladders.values(), *([self.between] if self.pair else [])]
        return [list(ladder.blocks) for ladder in ladders]

    def head(self) -> list[str]:
        """Names of the parameters after the blocks."""
        return [name for name, _ in self.named_parameters() if name.startswith("out.")]

    def contrastive_loss(self, features: dict[str, Tensor], same: Tensor | None = None) -> Tensor:
        """The frozen encoder's image-text contrastive loss of these rows: see ``ItemEncoder.contrastive_loss``."""
        return image_text_contrastive(features["image"], features["text"], self.scale, self.bias, same=same)

    def _parts(self, modality: str, states: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The encoder's rows, and its layers, normalised without parameters."""
        row, *layers = states.split(self._widths[modality], 1)
        return row, [F.layer_norm(layer, layer.shape[1:]) for layer in layers]

    def _between(self, dim: int) -> None:
        pairs = self._pairs(*(self._widths[m][1:] for m in PAIR))
        self.to_text_width = nn.ModuleList(nn.Identity() if i == t else nn.Linear(i, t) for i, t in pairs)
        self.mix = nn.Parameter(torch.zeros(len(pairs)))
        self.between = Ladder([t for _, t in pairs], dim)

    def _mixed(self, image: Sequence[Tensor], text: Sequence[Tensor]) -> Tensor:
        shares, layers = torch.sigmoid(self.mix), []
        for share, into, (i, t) in zip(shares, self.to_text_width, self._pairs(image, text), strict=True):
            layers.append(share * into(i) + (1 - share) * t)
        return self.between(layers)

    def _side_width(self, modality: str) -> int:
        return self.ladders[modality].width + (self.between.width if self.pair and modality in PAIR else 0)

    @staticmethod
    def _pairs(image: Sequence, text: Sequence) -> list[tuple]:
        depth = min(len(image), len(text))
        return list(zip(image[-depth:], text[-depth:], strict=True))
