"""sentence-transformers' models under the encoder contract."""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from recbole_mm.encoder.base import Inputs
from recbole_mm.encoder.hf.encoder import similarity_of, stable
from recbole_mm.encoder.hf.resize import resize_config
from recbole_mm.encoder.hf.sentence import pool
from recbole_mm.encoder.joint import JointEncoder
from recbole_mm.encoder.shrink import Kept
from recbole_mm.encoder.st.load import Loaded
from recbole_mm.encoder.st.patches import GridPatches
from recbole_mm.encoder.st.pictures import Pictures
from recbole_mm.encoder.st.save import save_chain
from recbole_mm.encoder.st.tokens import StTokens
from recbole_mm.encoder.traced import TracedEncoder
from recbole_mm.errors import InputError

PAIR = ("image", "text")
SCALE = 20.0
"""Of cosines, in sentence-transformers' own contrastive losses: for models that bring none."""


class StEncoder(TracedEncoder):
    """A row is what the ``encode`` of sentence-transformers gives, cut as the model's ``truncate_dim`` says.

    ``model`` is the ``SentenceTransformer``; the names of its parameters begin with "model.". Parameters that no row depends on do not
    require gradients, and are zero where the model's files lack them. Of models that read a picture as tokens among others, the blocks
    are those of the language model: what makes the tokens comes before them.
    """

    def __init__(self, label: str, loaded: Loaded, chain: list[nn.Module], tokens: StTokens | None, pictures: Pictures | None):
        """``chain``: the modules that an item passes through.

        Raises:
            InputError: rows depend on weights that no file has, or the model cannot encode a picture or text, or not the same way twice.
        """
        super().__init__()
        self.name, self.model, self.matryoshka = label, loaded.model, loaded.matryoshka
        self.tokens, self.pictures = tokens, pictures
        read = {"image": pictures is not None, "text": tokens is not None, "joint": isinstance(self, JointEncoder)}
        self.modalities = tuple(modality for modality, can in read.items() if can)
        self.aligned = set(PAIR) <= set(self.modalities)
        self._chain = [name for part in chain for name, module in self.named_modules() if module is part]
        if pictures is not None:
            self.preprocess_image = pictures.reader
            self.image_size, self.image_mean, self.image_std = pictures.reader.size, pictures.reader.mean, pictures.reader.std
        if tokens is not None:
            self.pad_id = tokens.pad_id
        self.eval()
        network = next(name for name, module in self.named_modules() if module is self.network)
        of_texts = pictures is not None and pictures.words is not None
        used = self.find_parts(self.network.config.model_type, network, blocks_in=self._chain[0], of_texts=of_texts)
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
                raise ValueError(f"{self.name} encodes {', '.join(self.modalities)}, not '{modality}'")
            n = len(values[0] if modality == "joint" else values)
            rows[modality] = self._encode(self._features(modality, values)) if n else self.no_rows(modality)
        return rows

    def tokenize(self, texts: list[str]) -> Tensor:
        return super().tokenize(texts) if self.tokens is None else self.tokens(list(texts))

    def picture_arguments(self, pictures: Tensor) -> dict[str, Tensor]:
        if isinstance(self.preprocess_image, GridPatches):
            return self.preprocess_image.restore(pictures, self.normalise(pictures, next(self.parameters()).dtype))
        return super().picture_arguments(pictures)

    def pooled(self, modality: str, hidden: Tensor, inputs: Inputs) -> Tensor:
        ids = self._token_ids(modality, inputs)
        mask = self._mask(ids)
        if mask is None or hidden.shape[:2] != mask.shape:
            return hidden[:, 0] if ids is None and self.has_cls and hidden.dim() == 3 else super().pooled(modality, hidden, inputs)
        pooling = next((part for part in self._parts() if type(part).__name__ == "Pooling"), None)
        if pooling is None:
            return pool(hidden, mask.bool(), ("mean",))
        return pooling({**self.tokens.read(ids), "token_embeddings": hidden})["sentence_embedding"][:, : hidden.shape[-1]]

    def token_states(self, modality: str, hidden: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        mask = self._mask(self._token_ids(modality, inputs))
        fits = mask is not None and hidden.shape[:2] == mask.shape
        return (hidden, mask.bool()) if fits else super().token_states(modality, hidden, inputs)

    def weights_module(self) -> nn.Module:
        return self.network

    def save_files(self, folder: Path) -> tuple[str, dict[str, object]]:
        save_chain(self.name, self.model, folder)
        options = {} if self.tokens is None else {"prompt": self.tokens.wanted}
        if getattr(self.preprocess_image, "max_patches", None) is not None:
            options["max_patches"] = self.preprocess_image.max_patches
        return "st:{folder}", options

    def resize(self, stack: str, depth: int, kept: Kept) -> None:
        resize_config(self, stack, depth, kept)

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

    def _mask(self, ids: Tensor | None) -> Tensor | None:
        """Which of the tokens of n > 0 items are no padding, (n, L); None where the model is not told."""
        return None if ids is None else self.tokens.read(ids).get("attention_mask")

    def _token_ids(self, modality: str, values: Inputs) -> Tensor | None:
        """The ids of what the model reads for n > 0 items, (n, L); None where it reads pictures alone without any."""
        if modality == "text":
            return values
        pictures, texts = values if modality == "joint" else (values, None)
        if self.pictures.words is None:
            return texts
        return self.pictures.words.insert(self.pictures.counts(pictures), texts)

    def _features(self, modality: str, values: Inputs) -> dict[str, object]:
        """What the first of the model's modules takes for n > 0 items."""
        ids = self._token_ids(modality, values)
        features = {} if ids is None else self.tokens.read(ids)
        if modality == "text":
            return features
        features |= self.picture_arguments(values[0] if modality == "joint" else values)
        if self.pictures.words is None:
            return {**features, "modality": "image" if modality == "image" else PAIR}
        return {**features, **self.pictures.words.tell(features["input_ids"]), "modality": "message"}

    def _encode(self, features: dict[str, object]) -> Tensor:
        task = "document" if self.tokens is None else self.tokens.task
        return self.model(features, task=task)["sentence_embedding"][:, : self.model.truncate_dim]


class StJointEncoder(StEncoder, JointEncoder):
    """One that also reads a picture and a text in one pass."""

    text_first = False
