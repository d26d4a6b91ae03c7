"""What a run cost: seconds per phase, encoded items, memory and parameters."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from recbole_mm.feature import ItemFeatures
from recbole_mm.items.encoding_cost import EncodingCost
from recbole_mm.parallel.memory import peak_resident_set
from recbole_mm.parallel.ranks import Ranks

MIB = 2**20


class CostAccount:
    """Adds up the seconds of a run.

    Args:
        features: the model's item features; None if it has none.
        ranks: the processes that train together. Encoded items are counted over all of them.
    """

    def __init__(self, features: ItemFeatures | None, ranks: Ranks) -> None:
        self.features, self.ranks = features, ranks
        self.encoding = EncodingCost() if features is None else features.cost
        self.seconds = {"training": 0.0, "evaluating": 0.0}
        self.live_items, self.live_seconds = 0, 0.0

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        """Adds the seconds of a ``with`` to a phase, "training" or "evaluating", but for those of the encoder's forward passes."""
        start, encoding, items = time.perf_counter(), self.encoding.seconds, self.encoding.items
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[phase] += spent - (self.encoding.seconds - encoding)
        if phase == "training" and self.features is not None and self.features.live:
            self.live_items, self.live_seconds = self.live_items + self.encoding.items - items, self.live_seconds + spent

    def report(self, model: torch.nn.Module, device: torch.device) -> dict[str, float | int | None]:
        """Closes the account. All processes that train together must call this.

        Returns:
            What ``run`` returns under ``cost``:

            - ``seconds_finetuning``: until the fine-tuned encoder was there; 0 where none is used.
            - ``seconds_encoding``: the encoder's forward passes.
            - ``seconds_training``, ``seconds_evaluating``: the rest of both phases.
            - ``items_encoded``: how many items those forward passes encoded, and ``items_per_second`` at which rate; None for no time.
            - ``share_of_bare_encoder``: items per second of end-to-end training with everything that belongs to it, divided by the items
              per second of the encoder's forward and backward passes alone; None unless the encoder trained.
            - ``peak_memory_mib``: of the GPU, or of the process where it runs on the CPU.
            - ``trainable_parameters``, ``total_parameters``: a frozen encoder's are in neither, because it is gone by then.
        """
        items, seconds, peak = self.ranks.total(self.encoding.items), self.encoding.seconds, peak_memory(device)
        return {
            "seconds_finetuning": self.encoding.finetuning,
            "seconds_encoding": seconds,
            "seconds_training": self.seconds["training"],
            "seconds_evaluating": self.seconds["evaluating"],
            "items_encoded": items,
            "items_per_second": items / seconds if seconds else None,
            "share_of_bare_encoder": self._share(),
            "peak_memory_mib": peak,
            "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "total_parameters": sum(p.numel() for p in model.parameters()),
        }

    def _share(self) -> float | None:
        bare = self.features.bare_throughput() if self.features is not None and self.features.trainable else None
        return self.live_items / self.live_seconds / bare if bare else None


def cost_line(cost: dict[str, float | int | None]) -> str:
    """Writes a report (see ``CostAccount.report``) as one line for the log."""
    parameters = f"{cost['trainable_parameters']:,} of {cost['total_parameters']:,} parameters train"
    return f"cost: {'; '.join([*cost_lines(cost), parameters])}"


def cost_lines(cost: dict[str, float | int | None]) -> list[str]:
    """Writes a report (see ``CostAccount.report``) as two lines for the screen: times and sizes."""
    share, tuning, items = cost["share_of_bare_encoder"], cost["seconds_finetuning"], cost["items_encoded"]
    seconds = [f"fine-tuning {tuning:.1f} s"] if tuning else []
    seconds += [str(EncodingCost(items, cost["seconds_encoding"]))] if items else []
    seconds += [f"training {cost['seconds_training']:.1f} s", f"evaluating {cost['seconds_evaluating']:.1f} s"]
    sizes = [f"{cost['peak_memory_mib']:.0f} MiB at most"]
    sizes += [f"training ran at {share:.2f} of the bare encoder's speed"] if share else []
    return [", ".join(seconds), "; ".join(sizes)]


def peak_memory(device: torch.device) -> float:
    """The most memory in MiB that was allocated on a GPU, or, on the CPU, the largest resident set of the process so far."""
    return (torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_resident_set()) / MIB
