"""Recommenders on synthetic data of Amazon-Baby's size, each against the plain way to write it.

    python benchmarks/graphs.py [--models VBPR LATTICE ...] [--steps 4] [--evaluations 2]

An epoch's seconds are those of what starts it, of its first batch, and of the median of a few other batches times their number.
The plain way of training projects the whole catalogue's features in every batch (VBPR, FREEDOM), holds item graphs as dense n x n
matrices (LATTICE, FREEDOM, MGCN, SMORE, PGL, MENTOR, DRAGON, COHESION), sums a user's neighbours up from a tensor of all their rows
(DualGNN, DRAGON, COHESION), has a row of numbers for every edge (GRCN), contrasts all users and all items (MENTOR), or the batch's with all
(LGMRec, DiffMM), and denoises whole rows of items step by step (DiffMM); where no column says so, there is no other. The plain way of
evaluating makes the final embeddings anew for every batch of users. Both ways take turns, in one process. Seconds are those of one CPU
core's work, whatever else runs; where there is a GPU, it is used, and they are the clock's.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from clock import DEVICE, clock
from torch import Tensor
from torch.nn import functional

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.model import OUR_MODELS, get_model
from recbole_mm.model.base import EmbeddingRecommender
from recbole_mm.model.loss import bpr_loss, squared_norm
from recbole_mm.model.smore import FUSED
from recbole_mm.quick_start import build_model, build_trainer
from recbole_mm.training.loaders import create_dataset, data_preparation

N_USERS, N_ITEMS, N_INTERACTIONS = 19_445, 7_050, 160_792
WIDTHS = {"image": 4096, "text": 384}
IDS_ONLY = ("CLIPRec", "VLMoRec", "BEiT3Rec")


def write_data(folder: Path) -> None:
    """Every user has at least 5 interactions, every item one; items' popularity falls as in the real data set."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    counts = 5 + rng.multinomial(N_INTERACTIONS - 5 * N_USERS, rng.dirichlet(np.full(N_USERS, 0.5)))
    popularity = (20 + np.arange(N_ITEMS)) ** -0.8
    pairs = {(i % N_USERS, i) for i in range(N_ITEMS)}
    for user, n in enumerate(counts):
        pairs |= {(user, int(item)) for item in rng.choice(N_ITEMS, min(n, 200), replace=False, p=popularity / popularity.sum())}
    lines = [f"u{user}\ti{item}" for user, item in sorted(pairs)]
    (folder / f"{folder.name}.inter").write_text("\n".join(["user_id:token\titem_id:token", *lines[:N_INTERACTIONS]]) + "\n")
    (folder / f"{folder.name}.item").write_text("\n".join(["item_id:token", *(f"i{i}" for i in range(N_ITEMS))]) + "\n")
    for m, width in WIDTHS.items():
        np.save(folder / f"{m}.npy", rng.normal(size=(N_ITEMS, width)).astype(np.float32))
    (folder / "ids.txt").write_text("\n".join(f"i{i}" for i in range(N_ITEMS)) + "\n")


def dense_graph(rows: Tensor, k: int, binary: bool = False) -> Tensor:
    """As an n x n matrix, by n x n similarities."""
    normal = functional.normalize(rows, dim=-1)
    weights, indices = (normal @ normal.T).topk(k)
    weights = torch.ones_like(weights) if binary else weights.clamp(min=0)
    graph = weights.new_zeros(len(rows), len(rows)).scatter(1, indices, weights)
    scale = graph.sum(1).clamp(min=1e-12).rsqrt()
    return graph * scale.unsqueeze(1) * scale


def plain_vbpr(model) -> None:
    def calculate_loss(batch):
        every, _ = model._items(slice(None), model.item_features.table())
        u, i, j = model.user_embedding(batch["user_id"]), every[batch["item_id"]], every[batch["neg_item_id"]]
        return bpr_loss((u * i).sum(-1), (u * j).sum(-1)), model.reg_weight * squared_norm(u, i, j)

    model.calculate_loss = calculate_loss


