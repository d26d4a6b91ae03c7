"""Bottleneck adapters at any module of an encoder."""

import torch
from torch import Tensor, nn

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.compiled import uncompiled
from recbole_mm.encoder.hooks import hidden_of, hooked, with_hidden
from recbole_mm.encoder.probe import probe_inputs


class Adapter(nn.Module):
    """x + up(gelu(down(x))), starting as the identity (Houlsby et al., arXiv 1902.00751).

    Args:
        width: the number of channels of x.
        dim: the width of the bottleneck.
        channels: the dimension of x that holds the channels: -1 (tokens), or 1 (feature maps of a convolutional network).
        site: the name of the encoder's module that gives x.
    """

    def __init__(self, width: int, dim: int, channels: int = -1, site: str = ""):
        super().__init__()
        self.channels, self.site = channels, site
        self.down, self.up = nn.Linear(width, dim), nn.Linear(dim, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        hidden = x.movedim(self.channels, -1)
        return (hidden + self.up(nn.functional.gelu(self.down(hidden)))).movedim(-1, self.channels)

    def refine(self, module: nn.Module, inputs: tuple, output: object) -> object:
        """The forward hook: the module's hidden states go through the adapter."""
        return with_hidden(output, self(hidden_of(output)))


def add_adapters(encoder: ItemEncoder, dim: int) -> None:
    """Adds an adapter after each of the encoder's ``adapter_sites``, in place, as submodules of ``encoder.adapters``.

    Their widths are read off what the sites give for a probe of each modality.
    """
    sites = {name: encoder.get_submodule(name) for name in encoder.adapter_sites()}
    shapes = output_shapes(encoder, sites)
    weight = next(encoder.parameters())
    encoder.adapters = nn.ModuleList()
    for name, shape in shapes.items():
        channels = channels_of(encoder, shape)
        adapter = Adapter(shape[channels], dim, channels, name).to(weight)
        sites[name].register_forward_hook(adapter.refine)
        encoder.adapters.append(adapter)


def take_adapters(encoder: ItemEncoder) -> nn.ModuleList:
    """Removes the adapters of an encoder, whatever tuning has added them, in place, and returns them; none where it has none."""
    adapters = nn.ModuleList(encoder.adapters)
    for module in encoder.modules() if len(adapters) else ():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for key in [key for key, hook in hooks.items() if getattr(hook, "__self__", None) in set(adapters)]:
                del hooks[key]
    if len(adapters):
        del encoder.adapters
        encoder.adapters = ()
    return adapters


def output_shapes(encoder: ItemEncoder, sites: dict[str, nn.Module]) -> dict[str, tuple[int, ...]]:
    """The shape of each site's output, in the order of ``sites``; sites that no modality passes through are left out."""
    found: dict[nn.Module, tuple[int, ...]] = {}

    def note(module: nn.Module, _: tuple, output: object) -> None:
        found[module] = tuple(hidden_of(output).shape)

    training = encoder.training
    try:
        with torch.no_grad(), uncompiled(encoder), hooked(sites.values(), note):
            encoder.eval()({m: probe_inputs(encoder, m, n=1) for m in encoder.modalities})
    finally:
        encoder.train(training)
    return {name: found[module] for name, module in sites.items() if module in found}


def channels_of(encoder: ItemEncoder, shape: tuple[int, ...]) -> int:
    """The dimension of a block's output, of this shape, that holds the channels: see ``ItemEncoder.channels_last``."""
    return 1 if len(shape) == 4 and not encoder.channels_last else -1
