"""Where cells run: each in a process of its own, several at a time on this machine. This module loads nothing heavy."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path

LOG = "cell.log"
Ended = tuple[Path, str | None]
"""The folder of a cell that has ended, and why it has failed, in one line, if it has."""


def run_locally(folders: Sequence[Path], workers: int | None = None) -> Iterator[Ended]:
    """Runs cells on this machine, ``workers`` at a time, or one after the other. What several of them need, such as features or a tuned
    encoder, one of them makes while the others wait. If this process ends, theirs end too."""
    workers, running = workers or 1, set()
    pool = ThreadPoolExecutor(workers)
    work = {pool.submit(run_in_process, folder, _threads(workers), running): folder for folder in folders}
    try:
        for future in as_completed(work):
            yield work[future], future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(running):
            process.terminate()


def run_in_process(folder: Path, threads: int | None = None, running: set[subprocess.Popen] | None = None) -> str | None:
    """Runs the cell of a folder in a process of its own, which writes what it says into the folder's log.

    Args:
        threads: how many threads it computes with; None for the default.
        running: where the process is noted for as long as it runs.

    Returns:
        Why it has failed, in one line; None if it has not.
    """
    running = set() if running is None else running
    places = os.pathsep.join(path or os.getcwd() for path in sys.path)
    environment = {**os.environ, "PYTHONPATH": places, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    command = [sys.executable, "-m", "recbole_mm.results.compare.cell_process", str(folder)]
    with open(folder / LOG, "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=environment)
        running.add(process)
        try:
            status = process.wait()
        finally:
            running.discard(process)
            with suppress(OSError):
                process.stdin.close()
    return None if status == 0 else _reason(status, folder / LOG)


def _threads(workers: int) -> int | None:
    """The cores are shared among several processes, unless the environment says how many threads there are."""
    return max(1, (os.cpu_count() or 1) // workers) if workers > 1 and "OMP_NUM_THREADS" not in os.environ else None


def _reason(status: int, log: Path) -> str:
    if status < 0:
        return f"its process was ended by signal {-status}{', perhaps for lack of memory' if status == -9 else ''}"
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else f"its process ended with status {status} and said nothing"
