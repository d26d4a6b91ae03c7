"""Random states, of one process and of several with a GPU each."""

import pickle
import random

import numpy as np
import torch

from recbole_mm.parallel.randomness import random_state, set_random_state
from recbole_mm.parallel.ranks import Ranks


def test_random_states_come_back():
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    random.gauss(0, 1), np.random.randn()
    state = pickle.loads(pickle.dumps(random_state()))
    drawn = [random.gauss(0, 1), np.random.randn(), torch.rand(1).item()]
    set_random_state(state)
    assert drawn == [random.gauss(0, 1), np.random.randn(), torch.rand(1).item()]


class Gpus:
    """Two GPUs' generators, of which a process uses one, in the place of torch.cuda."""

    def __init__(self, monkeypatch, own: int) -> None:
        self.own, self.generators = own, [torch.Generator().manual_seed(1) for _ in range(2)]
        for name, stand_in in (
            ("is_initialized", lambda: True),
            ("current_device", lambda: self.own),
            ("get_rng_state", lambda device: self.generators[device].get_state()),
            ("set_rng_state", lambda state, device: self.generators[device].set_state(state)),
        ):
            monkeypatch.setattr(torch.cuda, name, stand_in)

    def draw(self) -> float:
        return torch.rand(1, generator=self.generators[self.own]).item()


def test_one_processs_state_is_every_processs(monkeypatch):
    """The first one writes the checkpoint; the second one, on another GPU, goes on with the same numbers, and so does one on the CPU."""
    first = Gpus(monkeypatch, own=0)
    first.draw()
    state = pickle.loads(pickle.dumps(random_state()))
    expected = [first.draw(), torch.rand(1).item()]
    second = Gpus(monkeypatch, own=1)
    set_random_state(state)
    assert [second.draw(), torch.rand(1).item()] == expected
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    set_random_state(state)
    assert torch.rand(1).item() == expected[1]


def test_a_run_on_the_cpu_does_not_start_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: (_ for _ in ()).throw(AssertionError("CUDA was started")))
    set_random_state(random_state())
    with Ranks(0, 2).own_randomness(0):
        torch.rand(1)
