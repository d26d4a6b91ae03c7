"""Processes killed while they add items to an exported folder: what they acknowledged is there, and nothing is half there.

    python benchmarks/killed.py --kills 10

In turn, a service under four clients and a Python process are killed by SIGKILL at a random moment. Every request adds three items, whose
features say which they are.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np

from recbole_mm.serving.export.write import write_folder
from recbole_mm.serving.parts import run_parts
from recbole_mm.serving.recommender import Recommender
from recbole_mm.testing.planted import built, write_features, write_planted

FILES = {"modalities": ["a", "b"], "feature_files": {"a": "a.safetensors", "b": "b.safetensors"}}
KEY, PORT, PER_BATCH = "a key", 8766, 3
ADDING = """
import sys
from benchmarks.killed import batch, Recommender
recommender = Recommender.load(sys.argv[1])
for number in range(10**6):
    recommender.add_items(batch(f"{sys.argv[2]}-{number}"))
    print(f"{sys.argv[2]}-{number}", flush=True)
"""


def write_shop(folder: Path) -> Path:
    """Exports a planted shop whose features come from files."""
    shop = write_planted(folder / "shop", n_users=24, n_items=48)
    write_features(shop)
    os.chdir(folder)
    config, model, train_data, *_ = built(shop, "VBPR", **FILES)
    write_folder(run_parts(config, model, train_data.dataset, train_data.dataset), folder / "exported", {})
    return folder / "exported"


def batch(name: str) -> list[dict[str, object]]:
    """Three items of a name of their own, with features drawn by it."""
    rows = []
    for part in range(PER_BATCH):
        features = np.random.default_rng([part, *name.encode()]).normal(size=(2, 8)).astype(np.float32).tolist()
        rows.append({"item_id": f"{name}-{part}", "title": f"Product {name}", "a": features[0], "b": features[1]})
    return rows


def kill_service(folder: Path, name: str) -> set[str]:
    """Four clients add items until the service is killed. Returns the batches that were acknowledged."""
    command = [sys.executable, "-m", "recbole_mm.cli", "serve", str(folder), f"--port={PORT}"]
    server = subprocess.Popen(command, env={**os.environ, "RECBOLE_MM_API_KEY": KEY}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    acknowledged: set[str] = set()

    def add(client: int) -> None:
        number, connection = 0, HTTPConnection("127.0.0.1", PORT)
        while server.poll() is None:
            try:
                body = json.dumps({"rows": batch(f"{name}-{client}-{number}")})
                connection.request("POST", "/items", body, {"X-API-Key": KEY, "content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    acknowledged.add(f"{name}-{client}-{number}")
                number += 1
            except (OSError, HTTPException):
                connection.close()
                time.sleep(0.05)

    clients = [threading.Thread(target=add, args=(client,)) for client in range(4)]
    for client in clients:
        client.start()
    while not acknowledged and server.poll() is None:
        time.sleep(0.01)
    time.sleep(random.uniform(0, 2))
    server.send_signal(signal.SIGKILL)
    for client in clients:
        client.join()
    server.wait()
    return acknowledged


def kill_python(folder: Path, name: str) -> set[str]:
    """A process adds items until it is killed. Returns the batches that it said were added."""
    process = subprocess.Popen([sys.executable, "-c", ADDING, str(folder), name], stdout=subprocess.PIPE, text=True)
    first = process.stdout.readline()
    time.sleep(random.uniform(0, 2))
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0]
    return {line for line in (first + rest).split("\n")[:-1] if line}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    kills = parser.parse_args().kills
    root = str(Path(__file__).resolve().parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as temporary:
        folder, acknowledged = write_shop(Path(temporary)), set()
        for kill in range(kills):
            own = (kill_service, kill_python)[kill % 2](folder, f"k{kill}")
            acknowledged |= own
            print(f"kill {kill + 1}: {len(own)} batches acknowledged", flush=True)
        check(folder, acknowledged)
        os.chdir("/")


def check(folder: Path, acknowledged: set[str]) -> None:
    """Says what of the batches is in the folder."""
    recommender = Recommender.load(folder)
    added = [item for item in recommender.items if item.startswith("k")]
    ranked, batches = set(recommender.recommend(["u0"], k=10**6)["item"]), Counter(item.rsplit("-", 1)[0] for item in added)
    features, rows = {m: recommender.parts.items.features(m)[0] for m in "ab"}, recommender.parts.items.served.rows
    other = sum(
        recommender.catalogue.title(row["item_id"]) != row["title"]
        or any(features[m][int(rows([row["item_id"]])[0])].tolist() != row[m] for m in "ab")
        for name in batches for row in batch(name)
    )  # fmt: skip
    print(f"of {len(acknowledged)} batches that were acknowledged, {len(acknowledged - set(batches))} are lost")
    print(f"of {len(batches)} batches, {sum(count != PER_BATCH for count in batches.values())} are half there")
    print(f"of {len(added)} items, {len(set(added) - ranked)} are not ranked, and {other} have other features or titles")


if __name__ == "__main__":
    main()
