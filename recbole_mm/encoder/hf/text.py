"""transformers' tokenizers: token ids of bounded length, and the attention mask that follows from them."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.errors import InputError, listed, one_line

PROBES = ["", "A red cotton T-shirt, size XL (2-pack)!!", "Café & crème brûlée 北京 ☕ 1,234.50 " + "word " * 400]
UNKNOWN_LENGTH = 512
"""Tokens per text for models that name no limit at all (T5, for example)."""


class HfTokens:
    """Texts -> int64 (n, L) ids, truncated by token and padded at the end, and back to a mask.

    Attributes:
        pad_id: the tokenizer's padding token, or its end token if it has none.
        max_length: the largest number of tokens, special ones included.
        fixed: every text takes max_length columns, as in SigLIP's training; otherwise as many as the longest text of the batch.
        masked: the model is given an attention mask.
        ends_with_pad: texts end with the same token that pads them (CLIP), so the first such token after a text belongs to it.
    """

    def __init__(self, label: str, tokenizer: object, max_length: int, *, fixed: bool = False, prefix: str = "", lower: bool = False):
        """``prefix`` is put before every text; ``lower``: convert texts to lower case first. Raises InputError: no token can pad."""
        if tokenizer.pad_token_id is None:
            if tokenizer.eos_token_id is None:
                raise InputError(f"{label}: its tokenizer has no padding token and no end token; set pad_token in tokenizer_config.json")
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = tokenizer.truncation_side = "right"
        self.tokenizer = tokenizer
        self.pad_id = int(tokenizer.pad_token_id)
        self.max_length, self.fixed = max_length, fixed
        self.prefix, self.lower = prefix, lower
        self.masked = not fixed and "attention_mask" in tokenizer.model_input_names
        self.ends_with_pad = tokenizer("a").input_ids[-1:] == [self.pad_id]

    def __call__(self, texts: list[str]) -> Tensor:
        if not texts:
            return torch.zeros(0, self.max_length if self.fixed else 1, dtype=torch.int64)
        texts = [self.prefix + (text.lower() if self.lower else text) for text in texts]
        padding = "max_length" if self.fixed else "longest"
        rows = self.tokenizer(texts, truncation=True, max_length=self.max_length, padding=padding)["input_ids"]
        ids = torch.tensor(rows, dtype=torch.int64)
        return ids if ids.shape[1] else torch.full((len(texts), 1), self.pad_id)

    def read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """(n, L) ids, padded by whoever batched them -> ids as the model wants them, and bool (n, L), True for tokens of the text.

        In a row without any such token the first token counts, so that every mean is over at least one token.
        """
        if self.fixed:
            ids = nn.functional.pad(ids, (0, self.max_length - ids.shape[1]), value=self.pad_id)
        else:
            ids = ids[:, : ItemEncoder.shorten(ids, self.pad_id).shape[1] + self.ends_with_pad]
        mask = ids != self.pad_id
        before = mask[:, :-1] if self.ends_with_pad else torch.zeros_like(mask[:, :-1])
        mask[:, 1:] |= before.clone()
        mask[:, 0] = True
        return ids, mask

    def describe(self) -> dict:
        """Everything that decides which ids a text becomes, including the ids of three probes."""
        return {
            "max_length": self.max_length,
            "fixed": self.fixed,
            "pad_id": self.pad_id,
            "masked": self.masked,
            "probes": hashlib.sha256(repr([self([text]).tolist() for text in PROBES]).encode()).hexdigest(),
        }


def load_tokenizer(label: str, folder: Path, trust_remote_code: bool) -> object:
    """The folder's tokenizer. Raises InputError: its files are missing or cannot be read."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=trust_remote_code, local_files_only=not trust_remote_code)
        wanted = [name for kind, name in tokenizer.vocab_files_names.items() if kind != "tokenizer_file"]
        lacking = [name for name in wanted if not (folder / name).is_file()]
        if lacking and not trust_remote_code and not (folder / "tokenizer.json").is_file():
            raise FileNotFoundError(f"no {listed(lacking)}")  # transformers would go on with an empty vocabulary
        return tokenizer
    except Exception as error:
        raise InputError(
            f"{label}: the tokenizer in {folder} cannot be loaded ({one_line(error)}); it needs tokenizer.json, or the vocabulary "
            "files and tokenizer_config.json"
        ) from error


def wants_lower_case(model_type: str, tokenizer: object) -> bool:
    """Was the model trained on lower-case texts, without its tokenizer doing that? SigLIP 2 was, and its repositories name Gemma's
    tokenizer, which keeps the case; at a fixed resolution, it is also the only sign that a model of type siglip is a SigLIP 2."""
    gemma = "gemma" in type(tokenizer).__name__.lower()
    return model_type.startswith("siglip2") or gemma and model_type.startswith("siglip")


def longest_text(tokenizer: object, model: nn.Module, config: object, also: int | None = None) -> int:
    """How many tokens the model can read: the least of what its tokenizer, its positions and ``also`` (a stated limit) allow."""
    text = getattr(config, "text_config", config)
    limits = [also, tokenizer.model_max_length, getattr(text, "max_position_embeddings", None)]
    for name, module in model.named_modules():
        if name.split(".")[-1] == "position_embeddings" and getattr(module, "padding_idx", None) is not None:
            limits.append(module.num_embeddings - module.padding_idx - 1)  # RoBERTa's, which count from after the padding index
    return min((limit for limit in limits if limit and 0 < limit < 10**6), default=UNKNOWN_LENGTH)
