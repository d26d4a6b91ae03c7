"""Recommendations for many users from many items, beside the bare product with torch.topk and beside FAISS, and what HNSW finds.

    python benchmarks/serving.py [--items=1000000] [--users=100000] [--sample=4096] [--hnsw]

All of it on one core, in this process, in turns; seconds are those of the processor, medians over the rounds. In a round, recommendations
are made for the users of the sample; the product with topk and FAISS get 512 of these.
"""

import argparse
import gc
import resource
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import faiss
import numpy as np
import torch
from clock import clock
from safetensors.torch import save_file
from torch import Tensor

from recbole_mm.serving import Recommender
from recbole_mm.serving.export.layout import ITEMS, SEEN, USERS, VECTORS, write_manifest
from recbole_mm.serving.export.tables import write_table
from recbole_mm.serving.index import VectorIndex

WIDTH, SEEN_EACH, K, ROUNDS = 64, 20, 10, 3
BARE_AT_ONCE = 64


def drawn(n: int, generator: torch.Generator) -> Tensor:
    """Vectors (n + 1, WIDTH), the first of them padding: around 200 centres, with norms that follow a power law as popularity does."""
    centres = torch.randn(200, WIDTH, generator=torch.Generator().manual_seed(1))
    rows = centres[torch.randint(200, (n + 1,), generator=generator)] + 0.7 * torch.randn(n + 1, WIDTH, generator=generator)
    rows = torch.nn.functional.normalize(rows, dim=1)
    ranks = torch.randperm(n + 1, generator=generator) + 1
    rows *= (1.2 - 0.5 * ranks.log() / np.log(n + 1)).unsqueeze(1)
    rows[0] = 0
    return rows


def write_shop(folder: Path, n_users: int, n_items: int) -> None:
    """An exported folder of drawn vectors."""
    generator = torch.Generator().manual_seed(0)
    save_file({"users": drawn(n_users, generator), "items": drawn(n_items, generator)}, folder / VECTORS)
    starts = torch.arange(-1, n_users + 1).clamp_min(0) * SEEN_EACH
    save_file({"starts": starts, "items": torch.randint(1, n_items + 1, (n_users * SEEN_EACH,), generator=generator)}, folder / SEEN)
    write_table(folder / USERS, {"user": [f"u{i}" for i in range(n_users)]}, None)
    items = {"item": [f"i{i}" for i in range(n_items)], "title": [""] * n_items, "recommended": np.ones(n_items, dtype=bool)}
    write_table(folder / ITEMS, items, None)
    write_manifest(folder, {"model": "drawn", "modalities": [], "id_field": "item_id", "reads_histories": False, "index": None})


def seconds(work: Callable[[], object]) -> float:
    start = clock()
    work()
    return clock() - start


def peak() -> float:
    """GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--sample", type=int, default=4096)
    parser.add_argument("--hnsw", action="store_true", help="with an index, which takes minutes to build")
    given = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_shop(folder, given.users, given.items)
        gc.collect()
        before = peak()
        recommender = Recommender.load(folder)
        users, items = recommender.scores.vectors()
        some = recommender.users[: given.sample]
        recommender.recommend(some, K)
        print(f"peak memory: {peak():.2f} GiB, {before:.2f} of them before, by drawing and writing", flush=True)
        few = users[1 : 1 + min(len(some), 512)]
        flat = faiss.IndexFlatIP(WIDTH)
        flat.add(items[1:].numpy())
        ways = {
            "recommend": (len(some), lambda: recommender.recommend(some, K)),
            "product and topk": (len(few), lambda: [(part @ items.T).topk(K) for part in few.split(BARE_AT_ONCE)]),
            "FAISS flat": (len(few), lambda: flat.search(few.numpy(), K)),
        }
        if given.hnsw:
            allowed, built = torch.arange(len(items)) > 0, clock()
            index = VectorIndex.built(items, allowed, "hnsw")
            built = clock() - built
            recall = index.check(users[1:1001], items, allowed)
            print(f"HNSW: {built:.0f} s to build, {recall:.3f} of the true best {K} at efSearch {index.width}", flush=True)
            indexed = Recommender(replace(recommender.parts, index=index))
            ways["recommend, HNSW"] = len(some), lambda: indexed.recommend(some, K)
        times = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, (n, work) in ways.items():
                times[name].append(n / seconds(work))
        for name, rates in times.items():
            print(f"{name}: {median(rates):.0f} users per second ({min(rates):.0f} to {max(rates):.0f})", flush=True)


if __name__ == "__main__":
    main()
