"""Cells on a cluster: one task of Ray's each."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from recbole_mm.errors import MissingPackage
from recbole_mm.results.compare.execute import Ended, run_in_process


def run_on_ray(folders: Sequence[Path], workers: int | None = None) -> Iterator[Ended]:
    """Runs cells on the cluster that Ray is connected to, that ``RAY_ADDRESS`` names, or on this machine. All of its machines need the
    folders, the data sets and this package at the same places.

    Args:
        workers: how many cells run at a time; None for as many as there are cores.

    Raises:
        MissingPackage: Ray is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingPackage("--executor=ray needs the package ray, which is not installed: pip install ray") from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False, **({} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers}))
    place = os.getcwd()
    task = ray.remote(num_cpus=1, max_retries=0)(_run_there)
    waiting, running = [folder.resolve() for folder in folders], {}
    names = dict(zip(waiting, folders, strict=True))
    while waiting or running:
        while waiting and len(running) < (workers or len(folders)):
            folder = waiting.pop(0)
            running[task.remote(folder, place)] = folder
        (done,), _ = ray.wait(list(running), num_returns=1)
        yield names[folder := running.pop(done)], _outcome(ray, done)


def _outcome(ray, done) -> str | None:
    try:
        return ray.get(done)
    except ray.exceptions.RayError as error:
        return f"Ray: {' '.join(str(error).split())[:200]}"


def _run_there(folder: Path, place: str) -> str | None:
    os.chdir(place)
    return run_in_process(folder)
