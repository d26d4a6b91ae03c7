"""``nproc``: starts several processes on this machine, as torchrun would."""

import os
import tempfile
import uuid
from collections.abc import Callable
from logging import getLogger
from pathlib import Path

import torch

from recbole_mm.errors import InputError


def starts_others(nproc: int | None) -> bool:
    """Whether this process only starts the ones that train. Those see torchrun's environment, whose number of processes then counts."""
    return (nproc or 1) > 1 and "WORLD_SIZE" not in os.environ


def launch(nproc: int, use_gpu: bool, work: Callable[..., dict], arguments: tuple) -> dict:
    """Calls ``work(*arguments)`` in ``nproc`` processes that train together.

    The processes import the main script again, so a script of the user's own must make this call under ``if __name__ == "__main__"``.

    Returns:
        What ``work`` returned in the first process.

    Raises:
        InputError: there are fewer GPUs than processes, or ``work`` raised an error in one of them.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    gpus = torch.cuda.device_count() if use_gpu else 0
    if 0 < gpus < nproc:
        raise InputError(f"nproc {nproc}: there are only {gpus} GPUs; start no more processes, or set use_gpu: False")
    settings = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=nproc, run_id=uuid.uuid4().hex, rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        max_restarts=0, start_method="spawn",
    )  # fmt: skip
    getLogger("torch.distributed.elastic").setLevel("CRITICAL")
    with tempfile.TemporaryDirectory() as folder:
        complaint = Path(folder) / "complaint"
        try:
            return elastic_launch(settings, _run)(work, arguments, str(complaint))[0]
        except SignalException as error:
            raise KeyboardInterrupt from error
        except ChildFailedError as error:
            if complaint.exists():
                raise InputError(complaint.read_text(encoding="utf-8")) from error
            raise


def _run(work: Callable[..., dict], arguments: tuple, complaint: str) -> dict:
    """What each process does. Bad input is written to the file ``complaint``, from which ``launch`` raises it again."""
    from recbole_mm.parallel.ranks import Ranks

    try:
        return work(*arguments)
    except (InputError, OSError) as error:
        Path(complaint).write_text(str(error), encoding="utf-8")
        raise SystemExit(2) from error
    finally:
        Ranks.current().leave()
