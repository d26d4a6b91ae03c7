"""The random generators that a run draws from: Python's, numpy's, torch's, and the one of this process's GPU."""

import random

import numpy as np
import torch

from recbole_mm.checkpoint import plain


def drawn_gpus() -> list[int]:
    """The GPU whose generator this process draws from, if it uses one: CUDA is not started for the question."""
    return [torch.cuda.current_device()] if torch.cuda.is_initialized() else []


def random_state() -> dict:
    """The state of every generator, in types that load safely. The GPU's is that of whichever GPU this process has: processes that train
    together draw alike, so one process's state is all of theirs."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": plain(random.getstate()),
        "numpy": [kind, keys.tolist(), position, has_gauss, gauss],
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state(gpu) for gpu in drawn_gpus()],
    }


def set_random_state(state: dict) -> None:
    """Puts back what ``random_state`` gave, here or in a process with another GPU or none."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    for gpu, drawn in zip(drawn_gpus(), state["cuda"], strict=False):
        torch.cuda.set_rng_state(drawn.cpu(), gpu)
