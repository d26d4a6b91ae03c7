"""Does ``recbole-mm prepare`` beat the same steps in pandas, and in how much memory?

    python benchmarks/prepare.py --rows=10000000 --items=500000

Interactions (csv) and item texts (csv) are drawn; both ways read them, keep ratings of 3 and better, the last one of a pair, the 5-core,
clean the texts and write atomic files. Each runs in a process of its own; the peak memory is its largest resident size.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

K, MIN_RATING = 5, 3.0
ROOT = Path(__file__).resolve().parents[1]


def draw(folder: Path, rows: int, items: int, seed: int = 0) -> None:
    """Items by a long-tailed popularity; a tenth of the pairs are repeated."""
    rng = np.random.default_rng(seed)
    users = rows // 20
    for start in range(0, rows, 1_000_000):
        n = min(1_000_000, rows - start)
        user = rng.integers(0, users, n)
        item = (items * rng.random(n) ** 2).astype(np.int64)
        again = rng.random(n) < 0.1
        user[1:][again[1:]], item[1:][again[1:]] = user[:-1][again[1:]], item[:-1][again[1:]]
        table = pd.DataFrame({
            "user_id": np.char.add("U", user.astype(str)), "item_id": np.char.add("B", item.astype(str)),
            "rating": rng.integers(1, 6, n).astype(float), "timestamp": rng.integers(1.4e9, 1.7e9, n),
        })  # fmt: skip
        table.to_csv(folder / "interactions.csv", mode="a", header=start == 0, index=False)
    words = np.array(["soft", "warm", "lamp", "chair", "<b>oak</b>", "&amp;", "table", "blue", "red", "wool", '5"', "silk", "mug"])
    texts = [" ".join(line) for line in words[rng.integers(0, len(words), (items, 40))]]
    titles = [" ".join(line) for line in words[rng.integers(0, len(words), (items, 6))]]
    table = pd.DataFrame({"item_id": [f"B{i}" for i in range(items)], "title": titles, "description": texts})
    table.to_csv(folder / "items.csv", index=False)


def with_prepare(folder: Path, memory: str) -> dict[str, int]:
    from recbole_mm.data.prepare.options import parse
    from recbole_mm.data.prepare.pipeline import prepare

    arguments = [f"--input={folder}", f"--output={folder / 'ours'}", f"--k-core={K}", f"--min-rating={MIN_RATING}", f"--memory={memory}"]
    summary = prepare(parse([*arguments, "--overwrite"]))
    return {"interactions": summary.interactions, "users": summary.users, "items": summary.items}


def with_pandas(folder: Path) -> dict[str, int]:
    from recbole_mm.data.text import clean_text

    kept = pd.read_csv(folder / "interactions.csv", dtype={"user_id": str, "item_id": str})
    kept = kept[kept.rating >= MIN_RATING].sort_values("timestamp", kind="stable").drop_duplicates(["user_id", "item_id"], keep="last")
    while True:
        users, items = kept.user_id.map(kept.user_id.value_counts()), kept.item_id.map(kept.item_id.value_counts())
        core = kept[(users >= K) & (items >= K)]
        if len(core) == len(kept):
            break
        kept = core
    items = pd.read_csv(folder / "items.csv", dtype=str).fillna("")
    items = items[items.item_id.isin(kept.item_id.unique())].sort_values("item_id")
    for column in ("title", "description"):
        items[column] = items[column].map(clean_text)
    target = folder / "pandas"
    target.mkdir(exist_ok=True)
    kept = kept.sort_values(["user_id", "timestamp", "item_id"])
    for table, kinds in ((kept, ("token", "token", "float", "float")), (items, ("token", "token_seq", "token_seq"))):
        header = [f"{column}:{kind}" for column, kind in zip(table.columns, kinds, strict=True)]
        table.to_csv(target / f"pandas.{'inter' if table is kept else 'item'}", sep="\t", index=False, header=header)
    return {"interactions": len(kept), "users": kept.user_id.nunique(), "items": len(items)}


def measured(way: str, folder: Path, memory: str) -> dict:
    """A way in a process of its own: seconds of the work, seconds of the process, peak memory in GB, and what was kept."""
    command = [sys.executable, __file__, f"--only={way}", f"--folder={folder}", f"--memory={memory}"]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr[-2000:]}")
    return {**json.loads(done.stdout.splitlines()[-1]), "process": time.perf_counter() - started}


def peak_memory() -> float:
    """GB of this program so far (Linux); ru_maxrss would begin with the peak of the process that started it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e6


def work(way: str, folder: Path, memory: str) -> None:
    sys.path.insert(0, str(ROOT))
    import recbole_mm.data.text  # noqa: F401  what both load is no part of the work

    before, started, cpu = peak_memory(), time.perf_counter(), time.process_time()
    kept = with_prepare(folder, memory) if way == "prepare" else with_pandas(folder)
    result = {"kept": kept, "seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu, "base": before}
    print(json.dumps({**result, "peak": peak_memory()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", choices=("prepare", "pandas"))
    arguments = parser.parse_args()
    if arguments.only:
        return work(arguments.only, arguments.folder, arguments.memory)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        draw(folder, arguments.rows, arguments.items)
        size = (folder / "interactions.csv").stat().st_size / 1e6
        print(f"{arguments.rows:,} interactions ({size:,.0f} MB), {arguments.items:,} items, {K}-core, rating >= {MIN_RATING:g}")
        found = {way: measured(way, folder, arguments.memory) for way in ("prepare", "pandas")}
    for way, result in found.items():
        rate = arguments.rows / result["seconds"]
        took = f"{result['seconds']:6.1f} s ({result['cpu']:.1f} s of cpu) {rate:12,.0f} rows/s"
        print(f"{way:<8} {took}  peak {result['peak']:5.2f} GB (imports {result['base']:.2f})")
    ours, theirs = found["prepare"], found["pandas"]
    print(f"ratio    {theirs['seconds'] / ours['seconds']:.2f} (cpu {theirs['cpu'] / ours['cpu']:.2f}) times pandas' rows a second")
    print(f"kept     {ours['kept']}, {'the same' if ours['kept'] == theirs['kept'] else theirs['kept']} with pandas")


if __name__ == "__main__":
    main()
