"""Low-rank updates of an encoder's linear maps (LoRA: Hu et al., arXiv 2106.09685)."""

import math
import warnings

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.probe import called_modules

ATTENTION = {"": "in_proj_weight", "out_proj": "weight"}
"""Layer inside of nn.MultiheadAttention -> its weight."""


class LowRank(nn.Module):
    """W -> W + alpha / rank * B A, for weights that are used without a call of their layer (those of nn.MultiheadAttention, or BEiT's joint
    query, key and value), and for layers that do more with their weight than to multiply by it (weight-standardised convolutions).

    (peft's wrapper of nn.MultiheadAttention adds the update to the weight and subtracts it again in every forward pass, so that the frozen
    weight drifts.)
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float):
        super().__init__()
        self.scale = alpha / rank
        drawn = nn.init.kaiming_uniform_(torch.empty(rank, weight[0].numel(), dtype=weight.dtype), a=math.sqrt(5))
        self.lora_A = nn.Parameter(drawn.to(weight.device))  # drawn on the CPU: the same on every device
        self.lora_B = nn.Parameter(weight.new_zeros(weight.shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.lora_B @ self.lora_A).view_as(weight)


def add_lora(encoder: ItemEncoder, rank: int, alpha: float) -> None:
    """Adds updates of rank ``rank``, scaled by ``alpha / rank``, to all of ``encoder.linear_layers()``, in place: through peft to those
    that are called and only multiply by their weight, and as parametrisations to the others. The names of the new parameters contain
    "lora_"."""
    modules = {name: encoder.get_submodule(name) for name in encoder.linear_layers()}
    called = {module for modality in encoder.modalities for module in called_modules(encoder, modality, modules.values())}
    plain = [name for name, module in modules.items() if type(module) in (nn.Linear, nn.Conv2d) and module in called]
    if plain:
        _inject(encoder, plain, rank, alpha)
    for layer in (module for name, module in modules.items() if name not in plain):
        for path, weight in (ATTENTION if isinstance(layer, nn.MultiheadAttention) else {"": "weight"}).items():
            owner = layer.get_submodule(path)
            parametrize.register_parametrization(owner, weight, LowRank(getattr(owner, weight), rank, alpha))


def merge_lora(encoder: ItemEncoder) -> ItemEncoder:
    """Adds the low-rank updates to the weights that they update, in place. The encoder then has its original parameter names and gives
    the same rows up to rounding. An encoder without LoRA stays as it is."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(encoder.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge(safe_merge=True)
            parent, _, child = name.rpartition(".")
            setattr(encoder.get_submodule(parent), child, module.get_base_layer())
        elif parametrize.is_parametrized(module):
            _unparametrise(module)
    return encoder


def _unparametrise(module: nn.Module) -> None:
    """As ``parametrize.remove_parametrizations``, which would also break the module's copies: they share its class."""
    merged = {name: getattr(module, name).detach() for name in module.parametrizations}
    module.__class__ = type(module).__bases__[0]
    del module.parametrizations
    for name, weight in merged.items():
        module.register_parameter(name, nn.Parameter(weight))


def _inject(encoder: ItemEncoder, names: list[str], rank: int, alpha: float) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    dtype = next(encoder.parameters()).dtype
    pattern = "|".join(name.replace(".", "[.]") for name in names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=f"({pattern})"), encoder)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "lora_" in name:
                parameter.data = parameter.data.to(dtype)