def plain_freedom(model) -> None:
    def calculate_loss(batch):
        users, items = model.embed()
        u = users[batch["user_id"]]
        views = [items, *model.project(model.item_features.table()).values()]
        losses = [bpr_loss((u * rows[batch["item_id"]]).sum(-1), (u * rows[batch["neg_item_id"]]).sum(-1)) for rows in views]
        return losses[0], model.reg_weight * sum(losses[1:])

    plain_weighted_graph(model)
    model.calculate_loss = calculate_loss


def plain_weighted_graph(model) -> None:
    weights = model.modality_weights
    model.build_item_graph = lambda features: sum(weights[m] * dense_graph(rows, model.knn_k, True) for m, rows in features.items())


def plain_user_graph(model) -> None:
    """The sum over a user's neighbours by way of all their rows, (n_users, k, d)."""
    matrix, k = model.user_graph.forward_csr.to_dense(), int(model.user_graph.forward_csr.crow_indices().diff().max())
    weights, indices = matrix.topk(k)

    class Gathered:
        def __matmul__(self, rows: Tensor) -> Tensor:
            return (weights.unsqueeze(-1) * rows[indices]).sum(1)

    model.user_graph = Gathered()


def plain_both_graphs(model) -> None:
    plain_weighted_graph(model)
    plain_user_graph(model)


def plain_smore(model) -> None:
    def build_item_graph(features):
        graphs = {m: dense_graph(rows, model.neighbours[m]) for m, rows in features.items()}
        return {**graphs, FUSED: torch.stack([*graphs.values()]).amax(0)}

    model.build_item_graph = build_item_graph


def plain_mentor(model) -> None:
    plain_weighted_graph(model)
    model.compared = lambda batch: (torch.arange(model.n_users, device=DEVICE), torch.arange(model.n_items, device=DEVICE))


def plain_mgcn(model) -> None:
    model.build_item_graph = lambda features: {m: dense_graph(rows, model.neighbours[m]) for m, rows in features.items()}


def plain_lattice(model) -> None:
    initial = {}

    def mixed_graph(fresh_ids=None):
        if model.training and model._constant_graph is not None:
            return model._constant_graph
        if not initial:
            initial.update({m: dense_graph(rows, model.knn_k) for m, rows in model.item_features.table().items()})
        learned = {m: dense_graph(rows, model.knn_k) for m, rows in model.transform(model.trained.table()).items()}
        alpha, share = model.modality_logits.softmax(0), model.lambda_coeff
        graph = sum(a * (share * initial[m] + (1 - share) * learned[m]) for a, m in zip(alpha, learned, strict=True))
        if model.training:
            model._constant_graph = graph.detach()
        return graph

    model.mixed_graph, model.build_item_graph = mixed_graph, lambda features: None


def plain_grcn(model) -> None:
    for edges in (model.edges, model.user_edges):

        def products(a, b, edges=edges):
            return (a[edges.rows] * b[edges.columns]).sum(-1)

        def weighted_sum(values, x, edges=edges):
            return x.new_zeros(edges.shape[0], x.shape[1]).index_add(0, edges.rows, values.unsqueeze(1) * x[edges.columns])

        edges.products, edges.sum = products, weighted_sum


def plain_lgmrec(model) -> None:
    model.contrast_sample = max(N_USERS, N_ITEMS)


def plain_diffmm(model) -> None:
    def top_items(graph, k, batch_size, denoiser):
        tops = torch.zeros(graph.n_users, k, dtype=torch.long)
        weights = {name: getattr(denoiser, name) for name in denoiser.names}
        for users in torch.arange(1, graph.n_users).split(batch_size):
            x = graph.rows(users)
            for step in reversed(range(len(denoiser.schedule.signal))):
                hidden = torch.tanh(x @ denoiser.rows_in + denoiser.of_steps(torch.full((1,), step), weights))
                found = torch.addmm(denoiser.bias_out, hidden, denoiser.rows_out)
                x = denoiser.schedule.of_prediction[step].item() * found + denoiser.schedule.of_noisy[step].item() * x
            tops[users] = 1 + x[:, 1:].topk(k).indices
        return tops

    model.contrast_sample = max(N_USERS, N_ITEMS)
    for denoiser in model.denoisers.values():
        denoiser.top_items = partial(top_items, denoiser=denoiser)


