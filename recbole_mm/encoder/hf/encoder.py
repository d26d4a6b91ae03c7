"""Encoders from transformers: CLIP, SigLIP and other dual encoders, image encoders, text encoders and sentence embedders."""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.factory import register_backend
from recbole_mm.encoder.hf.image import HfImage
from recbole_mm.encoder.hf.load import find_class, load_model, quiet, read_config
from recbole_mm.encoder.hf.patches import HfPatches
from recbole_mm.encoder.hf.processor import NO_PATCHES, load_image_processor
from recbole_mm.encoder.hf.resize import resize_config
from recbole_mm.encoder.hf.save import save_folder
from recbole_mm.encoder.hf.sentence import Sentence, pool, read_sentence
from recbole_mm.encoder.hf.source import find_folder
from recbole_mm.encoder.hf.text import HfTokens, load_tokenizer, longest_text, wants_lower_case
from recbole_mm.encoder.losses import clamped_exp
from recbole_mm.encoder.shrink import Kept
from recbole_mm.encoder.timm.encoder import build_timm
from recbole_mm.encoder.timm.source import is_timm_folder, read_folder
from recbole_mm.encoder.traced import TracedEncoder
from recbole_mm.errors import InputError

MODALITIES = {"dual": ("image", "text"), "image": ("image",), "text": ("text",)}
VOLATILE = {"transformers_version", "_name_or_path", "name_or_path", "dtype", "torch_dtype", "_commit_hash", "attn_implementation"}


