"""The reference outputs of the authors' module (see the README beside the originals), and a small model."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from recbole_mm.encoder.vlmo import VLMo, VLMoConfig

ORACLE = Path(__file__).parent / "oracle"
SMALL = {"embed_dim": 24, "depth": 3, "num_heads": 2, "image_size": 32, "patch_size": 16, "vocab_size": 40, "max_text_len": 12}


class Oracle:
    """A file's tensors by group ("sd", "in", "out"), and its configuration."""

    def __init__(self, name):
        with safe_open(ORACLE / f"{name}.safetensors", "pt") as file:
            self.tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            self.metadata = file.metadata()

    def group(self, prefix):
        return {key.removeprefix(f"{prefix}."): value for key, value in self.tensors.items() if key.startswith(f"{prefix}.")}

    def config(self, **changes):
        meta, inner = self.metadata, json.loads(self.metadata["config"])
        sizes = {
            "embed_dim": int(meta["embed_dim"]),
            "depth": int(meta["depth"]),
            "num_heads": int(meta["num_heads"]),
            "mlp_ratio": int(meta["mlp_ratio"]),
            "image_size": inner["image_size"],
            "patch_size": int(meta["patch_size"]),
            "vocab_size": inner["vocab_size"],
            "max_text_len": inner["max_text_len"],
            "vl_start_layer": int(meta["vlffn_start_layer_index"]),
            "relative_position_bias": meta["rel_pos"] == "true",
            "layer_scale": meta["layer_scale"] == "true",
        }
        return VLMoConfig(**{**sizes, **changes})

    def model(self, **changes):
        model = VLMo(self.config(**changes)).eval()
        model.load_released_state_dict(self.group("sd"))
        return model


@pytest.fixture(scope="session")
def oracle():
    """``oracle(name)``: the file of that name."""
    files = {}
    return lambda name: files.setdefault(name, Oracle(name))


@pytest.fixture()
def small():
    """``small(**changes)``: a small random model; its weights are larger than at initialisation, so that all of them matter."""

    def make(**changes):
        torch.manual_seed(0)
        model = VLMo(VLMoConfig(**{**SMALL, "vl_start_layer": 2, "bias_text_len": 20, **changes})).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        return model

    return make


@pytest.fixture()
def inputs():
    """(pixels, token ids, mask) of three items for the small model; texts of 9, 4 and 2 tokens."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(9) < torch.tensor([[9], [4], [2]])
    token_ids = torch.randint(1, 40, (3, 9), generator=generator) * mask
    return torch.rand(3, 3, 32, 32, generator=generator) * 2 - 1, token_ids, mask.long()
