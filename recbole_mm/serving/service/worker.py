"""What a worker process of the service loads: the app, by what the process that started it left in the environment."""

import gc
import json
import os

import torch
from fastapi import FastAPI

from recbole_mm.config.plugins import load_plugins
from recbole_mm.serving.recommender import Recommender
from recbole_mm.serving.service.app import create_app
from recbole_mm.serving.service.auth import VARIABLE

ORDER = "RECBOLE_MM_SERVE"


def leave_order(folder: str, plugins: str | None, threads: int | None, key: str | None) -> None:
    """Says what the workers are to serve.

    Args:
        plugins: modules that the model needs, separated by commas.
        threads: how many each worker computes with; None for torch's default.
        key: the API key.
    """
    os.environ[ORDER] = json.dumps({"folder": folder, "plugins": plugins, "threads": threads})
    os.environ[VARIABLE] = key or ""


def app() -> FastAPI:
    """The app that was ordered."""
    order = json.loads(os.environ[ORDER])
    if order["threads"]:
        torch.set_num_threads(order["threads"])
    load_plugins(order["plugins"].split(",") if order["plugins"] else None)
    served = create_app(Recommender.load(order["folder"]), os.environ[VARIABLE] or None)
    gc.collect()
    gc.freeze()  # so that no request waits while the collector walks through the catalogue
    return served
