"""Counting what encoding costs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass
class EncodingCost:
    """Items encoded so far, the wall-clock seconds of their forward passes, and those until a tuned encoder was there to make them."""

    items: int = 0
    seconds: float = 0.0
    finetuning: float = 0.0

    @contextmanager
    def measure(self, items: int, device: torch.device) -> Iterator[None]:
        """Adds ``items`` and the seconds the block takes, waiting for the device on both sides."""
        _synchronize(device)
        start = time.perf_counter()
        yield
        _synchronize(device)
        self.items += items
        self.seconds += time.perf_counter() - start


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
