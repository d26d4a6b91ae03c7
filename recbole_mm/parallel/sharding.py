"""Fully sharded training (FSDP2): every process holds a share of an encoder's parameters, gradients and optimiser states."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from recbole_mm.errors import InputError
from recbole_mm.parallel.ranks import is_sharded

OLDEST_TORCH = "2.9"
"""Older versions return the sum of the gradients over gloo instead of their mean."""


def shard(encoder: nn.Module, layers: Sequence[nn.Module], device: torch.device) -> list[nn.Module]:
    """Replaces an encoder's parameters, in place, by this process's share of them (fully sharded data parallelism: Zhao et al., arXiv
    2304.11277; here torch's FSDP2).

    A block's parameters are whole while that block computes, forwards or backwards; what belongs to no block is whole during a pass of the
    encoder. Gradients are means over the processes. Scalars (temperatures) stay whole in every process, because losses read them outside of
    the encoder's pass. Parameters that several modules have in common belong to no block.

    Args:
        encoder: the same in all processes.
        layers: its blocks, as ``ItemEncoder.layers`` lists them.
        device: where the shares are put.

    Returns:
        The blocks that were sharded each by itself.

    Raises:
        InputError: this version of torch is too old.
    """
    if torch.__version__ < OLDEST_TORCH:
        raise InputError(f"strategy: fsdp needs torch {OLDEST_TORCH} or newer, not {torch.__version__}; use ddp")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    how = {
        "mesh": init_device_mesh(device.type, (dist.get_world_size(),)),
        "ignored_params": {p for p in encoder.parameters() if p.numel() == 1},
        "reshard_after_forward": True,
    }
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")  # nothing writes to it
    owners = Counter(id(p) for module in encoder.modules() for p in module.parameters(recurse=False))
    blocks = [block for block in layers if all(owners[id(p)] == 1 for p in block.parameters())]
    for module in (*blocks, encoder):
        fully_shard(module, **how)
    encoder.to(device)
    return blocks


class OneByOne:
    """A context in which a sharded block is whole only while it computes. By itself, FSDP2 leaves blocks whole where a forward pass is
    repeated inside of a backward pass (gradient checkpointing). A block whose inputs need no gradient but whose output does stays whole to
    the end of the backward pass. The context can be entered many times, one after the other."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        self._blocks, self._hooks = blocks, []

    def __enter__(self) -> None:
        for block in self._blocks:
            self._hooks += [block.register_forward_pre_hook(_unshard), block.register_forward_hook(_reshard, with_kwargs=True)]

    def __exit__(self, *_: object) -> None:
        while self._hooks:
            self._hooks.pop().remove()


def _unshard(block: nn.Module, _: tuple) -> None:
    block.unshard()  # some versions of torch do not do this by themselves in a repeated forward pass


def _reshard(block: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
    if _differentiable(*args, *kwargs.values()) or not _differentiable(*(output if isinstance(output, tuple) else (output,))):
        block.reshard()


def _differentiable(*values: object) -> bool:
    return any(isinstance(value, Tensor) and value.requires_grad for value in values)


def whole(state: object) -> object:
    """Makes the sharded tensors of a state whole. All processes must call this together.

    Args:
        state: dictionaries and lists, to any depth.

    Returns:
        The same with whole tensors on the CPU in the place of sharded ones in the first process, and with None in the others.
    """
    if isinstance(state, Mapping):
        return {key: whole(value) for key, value in state.items()}
    if isinstance(state, list):
        return [whole(value) for value in state]
    if not is_sharded(state):
        return state
    tensor = state.full_tensor()
    return tensor.cpu() if dist.get_rank() == 0 else None


def share_of(value: object, like: object) -> object:
    """This process's share of a whole tensor ``value``, if ``like`` is a sharded tensor of the same shape; otherwise ``value`` itself."""
    if not is_sharded(like) or getattr(value, "shape", None) != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


def optimizer_shares(state: dict, optimizer: torch.optim.Optimizer) -> dict:
    """Turns a whole ``state_dict`` of an optimiser into one that ``optimizer``, whose parameters may be sharded, can load."""
    parameters = dict(enumerate(p for group in optimizer.param_groups for p in group["params"]))
    own = {i: {key: share_of(value, parameters.get(i)) for key, value in values.items()} for i, values in state["state"].items()}
    return {**state, "state": own}


@torch.no_grad()
def total_norm(gradients: Sequence[Tensor], norm_type: float = 2.0) -> Tensor:
    """The norm of all gradients as one vector. There must be one at least, and they may be whole or sharded. It is the same in every
    process if the whole ones are."""
    shares = [g.to_local() for g in gradients if is_sharded(g)]
    norms = [torch.linalg.vector_norm(g, norm_type) for g in gradients if not is_sharded(g)]
    if shares:
        own = [torch.linalg.vector_norm(share, norm_type) for share in shares if share.numel()]
        mine = torch.linalg.vector_norm(torch.stack(own), norm_type) if own else shares[0].new_zeros(())
        everyones = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(everyones, mine)
        norms += everyones
    return torch.linalg.vector_norm(torch.stack(norms), norm_type)


@torch.no_grad()
def clip_gradients(
    parameters: Sequence[nn.Parameter], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> None:  # fmt: skip
    """torch's ``clip_grad_norm_``, but some of the parameters may be sharded."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not any(map(is_sharded, gradients)):
        clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)
        return
    norm = total_norm(gradients, norm_type)
    if error_if_nonfinite and not norm.isfinite():
        raise RuntimeError(f"the total norm of order {norm_type} of the gradients is {norm}, and cannot be clipped")
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        (gradient.to_local() if is_sharded(gradient) else gradient).mul_(factor)
