"""Image encoders from timm: ResNet, EfficientNet, ConvNeXt, ViT, DINOv2, DINOv3, Swin, EVA, MobileNet, towers of CLIP, and the rest."""

import json
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.factory import register_backend
from recbole_mm.encoder.probe import probe_inputs
from recbole_mm.encoder.timm.image import TimmImage
from recbole_mm.encoder.timm.load import build_model
from recbole_mm.encoder.timm.source import CONFIG_NAME, Source, find_source
from recbole_mm.encoder.trace import trace
from recbole_mm.encoder.weights import write_weights
from recbole_mm.errors import InputError, one_line


class TimmEncoder(ItemEncoder):
    """A timm model under the encoder contract; its rows are the model's own pooled features, before the classifier.

    ``model`` is timm's module (the names of its parameters begin with "model."), without its classifier. Parameters that no row depends
    on do not require gradients.
    """

    modalities = ("image",)

    def __init__(self, source: Source, model: nn.Module):
        """Raises InputError: the model does not read RGB pictures, or does not give one row per picture."""
        from timm.data import resolve_data_config

        super().__init__()
        self.name, self.model, self.source = source.label, model, source
        data = resolve_data_config(pretrained_cfg=source.config)
        if data["input_size"][0] != 3:
            raise InputError(f"{self.name} reads pictures of {data['input_size'][0]} channels, not of 3 (RGB)")
        data = {key: tuple(value) if isinstance(value, (list, tuple)) else value for key, value in data.items()}
        self.preprocess_image = TimmImage(data)
        self.image_size, self.image_mean, self.image_std = data["input_size"][1:], data["mean"], data["std"]
        self.eval()
        self._trace()

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        if set(inputs) - {"image"}:
            raise ValueError(f"{self.name} encodes image, not {sorted(set(inputs) - {'image'})}")
        return {modality: self._images(pixels) for modality, pixels in inputs.items()}

    def pooled(self, modality: str, hidden: Tensor, inputs: Tensor) -> Tensor:
        if hidden.dim() == 3 and getattr(self.model, "global_pool", None) == "token":
            return hidden[:, 0]
        return super().pooled(modality, hidden, inputs)

    def weights_module(self) -> nn.Module:
        return self.model

    def save_files(self, folder: Path) -> tuple[str, dict[str, object]]:
        """As a folder of the hub's kind."""
        kept = ("num_classes", "source", "url", "file", "hf_hub_id", "hf_hub_filename")
        config = {key: value for key, value in self.source.config.items() if key not in kept}
        content = {
            "architecture": self.source.architecture,
            "model_type": "timm_wrapper",
            "num_classes": 0,
            "num_features": self.output_dims["image"],
            "model_args": self.source.arguments,
            "pretrained_cfg": {**config, "num_classes": 0},
        }
        (folder / CONFIG_NAME).write_text(json.dumps(content, indent=1), encoding="utf-8")
        write_weights(self.model, folder / "model.safetensors")
        pool = f"?pool={self.source.pool}" if self.source.pool else ""
        return f"timm:{self.source.architecture}{pool}@{{folder}}", {}

    def towers(self) -> list[list[nn.Module]]:
        return [[self.get_submodule(name) for name in self._blocks]]

    def head(self) -> list[str]:
        return list(self._head)

    def geometry(self) -> dict:
        return self.preprocess_image.geometry()

    def describe(self) -> dict:
        return {
            "backend": "timm",
            "architecture": self.source.architecture,
            "arguments": self.source.arguments,
            "pool": self.source.pool,
            "mean": self.image_mean,
            "std": self.image_std,
        }

    def _images(self, pixels: Tensor) -> Tensor:
        weight = next(self.model.parameters())
        if len(pixels) == 0:  # the rows depend on a weight, so that a loss over them has a graph
            return weight.reshape(-1)[:0, None].expand(0, self.output_dims["image"])
        features = self.model.forward_features(self.normalise(pixels, weight.dtype))
        return self.model.forward_head(features, pre_logits=True)

    def _trace(self) -> None:
        """Finds width, blocks, head and unused parameters with one probe."""
        probe = probe_inputs(self, "image", n=1)
        try:
            found = trace(self, lambda: self({"image": probe})["image"])
            with torch.no_grad():
                rows = self({"image": probe})["image"]
        except Exception as error:
            raise InputError(f"{self.name}: the model cannot encode a plain picture ({type(error).__name__}: {one_line(error)})") from error
        if rows.dim() != 2 or not found.blocks:
            what = f"gives {tuple(rows.shape)} for one picture" if rows.dim() != 2 else "has no list of blocks"
            raise InputError(f"{self.name}: {self.source.architecture} {what}, so it is no encoder of items")
        self.output_dims = {"image": rows.shape[1]}
        self._blocks, self._head = found.blocks, found.head
        used = set(found.parameters)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in used)


@register_backend("timm", check=partial(find_source, download=False))
def create_timm(name: str, source: str | None, *, seed: int = 0, gradient_checkpointing: bool = False) -> TimmEncoder:
    """``name``: an architecture of timm, with or without its tag and ``?pool=cls`` or ``?pool=avg``; ``source``: a tag, a weights file, or
    a folder of the hub's kind; without one, the weights of the architecture's default tag. ``seed`` has no effect: all weights come from
    files.

    Raises:
        InputError: see ``create_encoder``.
    """
    return build_timm(find_source(name, source), gradient_checkpointing)


def build_timm(source: Source, gradient_checkpointing: bool = False) -> TimmEncoder:
    """The encoder, on the CPU and in eval mode. Raises InputError: see ``create_encoder``."""
    encoder = TimmEncoder(source, build_model(source))
    if gradient_checkpointing:
        try:
            encoder.model.set_grad_checkpointing(True)
        except Exception as error:
            raise InputError(
                f"{source.label}: {source.architecture} has no gradient checkpointing; set gradient_checkpointing: False"
            ) from error
    return encoder
