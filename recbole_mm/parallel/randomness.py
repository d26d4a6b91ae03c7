"""The state of the random generators that a run draws from: Python's, numpy's, torch's, and the one of this process's GPU."""

import random

import numpy as np
import torch


def drawn_gpus() -> list[int]:
    """The number of the GPU whose generator this process draws from; [] if it uses none. Asking does not start CUDA."""
    return [torch.cuda.current_device()] if torch.cuda.is_initialized() else []


def random_state() -> dict:
    """The state of every generator, in types that a checkpoint may hold. Processes that train together draw the same numbers, each on a
    GPU of its own, so the state of one process is that of all."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, words, next_gauss = random.getstate()
    return {
        "python": [version, list(words), next_gauss],
        "numpy": [kind, keys.tolist(), position, has_gauss, gauss],
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state(gpu) for gpu in drawn_gpus()],
    }


def set_random_state(state: dict) -> None:
    """Restores what ``random_state`` returned, in this process or in one that has another GPU or none."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    for gpu, drawn in zip(drawn_gpus(), state["cuda"], strict=False):
        torch.cuda.set_rng_state(drawn.cpu(), gpu)
