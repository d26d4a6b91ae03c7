"""The device that the benchmarks run on, a GPU where there is one, and their clock."""

import time

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def clock() -> float:
    """Seconds. On a GPU: once it has done what it was given. On a CPU with one thread: of this process's work, whatever else runs."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()
