"""What only a GPU can show, in at most eight minutes: what runs, how fast, how near to the GPU's own rate, and in how much memory.

    python benchmarks/gpu.py [--output gpu.md] [--minutes 8] [--questions matrix tests ...] [--dry]

Every question has a process of its own and a share of the time. What a question has found by then stays in the table, whatever becomes of
it. Encoders have random weights, and the shop is drawn. ``--dry`` goes through all of it with tiny encoders, on a CPU if need be: the rows
show that the script works, and nothing else.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from clock import DEVICE, clock
from efficiency import bare_stepper, interleaved, kept_bytes, peak_bytes, stepper
from gpu_rates import fsdp_memory, group, rates, useful_flops
from skewed import draw

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.data.demo import write_demo
from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.vlmo import VLMo, VLMoConfig
from recbole_mm.encoder.vlmo.tokenizer import TINY_VOCABULARY
from recbole_mm.quick_start import build_model, build_trainer
from recbole_mm.training.loaders import create_dataset, data_preparation

Row = tuple[str, str]
HERE = Path(__file__).resolve().parent
VARIANTS = {
    "chunks of 256": {"encoder_chunk_size": 256},
    "chunks of 256, checkpointing": {"encoder_chunk_size": 256, "gradient_checkpointing": True},
    "no chunks, checkpointing": {"encoder_chunk_size": 4096, "gradient_checkpointing": True},
    "no chunks": {"encoder_chunk_size": 4096},
    "chunks of 256, compiled": {"encoder_chunk_size": 256, "encoder_compile": True},
}


def matrix(folder: Path, dry: bool) -> Iterator[Row]:
    """The rates that everything else is measured by."""
    yield from rates(256 if dry else 8192).items()


def tests(folder: Path, dry: bool) -> Iterator[Row]:
    """tests/test_gpu.py, which is skipped without a GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "tests/test_gpu.py"]
    counts, said = {"passed": 0, "failed": 0, "skipped": 0}, ""
    letters = dict(zip(".Fs", counts, strict=True))
    with subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, bufsize=1) as running:
        while letter := running.stdout.read(1):
            said += letter
            if "\n" not in said and letter in letters:
                counts[letters[letter]] += 1
                yield "tests", ", ".join(f"{n} {what}" for what, n in counts.items())


def vit(folder: Path, dry: bool) -> Iterator[Row]:
    """CLIP's ViT-B/16 with its text tower."""
    return end_to_end(folder, "open_clip:tiny" if dry else clip_encoder(folder), dry)


def clip_encoder(folder: Path) -> str:
    """An encoder with random weights, which lie in a file."""
    import open_clip

    weights = folder / "ViT-B-16.pt"
    if not weights.exists():
        torch.save(open_clip.create_model("ViT-B-16").state_dict(), weights)
    return f"open_clip:ViT-B-16@{weights}"


