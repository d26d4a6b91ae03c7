"""What has to fit, and what has to be quick: a kNN graph of many items, the ranking of a million items, an interaction graph made anew.

    python benchmarks/scale.py [--questions knn ranking rebuild]

Each question has a process of its own, whose peak memory counts (that of the GPU, where there is one).
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from clock import DEVICE
from graphs import N_INTERACTIONS, N_ITEMS, N_USERS, timed

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.model.graph import InteractionGraph, knn_graph, light_gcn
from recbole_mm.quick_start import build_model, build_trainer
from recbole_mm.training.loaders import create_dataset, data_preparation


def knn(n: int = 100_000, width: int = 512) -> None:
    """A kNN graph."""
    features = torch.randn(n, width, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    before = peak()
    seconds = timed(lambda: knn_graph(features, 10))
    print(f"kNN graph of {n} x {width}: {seconds:.1f} s, peak {peak():.2f} GiB, of which {before:.2f} before it began", flush=True)


def ranking(n_items: int = 1_000_000, n_users: int = 1_000, width: int = 64) -> None:
    """VBPR's evaluation of all users over all items, beside the products of the same embeddings and their top k alone."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "many"
        folder.mkdir()
        with open(folder / "many.inter", "w") as file:
            file.write("user_id:token\titem_id:token\n")
            file.writelines(f"u{user}\ti{item}\n" for item, user in enumerate(rng.integers(0, n_users, n_items)))
        (folder / "ids.txt").write_text("\n".join(f"i{i}" for i in range(n_items)) + "\n")
        np.save(folder / "image.npy", rng.normal(size=(n_items, width)).astype(np.float32))
        keys = {
            "data_path": scratch, "feature_files": {"image": "image.npy"}, "feature_ids": "ids.txt", "encoder_training": "pretrained",
            "use_gpu": DEVICE == "cuda", "show_progress": False, "state": "ERROR",
            "metrics": ["Recall"], "topk": [20], "valid_metric": "Recall@20",
        }  # fmt: skip
        config = MultiModalConfig("VBPR", "many", config_dict=keys)
        train, valid, _ = data_preparation(config, create_dataset(config))
        trainer = build_trainer(config, build_model(config, train))
        before = peak()
        seconds = timed(lambda: trainer.evaluate(valid, load_best_model=False))
        found = f"{before:.2f} GiB before, {peak():.2f} at most"
        trainer.model.eval()
        with torch.no_grad():
            users, items = trainer.model.final_embeddings()
        bare = timed(lambda: [(some @ items.T).topk(20) for some in users.split(16)])
        print(f"{n_users} users x {n_items} items: {seconds:.1f} s, products and top k alone {bare:.1f} s; {found}", flush=True)


def rebuild(layers: int = 2, size: int = 64) -> None:
    """A part of the interactions drawn, normalised and made a matrix, beside a step of LightGCN over it."""
    rng = torch.Generator().manual_seed(0)
    users = torch.randint(N_USERS, (N_INTERACTIONS,), generator=rng)
    items = torch.randint(N_ITEMS, (N_INTERACTIONS,), generator=rng)
    graph = InteractionGraph(users.to(DEVICE), items.to(DEVICE), N_USERS, N_ITEMS)
    weights = graph.edge_weights()
    tables = [torch.randn(n, size, generator=rng).to(DEVICE).requires_grad_() for n in (N_USERS, N_ITEMS)]

    def step() -> None:
        u, i = light_gcn(adjacency, *tables, layers)
        (u[users[:2048]].square().mean() + i[:2048].square().mean()).backward()

    draws = {"edge dropout": lambda: graph.dropout(0.3).adjacency(), "sampling (FREEDOM)": lambda: graph.sample(0.2, weights).adjacency()}
    adjacency = graph.adjacency()
    spent = {name: median(timed(work) for _ in range(7)) for name, work in {**draws, "propagation, forward and backward": step}.items()}
    *parts, last = spent.items()
    print("; ".join(f"{name}: {seconds / last[1]:.2f}" for name, seconds in parts), f"of {last[0]} ({last[1]:.3f} s)", flush=True)


QUESTIONS: dict[str, Callable[[], None]] = {"knn": knn, "ranking": ranking, "rebuild": rebuild}


def peak() -> float:
    """GiB."""
    if DEVICE == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", nargs="+", default=list(QUESTIONS), choices=list(QUESTIONS))
    given = parser.parse_args()
    if len(given.questions) > 1:
        for question in given.questions:
            subprocess.run([sys.executable, __file__, "--questions", question], check=True)
        return
    sys.argv = sys.argv[:1]
    torch.set_num_threads(1)
    QUESTIONS[given.questions[0]]()


if __name__ == "__main__":
    main()
