"""Shared by the encoder tests."""

import os
import subprocess
import sys

import pytest
import torch
from PIL import Image

from recbole_mm.encoder import create_encoder


@pytest.fixture(scope="session")
def shelf(tmp_path_factory) -> dict[str, str]:
    """The smallest encoder of every backend: {backend: name}."""
    from tests.hf_folders import write_bert, write_clip, write_vit

    folder = tmp_path_factory.mktemp("shelf")
    vit, bert = write_vit(folder / "vit"), write_bert(folder / "bert")
    return {
        "open_clip": "open_clip:tiny",
        "vlmo": "vlmo:tiny",
        "beit3": "beit3:tiny",
        "hf": f"hf:{write_clip(folder / 'clip')}",
        "separate": f"separate:image=hf:{vit},text=hf:{bert}",
    }


@pytest.fixture(scope="session")
def tiny():
    """Read-only: whoever changes weights makes a new one."""
    return create_encoder("open_clip:tiny")


@pytest.fixture(scope="session")
def small_config():
    """open_clip's configuration of a small architecture."""
    return {
        "embed_dim": 24,
        "vision_cfg": {"image_size": [32, 48], "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }


@pytest.fixture(scope="session")
def picture():
    """``picture(width, height)``: an RGB picture of noise over a gradient."""

    def make(width, height, seed=0):
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randint(0, 128, (height, width, 3), generator=generator)
        ramp = torch.linspace(0, 127, width).view(1, width, 1).long()
        return Image.fromarray((noise + ramp).to(torch.uint8).numpy())

    return make


@pytest.fixture(scope="session")
def batch(tiny):
    """``batch(encoder, n)``: inputs for any encoder with CLIP's tokenizer."""

    def make(encoder, n=4, seed=0):
        generator = torch.Generator().manual_seed(seed)
        pixels = torch.randint(0, 256, (n, 3, *encoder.image_size), generator=generator, dtype=torch.uint8)
        return {"image": pixels, "text": encoder.tokenize([f"item number {i} of the shop" for i in range(n)])}

    return make


@pytest.fixture(scope="session")
def in_new_process():
    """``in_new_process(code)``: what a fresh interpreter prints for it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1"}

    def run(code):
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
