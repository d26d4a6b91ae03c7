"""The processes that share a run: one, or those that torchrun started."""

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
BUCKET = 2**24


def is_sharded(tensor: object) -> bool:
    """Is it a share of a tensor that several processes hold together (torch's DTensor)?"""
    return hasattr(tensor, "full_tensor")


class Ranks:
    """This process's number and how many there are; by itself, 0 of 1.

    In training, every process holds the whole recommender and the same batch, and encodes its share of the batch's items; ``gather``
    gives each of them all rows, so every loss is that of one process. A row's gradient then exists in every process, is that of the
    one loss, and goes on in the process that encoded the item; ``average`` adds up what reaches the encoder's parameters.
    """

    moment = 0
    """The number of the batch that all processes are training on."""

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank, self.world = rank, world

    @classmethod
    def from_environment(cls) -> "Ranks":
        """As torchrun says in RANK and WORLD_SIZE; processes find each other through gloo, and GPUs through NCCL."""
        if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized():
            gpus = torch.cuda.is_available() and dist.is_nccl_available()
            dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=PATIENCE)
        return cls.current()

    @classmethod
    def current(cls) -> "Ranks":
        """Of the process group there is; without one, 0 of 1."""
        return cls(dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else cls()

    def share(self, work: list) -> list:
        """This process's part of what all have listed alike."""
        return work[self.rank :: self.world]

    def slice(self, n: int, rank: int | None = None) -> slice:
        """This (or another) process's consecutive part of n things; all parts together are all of them in order."""
        rank = self.rank if rank is None else rank
        return slice(n * rank // self.world, n * (rank + 1) // self.world)

    def most(self, n: int) -> int:
        """How many of n things the largest slice has."""
        return -(-n // self.world)

    def agree(self, value: Value) -> Value:
        """The first process's value, in all."""
        values = [value]
        if self.world > 1:
            dist.broadcast_object_list(values, 0)
        return values[0]

    def collect(self, value: Value) -> list[Value]:
        """Every process's value, in all, in the order of the processes."""
        values = [value] * self.world
        if self.world > 1:
            dist.all_gather_object(values, value)
        return values

    def total(self, value: float) -> float:
        """The sum of every process's value."""
        return sum(self.collect(value))

    def gather(self, rows: Tensor, sizes: Sequence[int]) -> Tensor:
        """Every process's (sizes[rank], d) rows, one below the other, with a gradient to this process's own (see ``average``)."""
        return rows if self.world == 1 else _Gather.apply(rows, tuple(sizes), self.rank)

    @torch.no_grad()
    def average(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replaces gradients by their mean over the processes; what no process has a gradient for stays without. Those of sharded
        parameters are that mean already."""
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
        """The first process's values into all: copies that have been computed alike may drift apart by rounding."""
        for tensor in tensors if self.world > 1 else ():
            if not is_sharded(tensor):
                dist.broadcast(tensor, 0)

    @contextmanager
    def own_randomness(self) -> Iterator[None]:
        """Random numbers of this process and training batch (``moment``) alone, drawn without moving the generators that all processes
        have in common."""
        if self.world == 1:
            yield
            return
        with torch.random.fork_rng(devices=drawn_gpus()):
            torch.manual_seed(crc32(torch.get_rng_state().numpy().tobytes() + str(Ranks.moment).encode()) + self.rank)
            yield

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            dist.barrier()

    @contextmanager
    def first_one_first(self) -> Iterator[None]:
        """The first process does what is inside before the others begin."""
        if self.rank:
            self.wait()
        yield
        if not self.rank:
            self.wait()

    def leave(self) -> None:
        """To be called once, at the end."""
        if self.world > 1:
            dist.destroy_process_group()


class _Gather(torch.autograd.Function):
    """Equal parts are what every backend gathers, so the shorter ones are padded on the way."""

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
    """Of one dtype and about ``BUCKET`` numbers each."""
    bucket, size = [], 0
    for parameter in parameters:
        if bucket and (size + parameter.numel() > BUCKET or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += parameter.numel()
    if bucket:
        yield bucket
