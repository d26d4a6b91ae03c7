"""What an encoder costs, counted rather than timed: parameters, multiply-adds and activation memory a sample.

    python benchmarks/encoders.py [--checkpointing]

No weights are read. GMAC: 10^9 multiply-adds of one forward pass, counted on the meta device (FLOPs = 2x; a training step is about 3x).
MiB: what autograd keeps of one sample for the backward pass on the CPU in float32, each tensor once, parameters left out.
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from recbole_mm.encoder.beit3 import BEiT3, BEiT3Config
from recbole_mm.encoder.vlmo import VLMo, VLMoConfig

CLIP = ("ViT-B-32-quickgelu", "ViT-B-16-quickgelu", "ViT-L-14-quickgelu", "ViT-B-16-SigLIP")
TIMM = ("tf_efficientnet_lite0", "resnet50", "convnext_tiny", "vit_small_patch14_dinov2", "vit_base_patch16_dinov3")
MULTIWAY = [(VLMo, VLMoConfig.named(name), 40) for name in ("base", "base_plus", "large")]
MULTIWAY += [(BEiT3, BEiT3Config.named(name), 64) for name in ("base", "large")]


def gmac(run: Callable[..., object], *inputs: Tensor) -> float:
    """Of ``run(*inputs)``, a forward pass of one sample."""
    with FlopCounterMode(display=False) as counter:
        run(*inputs)
    return counter.get_total_flops() / 2e9


def mib(model: nn.Module, run: Callable[..., object], *inputs: Tensor) -> float:
    """What ``run(*inputs)``, a forward pass of one sample through ``model``, keeps."""
    own = {id(parameter) for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        whole = tensor if tensor._base is None else tensor._base
        if id(whole) not in own:
            kept[id(whole)] = whole
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run(*inputs)
    return sum(whole.numel() * whole.element_size() for whole in kept.values()) / 2**20


def line(name: str, model: nn.Module, passes: dict[str, tuple[str, tuple[Tensor, ...]]]) -> None:
    """One row of the table; ``model`` and inputs on the meta device; ``passes``: modality -> (name of the method, inputs)."""
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    macs = {modality: gmac(getattr(model, method), *inputs) for modality, (method, inputs) in passes.items()}
    model.to_empty(device="cpu")
    cells = []
    for modality, (method, inputs) in passes.items():
        real = [torch.ones_like(values, device="cpu") for values in inputs]
        cells.append(f"{modality} {macs[modality]:.1f} GMAC, {mib(model, getattr(model, method), *real):.0f} MiB")
    print(f"| {name} | {millions:.1f} M | " + " | ".join(cells) + " |", flush=True)


def multiway(checkpointing: bool) -> None:
    for kind, config, length in MULTIWAY:
        with torch.device("meta"):
            model = kind(config).train()
            pixels = torch.randn(1, 3, config.image_size, config.image_size)
            text = torch.zeros(1, length, dtype=torch.int64), torch.ones(1, length, dtype=torch.int64)
        model.gradient_checkpointing = checkpointing
        passes = {
            "image": ("encode_image", (pixels,)),
            "text": ("encode_text", text),
            "joint": ("encode_joint", (pixels, *text)),
        }
        line(f"{kind.__name__} {config.embed_dim} x {config.depth}", model, passes)


def clip(checkpointing: bool) -> None:
    from recbole_mm.compat.libraries import fix_torchvision

    fix_torchvision()
    from open_clip import CLIP as Clip
    from open_clip import CustomTextCLIP, get_model_config

    for name in CLIP:
        config = get_model_config(name)
        size, length = config["vision_cfg"]["image_size"], config["text_cfg"]["context_length"]
        custom = config.pop("custom_text", False)
        with torch.device("meta"):
            model = (CustomTextCLIP if custom else Clip)(**config).train()
            pixels, ids = torch.randn(1, 3, size, size), torch.zeros(1, length, dtype=torch.int64)
        model.set_grad_checkpointing(checkpointing)
        line(name, model, {"image": ("encode_image", (pixels,)), "text": ("encode_text", (ids,))})


def timm(checkpointing: bool) -> None:
    from recbole_mm.compat.libraries import fix_torchvision

    fix_torchvision()
    from timm import create_model

    for name in TIMM:
        with torch.device("meta"):
            model = create_model(name, num_classes=0).train()
            pixels = torch.randn(1, *model.pretrained_cfg["input_size"])
        model.set_grad_checkpointing(checkpointing)
        line(name, model, {"image": ("forward", (pixels,))})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpointing", action="store_true", help="recompute every block in the backward pass")
    checkpointing = parser.parse_args().checkpointing
    clip(checkpointing)
    multiway(checkpointing)
    timm(checkpointing)
