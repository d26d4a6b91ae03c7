"""Multiway-Adapter (Long et al., arXiv 2309.01516): bottlenecks beside the experts of a block, and one on top of it."""

import torch
from torch import Tensor, nn

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.hooks import hidden_of, with_hidden
from recbole_mm.encoder.tuning.adapter import channels_of, output_shapes
from recbole_mm.encoder.tuning.feed_forward import FeedForward, feed_forwards
from recbole_mm.errors import InputError


class Bottleneck(nn.Module):
    """up(relu(down(norm(x)))), which is zero at the start.

    Args:
        width: the number of channels of x.
        dim: the width of the bottleneck.
        site: the name of the encoder's module whose output it refines.
        channels: the dimension of x that holds the channels.
    """

    def __init__(self, width: int, dim: int, site: str, channels: int = -1):
        super().__init__()
        self.site, self.channels = site, channels
        self.norm, self.down, self.up = nn.LayerNorm(width), nn.Linear(width, dim), nn.Linear(dim, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(x.movedim(self.channels, -1))
        return self.up(torch.relu(self.down(hidden))).movedim(-1, self.channels)


class KnowledgeExtractor(Bottleneck):
    """Reads what an expert reads, and its output is added to the expert's. In blocks with a norm before the expert, that input has been
    normalised once already; the paper's is the residual stream.

    ``part``: the expert.
    """

    def __init__(self, part: FeedForward, width: int, dim: int):
        super().__init__(width, dim, part.last)
        self._read: Tensor | None = None

    def read(self, module: nn.Module, inputs: tuple) -> None:
        """The hook before the expert's first map."""
        self._read = inputs[0]

    def add(self, module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        """The hook after the expert's last map."""
        x, self._read = self._read, None
        return output + self(x)


class AlignmentEnhancer(Bottleneck):
    """Refines the output of a block, x + up(relu(down(norm(x)))), with the same weights for every modality.

    Deviations: the authors' code has a whole feed-forward network here, which does not start as the identity; their adapters have dropout.
    """

    def add(self, module: nn.Module, inputs: tuple, output: object) -> object:
        """The hook after the block."""
        hidden = hidden_of(output)
        return with_hidden(output, hidden + self(hidden))


def add_multiway(encoder: ItemEncoder, dim: int) -> None:
    """Adds a ``KnowledgeExtractor`` beside each feed-forward part of the encoder's blocks and an ``AlignmentEnhancer`` after each block, in
    place, as submodules of ``encoder.adapters``.

    Raises:
        InputError: a block without a feed-forward part of linear maps.
    """
    blocks, weight = feed_forwards(encoder), next(encoder.parameters())
    for block, parts in blocks.items():
        if not parts:
            raise InputError(
                f"encoder_tuning multiway: {encoder.name} has blocks without a feed-forward part of linear maps that adapters could stand "
                f"beside ({block}); use adapter"
            )
    shapes = output_shapes(encoder, {block: encoder.get_submodule(block) for block in blocks})
    adapters: list[Bottleneck] = []
    for block, parts in blocks.items():
        for part in parts:
            first = encoder.get_submodule(part.first)
            extractor = KnowledgeExtractor(part, first.in_features, dim)
            first.register_forward_pre_hook(extractor.read)
            adapters.append(extractor)
        channels = channels_of(encoder, shapes[block])
        adapters.append(AlignmentEnhancer(shapes[block][channels], dim, block, channels))
    for adapter in adapters:
        encoder.get_submodule(adapter.site).register_forward_hook(adapter.add)
    encoder.adapters = nn.ModuleList(adapters).to(weight)
