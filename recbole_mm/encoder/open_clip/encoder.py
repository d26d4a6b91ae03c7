"""Encoders from open_clip: CLIP, SigLIP, CoCa, MetaCLIP, DFN, EVA, MobileCLIP, PE and the rest of its architectures."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.factory import register_backend
from recbole_mm.encoder.geometry import MAX_ASPECT
from recbole_mm.encoder.losses import clamped_exp
from recbole_mm.encoder.open_clip.image import OpenClipImage
from recbole_mm.encoder.open_clip.load import TEXT_TOWER, build_model, build_tokenizer, preprocess_config
from recbole_mm.encoder.open_clip.source import CONFIG_NAME, Source, find_source
from recbole_mm.encoder.open_clip.tags import PREPROCESS_KEYS
from recbole_mm.encoder.shrink import Kept, require_alike, require_words, take_out
from recbole_mm.encoder.weights import write_weights

HEADS = {"ln_post", "proj", "attn_pool", "attnpool", "ln_final", "text_projection", "norm", "fc_norm", "final_conv", "head", "pooler"}
"""What open_clip, timm and transformers call the modules (and parameters) between the last block and the embedding."""

PROBES = ["", "A red cotton T-shirt, size XL (2-pack)!!", "Café &amp; crème brûlée 北京 ☕ 1,234.50 " + "word " * 400]


class OpenClipEncoder(ItemEncoder):
    """open_clip's two towers under the encoder contract; rows of both modalities have the model's embed_dim.

    ``model`` is open_clip's module (the names of its parameters begin with "model."). Token ids have the model's full context length.
    With a logit bias the contrastive loss is SigLIP's, else CLIP's with the scale clamped at 100 (SigLIP's scale is not clamped, because
    its released scales exceed 100).
    """

    modalities = ("image", "text")
    aligned = True

    def __init__(self, source: Source, model: nn.Module, tokenizer: object):
        super().__init__()
        preprocess = preprocess_config(source, model)
        self.name = source.label
        self.from_scratch = source.weights is None
        self.model = model
        self.tokenizer = tokenizer
        self.output_dims = dict.fromkeys(self.modalities, source.config["embed_dim"])
        self.image_size = tuple(preprocess["size"])
        self.image_mean, self.image_std = tuple(preprocess["mean"]), tuple(preprocess["std"])
        self.pad_id = int(getattr(getattr(tokenizer, "tokenizer", None), "pad_token_id", None) or 0)
        self.preprocess_image = OpenClipImage({k: preprocess[k] for k in ("size", "resize_mode", "interpolation", "fill_color")})
        self.channels_last = getattr(getattr(model.visual, "trunk", None), "output_fmt", None) == "NHWC"
        self._config = source.config
        self._prepare()

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        with one_attention():
            return self._encode(inputs)

    def _encode(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        from recbole_mm.encoder.open_clip.block import only_pooled

        rows = {}
        for modality, values in inputs.items():
            if modality not in self.modalities:
                raise ValueError(f"{self.name} encodes image and text, not '{modality}'")
            weight = next(self.model.visual.parameters())
            if len(values) == 0:  # open_clip's towers refuse this; the rows depend on a weight, so that a loss over them has a graph
                rows[modality] = weight.reshape(-1)[:0, None].expand(0, self.output_dims[modality])
            elif modality == "image":
                with only_pooled(self.model.visual):
                    rows[modality] = self.model.encode_image(self.normalise(values, weight.dtype), normalize=False)
            else:
                with only_pooled(self._text_tower, values):
                    rows[modality] = self.model.encode_text(values, normalize=False)
        return rows

    def _prepare(self) -> None:
        from recbole_mm.encoder.open_clip.block import prepare

        for tower in (self.model.visual, self._text_tower):
            prepare(tower)

    @property
    def _text_tower(self) -> nn.Module:
        return getattr(self.model, "text", self.model)

    def tokenize(self, texts: list[str]) -> Tensor:
        if not texts:
            return torch.zeros(0, self.tokenizer.context_length, dtype=torch.int64)
        return self.tokenizer(list(texts))

    def pooled(self, modality: str, hidden: Tensor, inputs: Tensor) -> Tensor:
        from recbole_mm.encoder.open_clip.block import pooled_position

        position = pooled_position(self.model.visual) if modality == "image" else pooled_position(self._text_tower, inputs)
        if position is None:
            return super().pooled(modality, hidden, inputs)
        return hidden[torch.arange(len(hidden), device=hidden.device), position.expand(len(hidden))]

    def weights_module(self) -> nn.Module:
        return self.model

    def save_files(self, folder: Path) -> tuple[str, dict[str, object]]:
        """As a folder for ``local-dir:``, where tokenizer and text tower of transformers are files too."""
        geometry = {key: value for key, value in self.preprocess_image.geometry.items() if key in PREPROCESS_KEYS}
        preprocess = {**geometry, "mean": self.image_mean, "std": self.image_std}
        (folder / CONFIG_NAME).write_text(json.dumps({"model_cfg": self._config, "preprocess_cfg": preprocess}, indent=1))
        write_weights(self.model, folder / "open_clip_model.safetensors")
        if hasattr(self.tokenizer, "save_pretrained"):
            self.tokenizer.save_pretrained(str(folder))
        if self._config["text_cfg"].get("hf_model_name"):
            self._text_tower.config.save_pretrained(str(folder / TEXT_TOWER))
        return "open_clip:local-dir:{folder}", {}

    def shrink(self, kept: Sequence[Kept]) -> None:
        require_alike(self)
        for part, tower, stays in zip(("vision_cfg", "text_cfg"), self.towers(), kept, strict=True):
            config = self._config[part]
            plain = not (config.get("timm_model_name") or config.get("hf_model_name")) and config.get("layers", len(tower)) == len(tower)
            key = require_words(self.name, "layers" if plain else None, f"the number of blocks in its {part}", ["layers"])
            self._config = {**self._config, part: {**config, key: len(stays.blocks), **({"mlp_ratio": stays.ratio} if stays.units else {})}}
        take_out(self, kept)
        self._prepare()

    def towers(self) -> list[list[nn.Module]]:
        return [_blocks(self.model.visual), _blocks(self._text_tower)]

    def head(self) -> list[str]:
        inside = {id(parameter) for block in self.layers() for parameter in block.parameters()}
        return [
            name
            for name, parameter in self.named_parameters()
            if id(parameter) not in inside and HEADS & set(name.split(".")) and "text_decoder" not in name
        ]

    def geometry(self) -> dict:
        return {"transform": "open_clip", "max_aspect": MAX_ASPECT, **self.preprocess_image.geometry}

    def describe(self) -> dict:
        probe = self.tokenize(PROBES)
        return {
            "backend": "open_clip",
            "architecture": self._config,
            "mean": self.image_mean,
            "std": self.image_std,
            "context_length": probe.shape[1],
            "pad_id": self.pad_id,
            "tokenizer": hashlib.sha256(repr(probe.tolist()).encode()).hexdigest(),
        }

    def similarity(self) -> tuple[Tensor, Tensor | None]:
        scale, bias = self.model.logit_scale, getattr(self.model, "logit_bias", None)
        return (clamped_exp(scale), None) if bias is None else (scale.exp(), bias)


@register_backend("open_clip", check=partial(find_source, download=False))
def create_open_clip(name: str, source: str | None, *, seed: int = 0, gradient_checkpointing: bool = False) -> OpenClipEncoder:
    """``name``: an architecture of open_clip with a tag, a weights file or ``tag=file`` as ``source``, ``hf-hub:org/repo``,
    ``local-dir:/folder``, or ``tiny`` (random under ``seed``, 64 px, 32 tokens; a weights file of its own may follow).

    Raises:
        InputError: see ``create_encoder``.
    """
    found = find_source(name, source)
    tokenizer = build_tokenizer(found)
    encoder = OpenClipEncoder(found, build_model(found, seed), tokenizer)
    if gradient_checkpointing:
        encoder.model.set_grad_checkpointing(True)
    return encoder.eval()


@contextmanager
def one_attention() -> Iterator[None]:
    """Inside the block, nn.MultiheadAttention does not use its kernel for inference, so evaluation and training give the same bits."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled and torch.is_grad_enabled())
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def _blocks(tower: nn.Module) -> list[nn.Module]:
    """A tower's blocks, of open_clip's own transformers and ResNet, timm's trunks, or transformers' text encoders."""
    body = getattr(tower, "trunk", getattr(tower, "transformer", tower))
    body = getattr(body, "encoder", body)
    for name in ("resblocks", "blocks", "stages", "layers", "layer", "block"):
        if isinstance(getattr(body, name, None), (nn.ModuleList, nn.Sequential)):
            return list(getattr(body, name))
    stages = [getattr(body, f"layer{i}") for i in range(1, 5) if hasattr(body, f"layer{i}")]
    if not stages:
        raise NotImplementedError(f"no list of blocks is known for {type(body).__name__}")
    return stages
