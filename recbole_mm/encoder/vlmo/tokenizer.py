"""BERT's WordPiece tokenizer (uncased), and how its vocabulary is found."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from recbole_mm.encoder.hub import hub_access
from recbole_mm.errors import InputError, listed, one_line

TINY_VOCABULARY = Path(__file__).parent / "tiny_vocab.txt"
FILES = ("vocab.txt", "tokenizer.json")
REPOSITORY = "google-bert/bert-base-uncased"
PAD, UNKNOWN, START, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"


class WordPieceTokenizer:
    """Texts -> [CLS] pieces [SEP], in lower case, without accents, truncated by token and padded with 0.

    Args:
        vocabulary: piece -> id.
        max_len: the largest number of tokens in a text, [CLS] and [SEP] included.

    Attributes:
        pieces: in the order of their ids.
    """

    def __init__(self, vocabulary: dict[str, int], max_len: int):
        from tokenizers import Tokenizer
        from tokenizers.models import WordPiece
        from tokenizers.normalizers import BertNormalizer
        from tokenizers.pre_tokenizers import BertPreTokenizer
        from tokenizers.processors import BertProcessing

        self.pieces = sorted(vocabulary, key=vocabulary.get)
        self.special_ids, self.mask_id = tuple(vocabulary[piece] for piece in (PAD, START, END)), vocabulary.get(MASK)
        self._tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=UNKNOWN))
        self._tokenizer.normalizer = BertNormalizer(lowercase=True)
        self._tokenizer.pre_tokenizer = BertPreTokenizer()
        self._tokenizer.post_processor = BertProcessing((END, vocabulary[END]), (START, vocabulary[START]))
        self._tokenizer.enable_truncation(max_len)
        self._tokenizer.enable_padding(pad_id=vocabulary[PAD], pad_token=PAD)

    def __call__(self, texts: list[str]) -> Tensor:
        """n texts, n > 0 -> int64 (n, L); L is the length of the longest."""
        return torch.tensor([encoding.ids for encoding in self._tokenizer.encode_batch(texts)], dtype=torch.int64)


def find_vocabulary(label: str, given: str | None, weights: Path) -> Path:
    """The vocabulary file: ``given`` (a file, or a folder with one), else beside the weights, else from the hub or its cache.

    Raises:
        InputError: there is none.
    """
    if given is not None:
        path = Path(given).expanduser()
        found = _inside(path) if path.is_dir() else path if path.is_file() else None
        if found is None:
            raise InputError(f"{label}: option tokenizer: {path} is neither a vocabulary file nor a folder with {' or '.join(FILES)}")
        return found
    return _inside(weights.parent) or _from_hub(label, weights.parent)


def read_vocabulary(label: str, path: Path, size: int) -> dict[str, int]:
    """Piece -> id from a ``vocab.txt`` (one piece per line) or the WordPiece model of a ``tokenizer.json``.

    Raises:
        InputError: the file is readable as neither, has not ``size`` pieces, lacks BERT's special pieces, or [PAD] is not 0.
    """
    with _reading(label, path):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            vocabulary = {str(piece): int(i) for piece, i in json.loads(text)["model"]["vocab"].items()}
        else:
            vocabulary = {piece: i for i, piece in enumerate(text.removesuffix("\n").split("\n"))}
    missing = [piece for piece in (PAD, UNKNOWN, START, END) if piece not in vocabulary]
    if missing or vocabulary[PAD] != 0 or sorted(vocabulary.values()) != list(range(size)):
        problem = f"lacks {listed(missing)}" if missing else f"holds {len(vocabulary)} pieces"
        raise InputError(f"{label}: {path} {problem}, and is not the WordPiece vocabulary of {size} pieces (with [PAD] = 0) it needs")
    return vocabulary


def _inside(folder: Path) -> Path | None:
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def _from_hub(label: str, folder: Path) -> Path:
    from huggingface_hub import hf_hub_download

    errors = []
    with hub_access():
        for name in FILES:
            try:
                return Path(hf_hub_download(REPOSITORY, name))
            except Exception as error:  # not in the cache, no network, no access: each with error classes of its own
                errors.append(error)
    raise InputError(
        f"{label}: its tokenizer's vocabulary is not here and cannot be downloaded ({one_line(errors[0], 80)}); get vocab.txt from "
        f"https://huggingface.co/{REPOSITORY} elsewhere, and put it into {folder} or pass the option tokenizer: /path/to/vocab.txt"
    ) from errors[0]


@contextmanager
def _reading(label: str, path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{label}: {path} is no WordPiece vocabulary ({type(error).__name__}: {one_line(error)})") from error
