"""Image encoders from timm: ResNet, EfficientNet, ConvNeXt, ViT, DINOv2, DINOv3, Swin, EVA, MobileNet, towers of CLIP, and the rest."""

import inspect
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from recbole_mm.encoder.factory import register_backend
from recbole_mm.encoder.hooks import hooked
from recbole_mm.encoder.probe import probe_inputs
from recbole_mm.encoder.shrink import Kept, require_words
from recbole_mm.encoder.timm.checkpointing import checkpoint_blocks
from recbole_mm.encoder.timm.image import read_image
from recbole_mm.encoder.timm.load import build_model
from recbole_mm.encoder.timm.source import CONFIG_NAME, Source, find_source, resized
from recbole_mm.encoder.traced import TracedEncoder
from recbole_mm.encoder.weights import write_weights
from recbole_mm.errors import InputError, one_line

DEPTHS, WIDTHS = ("depth", "num_blocks"), ("mlp_ratio",)
"""What timm's constructors call the number of blocks of a plain transformer, and the width of their feed-forward parts."""


class TimmEncoder(TracedEncoder):
    """A timm model under the encoder contract; its rows are the model's own pooled features, before the classifier.

    ``model`` is timm's module (the names of its parameters begin with "model."), without its classifier. Parameters that no row depends
    on do not require gradients.
    """

    modalities = ("image",)

    def __init__(self, source: Source, model: nn.Module):
        """Raises InputError: see ``read_image``; the model does not give one row per picture."""
        super().__init__()
        self.name, self.model, self.source = source.label, model, source
        self.preprocess_image = read_image(source.label, source.config)
        self.image_size, self.image_mean, self.image_std = self.preprocess_image.normalisation()
        self.eval()
        shapes = self._shapes()  # the head of some models has more parameters than all of their blocks
        self.find_parts(source.architecture, "model", among=shapes)
        self.channels_last = any(_ends_in_channels(shapes[block], self.image_size) for block in self.layers())

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        if set(inputs) - {"image"}:
            raise ValueError(f"{self.name} encodes image, not {sorted(set(inputs) - {'image'})}")
        return {modality: self._images(pixels) for modality, pixels in inputs.items()}

    def pooled(self, modality: str, hidden: Tensor, inputs: Tensor) -> Tensor:
        if hidden.dim() != 3 or hidden.shape[1] != self._length:  # CaiT's and XCiT's class token joins after the blocks
            return super().pooled(modality, hidden, inputs)
        prefix = getattr(self.model, "num_prefix_tokens", 0)
        return hidden[:, 0] if prefix and self.model.global_pool == "token" else hidden[:, prefix:].mean(1)

    def weights_module(self) -> nn.Module:
        return self.model

    def save_files(self, folder: Path) -> tuple[str, dict[str, object]]:
        """As a folder of the hub's kind."""
        origin = ("source", "url", "file", "hf_hub_id", "hf_hub_filename")
        config = {key: value for key, value in self.source.config.items() if key not in origin}
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

    def resize(self, stack: str, depth: int, kept: Kept) -> None:
        taken = inspect.signature(type(self.model).__init__).parameters
        key = next((key for key in DEPTHS if key in taken), None)
        arguments = {require_words(self.name, key, "the number of its blocks", DEPTHS): len(kept.blocks)}
        if kept.units:
            key = next((key for key in WIDTHS if key in taken), None)
            arguments[require_words(self.name, key, "the width of feed-forward parts", WIDTHS)] = kept.ratio
        self.source = replace(self.source, arguments={**self.source.arguments, **arguments})

    def geometry(self) -> dict:
        return self.preprocess_image.geometry()

    def describe(self) -> dict:
        made_of = {"architecture": self.source.architecture, "arguments": self.source.arguments, "pool": self.source.pool}
        return {"backend": "timm", **made_of, "mean": self.image_mean, "std": self.image_std}

    def _images(self, pixels: Tensor) -> Tensor:
        if len(pixels) == 0:
            return self.no_rows("image")
        features = self.model.forward_features(self.normalise(pixels, next(self.model.parameters()).dtype))
        return self.model.forward_head(features, pre_logits=True)

    def _shapes(self) -> dict[nn.Module, tuple[int, ...]]:
        """The modules that take part in the model's features, and what they give for one picture: (), unless it is one tensor. The number
        of positions that the features end with is kept."""
        shapes = {}

        def note(module: nn.Module, _: tuple, output: object) -> None:
            shapes[module] = tuple(output.shape) if isinstance(output, Tensor) else ()

        try:
            with torch.no_grad(), hooked(self.model.modules(), note):
                features = self.model.forward_features(self.normalise(probe_inputs(self, "image", n=1), torch.float32))
        except Exception as error:
            raise InputError(f"{self.name}: the model cannot encode a plain picture ({type(error).__name__}: {one_line(error)})") from error
        self._length = features.shape[1] if isinstance(features, Tensor) and features.dim() == 3 else None
        return shapes


def _ends_in_channels(shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Is what a block gives a map (1, h, w, d) of a picture of this size, and certainly no (1, d, h, w)?"""
    if len(shape) != 4:
        return False
    _, a, b, c = shape
    return a * size[1] == b * size[0] and b * size[1] != c * size[0]


@register_backend("timm", check=partial(find_source, download=False))
def create_timm(
    name: str, source: str | None, *, seed: int = 0, gradient_checkpointing: bool = False, image_size: int | None = None
) -> TimmEncoder:
    """``name``: an architecture of timm, with or without its tag and ``?pool=cls`` or ``?pool=avg``; ``source``: a tag, a weights file, or
    a folder of the hub's kind; without one, the weights of the architecture's default tag. ``seed`` has no effect: all weights come from
    files. ``image_size``: the side of the pictures in pixels, by default as the weights' configuration says.

    Raises:
        InputError: see ``create_encoder``.
    """
    found = find_source(name, source)
    return build_timm(found if image_size is None else resized(found, image_size), gradient_checkpointing)


def build_timm(source: Source, gradient_checkpointing: bool = False) -> TimmEncoder:
    """The encoder, on the CPU and in eval mode. Raises InputError: see ``create_encoder``."""
    encoder = TimmEncoder(source, build_model(source))
    if gradient_checkpointing:
        checkpoint_blocks(encoder.model, encoder.layers(), source)
    return encoder