PLAIN: dict[str, Callable] = {
    "DRAGON": plain_both_graphs,
    "COHESION": plain_both_graphs,
    "DualGNN": plain_user_graph,
    "VBPR": plain_vbpr,
    "FREEDOM": plain_freedom,
    "MGCN": plain_mgcn,
    "LATTICE": plain_lattice,
    "PGL": plain_weighted_graph,
    "SMORE": plain_smore,
    "MENTOR": plain_mentor,
    "GRCN": plain_grcn,
    "LGMRec": plain_lgmrec,
    "DiffMM": plain_diffmm,
}


class Run:
    """A model of its own, timed a piece at a time."""

    def __init__(self, name: str, folder: Path, loaders: dict, change: Callable | None = None, **keys: object) -> None:
        config = MultiModalConfig(name, folder.name, config_dict={**settings(folder), **keys})
        if name not in loaders:
            loaders[name] = data_preparation(config, create_dataset(config))
        self.train, self.valid, _ = loaders[name]
        self.model = build_model(config, self.train)
        if change:
            change(self.model)
        self.trainer = build_trainer(config, self.model)
        self.n_batches = len(self.train)

    def first(self, batch) -> float:
        def work():
            self.model.start_epoch(0)
            self._step(batch)

        self.model.train()
        self.model.start_epoch(0)
        return timed(work)

    def step(self, batch) -> float:
        return timed(lambda: self._step(batch))

    def evaluation(self, plain: bool) -> float:
        self.model.eval()
        final = type(self.model).final_embeddings
        self.model.final_embeddings = (lambda: self.model.embed()) if plain else (lambda: final(self.model))
        return timed(lambda: self.trainer.evaluate(self.valid, load_best_model=False))

    def _step(self, batch) -> None:
        losses = self.model.calculate_loss(batch.to(self.trainer.device))
        self.trainer.optimizer.zero_grad()
        (sum(losses) if isinstance(losses, tuple) else losses).backward()
        self.trainer.optimizer.step()


def settings(folder: Path) -> dict:
    return {
        "data_path": str(folder.parent), "feature_files": {m: f"{m}.npy" for m in WIDTHS}, "feature_ids": "ids.txt",
        "encoder_training": "pretrained", "show_progress": False, "use_gpu": DEVICE == "cuda", "state": "ERROR", "epochs": 1,
        "train_batch_size": 2048, "cache_dir": str(folder.parent / "cache"),
    }  # fmt: skip


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    start = clock()
    work()
    return clock() - start


def compare(name: str, folder: Path, loaders: dict, steps: int, evaluations: int) -> None:
    runs = [Run(name, folder, loaders, change) for change in ((None, PLAIN[name]) if name in PLAIN else (None,))]
    batches = [batch for batch, _ in zip(runs[0].train, range(steps + 2), strict=False)]
    first = [run.first(batches[0]) for run in runs]
    for run in runs:
        run.step(batches[1])
    others = [[run.step(batch) for run in runs] for batch in batches[2:]]
    step = [median(column) for column in zip(*others, strict=True)]
    epoch = [f + s * (run.n_batches - 1) for f, s, run in zip(first, step, runs, strict=True)]
    line = f"{name:10} epoch {epoch[0]:6.1f} s (first batch {first[0]:.2f} s, others {step[0]:.2f} s)"
    if len(runs) > 1:
        line += f"; plain {epoch[1]:6.1f} s ({first[1]:.2f} s, {step[1]:.2f} s): {epoch[1] / epoch[0]:.1f} times as long"
    pairs = [(runs[0].evaluation(False), runs[0].evaluation(True)) for _ in range(evaluations)]
    ours, plain = (median(column) for column in zip(*pairs, strict=True))
    print(f"{line} | evaluation {ours:.1f} s; plain {plain:.1f} s: {plain / ours:.1f} times as long", flush=True)


def main() -> None:
    registered = [name for name in OUR_MODELS if name not in IDS_ONLY and issubclass(get_model(name), EmbeddingRecommender)]
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="*", default=registered)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--evaluations", type=int, default=2)
    arguments = parser.parse_args()
    sys.argv = sys.argv[:1]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "baby"
        write_data(folder)
        for name in arguments.models:
            compare(name, folder, {}, arguments.steps, arguments.evaluations)


if __name__ == "__main__":
    main()