class HfEncoder(TracedEncoder):
    """A transformers model under the encoder contract.

    Rows: of a dual encoder its projected vectors; of an image encoder its own pooled output, else its CLS token, else the mean over its
    patches; of a text encoder its tokens, pooled as the folder's sentence-transformers files say, else their mean. ``model`` is the module
    of transformers (the names of its parameters begin with "model."), ``dense`` what sentence-transformers puts after it. Parameters
    that no row depends on (a mask token, an unused pooler) do not require gradients.
    """

    _resized = False

    def __init__(
        self, label: str, kind: str, model: nn.Module, image: HfImage | HfPatches | None, tokens: HfTokens | None, sentence: Sentence,
        folder: Path,
    ):  # fmt: skip
        """``kind``: dual | image | text; ``folder``: holds its files. Raises InputError: the model cannot encode a picture or text, or not
        the same way twice."""
        super().__init__()
        self.name, self.kind, self.model, self.tokens, self.folder = label, kind, model, tokens, folder
        self.modalities = MODALITIES[kind]
        self.aligned = kind == "dual"
        self.pooling, self.dense = sentence.pooling, sentence.dense
        if image is not None:
            self.preprocess_image = image
            self.image_size, self.image_mean, self.image_std = image.size, image.mean, image.std
        if tokens is not None:
            self.pad_id = tokens.pad_id
        self.eval()
        self.find_parts(model.config.model_type, "model")

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        rows = {}
        for modality, values in inputs.items():
            if modality not in self.modalities:
                raise ValueError(f"{self.name} encodes {' and '.join(self.modalities)}, not '{modality}'")
            encode = self._images if modality == "image" else self._texts
            rows[modality] = encode(values) if len(values) else self.no_rows(modality)
        return rows

    def tokenize(self, texts: list[str]) -> Tensor:
        return super().tokenize(texts) if self.tokens is None else self.tokens(list(texts))

    def pooled(self, modality: str, hidden: Tensor, inputs: Tensor) -> Tensor:
        if modality == "text":
            return pool(hidden, self.tokens.read(inputs)[1], self.pooling[:1])
        return hidden[:, 0] if self.has_cls and hidden.dim() == 3 else super().pooled(modality, hidden, inputs)

    def token_states(self, modality: str, hidden: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return (hidden, self.tokens.read(inputs)[1]) if modality == "text" else super().token_states(modality, hidden, inputs)

    def weights_module(self) -> nn.Module:
        return self.model

    def save_files(self, folder: Path) -> tuple[str, dict[str, object]]:
        save_folder(self.name, self.folder, folder, self.model, self.dense, resized=self._resized)
        return "hf:{folder}", {"max_patches": self.preprocess_image.max_patches} if self.keeps_shapes else {}

    def resize(self, stack: str, depth: int, kept: Kept) -> None:
        resize_config(self, stack, depth, kept)
        self._resized = True

    def geometry(self) -> dict:
        return self.preprocess_image.geometry() if "image" in self.modalities else {}

    def describe(self) -> dict:
        return {
            "backend": "hf",
            "kind": self.kind,
            "model": type(self.model).__name__,
            "config": stable(json.loads(self.model.config.to_json_string(use_diff=False))),
            "mean": self.image_mean,
            "std": self.image_std,
            "pooling": self.pooling,
            "dense": str(self.dense),
            "tokenizer": self.tokens.describe() if self.tokens is not None else None,
        }

    def similarity(self) -> tuple[Tensor, Tensor | None]:
        return similarity_of(self.model) or super().similarity()

    def _images(self, values: Tensor) -> Tensor:
        given = self.picture_arguments(values)
        if self.kind == "dual":
            return _vectors(self.model.get_image_features(**given))
        output = self.model(**given)
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        hidden = output.last_hidden_state
        return hidden.mean((2, 3)) if hidden.dim() == 4 else self.pooled("image", hidden, values)

    def _texts(self, values: Tensor) -> Tensor:
        ids, mask = self.tokens.read(values)
        given = {"input_ids": ids, **({"attention_mask": mask.long()} if self.tokens.masked else {})}
        if self.kind == "dual":
            return _vectors(self.model.get_text_features(**given))
        return self.dense(pool(self.model(**given).last_hidden_state, mask, self.pooling))


def _label(name: str, source: str | None) -> str:
    return f"hf:{name}" + (f"@{source}" if source else "")


def check_hf(name: str, source: str | None) -> None:
    """Raises InputError: no such folder, or a malformed name."""
    label = _label(name, source)
    folder = find_folder(label, name, source, download=False)
    if folder is not None and is_timm_folder(folder):
        read_folder(label, folder)


@register_backend("hf", check=check_hf)
def create_hf(
    name: str, source: str | None, *, seed: int = 0, gradient_checkpointing: bool = False, trust_remote_code: bool = False,
    max_patches: int | None = None,
) -> ItemEncoder:  # fmt: skip
    """``name``: a hub repository ``org/name``, with or without a revision as ``source``, or a folder (``/folder``, ``./folder``). One that
    holds a timm model gives the encoder of the backend timm. ``seed`` has no effect: all weights come from the files. ``max_patches``: of a
    picture, if pictures keep their shape (SigLIP2 NaFlex); None for what the folder says.

    Raises:
        InputError: see ``create_encoder``.
    """
    label = _label(name, source)
    folder = find_folder(label, name, source)
    if is_timm_folder(folder):
        if max_patches is not None:
            raise InputError(f"{label}: {NO_PATCHES}")
        return build_timm(read_folder(label, folder), gradient_checkpointing)
    with torch.random.fork_rng(devices=[]):
        encoder = _build(label, folder, trust_remote_code, max_patches)
    if gradient_checkpointing:
        try:
            with quiet():
                encoder.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        except ValueError as error:
            raise InputError(
                f"{label}: a {encoder.model.config.model_type} model has no gradient checkpointing; set gradient_checkpointing: False"
            ) from error
    return encoder


def _build(label: str, folder: Path, trust: bool, max_patches: int | None) -> HfEncoder:
    with quiet():
        whole, sentence = folder, read_sentence(label, folder)
        folder = sentence.folder
        config = read_config(label, folder, trust)
        kind, found = find_class(label, folder, config, trust)
        image = tokens = None
        if kind != "text":
            image = load_image_processor(label, folder, trust, max_patches)
        elif max_patches is not None:
            raise InputError(f"{label}: {NO_PATCHES}")
        tokenizer = load_tokenizer(label, folder, trust) if kind != "image" else None
        model = load_model(label, folder, config, found, pooler=kind == "image", trust_remote_code=trust)
        if tokenizer is not None:
            length = longest_text(tokenizer, model, config, sentence.max_length)
            siglip = config.model_type.startswith("siglip")
            lower = sentence.lower or wants_lower_case(config.model_type, tokenizer)
            tokens = HfTokens(label, tokenizer, length, fixed=siglip, prefix=sentence.prefix, lower=lower)
        return HfEncoder(label, kind, model, image, tokens, sentence, whole)


def similarity_of(model: nn.Module) -> tuple[Tensor, Tensor | None] | None:
    """The scale and bias that a dual encoder of transformers brings for cosines of its rows; None where it has none."""
    scale, bias = getattr(model, "logit_scale", None), getattr(model, "logit_bias", None)
    if scale is not None:
        return (clamped_exp(scale), None) if bias is None else (scale.exp(), bias)
    if isinstance(getattr(model, "temperature", None), Tensor):  # ALIGN's
        return 1 / model.temperature, None
    return None


def _vectors(output: object) -> Tensor:
    """What get_*_features gives: the vectors (transformers 4), or an output with the vectors in it (transformers 5)."""
    return output if isinstance(output, Tensor) else output.pooler_output


def stable(settings: object) -> object:
    """A configuration without the values that depend on the machine or the version that wrote it."""
    if isinstance(settings, dict):
        return {key: stable(value) for key, value in settings.items() if key not in VOLATILE}
    return [stable(value) for value in settings] if isinstance(settings, list) else settings
