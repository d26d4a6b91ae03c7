"""Encoders from sentence-transformers: ``st:all-MiniLM-L6-v2``, ``st:org/name@revision``, ``st:/folder``."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from recbole_mm.encoder.base import Inputs
from recbole_mm.encoder.factory import register_backend
from recbole_mm.encoder.hf.encoder import similarity_of, stable
from recbole_mm.encoder.hf.image import HfImage
from recbole_mm.encoder.hf.load import quiet
from recbole_mm.encoder.hf.patches import HfPatches
from recbole_mm.encoder.hf.processor import load_image_processor
from recbole_mm.encoder.st.load import Loaded, chain_of, find_source, load_chain
from recbole_mm.encoder.st.save import save_chain
from recbole_mm.encoder.st.tokens import StTokens, task_of
from recbole_mm.encoder.traced import TracedEncoder
from recbole_mm.errors import InputError

SCALE = 20.0
"""Of cosines, in sentence-transformers' own contrastive losses: for models that bring none."""


class StEncoder(TracedEncoder):
    """A sentence-transformers model under the encoder contract: a row is what its ``encode`` gives, cut as its ``truncate_dim`` says.

    ``model`` is the ``SentenceTransformer``; the names of its parameters begin with "model.". Parameters that no row depends on do not
    require gradients, and are zero where the model's files lack them.
    """

    def __init__(self, label: str, loaded: Loaded, chain: list[nn.Module], tokens: StTokens | None, image: HfImage | HfPatches | None):
        """``chain``: the modules that an item passes through.

        Raises:
            InputError: rows depend on weights that no file has, or the model cannot encode a picture or text, or not the same way twice.
        """
        super().__init__()
        self.name, self.model, self.tokens, self.matryoshka = label, loaded.model, tokens, loaded.matryoshka
        self.modalities = (("image",) if image is not None else ()) + (("text",) if tokens is not None else ())
        self.aligned = len(self.modalities) > 1
        self._chain = [name for part in chain for name, module in self.named_modules() if module is part]
        if image is not None:
            self.preprocess_image = image
            self.image_size, self.image_mean, self.image_std = image.size, image.mean, image.std
        if tokens is not None:
            self.pad_id = tokens.pad_id
        self.eval()
        network = next(name for name, module in self.named_modules() if module is self.network)
        used = self.find_parts(self.network.config.model_type, network, set(self.get_submodule(self._chain[0]).modules()))
        lacking = sorted(name for name in loaded.missing if f"{network}.{name}" in used)
        if lacking:
            raise InputError(f"{label}: its files lack weights that its rows depend on, {lacking[0]} and {len(lacking) - 1} others")
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                if name in loaded.missing:
                    parameter.zero_()

    @property
    def network(self) -> nn.Module:
        """The transformers model."""
        return self.get_submodule(self._chain[0]).auto_model

    def forward(self, inputs: dict[str, Inputs]) -> dict[str, Tensor]:
        rows = {}
        for modality, values in inputs.items():
            if modality not in self.modalities:
                raise ValueError(f"{self.name} encodes {' and '.join(self.modalities)}, not '{modality}'")
            rows[modality] = self._encode(self.features(modality, values)) if len(values) else self.no_rows(modality)
        return rows

    def features(self, modality: str, values: Inputs) -> dict[str, object]:
        """What the first of the model's modules takes for n items."""
        if modality == "text":
            return self.tokens.read(values)
        return {**self.picture_arguments(values), "modality": "image"}

    def tokenize(self, texts: list[str]) -> Tensor:
        return super().tokenize(texts) if self.tokens is None else self.tokens(list(texts))

    def pooled(self, modality: str, hidden: Tensor, inputs: Inputs) -> Tensor:
        pooling = next((part for part in self._parts() if type(part).__name__ == "Pooling"), None)
        features = self.features(modality, inputs)
        mask = features.get("attention_mask")
        if pooling is not None and mask is not None and hidden.shape[:2] == mask.shape:
            return pooling({**features, "token_embeddings": hidden})["sentence_embedding"][:, : hidden.shape[-1]]
        if mask is not None and hidden.shape[:2] == mask.shape:
            return (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        return hidden[:, 0] if self.has_cls and hidden.dim() == 3 else super().pooled(modality, hidden, inputs)

    def weights_module(self) -> nn.Module:
        return self.network

    def save_files(self, folder: Path) -> tuple[str, dict[str, object]]:
        save_chain(self.name, self.model, folder)
        return "st:{folder}", {} if self.tokens is None else {"prompt": self.tokens.wanted}

    def geometry(self) -> dict:
        return self.preprocess_image.geometry() if "image" in self.modalities else {}

    def describe(self) -> dict:
        _, *others = self._parts()
        return {
            "backend": "st",
            "model": type(self.network).__name__,
            "config": stable(json.loads(self.network.config.to_json_string(use_diff=False))),
            "modules": [[type(module).__name__, json.loads(json.dumps(module.get_config_dict(), default=str))] for module in others],
            "truncate_dim": self.model.truncate_dim,
            "mean": self.image_mean,
            "std": self.image_std,
            "tokenizer": self.tokens.describe() if self.tokens is not None else None,
        }

    def similarity(self) -> tuple[Tensor, Tensor | None]:
        if not self.aligned:
            return super().similarity()
        return similarity_of(self.network) or (next(self.parameters()).new_tensor(SCALE), None)

    def _parts(self) -> list[nn.Module]:
        return [self.get_submodule(name) for name in self._chain]

    def _encode(self, features: dict[str, object]) -> Tensor:
        return self.model(features, task="document" if self.tokens is None else self.tokens.task)["sentence_embedding"][
            :, : self.model.truncate_dim
        ]


def _label(name: str, source: str | None) -> str:
    return f"st:{name}" + (f"@{source}" if source else "")


def check_st(name: str, source: str | None) -> None:
    """Raises InputError: sentence-transformers is not installed, no such folder, or a malformed name."""
    find_source(_label(name, source), name, source)


@register_backend("st", check=check_st)
def create_st(
    name: str,
    source: str | None,
    *,
    seed: int = 0,
    gradient_checkpointing: bool = False,
    trust_remote_code: bool = False,
    prompt: str = "document",
) -> StEncoder:
    """``name``: a hub repository, ``org/name`` or one of sentence-transformers' own, with or without a revision as ``source``, or a folder
    (``/folder``, ``./folder``). ``seed`` has no effect: all weights come from the files.

    Args:
        prompt: what is put before a text: ``document`` or ``query`` for what the model's ``encode_document`` or
            ``encode_query`` would put there, the name of one of its prompts, or a prompt itself.

    Raises:
        InputError: see ``create_encoder``.
    """
    label = _label(name, source)
    loaded = load_chain(label, find_source(label, name, source), source, trust_remote_code)
    model = loaded.model
    first, *others = chain_of(label, model, task_of(prompt))
    with torch.random.fork_rng(devices=[]), quiet():
        tokens = StTokens(model, first, prompt) if {"text", "message"} & set(model.modalities) else None
        image = _image(label, first, trust_remote_code) if "image" in model.modalities else None
        encoder = StEncoder(label, loaded, [first, *others], tokens, image)
    if gradient_checkpointing:
        try:
            with quiet():
                encoder.network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        except ValueError as error:
            raise InputError(f"{label}: the model has no gradient checkpointing; set gradient_checkpointing: False") from error
    return encoder


def _image(label: str, first: nn.Module, trust_remote_code: bool) -> HfImage | HfPatches:
    """How the model reads pictures: its own image processor in the PIL version, whose pixels are the same everywhere."""
    with TemporaryDirectory() as folder:
        getattr(first.processor, "image_processor", first.processor).save_pretrained(folder)
        return load_image_processor(label, Path(folder), trust_remote_code)
