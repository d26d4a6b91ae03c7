"""Functions run in processes of their own, without starting Python anew for each: alone, or by several that train together."""

import os
import pickle
import signal
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

LIMIT = 120
"""Seconds until a process that has not come back is killed."""


def forked(work: Callable[[], int | None]) -> int:
    """Calls ``work`` in a forked process, quietly, and returns the number of that process. Its exit status is what ``work`` returns, or 70
    where ``work`` raises."""
    pid = os.fork()
    if pid:
        return pid
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        os._exit(work() or 0)
    finally:
        os._exit(70)


def together(n: int, function: Callable[[], object]) -> list:
    """What ``function`` returns in each of n forked processes that are joined by gloo, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        children = [_fork(rank, n, function, Path(folder)) for rank in range(n)]
        for child in children:
            os.waitpid(child, 0)
        files = [Path(folder) / str(rank) for rank in range(n)]
        found = [pickle.loads(file.read_bytes()) if file.exists() else f"Traceback: process {file.name} was killed" for file in files]
    for result in found:
        assert not (isinstance(result, str) and result.startswith("Traceback")), result
    return found


def _fork(rank: int, n: int, function: Callable[[], object], folder: Path) -> int:
    child = os.fork()
    if child:
        return child
    signal.alarm(LIMIT)
    try:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(n))
        dist.init_process_group("gloo", f"file://{folder}/meeting", timedelta(seconds=60), rank=rank, world_size=n)
        result = function()
    except BaseException:
        result = traceback.format_exc()
    (folder / str(rank)).write_bytes(pickle.dumps(result))
    os._exit(0)
