"""The processes that share an extraction: one, or those that torchrun started."""

import os
from datetime import timedelta
from typing import TypeVar

import torch.distributed as dist

Value = TypeVar("Value")
PATIENCE = timedelta(days=7)


class Ranks:
    """This process's number and how many there are; by itself, 0 of 1."""

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank, self.world = rank, world

    @classmethod
    def from_environment(cls) -> "Ranks":
        """As torchrun says in RANK and WORLD_SIZE; processes find each other through gloo."""
        world = int(os.environ.get("WORLD_SIZE", 1))
        if world == 1:
            return cls()
        if not dist.is_initialized():
            dist.init_process_group("gloo", timeout=PATIENCE)
        return cls(dist.get_rank(), world)

    def share(self, work: list) -> list:
        """This process's part of what all have listed alike."""
        return work[self.rank :: self.world]

    def agree(self, value: Value) -> Value:
        """The first process's value, in all."""
        values = [value]
        if self.world > 1:
            dist.broadcast_object_list(values, 0)
        return values[0]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            dist.barrier()

    def leave(self) -> None:
        """To be called once, at the end."""
        if self.world > 1:
            dist.destroy_process_group()
