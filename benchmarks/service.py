"""The HTTP service beside bare FAISS, on one core: requests per second and latency of GET /recommend/{user}, and none lost.

    python benchmarks/service.py --items 10000 100000 1000000

Each server runs on the first core, and 4 clients on the others. The rows of the table are FAISS called in a loop; FAISS behind the least
HTTP server there is (uvicorn and a function that writes tokens as JSON); and the service over an exported folder.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import torch

from recbole_mm.serving.catalogue import Catalogue
from recbole_mm.serving.export.write import write_folder
from recbole_mm.serving.histories import Histories
from recbole_mm.serving.index import VectorIndex
from recbole_mm.serving.item_side import ItemSide
from recbole_mm.serving.parts import Parts
from recbole_mm.serving.scores import Scores
from recbole_mm.serving.served_items import ServedItems
from recbole_mm.serving.thumbnails import FilePictures

N_USERS, PER_USER, WIDTH, K = 20_000, 30, 64, 10
BARE = "benchmarks.service:bare"


class RandomScores(Scores):
    """Vectors at random, as long as those of a trained model are."""

    def _find_vectors(self):
        rng = torch.Generator().manual_seed(0)
        return tuple(torch.randn(size, WIDTH, generator=rng) for size in (N_USERS, self.n_items))


class NoFeatures:
    """Items without features."""

    id_field = "item_id"

    def features(self):
        return {}


def write_shop(folder: Path, n_items: int) -> None:
    """Exports a shop of random vectors, in which everybody has 30 items."""
    rng = torch.Generator().manual_seed(1)
    users = torch.arange(1, N_USERS).repeat_interleave(PER_USER)
    histories = Histories(users, torch.randint(1, n_items, (len(users),), generator=rng), N_USERS)
    scores, tokens = RandomScores("BPR", n_items, histories, None), ["[PAD]", *(f"i{i}" for i in range(1, n_items))]
    items = ItemSide(NoFeatures(), scores, ServedItems(tokens, torch.zeros(0, dtype=torch.int64)))
    titles = ["", *(f"Product {i} of the shop" for i in range(1, n_items))]
    parts = Parts(
        [f"u{i}" for i in range(1, N_USERS)], scores, items, lambda: Catalogue(tokens, titles, FilePictures([""] * n_items, Path()))
    )
    write_folder(parts, folder, {"dataset": "random"})


def faiss_and_users(folder: Path):
    """What bare FAISS needs of a folder."""
    import faiss
    from safetensors.torch import load_file

    faiss.omp_set_num_threads(1)
    tables = load_file(folder / "vectors.safetensors")
    allowed = torch.ones(len(tables["items"]), dtype=torch.bool)
    allowed[0] = False
    return VectorIndex.built(tables["items"], allowed).index, tables["users"].numpy()


def bare():
    """An ASGI app of a few lines over FAISS, which leaves out nothing and shows no titles."""
    index, users = faiss_and_users(Path(os.environ["SHOP"]))

    async def app(scope, receive, send):
        user = int(scope["path"].rsplit("u", 1)[1])
        scores, rows = index.search(users[user : user + 1], K)
        items = [{"item": f"i{row}", "score": float(score)} for row, score in zip(rows[0], scores[0], strict=True)]
        body = json.dumps({"items": items}).encode()
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    return app


def requested(n: int) -> np.ndarray:
    return np.random.default_rng(2).integers(1, N_USERS, n)


def called(folder: Path, n: int) -> dict[str, float]:
    """FAISS in a loop, on the core of this process."""
    index, users = faiss_and_users(folder)
    took, cpu = [], time.process_time()
    for user in requested(n):
        began = time.perf_counter()
        index.search(users[user : user + 1], K)
        took.append(time.perf_counter() - began)
    return row(took, sum(took), time.process_time() - cpu, 0)


async def ask(port: int, users, took: list[float], lost: list[int]) -> None:
    """One client: it asks for one user after another on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for user in users:
        began = time.perf_counter()
        writer.write(f"GET /recommend/u{user}?k={K} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        took.append(time.perf_counter() - began)
        if not head.startswith(b"HTTP/1.1 200") or len(body["items"]) != K:
            lost.append(int(user))
    writer.close()


async def clients(port: int, n: int, n_clients: int) -> tuple[list[float], list[int], float]:
    took, lost, began = [], [], time.perf_counter()
    await asyncio.gather(*(ask(port, users, took, lost) for users in np.array_split(requested(n), n_clients)))
    return took, lost, time.perf_counter() - began


def served(command: list[str], port: int, n: int, n_clients: int) -> dict[str, float]:
    """A server under load."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")])),
    }
    cores = sorted(psutil.Process().cpu_affinity())
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as server:
        process = psutil.Process(server.pid)
        process.cpu_affinity(cores[:1])
        try:
            wait_for(port, server)
            asyncio.run(clients(port, 200, n_clients))
            before = sum(process.cpu_times()[:2])
            took, lost, seconds = asyncio.run(clients(port, n, n_clients))
            return row(took, seconds, sum(process.cpu_times()[:2]) - before, n - len(took) + len(lost))
        finally:
            server.terminate()


def wait_for(port: int, server: subprocess.Popen) -> None:
    while server.poll() is None:
        try:
            return asyncio.run(ask(port, [1], [], []))
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the server ended")


def row(took: list[float], seconds: float, cpu: float, lost: int) -> dict[str, float]:
    return {"per second": len(took) / seconds, "p50 ms": np.quantile(took, 0.5) * 1e3, "p99 ms": np.quantile(took, 0.99) * 1e3,
            "CPU ms each": cpu / len(took) * 1e3, "lost": lost}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--port", type=int, default=8765)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| items | | " + " | ".join(names := ["per second", "p50 ms", "p99 ms", "CPU ms each", "lost"]) + " |")
    print("|---" * (2 + len(names)) + "|")
    for n_items in arguments.items:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["SHOP"] = str(Path(folder) / "shop")
            write_shop(Path(folder) / "shop", n_items)
            for name, measured in measure(Path(folder) / "shop", arguments.port, arguments.requests, arguments.clients):
                print(f"| {n_items:,} | {name} | " + " | ".join(f"{measured[column]:.4g}" for column in names) + " |", flush=True)


def measure(shop: Path, port: int, *load: int) -> Iterator[tuple[str, dict[str, float]]]:
    yield "FAISS flat, called", called(shop, load[0])
    least = [sys.executable, "-m", "uvicorn", BARE, "--factory", f"--port={port}", "--log-level=warning"]
    yield "FAISS flat behind uvicorn", served(least, port, *load)
    yield "the service", served([sys.executable, "-m", "recbole_mm.cli", "serve", str(shop), f"--port={port}"], port, *load)


if __name__ == "__main__":
    main()
