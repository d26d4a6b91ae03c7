"""What a training step costs with each recommendation loss, on synthetic data of Amazon-Baby's size.

    python benchmarks/losses.py [--models LightGCNM VBPR ...] [--steps 6]

The losses take turns, in one process. Seconds are those of one CPU core's work (on a GPU, the clock's), for a whole step: loss, gradients
and optimiser. Memory is what the loss keeps for its backward pass, each tensor counted once.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

import torch
from graphs import Run, timed, write_data

from recbole_mm.model.objective import LOSSES


def kept_mib(run: Run, batch) -> float:
    """MiB of the distinct tensors that ``calculate_loss`` keeps for the backward pass, parameters and graphs aside."""
    aside = {p.untyped_storage().data_ptr() for p in (*run.model.parameters(), *run.model.buffers())}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.layout == torch.strided and tensor.untyped_storage().data_ptr() not in aside:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        losses = run.model.calculate_loss(batch)
        del losses
    return sum(kept.values()) / 2**20


def compare(name: str, folder: Path, steps: int) -> None:
    runs = {loss: Run(name, folder, {}, loss_type=loss) for loss in LOSSES}
    batches = {loss: [batch for batch, _ in zip(run.train, range(steps + 1), strict=False)] for loss, run in runs.items()}
    for loss, run in runs.items():
        run.first(batches[loss][0])
    seconds: dict[str, list[float]] = {loss: [] for loss in runs}
    for n in range(1, steps + 1):
        for loss, run in runs.items():
            seconds[loss].append(timed(lambda run=run, batch=batches[loss][n]: run._step(batch)))
    plain = median(seconds["BPR"])
    for loss, run in runs.items():
        step = median(seconds[loss])
        kept = kept_mib(run, batches[loss][0].to(run.trainer.device))
        print(f"{name:10} {loss:16} {step:.3f} s per step, {step / plain:.2f} times BPR's; keeps {kept:.0f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="*", default=["LightGCNM", "VBPR", "FREEDOM", "LATTICE"])
    parser.add_argument("--steps", type=int, default=6)
    arguments = parser.parse_args()
    sys.argv = sys.argv[:1]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "baby"
        write_data(folder)
        for name in arguments.models:
            compare(name, folder, arguments.steps)


if __name__ == "__main__":
    main()
