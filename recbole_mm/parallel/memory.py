"""How much memory the process has used, and how its C library gives memory back."""

import ctypes
import platform
import sys

import psutil

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # of glibc's malloc.h
KEPT = 2**30
"""Bytes."""


def keep_freed_memory() -> None:
    """Lets glibc serve large tensors from memory that it has, and keep what they free. By default it asks the kernel for the pages of every
    large tensor anew, which takes longer than many a computation with them. On other C libraries this does nothing."""
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_THRESHOLD, KEPT)
        library.mallopt(TRIM_THRESHOLD, KEPT)


def peak_resident_set() -> int:
    """The largest resident set of the process so far, in bytes."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # which Windows lacks

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB elsewhere
