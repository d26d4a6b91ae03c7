"""Fixtures: the planted shop; for every test a working directory of its own, no network, and one thread."""

import copy
import gc
import io
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
import torch

from recbole_mm.encoder import ItemEncoder, build_encoder, create_encoder
from recbole_mm.encoder.beit3 import config as beit3
from recbole_mm.encoder.open_clip import source as open_clip
from recbole_mm.encoder.vlmo import config as vlmo
from recbole_mm.testing.planted import write_planted

gc.disable()  # until all tests are collected: it would go through them again and again

TINY = ("open_clip:tiny", "vlmo:tiny", "beit3:tiny")


@pytest.fixture(autouse=True)
def _quiet_command_line(monkeypatch, tmp_path):
    """RecBole reads sys.argv and writes logs below the working directory. A run's log handlers end with its test."""
    monkeypatch.setattr("sys.argv", ["pytest"])
    monkeypatch.chdir(tmp_path)
    yield
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if getattr(handler, "of_run", False)]:
        root.removeHandler(handler)
        handler.close()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, tmp_path_factory):
    """No weights are downloaded, and none of the user's cache are found, wherever the tests run."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("empty_cache")))


@pytest.fixture(autouse=True)
def _no_measuring_of_the_machine(monkeypatch):
    """For the environment that it logs after a run, RecBole watches the processor for a second."""
    monkeypatch.setattr("psutil.cpu_percent", lambda interval=None: 0.0)


@pytest.fixture(autouse=True, scope="session")
def _copies_share_the_vocabulary():
    """The costliest part of a copy of open_clip's tiny encoder is its tokenizer's 49,408 words, which nothing changes."""
    from open_clip.tokenizer import SimpleTokenizer

    SimpleTokenizer.__deepcopy__ = lambda self, memo: copy.copy(self)


@pytest.fixture(autouse=True)
def _tiny_encoders_are_made_once(monkeypatch):
    """They start from their seed, so runs get copies."""

    def create(name: str, **options) -> ItemEncoder:
        return copy.deepcopy(_tiny_encoder(name, **options)) if name in TINY else create_encoder(name, **options)

    monkeypatch.setattr(build_encoder, "create_encoder", create)


@lru_cache
def _tiny_encoder(name: str, **options) -> ItemEncoder:
    return create_encoder(name, **options)


@pytest.fixture(scope="session")
def smaller_encoder(tmp_path_factory) -> Callable[..., ItemEncoder]:
    """What makes the tiny encoders with two narrow blocks over four patches."""
    clip = json.loads(open_clip.TINY["tiny"].read_text())
    clip["model_cfg"]["embed_dim"] = 32
    clip["model_cfg"]["vision_cfg"] |= {"image_size": 32, "layers": 2, "width": 32, "head_width": 16}
    clip["model_cfg"]["text_cfg"] |= {"width": 32, "heads": 2}
    file = tmp_path_factory.mktemp("smaller") / "tiny.json"
    file.write_text(json.dumps(clip))
    narrow = {"embed_dim": 32, "depth": 2, "num_heads": 2, "image_size": 32}

    @lru_cache
    def create(name: str, **options) -> ItemEncoder:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(open_clip.TINY, "tiny", file)
            patch.setitem(beit3.SIZES, "tiny", replace(beit3.SIZES["tiny"], **narrow))
            patch.setitem(vlmo.NAMED, "tiny", {**vlmo.NAMED["tiny"], **narrow, "vl_start_layer": 1})
            return create_encoder(name, **options)

    return create


@pytest.fixture()
def small_encoders(_tiny_encoders_are_made_once, monkeypatch, smaller_encoder) -> None:
    """Runs get smaller encoders still, for claims that do not hang on an encoder's size."""

    def create(name: str, **options) -> ItemEncoder:
        return copy.deepcopy(smaller_encoder(name, **options)) if name in TINY else create_encoder(name, **options)

    monkeypatch.setattr(build_encoder, "create_encoder", create)


class Terminal(io.StringIO):
    """What a program writes to a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture()
def terminal(monkeypatch) -> Terminal:
    """The standard output is a terminal of 100 columns."""
    screen = Terminal()
    monkeypatch.setattr("recbole_mm.terminal._output", lambda: screen)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    return screen


@pytest.fixture(scope="session")
def planted(tmp_path_factory) -> Path:
    """The folder of the planted data set; its parent is the data_path."""
    return write_planted(tmp_path_factory.mktemp("data") / "planted")


@pytest.fixture(scope="session")
def planted_missing(tmp_path_factory) -> Path:
    """The planted data set with pictures and texts missing here and there."""
    return write_planted(tmp_path_factory.mktemp("data") / "gaps", missing=True)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """The models of these tests are too small for more, and several test processes may share the machine."""
    torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first: begun last, it would keep one of several test processes busy alone, or be prepared for by all."""
    items.sort(key=lambda item: item.path.name != "test_demo_run.py")
