"""The processes that share a run: a single one, or those that torchrun started."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar
from zlib import crc32

import torch
import torch.distributed as dist
from torch import Tensor

from recbole_mm.parallel.randomness import drawn_gpus

Value = TypeVar("Value")
PATIENCE = timedelta(days=7)
"""How long a process waits for the others: one of them may be fine-tuning an encoder."""
BUCKET = 2**24
"""How many numbers are sent to the other processes at once, about."""


def is_sharded(tensor: object) -> bool:
    """Whether it is a process's share of a tensor that several processes hold together (torch's DTensor)."""
    return hasattr(tensor, "full_tensor")


class Ranks:
    """The number of this process and how many there are; 0 of 1 for a process by itself.

    Every process holds the whole recommender, trains on the same batch, and encodes its share of the batch's items. ``gather`` then gives
    the rows of all items to all processes, so each of them computes the loss that one process alone would have. In the backward pass,
    each process continues with the gradients of the rows that it encoded, and ``average`` combines what reaches the encoder's parameters.

    Attributes:
        rank: the number of this process, from 0.
        world: the number of processes.
    """

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank, self.world = rank, world

    @classmethod
    def from_environment(cls) -> "Ranks":
        """Joins the processes that torchrun's environment names (RANK, WORLD_SIZE), if it names any. They exchange tensors on the CPU
        through gloo, and tensors on GPUs through NCCL."""
        if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized():
            gpus = torch.cuda.is_available() and dist.is_nccl_available()
            dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=PATIENCE)
        return cls.current()

    @classmethod
    def current(cls) -> "Ranks":
        """This process in the group that it has joined; 0 of 1 if it has not."""
        return cls(dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else cls()

    def share(self, work: list) -> list:
        """This process's part of a list that is the same in all processes: every ``world``-th element."""
        return work[self.rank :: self.world]

    def slice(self, n: int, rank: int | None = None) -> slice:
        """Which of n things belong to this process, or to process ``rank``. The slices follow each other in the order of the processes."""
        rank = self.rank if rank is None else rank
        return slice(n * rank // self.world, n * (rank + 1) // self.world)

    def most(self, n: int) -> int:
        """The length of the longest of the slices of n things."""
        return -(-n // self.world)

    def agree(self, value: Value) -> Value:
        """Returns the first process's value in all processes."""
        values = [value]
        if self.world > 1:
            dist.broadcast_object_list(values, 0)
        return values[0]

    def collect(self, value: Value) -> list[Value]:
        """Returns the values of all processes, in their order, in all processes."""
        values = [value] * self.world
        if self.world > 1:
            dist.all_gather_object(values, value)
        return values

    def bring(self, value: Value) -> list[Value]:
        """Returns the values of all processes, in their order, in the first process, and an empty list in the others."""
        if self.world == 1:
            return [value]
        values = [value] * self.world if self.rank == 0 else None
        dist.gather_object(value, values, 0)
        return values or []

    def total(self, value: float) -> float:
        """Returns the sum of all processes' values in all processes."""
        return sum(self.collect(value))

    def gather(self, rows: Tensor, sizes: Sequence[int]) -> Tensor:
        """Returns the rows of all processes, one below the other.

        Args:
            rows: this process's rows, (sizes[rank], d).
            sizes: how many rows each process has.

        Returns:
            (sum(sizes), d). Gradients flow back to this process's own rows, and are ``world`` times too large, which ``average`` mends.
        """
        return rows if self.world == 1 else _Gather.apply(rows, tuple(sizes), self.rank)

    @torch.no_grad()
    def average(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replaces the gradients of parameters by their mean over the processes. A parameter that has a gradient in no process stays
        without one. The gradients of sharded parameters are left alone: they are that mean already."""
        parameters = [p for p in parameters if not is_sharded(p)]
        if self.world == 1 or not parameters:
            return
        reached = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=parameters[0].device)
        dist.all_reduce(reached)
        for bucket in _buckets([p for p, n in zip(parameters, reached.tolist(), strict=True) if n]):
            flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in bucket])
            dist.all_reduce(flat)
            for p, gradient in zip(bucket, (flat / self.world).split([p.numel() for p in bucket]), strict=True):
                p.grad = gradient.view_as(p)

    @torch.no_grad()
    def align(self, tensors: Sequence[Tensor]) -> None:
        """Copies the first process's values to all processes, because copies that were computed alike may drift apart by rounding. Sharded
        tensors are left alone."""
        for tensor in tensors if self.world > 1 else ():
            if not is_sharded(tensor):
                dist.broadcast(tensor, 0)

    @contextmanager
    def own_randomness(self, step: int) -> Iterator[None]:
        """Inside of it, random numbers belong to this process and this training batch (the ``step``) alone. The generators that all
        processes have in common do not move."""
        if self.world == 1:
            yield
            return
        with torch.random.fork_rng(devices=drawn_gpus()):
            torch.manual_seed(crc32(torch.get_rng_state().numpy().tobytes() + str(step).encode()) + self.rank)
            yield

    def wait(self) -> None:
        """Waits until all processes have called this."""
        if self.world > 1:
            dist.barrier()

    @contextmanager
    def first_one_first(self) -> Iterator[None]:
        """Lets the first process finish the ``with`` before the others begin it."""
        if self.rank:
            self.wait()
        yield
        if not self.rank:
            self.wait()

    def leave(self) -> None:
        """Leaves the other processes. To be called once, at the end."""
        if self.world > 1:
            dist.destroy_process_group()


class _Gather(torch.autograd.Function):
    """``Ranks.gather``. Backends gather parts of equal size only, so the shorter ones are padded on the way."""

    @staticmethod
    def forward(ctx, rows: Tensor, sizes: tuple[int, ...], rank: int) -> Tensor:
        ctx.own, ctx.world = slice(sum(sizes[:rank]), sum(sizes[: rank + 1])), len(sizes)
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[ctx.own] * ctx.world, None, None


def _buckets(parameters: Sequence[torch.nn.Parameter]) -> Iterator[list[torch.nn.Parameter]]:
    """Splits parameters into lists of one dtype each, with about ``BUCKET`` numbers together."""
    bucket, size = [], 0
    for parameter in parameters:
        if bucket and (size + parameter.numel() > BUCKET or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += parameter.numel()
    if bucket:
        yield bucket
