"""Gradient checkpointing of timm's models, with blocks that are still called as modules."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recbole_mm.encoder.timm.source import Source
from recbole_mm.errors import InputError


class CheckpointedStage(nn.Sequential):
    """A stage that keeps only the inputs of its members for the backward pass.

    timm's own checkpointing of such a stage calls its members one by one, and never the stage, so that the stage's hooks would not run.
    """

    def forward(self, x: Tensor) -> Tensor:
        for member in self:
            x = checkpoint(member, x, use_reentrant=False) if torch.is_grad_enabled() else member(x)
        return x


def checkpoint_blocks(model: nn.Module, blocks: list[nn.Module], source: Source) -> None:
    """Turns gradient checkpointing on, in place: of the blocks that are an nn.Sequential, or else timm's own.

    Raises:
        InputError: timm has none for the model.
    """
    stages = [block for block in blocks if type(block) is nn.Sequential]
    for stage in stages:
        stage.__class__ = CheckpointedStage
    if stages:
        return
    try:
        model.set_grad_checkpointing(True)
    except (AssertionError, AttributeError, NotImplementedError) as error:
        raise InputError(
            f"{source.label}: {source.architecture} has no gradient checkpointing; set gradient_checkpointing: False"
        ) from error
