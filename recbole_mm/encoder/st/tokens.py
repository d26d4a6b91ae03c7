"""Texts as sentence-transformers itself prepares them: its prompt, its chat template, its truncation."""

import hashlib

import torch
from torch import Tensor, nn

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.hf.text import PROBES, longest_text, wants_lower_case

PROMPTS = {"document": ("document", "passage", "corpus"), "query": ("query",)}
"""The names under which the prompts of a task are looked for, as ``encode_document`` and ``encode_query`` do."""
NO_TOKEN = -1
PLACEHOLDERS = ("image_token", "video_token", "audio_token")
"""Under these names a processor has what stands for something else than text: in a text, it means nothing."""


class StTokens:
    """Texts -> int64 (n, L) ids, truncated by token and padded at the end with -1, and back to what the model takes.

    Attributes:
        wanted: what the prompt was chosen by.
        prompt: put before every text, or into the system message of models with a chat template.
        task: ``document`` or ``query``, which models with a route for each are told.
    """

    pad_id = NO_TOKEN

    def __init__(self, model: nn.Module, first: nn.Module, wanted: str = "document"):
        """``model``: a ``SentenceTransformer``; ``first``: its module that prepares texts; ``wanted``: see ``task_of``, ``prompt_of``."""
        self.model, self.wanted, self.task = model, wanted, task_of(wanted)
        self.tokenizer, network = first.tokenizer, first.auto_model
        self._cased = str.lower if wants_lower_case(network.config.model_type, self.tokenizer) else str
        self.prompt = self._cased(prompt_of(model, wanted))
        self.tokenizer.model_max_length = longest_text(self.tokenizer, network, network.config)
        found = (getattr(getattr(first, "processor", None), name, None) for name in PLACEHOLDERS)
        self._placeholders = [token for token in found if isinstance(token, str) and token]
        self.fixed = False
        probe = self._prepare([PROBES[1]])
        self.modality, self.prompt_length = probe.get("modality", "text"), probe.get("prompt_length")
        self.fixed = "attention_mask" not in probe or network.config.model_type.startswith("siglip")
        self._filler = self.tokenizer.pad_token_id or 0

    def __call__(self, texts: list[str]) -> Tensor:
        if not texts:
            return torch.zeros(0, 1, dtype=torch.int64)
        found = self._prepare(texts)
        ids = found["input_ids"]
        kept = (ids != self._filler).int().flip(1).cummax(1).values.flip(1) if self.fixed else found["attention_mask"]
        rows = [row[keep.bool()] for row, keep in zip(ids, kept, strict=True)]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=NO_TOKEN)
        return ids if ids.shape[1] else torch.full((len(texts), 1), NO_TOKEN)

    def read(self, ids: Tensor) -> dict[str, object]:
        """(n, L) ids, padded by whoever batched them -> the features that the model's modules take. In a row without any token the first
        position counts, so that every mean is over at least one."""
        if self.fixed:
            ids = nn.functional.pad(ids, (0, self.tokenizer.model_max_length - ids.shape[1]), value=NO_TOKEN)
            return {"input_ids": ids.masked_fill(ids == NO_TOKEN, self._filler), "modality": self.modality}
        ids = ItemEncoder.shorten(ids, NO_TOKEN)
        mask = ids != NO_TOKEN
        mask[:, 0] = True
        features = {"input_ids": ids.masked_fill(ids == NO_TOKEN, self._filler), "attention_mask": mask.long(), "modality": self.modality}
        return features if self.prompt_length is None else {**features, "prompt_length": self.prompt_length}

    def describe(self) -> dict:
        """Everything that decides which ids a text becomes, including the ids of three probes."""
        return {
            "fixed": self.fixed,
            "modality": self.modality,
            "task": self.task,
            "prompt": self.prompt,
            "max_length": self.tokenizer.model_max_length,
            "probes": hashlib.sha256(repr([self([text]).tolist() for text in PROBES]).encode()).hexdigest(),
        }

    def _prepare(self, texts: list[str]) -> dict[str, object]:
        """Texts are named as such, because sentence-transformers takes one that looks like a picture's address for the picture."""
        for token in self._placeholders:
            texts = [text.replace(token, " ") for text in texts]
        padding = {"processing_kwargs": {"text": {"padding": "max_length"}}} if self.fixed else {}
        texts = [self._cased(text) for text in texts]
        if not hasattr(self.model, "preprocess"):  # before sentence-transformers 5.4, which read texts alone
            length = {"prompt_length": self.model._get_prompt_length(self.prompt)} if self.prompt else {}
            return {**self.model.tokenize([self.prompt + text for text in texts]), **length}
        return self.model.preprocess([{"text": text} for text in texts], prompt=self.prompt, task=self.task, **padding)


def task_of(wanted: str) -> str:
    """The task, ``document`` or ``query``, that a wanted prompt is for."""
    return "query" if wanted == "query" else "document"


def prompt_of(model: nn.Module, wanted: str) -> str:
    """The prompt of the task document or query, the prompt that the model has under this name, or ``wanted`` itself."""
    prompts = model.prompts
    named = next((name for name in PROMPTS.get(wanted, (wanted,)) if name in prompts), None)
    if named is not None:
        return prompts[named] or ""
    return prompts.get(model.default_prompt_name, "") if wanted in PROMPTS else wanted
