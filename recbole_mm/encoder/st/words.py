"""Where a chat template puts a picture among the tokens of a message."""

from collections.abc import Callable
from itertools import groupby
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from recbole_mm.encoder.st.tokens import NO_TOKEN
from recbole_mm.errors import InputError

TEXTS = ("red shoes", "A blue hat.")
TYPES = ("mm_token_type_ids", "token_type_ids")
"""What tells a model which tokens stand for a picture."""


class PictureWords(NamedTuple):
    """A message with a picture: ``start before token token ... after end`` where there is no text, and a text's own tokens around
    ``before token token ... after`` where there is one: the first as many as ``start`` has, and the others.

    Attributes:
        token: stands for a part of a picture; there are as many as the picture has parts.
        count: how many there were of the picture that this was read off.
        types: the names under which the model is told where these are.
    """

    start: list[int]
    before: list[int]
    token: int
    after: list[int]
    end: list[int]
    count: int
    types: list[str]

    def insert(self, counts: Tensor, token_ids: Tensor | None = None) -> Tensor:
        """int64 (n, L) ids of the messages of n items, padded with -1.

        Args:
            counts: int64 (n,), the parts of their pictures.
            token_ids: int64 (n, L), their texts; None where they have none.
        """
        rows = []
        texts = [[*self.start, *self.end]] * len(counts) if token_ids is None else token_ids.tolist()
        place = len(self.start)
        for count, text in zip(counts.tolist(), texts, strict=True):
            own = [token for token in text if token != NO_TOKEN]
            rows.append(torch.tensor([*own[:place], *self.before, *[self.token] * count, *self.after, *own[place:]]))
        return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=NO_TOKEN).to(counts.device)

    def tell(self, token_ids: Tensor) -> dict[str, Tensor]:
        """Which of the ids stand for a picture, as the model wants to be told."""
        return dict.fromkeys(self.types, (token_ids == self.token).long())


def find_words(label: str, prepare: Callable[[list], dict[str, object]], picture: Image.Image) -> PictureWords | None:
    """Reads off how sentence-transformers prepares a picture, texts, and both; None where a picture alone has no tokens.

    Args:
        prepare: its own preprocessing.

    Raises:
        InputError: a picture is not simply inserted into the message.
    """
    shown = prepare([{"image": picture}])
    if "input_ids" not in shown:
        return None
    alone, *texts = (each["input_ids"][0].tolist() for each in (shown, *(prepare([{"text": text}]) for text in TEXTS)))
    both = [prepare([{"image": picture, "text": text}]) for text in TEXTS]
    joint = [each["input_ids"][0].tolist() for each in both]
    place = next((i for i, (a, b) in enumerate(zip(texts[0], joint[0], strict=False)) if a != b), 0)
    inserted = joint[0][place : place + len(joint[0]) - len(texts[0])]
    count, token = max(((len(list(run)), token) for token, run in groupby(inserted)), default=(0, NO_TOKEN))
    first = inserted.index(token) if inserted else 0
    words = PictureWords(
        start=texts[0][:place],
        before=inserted[:first],
        token=token,
        after=inserted[first + count :],
        end=alone[place + len(inserted) :],
        count=count,
        types=[name for name in TYPES if name in shown],
    )
    found = [words.insert(torch.tensor([count]), ids) for ids in (None, *(torch.tensor([text]) for text in texts))]
    told = all(torch.equal(words.tell(each["input_ids"])[name], each[name].long()) for each in (shown, *both) for name in words.types)
    if not told or [ids[0].tolist() for ids in found] != [alone, *joint]:
        raise InputError(f"{label}: its chat template does more to a picture than to insert it before the text")
    return words
