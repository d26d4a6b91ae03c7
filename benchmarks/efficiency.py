"""What makes end-to-end training cheap, as ratios in one process: real pictures and texts of a data set's items.

    python benchmarks/efficiency.py --dataset=ml-latest-small-mm-5core --data_path=... --encoders open_clip:tiny vlmo:tiny

One function a question; ``--questions`` picks some.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping

import torch

from recbole_mm.config import MultiModalConfig
from recbole_mm.quick_start import build_model, build_trainer, create_dataset, data_preparation

TUNINGS = {
    "full": {},
    "last_k": {"encoder_tuning": "last_k", "encoder_last_k": 1},
    "last_k, cached": {"encoder_tuning": "last_k", "encoder_last_k": 1, "cache_hidden_states": True},
    "side": {"encoder_tuning": "side"},
}


def tunings(settings: Mapping, steps: int, rounds: int) -> None:
    """Training steps of CLIPRec, everything included, by what of the encoder trains: distinct items a second."""
    steppers = {name: stepper({**settings, **keys}) for name, keys in TUNINGS.items()}
    speeds = interleaved(steppers, steps, rounds)
    for name, speed in speeds.items():
        ratios = f"{speed / speeds['full']:.2f} x full, {speed / speeds['last_k']:.2f} x last_k"
        print(f"{settings['encoder']}, {name}: {speed:.0f} items/s, {ratios}", flush=True)


QUESTIONS = {"tunings": tunings}


def stepper(settings: Mapping) -> Iterator[int]:
    """Trains a step each time it is asked: the distinct items of the step's batch."""
    config = MultiModalConfig("CLIPRec", settings["dataset"], config_dict=dict(settings))
    train, *_ = data_preparation(config, create_dataset(config))
    model = build_model(config, train)
    trainer = build_trainer(config, model)
    model.train()
    while True:
        for interaction in train:
            sum(model.calculate_loss(interaction.to(config["device"]))).backward()
            trainer.optimizer.step()
            trainer.optimizer.zero_grad()
            yield len(interaction["item_id"].unique())


def interleaved(steppers: Mapping[str, Iterator[int]], steps: int, rounds: int) -> dict[str, float]:
    """Things a second of each, the median over rounds in which all take their turn: a machine's changes of mood meet all alike."""
    for step in steppers.values():
        next(step)
    rates: dict[str, list[float]] = {name: [] for name in steppers}
    for _ in range(rounds):
        for name, step in steppers.items():
            start = time.perf_counter()
            done = sum(next(step) for _ in range(steps))
            rates[name].append(done / (time.perf_counter() - start))
    return {name: statistics.median(rate) for name, rate in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--cache_dir", help="where pictures and hidden states are kept; a scratch folder if not given")
    parser.add_argument("--encoders", nargs="+", default=["open_clip:tiny", "vlmo:tiny"])
    parser.add_argument("--questions", nargs="+", default=list(QUESTIONS), choices=list(QUESTIONS))
    parser.add_argument("--steps", type=int, default=3, help="a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as scratch:
        for encoder in given.encoders:
            settings = {
                "dataset": given.dataset, "data_path": given.data_path, "cache_dir": given.cache_dir or scratch, "encoder": encoder,
                "use_gpu": torch.cuda.is_available(), "show_progress": False, "state": "ERROR",
            }  # fmt: skip
            for question in given.questions:
                QUESTIONS[question](settings, given.steps, given.rounds)


if __name__ == "__main__":
    main()
