"""Invented items, and what an encoder does with them."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from recbole_mm.encoder.base import Inputs, ItemEncoder
from recbole_mm.encoder.compiled import uncompiled
from recbole_mm.encoder.hooks import hooked
from recbole_mm.encoder.patches import stack_pictures

SHAPES = [(48, 64), (30, 200), (120, 40)]
"""Height and width of pictures."""
TEXTS = ["a red wool scarf", "boots", "silk dress for the evening in the town by the sea"]


def probe_inputs(encoder: ItemEncoder, modality: str, n: int = 3) -> Inputs:
    """Up to three pictures of noise and of unlike shapes, texts of unlike lengths, or both, as the encoder's ``forward`` takes them."""
    device = next(encoder.parameters()).device
    made = []
    if modality != "text":
        generator = np.random.default_rng(0)
        pictures = [Image.fromarray(generator.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in SHAPES[:n]]
        made.append(stack_pictures([encoder.preprocess_image(picture) for picture in pictures]).to(device))
    if modality != "image":
        made.append(encoder.tokenize(TEXTS[:n]).to(device))
    return tuple(made) if len(made) > 1 else made[0]


@torch.no_grad()
def called_modules(encoder: ItemEncoder, modality: str, modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Which of some modules a probe of the modality passes through, in order."""
    called: list[nn.Module] = []
    training = encoder.training
    try:
        with uncompiled(encoder), hooked(modules, lambda module, *_: called.append(module)):
            encoder.eval()({modality: probe_inputs(encoder, modality, n=1)})
    finally:
        encoder.train(training)
    return called


def executed(run: Callable[[], object]) -> list[nn.Module]:
    """The modules that ``run`` calls."""
    called: list[nn.Module] = []
    handle = register_module_forward_pre_hook(lambda module, _: called.append(module))
    try:
        run()
    finally:
        handle.remove()
    return called


def randomness(encoder: ItemEncoder, run: Callable[[], Tensor]) -> str:
    """Why the result of ``run``, which calls parts of the encoder, is random while the encoder trains, such as "dropout (Dropout, p 0.1)";
    "" where it is not."""
    training = encoder.training
    try:
        with torch.random.fork_rng(devices=[]):
            encoder.eval()
            still = run()
            encoder.train()
            cause = _dropout(executed(run))
            return cause or ("" if torch.allclose(still, run(), rtol=1e-3, atol=1e-5) else "something random")
    finally:
        encoder.train(training)


def _dropout(modules: Iterable[nn.Module]) -> str:
    for module in modules:
        drops = "drop" in type(module).__name__.lower()
        for name, value in vars(module).items():
            if module.training and isinstance(value, float) and value > 0 and (drops or "drop" in name.lower()):
                return f"dropout ({type(module).__name__}, {name} {value:g})"
    return ""
