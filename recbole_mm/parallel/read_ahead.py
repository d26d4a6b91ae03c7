"""Reading in threads what a loop will ask for next."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

In, Out = TypeVar("In"), TypeVar("Out")


def available_cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_ahead(read: Callable[[In], Out], items: Iterable[In], threads: int = 1, ahead: int = 2) -> Iterator[Out]:
    """``read`` of each item, in order; up to ``ahead`` further items are read in ``threads`` while the caller works on one.

    An exception in ``read`` is raised where its item would come. Whoever leaves the loop early calls ``close`` on the generator,
    which drops the reads that have not begun.
    """
    waiting: deque = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(read, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
