"""EncodingCost: how many items were encoded, and how long that took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass
class EncodingCost:
    """What encoding has cost so far.

    Attributes:
        items: how many items were encoded.
        seconds: wall-clock seconds of their forward passes.
        finetuning: wall-clock seconds until the fine-tuned encoder was there; 0 unless there is one.
    """

    items: int = 0
    seconds: float = 0.0
    finetuning: float = 0.0

    @contextmanager
    def measure(self, items: int, device: torch.device) -> Iterator[None]:
        """Adds ``items`` and the seconds that the block takes; waits for the device before and after it."""
        _synchronize(device)
        start = time.perf_counter()
        yield
        _synchronize(device)
        self.items += items
        self.seconds += time.perf_counter() - start

    def __str__(self) -> str:
        """Seconds, items and rate, for the log."""
        rate = f", {self.items / self.seconds:.0f} items/s" if self.seconds else ""
        return f"encoding {self.seconds:.1f} s ({self.items} items{rate})"


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
