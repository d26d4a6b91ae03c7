"""Extraction: killed, shared or undisturbed, it ends in the same bytes."""

import itertools
import json
import os
import random
import re
import signal
import socket
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from recbole_mm.cli import main
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.build_encoder import build_encoder
from recbole_mm.encoder.settings import EncoderSettings
from recbole_mm.feature import extract as extract_module
from recbole_mm.feature.extract import extract
from recbole_mm.items import fill_stores as fill_module
from recbole_mm.testing.planted import built, settings, write_features, write_planted
from recbole_mm.training.loaders import create_dataset
from tests.processes import forked

KILLS = 20


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    folder = write_planted(tmp_path_factory.mktemp("data") / "shop", n_items=96, missing=True)
    item = folder / "shop.item"
    number = itertools.count()
    item.write_text(re.sub("mountain|evening", lambda match: f"{match.group()} {next(number)}", item.read_text()))
    return folder


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(fill_module, "SHARD_ROWS", 8)


def arguments(folder: Path, cache: Path, **keys) -> list[str]:
    keys = {"dataset": folder.name, **settings(folder), "cache_dir": cache, "encoder_chunk_size": 4, **keys}
    return ["extract", *(f"--{key}={str(value).replace(' ', '')}" for key, value in keys.items())]


def exported(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def stored(cache: Path) -> dict[str, bytes]:
    return {str(file.relative_to(cache)): file.read_bytes() for file in sorted((cache / "features").glob("*/*/*.safetensors"))}


def opened(file: Path) -> tuple[list[str], torch.Tensor]:
    with safe_open(str(file), framework="pt") as content:
        return json.loads(content.metadata()["item_tokens"]), content.get_tensor("features")


@pytest.fixture(scope="module")
def undisturbed(shop, tmp_path_factory) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The exported files and the shards of a run that nothing disturbs."""
    cache = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fill_module, "SHARD_ROWS", 8)
        patch.chdir(cache)
        assert main(arguments(shop, cache / "cache", output=cache / "out")) == 0
    return exported(cache / "out"), stored(cache / "cache")


def test_what_is_exported(shop, tmp_path, caplog):
    caplog.set_level("INFO")
    keys = {"state": "INFO", "encoder_training": "end2end", "feature_dtype": "fp16"}
    assert main(arguments(shop, tmp_path / "cache", output=tmp_path / "out", **keys)) == 0
    config = MultiModalConfig("CLIPRec", "shop", config_dict=settings(shop))
    dataset = create_dataset(config)
    content, encoder = dataset.content, create_encoder("open_clip:tiny", seed=config["seed"]).eval()
    content.use_preprocessing(encoder.preprocess_image, encoder.preprocess_key, encoder.image_size)
    assert sorted(exported(tmp_path / "out")) == ["image.safetensors", "text.safetensors"]
    for modality in ("image", "text"):
        tokens, rows = opened(tmp_path / "out" / f"{modality}.safetensors")
        assert tokens == sorted(content.tokens(content.present[modality].nonzero().squeeze(1)))
        assert rows.dtype == torch.float16
        ids = torch.tensor([dataset.token2id("item_id", token) for token in tokens])
        read = content.images(ids) if modality == "image" else encoder.tokenize(content.texts(ids))
        with torch.no_grad():
            torch.testing.assert_close(rows.float(), encoder({modality: read})[modality], rtol=2e-3, atol=2e-3)
    told = caplog.text
    assert "features encoded into" in told and "features exported to" in told and "items/s" in told
    files = {m: str(tmp_path / "out" / f"{m}.safetensors") for m in ("image", "text")}
    again = built(shop, feature_files=files, feature_scaling="none")[1].item_features
    frozen = built(shop, encoder_training="pretrained", cache_dir=str(tmp_path / "cache"), feature_dtype="fp16")[1].item_features
    assert frozen.cost.items == 0
    for m in files:
        assert torch.equal(again.present(m), frozen.present(m))
        assert torch.equal(again.table()[m][again.present(m)], frozen.table()[m][again.present(m)])


def test_killed_at_any_moment_it_ends_in_the_same_bytes(shop, undisturbed, tmp_path, monkeypatch):
    """Each process starts with what the one before has left, from packed pictures to shards; after some kills, all over again."""
    keys = settings(shop, cache_dir=str(tmp_path / "cache"), encoder_chunk_size=4, encoder_training="pretrained")
    config = MultiModalConfig("CLIPRec", "shop", config_dict=keys)
    dataset, encoder = create_dataset(config), build_encoder(EncoderSettings.from_config(config))
    monkeypatch.setattr(extract_module, "frozen_encoder", lambda *_: (encoder, None))
    moments, killed, chains, halfway, total = random.Random(0), 0, 0, 0, len(undisturbed[1])
    while killed < KILLS:
        cache, out = tmp_path / f"cache{chains}", tmp_path / f"out{chains}"
        chains += 1
        dataset.content = None
        config["cache_dir"] = str(cache)

        def work(out=out) -> None:
            dataset.content = dataset.read_content()
            extract(config, dataset, out)

        for _ in range(5):
            before = len(stored(cache))
            if before == total:
                break
            pid, enough = forked(work), moments.randint(before, total - 1)
            while len(stored(cache)) < enough and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                time.sleep(0.001)
            time.sleep(moments.choice([0.0, 0.01, 0.1]) * moments.random())
            os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
            assert status == 0 or os.WIFSIGNALED(status)
            killed += status != 0
            halfway += 0 < len(stored(cache)) < total
        assert os.waitpid(forked(work), 0)[1] == 0
        assert (exported(out), stored(cache)) == undisturbed
    assert chains > 3 and halfway > 5


def test_two_processes_share_the_work(shop, undisturbed, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    (tmp_path / "told").mkdir()

    def work(rank: int) -> int:
        os.environ.update(address, RANK=str(rank), LOCAL_RANK=str(rank))
        original = fill_module.BatchEncoder._encode_batch

        def counted(self, modality, ids, values):
            (tmp_path / "told" / f"{rank}-{time.monotonic_ns()}").write_text(str(len(ids)))
            return original(self, modality, ids, values)

        fill_module.BatchEncoder._encode_batch = counted
        return main(arguments(shop, tmp_path / "cache", output=tmp_path / "out"))

    pids = [forked(lambda rank=rank: work(rank)) for rank in range(2)]
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
    assert (exported(tmp_path / "out"), stored(tmp_path / "cache")) == undisturbed
    counts = [sum(int(f.read_text()) for f in (tmp_path / "told").glob(f"{rank}-*")) for rank in range(2)]
    present = sum(len(opened(tmp_path / "out" / name)[0]) for name in undisturbed[0])
    assert sum(counts) == present and min(counts) > 0.3 * present


def test_bad_input(shop, tmp_path, capsys):
    def fails(*facts: str, **keys) -> None:
        assert main(arguments(shop, tmp_path / "cache", **keys)) == 2
        error = capsys.readouterr().err.strip().splitlines()
        assert len(error) == 1 and all(fact in error[0] for fact in facts), error

    (tmp_path / "file").touch()
    fails("nothing to encode", modalities=[])
    files = {m: str(shop / f) for m, f in write_features(shop, ("audio",)).items()}
    fails("nothing to encode", "feature_files", feature_files=files)
    fails("--output", "is a file", output=tmp_path / "file")
    fails("cache_dri", "'cache_dir'", cache_dri="x")
    fails("shpo", dataset="shpo")
    fails("file", cache_dir=tmp_path / "file")
