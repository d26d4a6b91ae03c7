"""BEiT-3's tokenizer: sentencepiece pieces under XLM-RoBERTa's numbering."""

from pathlib import Path

import torch
from sentencepiece import SentencePieceProcessor
from torch import Tensor

from recbole_mm.errors import InputError, one_line

START, PAD, END, UNKNOWN = 0, 1, 2, 3
SPECIAL = (START, PAD, END)


class BEiT3Tokenizer:
    """Texts -> int64 (n, L) token ids: 0, then the number of each piece plus one (3 for an unknown piece), then 2. Truncated by token to
    ``max_length`` in all, padded with 1 to the longest text. Picklable.

    Args:
        label: for messages.
        path: a sentencepiece model.
        max_length: the largest number of tokens in a text, start and end token included.
        vocab_size: rows of the embedding that the ids index.

    Attributes:
        mask_id: the id after that of the last piece, as in XLM-RoBERTa; if the embedding ends before it (tiny), that of the unknown piece.

    Raises:
        InputError: the file is no readable sentencepiece model, or has more pieces than the embedding has rows.
    """

    def __init__(self, label: str, path: Path, max_length: int, vocab_size: int):
        self.max_length, self.special_ids = max_length, SPECIAL
        try:
            content = path.read_bytes()
            if not content:  # which sentencepiece takes for a model that is yet to come
                raise ValueError("it is empty")
            self.pieces = SentencePieceProcessor(model_proto=content)
            count = len(self.pieces)
        except Exception as error:
            raise InputError(f"{label}: {path} is not a readable sentencepiece model ({one_line(error)})") from error
        if count + 1 > vocab_size:
            raise InputError(f"{label}: {path} has {count} pieces and belongs to another model: this one embeds {vocab_size - 1}")
        self.mask_id = count + 1 if count + 1 < vocab_size else UNKNOWN

    def __call__(self, texts: list[str]) -> Tensor:
        rows = [self._ids(text) for text in texts]
        ids = torch.full((len(rows), max(map(len, rows), default=1)), PAD)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
        return ids

    def _ids(self, text: str) -> list[int]:
        unknown = self.pieces.unk_id()
        pieces = self.pieces.encode(text)[: self.max_length - 2]
        return [START, *(UNKNOWN if piece == unknown else piece + 1 for piece in pieces), END]
