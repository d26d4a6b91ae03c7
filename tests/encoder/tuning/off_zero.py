"""A tuned encoder whose every trained parameter gets a gradient."""

import torch

from recbole_mm.encoder import ItemEncoder


def off_zero(encoder: ItemEncoder) -> ItemEncoder:
    """What starts at zero (the up-projections of LoRA and adapters) moved off it: at zero their partners have no gradient."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.requires_grad and not parameter.any():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return encoder
