"""What makes end-to-end training cheap, as ratios in one process: real pictures and texts of a data set's items.

    python benchmarks/efficiency.py --dataset=ml-latest-small-mm-5core --data_path=... --encoders open_clip:tiny vlmo:tiny

One function answers each question; ``--questions`` picks some. With ``--threads 1`` on a CPU, seconds are those of its work, whatever else
runs on the machine; with more threads, or on a GPU (which is used where there is one), they are the clock's.
"""

import argparse
import gc
import statistics
import tempfile
from collections.abc import Iterator, Mapping

import torch
import yaml
from clock import DEVICE, clock

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.quick_start import build_model, build_trainer
from recbole_mm.training.loaders import create_dataset, data_preparation

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


def bare(settings: Mapping, steps: int, rounds: int) -> None:
    """Training beside the bare encoder: forward and backward pass of the same distinct items, read before, in calls of the best size."""
    steppers = {"training": stepper(settings), "bare encoder": bare_stepper(settings)}
    speeds = interleaved(steppers, steps, rounds)
    share = speeds["training"] / speeds["bare encoder"]
    print(f"{settings['encoder']}: {share:.2f} of the bare encoder's {speeds['bare encoder']:.0f} items/s", flush=True)


def calls(settings: Mapping, steps: int, rounds: int) -> None:
    """The bare encoder's items a second by how many items it is given in a call."""
    speeds = interleaved({size: bare_stepper(settings, size) for size in CALLS}, steps, rounds)
    for size, speed in speeds.items():
        print(f"{settings['encoder']}, {size} items in a call: {speed:.0f} items/s", flush=True)


def losses(settings: Mapping, steps: int, rounds: int) -> None:
    """Interactions a second under in-batch softmax, under BPR, and under BPR that encodes every occurrence of an item."""
    batch = settings["train_batch_size"]
    kinds = {"SSM": {}, "BPR": {"loss_type": "BPR"}, "BPR, every occurrence": {"loss_type": "BPR"}}
    steppers = {name: stepper({**settings, **keys}, every="every" in name, done=batch) for name, keys in kinds.items()}
    speeds = interleaved(steppers, steps, rounds)
    for name, speed in speeds.items():
        ratio = speed / speeds["BPR, every occurrence"]
        print(f"{settings['encoder']}, {name}: {speed:.0f} interactions/s, {ratio:.2f} x naive", flush=True)


def options(settings: Mapping, steps: int, rounds: int) -> None:
    """Speed and memory by option: of a GPU the most that a training step allocates, weights included, else see ``kept_bytes``."""
    _by_option(OPTIONS, settings, steps, rounds)


def compiled(settings: Mapping, steps: int, rounds: int) -> None:
    """The same of torch.compile, once it has compiled."""
    _by_option(COMPILED, settings, steps, rounds)


def _by_option(choices: Mapping[str, Mapping], settings: Mapping, steps: int, rounds: int) -> None:
    steppers = {name: stepper({**settings, **keys}) for name, keys in choices.items()}
    if DEVICE == "cuda":
        kept = {name: peak_bytes(step) for name, step in steppers.items()}
    else:
        kept = {name: kept_bytes({**settings, **keys}) for name, keys in choices.items()}
    speeds = interleaved(steppers, steps, rounds)
    for name, speed in speeds.items():
        ratios = f"{speed / speeds['plain']:.2f} x speed ({speed:.0f} items/s), {kept[name] / kept['plain']:.2f} x memory"
        print(f"{settings['encoder']}, {name}: {ratios} ({kept[name] / 2**20:.0f} MiB)", flush=True)


OPTIONS = {
    "plain": {},
    "chunks of 64": {"encoder_chunk_size": 64},
    "gradient_checkpointing": {"gradient_checkpointing": True},
    "both": {"encoder_chunk_size": 64, "gradient_checkpointing": True},
    "bf16": {"encoder_precision": "bf16"},
    "lora": {"encoder_tuning": "lora"},
    "adapter": {"encoder_tuning": "adapter"},
    "lora, bf16, chunks of 64": {"encoder_tuning": "lora", "encoder_precision": "bf16", "encoder_chunk_size": 64},
}
COMPILED = {"plain": {}, "compiled": {"encoder_compile": True}}
CALLS = (64, 256, 1024)
QUESTIONS = {"tunings": tunings, "bare": bare, "calls": calls, "losses": losses, "options": options, "compiled": compiled}


