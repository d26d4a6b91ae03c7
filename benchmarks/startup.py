"""What a command costs before it does anything: CPU seconds of help, of bad input and of one epoch on a tiny shop, before and after.

    python benchmarks/startup.py [--before=25e3868] [--after=.] [--rounds=5]

Both are a folder with this repository, or a commit of it, of which a worktree is made. Every call is a process of its own with one thread,
the two take turns, and what is printed are the medians. RecBole's own run is through `import recbole_mm`, without which it does not start
on today's libraries.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from recbole_mm.testing.planted import write_features, write_planted

ROOT = Path(__file__).resolve().parents[1]
STOCK = """
import sys, recbole_mm
sys.argv = sys.argv[:1]
from recbole.quick_start import run_recbole
run_recbole(model="BPR", dataset="shop", config_dict={"data_path": "data", "epochs": 1, "use_gpu": False, "checkpoint_dir": "saved"})
"""
RUN = ["--dataset=shop", "--data_path=data", "--epochs=1", "--use_gpu=False", "--quiet"]
CALLS = {
    "--help": ["--help"],
    "an encoder's wrong name": ["--model=VBPR", "--encoder=open_clip:ViT-B-61@openai", *RUN],
    "BPR, one epoch": ["--model=BPR", *RUN],
    "VBPR on feature files, one epoch": ["--model=VBPR", "--feature_files={a: a.safetensors}", "--modalities=[a]", *RUN],
    "VBPR over open_clip:tiny, frozen, one epoch": ["--model=VBPR", "--encoder=open_clip:tiny", "--encoder_training=pretrained", *RUN],
}


@contextmanager
def tree(source: str, scratch: Path) -> Iterator[Path]:
    """The folder of a repository, or a worktree of a commit."""
    if Path(source).is_dir():
        yield Path(source).resolve()
        return
    folder = scratch / source
    subprocess.run(["git", "-C", ROOT, "worktree", "add", "--detach", "--quiet", folder, source], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", folder], check=True)


def cpu_seconds(call: Sequence[str], code: Path, folder: Path) -> float:
    """Of a Python process that finds ``code`` first. Its byte code is kept in ``folder``."""
    environment = {**os.environ, "PYTHONPATH": str(code), "PYTHONPYCACHEPREFIX": str(folder / "byte_code"), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *call], cwd=folder, env=environment, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(name: str, calls: Sequence[tuple[Sequence[str], Path]], folder: Path, rounds: int) -> None:
    """Prints the seconds of two calls, and their ratio."""
    for call in calls:
        cpu_seconds(*call, folder)  # byte code and the demo's cache are there afterwards
    times = [[cpu_seconds(*call, folder) for call in calls] for _ in range(rounds)]
    first, second = (median(column) for column in zip(*times, strict=True))
    print(f"{name:48} {first:6.2f} s {second:6.2f} s {second / first:6.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default="25e3868")
    parser.add_argument("--after", default=str(ROOT))
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        write_features(write_planted(scratch / "data" / "shop"))
        with tree(given.before, scratch) as before, tree(given.after, scratch) as after:
            print(f"{'CPU seconds':48} {'before':>8} {'after':>8} {'ratio':>6}")
            for task, arguments in CALLS.items():
                calls = [([str(code / "run_recbole_mm.py"), *arguments], code) for code in (before, after)]
                compare(task, calls, scratch, given.rounds)
            ours = [str(after / "run_recbole_mm.py"), *CALLS["BPR, one epoch"]]
            compare("BPR, RecBole's run_recbole and ours", [(["-c", STOCK], before), (ours, after)], scratch, given.rounds)


if __name__ == "__main__":
    main()
