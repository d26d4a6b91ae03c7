"""Tiny timm models with random weights, as folders like those of the hub's repositories."""

import json
from pathlib import Path

import torch
from torch import nn

from recbole_mm.compat.libraries import fix_torchvision
from recbole_mm.encoder.weights import write_weights

fix_torchvision()

CONFIG = {"mean": [0.48, 0.45, 0.41], "std": [0.27, 0.26, 0.28], "crop_pct": 0.9, "interpolation": "bicubic", "num_classes": 3}


def write_timm(folder: Path, architecture: str = "test_efficientnet", size: int = 32, config: dict | None = None, **arguments) -> Path:
    """A model with a classifier of three classes. ``config`` replaces values of its pretrained_cfg; ``arguments`` go to timm's
    constructor."""
    import timm

    known = timm.get_pretrained_cfg(architecture).to_dict()
    given = {key: known[key] for key in ("fixed_input_size", "classifier", "first_conv") if key in known}
    given |= {**CONFIG, "input_size": [3, size, size], **(config or {})}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = timm.create_model(architecture, pretrained_cfg={**known, **given}, num_classes=given["num_classes"], **arguments).eval()
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                nn.init.normal_(parameter, float(name.endswith("weight") or "gamma" in name), 0.15)
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(model, folder / "model.safetensors")
    content = {"architecture": architecture, "num_classes": given["num_classes"], "pretrained_cfg": given, "model_args": arguments}
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