def stepper(settings: Mapping, every: bool = False, done: int | None = None) -> Iterator[int]:
    """Trains a step each time it is asked: how many distinct items the step's batch has (or ``done``). ``every``: occurrences of an item
    are encoded one by one."""
    trainer, train = trainer_of(settings)
    model = trainer.model
    if every:
        encode = model.item_features.encoded_items.encode
        model.item_features._encode_filled = lambda distinct: {m: rows[: len(distinct)] for m, rows in encode(occurrences).items()}
    model.train()
    while True:
        for interaction in train:
            items = torch.cat([interaction[field] for field in ("item_id", "neg_item_id") if field in interaction.interaction])
            distinct = items.unique()
            occurrences = torch.cat([distinct, items])[: len(items)].to(trainer.device) if every else distinct
            sum(model.calculate_loss(interaction.to(trainer.device))).backward()
            trainer._step(len(train), 1.0)
            yield done or len(distinct)


def bare_stepper(settings: Mapping, items_a_call: int | None = None) -> Iterator[int]:
    """The encoder alone, forward and backward, over a batch's distinct items, which it has in memory; None: in calls of training's size."""
    trainer, train = trainer_of(settings)
    items = trainer.model.item_features.encoded_items
    items.encoder.train()
    batches = [interaction["item_id"].unique().to(items.device) for interaction, _ in zip(train, range(3), strict=False)]
    size = items_a_call or items.items_a_call
    ready = [[{m: items.read(m, ids) for m in items.modalities} for ids in batch.split(size)] for batch in batches]
    while True:
        for calls in ready:
            for inputs in calls:
                sum(items.forward(m, values).square().mean() for m, values in inputs.items()).backward()
            items.encoder.zero_grad()
            yield sum(len(next(iter(inputs.values()))) for inputs in calls)


def kept_bytes(settings: Mapping) -> int:
    """Of all tensors but parameters that the loss of one batch keeps for its backward pass, each counted once."""
    trainer, train = trainer_of(settings)
    weights, kept = {p.untyped_storage().data_ptr() for p in trainer.model.parameters()}, {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    trainer.model.train()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        sum(trainer.model.calculate_loss(next(iter(train)).to(trainer.device)))
    return sum(size for size, _ in kept.values())


def peak_bytes(step: Iterator[int]) -> int:
    """The most that a GPU holds for a ``stepper``, which has not begun, in its second step: by then the optimiser has its state."""
    gc.collect()
    before = torch.cuda.memory_allocated()
    next(step)
    torch.cuda.reset_peak_memory_stats()
    next(step)
    return torch.cuda.max_memory_allocated() - before


def trainer_of(settings: Mapping) -> tuple:
    """A trainer of CLIPRec, and its loader."""
    config = MultiModalConfig("CLIPRec", settings["dataset"], config_dict=dict(settings))
    train, *_ = data_preparation(config, create_dataset(config))
    return build_trainer(config, build_model(config, train)), train


def interleaved(steppers: Mapping[str, Iterator[int]], steps: int, rounds: int) -> dict[str, float]:
    """Things a second of each, the median over rounds in which all take their turn: a machine's changes of mood meet all alike."""
    for step in steppers.values():
        next(step)
    rates: dict[str, list[float]] = {name: [] for name in steppers}
    for _ in range(rounds):
        for name, step in steppers.items():
            start = clock()
            done = sum(next(step) for _ in range(steps))
            rates[name].append(done / (clock() - start))
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
    parser.add_argument("--batch", type=int, default=512, help="interactions")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="further keys of the configuration")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as scratch:
        for encoder in given.encoders:
            settings = {
                "dataset": given.dataset, "data_path": given.data_path, "cache_dir": given.cache_dir or scratch, "encoder": encoder,
                "use_gpu": DEVICE == "cuda", "show_progress": False, "state": "ERROR", "train_batch_size": given.batch,
                **{key: yaml.safe_load(value) for key, value in (pair.split("=", 1) for pair in given.set)},
            }  # fmt: skip
            for question in given.questions:
                QUESTIONS[question](settings, given.steps, given.rounds)


if __name__ == "__main__":
    main()