def vlmo(folder: Path, dry: bool) -> Iterator[Row]:
    """VLMo base."""
    if dry:
        return end_to_end(folder, "vlmo:tiny", dry)
    weights, config = folder / "vlmo" / "base.pt", VLMoConfig.named("base")
    weights.parent.mkdir()
    torch.save(VLMo(config).state_dict(), weights)
    pieces = Path(TINY_VOCABULARY).read_text(encoding="utf-8").split()
    pieces += [f"[unused{place}]" for place in range(len(pieces), config.vocab_size)]
    (weights.parent / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return end_to_end(folder, f"vlmo:base@{weights}", dry)


def end_to_end(folder: Path, encoder: str, dry: bool) -> Iterator[Row]:
    """Training steps of CLIPRec in bf16, each variant by its speed, its share of the measured rate, and its memory."""
    settings = {
        "dataset": "demo", "data_path": str(folder), "cache_dir": str(folder / "cache"), "encoder": encoder, "encoder_precision": "bf16",
        "encoder_training": "end2end", "train_batch_size": 64 if dry else 2048, "use_gpu": DEVICE == "cuda", "show_progress": False,
        "state": "ERROR",
    }  # fmt: skip
    flops, rate = useful_flops(create_encoder(encoder).to(DEVICE)), json.loads((folder / "rates.json").read_text())["bf16"]
    yield "useful work of an item, forward and backward", f"{flops / 1e9:.1f} GFLOP"

    def told(speed: float) -> str:
        return f"{speed:.0f} items/s, {speed * flops / rate:.2f} of the matrix rate"

    speed = interleaved({"": bare_stepper(settings, 256)}, 1 if dry else 2, 1 if dry else 3)[""]
    yield "the bare encoder on ready pixels, 256 in a call", told(speed)
    for name, keys in VARIANTS.items():
        if dry and "encoder_compile" in keys:  # a CPU's compiler takes minutes
            continue
        try:
            steps = stepper({**settings, **keys})
            peak = peak_bytes(steps) if DEVICE == "cuda" else kept_bytes({**settings, **keys})
            speed = interleaved({"": steps}, 1 if dry else 2, 1 if dry else 3)[""]
            yield name, f"{told(speed)}, {peak / 2**20:.0f} MiB"
        except torch.OutOfMemoryError:
            yield name, "more memory than there is"
        steps = None


def loop(folder: Path, dry: bool) -> Iterator[Row]:
    """Batches, training and evaluation of BPR on the device, by the quick loop and by RecBole's."""
    size = "baby" if dry else "medium"
    draw(folder, size)
    for fast in (True, False):
        keys = {"data_path": str(folder), "use_gpu": DEVICE == "cuda", "show_progress": False, "state": "ERROR", "fast_loop": fast}
        config = MultiModalConfig("BPR", size, config_dict=keys)
        train, valid, _ = data_preparation(config, create_dataset(config))
        trainer = build_trainer(config, build_model(config, train))
        trainer.eval_collector.data_collect(train)
        works = {
            "batches of an epoch": lambda train=train: sum(1 for _ in train),
            "an epoch": lambda trainer=trainer, train=train: trainer._train_epoch(train, 0),
            "an evaluation": lambda trainer=trainer, valid=valid: trainer.evaluate(valid, load_best_model=False),
        }
        for name, work in works.items():
            if not dry:
                work()
            start = clock()
            work()
            yield f"BPR, {size}, {'quick' if fast else 'RecBole'}: {name}", f"{clock() - start:.2f} s"


def processes(folder: Path, dry: bool) -> Iterator[Row]:
    """One process in a group: NCCL (gloo without a GPU), and an encoder whose blocks are whole one at a time."""
    yield from group(folder)
    yield from fsdp_memory("open_clip:tiny" if dry else clip_encoder(folder), 4 if dry else 64)


QUESTIONS: dict[str, tuple[Callable[[Path, bool], Iterator[Row]], float]] = {
    "matrix": (matrix, 0.05), "vit": (vit, 0.25), "vlmo": (vlmo, 0.25), "loop": (loop, 0.1), "processes": (processes, 0.1),
    "tests": (tests, 0.25),
}  # fmt: skip
"""Each with its share of the time; what one leaves goes to those after it."""


def asked(question: str, folder: Path, dry: bool, seconds: float) -> Iterator[Row]:
    """The rows of a question from a process of its own, until it ends or has had its time."""
    command = [sys.executable, __file__, "--ask", question, str(folder), *["--dry"] * dry]
    log = folder / f"{question}.log"
    with open(folder / f"{question}.rows", "w+") as rows, open(log, "w") as errors:
        running = subprocess.Popen(command, stdout=rows, stderr=errors, start_new_session=True)
        try:
            ended = running.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, 9)
            running.wait()
            ended = None
        rows.seek(0)
        yield from dict(json.loads(line) for line in rows if line.startswith("[")).items()
    if ended is None:
        yield question, f"not at its end after {seconds:.0f} s"
    elif ended:
        yield question, f"failed: {log.read_text().strip().splitlines()[-1]}"


def ask(question: str, folder: Path, dry: bool) -> None:
    sys.argv = sys.argv[:1]
    for row in QUESTIONS[question][0](folder, dry):
        if row[0] == "bf16":
            (folder / "rates.json").write_text(json.dumps({"bf16": float(row[1].split()[0]) * 1e12}))
        print(json.dumps(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("gpu.md"))
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--questions", nargs="+", default=list(QUESTIONS), choices=list(QUESTIONS))
    parser.add_argument("--dry", action="store_true", help="go through everything with tiny encoders, on a CPU if there is no GPU")
    given = parser.parse_args()
    if DEVICE != "cuda" and not given.dry:
        parser.error("there is no GPU; --dry goes through the script on a CPU")
    end, left = time.monotonic() + 60 * given.minutes, sum(QUESTIONS[question][1] for question in given.questions)
    what = torch.cuda.get_device_name() if DEVICE == "cuda" else "a CPU (dry)"
    lines = [f"{what}, torch {torch.__version__}", "", "| | question | result |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_demo(folder / "demo", n_users=60 if given.dry else 1500, n_items=60 if given.dry else 3000)
        for question in dict.fromkeys(["matrix", *given.questions]):
            share = QUESTIONS[question][1]
            seconds = (end - time.monotonic()) * min(1.0, share / max(left, share))
            left -= share
            for name, result in asked(question, folder, given.dry, seconds):
                lines.append(f"| {question} | {name} | {result} |")
                print(lines[-1], flush=True)
    given.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if "--ask" in sys.argv:
        ask(sys.argv[2], Path(sys.argv[3]), "--dry" in sys.argv)
    else:
        main()
