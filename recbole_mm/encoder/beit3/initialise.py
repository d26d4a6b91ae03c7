"""Random weights of a BEiT-3, to train from."""

import math

import torch
from torch import nn

from recbole_mm.encoder.beit3.block import Block

EMBEDDING_STD = 0.02


def initialise(model: nn.Module) -> None:
    """Draws all weights of a BEiT-3, in place. Linear maps: Xavier's normal distribution; inside the blocks with the gain
    sqrt(log(2 depth)) for all but queries and keys, which keeps deep sub-LN transformers stable (Magneto, Wang et al. 2022,
    arXiv 2210.06423). Embeddings and positions: a standard deviation of 0.02. Biases: zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=EMBEDDING_STD)
        elif isinstance(module, nn.Conv2d):
            nn.init.xavier_normal_(module.weight.flatten(1))
            nn.init.zeros_(module.bias)
    nn.init.normal_(model.beit3.vision_embed.cls_token, std=EMBEDDING_STD)
    gain = math.sqrt(math.log(2 * len(model.blocks)))
    for block in model.blocks:
        _scale(block, gain)


def _scale(block: Block, gain: float) -> None:
    scaled = [*block.self_attn.v_proj.values(), *block.self_attn.out_proj.values()]
    scaled += [linear for ffn in block.ffn.values() for linear in (ffn.fc1, ffn.fc2)]
    with torch.no_grad():
        for linear in scaled:
            linear.weight.mul_(gain)
