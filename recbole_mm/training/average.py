"""WeightAverage: a moving average of the weights while a pretrained encoder trains, which is what is validated and kept."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """An exponential moving average of everything that trains in a model (Polyak & Juditsky, 1992).

    Training goes on from the weights themselves; validation and checkpoints have the average, in which the noise of single steps is
    smaller. The average begins when ``start`` is called.

    Args:
        model: the recommender with its encoder.
        decay: the share of the average that a step keeps; 0 for no average.

    Attributes:
        steps: the number of weights that have come into the average; 0 while there is none.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay, self.steps = model, decay, 0
        self._average: dict[str, Tensor] = {}

    def start(self) -> None:
        """Begins with the weights as they are."""
        if self.decay:
            self._average = {name: p.detach().clone() for name, p in self._trained()}
            self.steps = 1

    @torch.no_grad()
    def update(self) -> None:
        """Takes the weights after a step of the optimiser into the average. In the first steps, the average is that of all so far."""
        if self.steps:
            self.steps += 1
            share = max(1 - self.decay, 1 / self.steps)
            for name, p in self._trained():
                self._average[name].mul_(1 - share).add_(p, alpha=share)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Inside the block, the model has the average."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def finish(self) -> None:
        """Leaves the model with the average, which ends here."""
        self._swap()
        self._average, self.steps = {}, 0

    def state(self) -> dict[str, object]:
        """What a checkpoint holds besides the average, which is the model's weights there: the weights themselves."""
        return {"steps": self.steps, "weights": {name: p.detach() for name, p in self._trained()} if self.steps else {}}

    def load_state(self, state: Mapping, share_of: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Goes on from a checkpoint whose average the model has loaded. ``share_of``: see ``sharding.share_of``."""
        if state["steps"]:
            self.start()
            self.steps = state["steps"]
            own = dict(self._trained())
            with torch.no_grad():
                for name, weights in state["weights"].items():
                    own[name].copy_(share_of(weights, own[name]))

    @torch.no_grad()
    def _swap(self) -> None:
        for name, p in self._trained() if self.steps else ():
            average = self._average[name]
            kept = p.detach().clone()
            p.copy_(average)
            average.copy_(kept)

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
