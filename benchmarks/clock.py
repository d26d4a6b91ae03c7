"""The device that the benchmarks run on, a GPU where there is one, and their clock."""

import time
from collections.abc import Callable

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def clock() -> float:
    """Seconds. On a GPU: once it has done what it was given. On a CPU with one thread: of this process's work, whatever else runs."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def fastest(work: Callable[[], object], repeats: int = 5) -> float:
    """Seconds of the fastest of a few runs, after one that does not count."""
    work()
    times = []
    for _ in range(repeats):
        start = clock()
        work()
        times.append(clock() - start)
    return max(min(times), 1e-9)
