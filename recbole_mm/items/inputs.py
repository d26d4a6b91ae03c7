"""The inputs of an encoder: pictures and token ids of a data set's items, in the modalities that both of them have."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b

import torch
from torch import Tensor
from torch.nn import functional

from recbole_mm.config.modalities import CROSS, PAIR
from recbole_mm.data.content import ItemContent
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.base import Inputs
from recbole_mm.errors import InputError
from recbole_mm.terminal import Bar, labelled, say

TEXTS_AT_ONCE = 1024
PARTS = {"image": ("image",), "text": ("text",), "joint": PAIR, CROSS: PAIR}
"""What a modality is made of: an item has the modality if it has all of these."""


class EncoderInputs:
    """Pictures as the encoder's preprocessing makes them, and texts as its tokenizer makes them.

    Pictures come from the pack, which is built here where it lacks some. Texts are tokenised when they are first asked for.

    Args:
        encoder: its preprocessing and its tokenizer are used.
        content: the pictures and texts of all items.
        modalities: the modalities to use; None for image and text, as far as both the encoder and the content have them.
        show_progress: shows progress bars over work on the whole catalogue.

    Attributes:
        modalities: the modalities in use.
        present: ``{modality: bool (n_items,)}``, which items have that modality.

    Raises:
        InputError: the encoder or the items do not have one of the modalities.
    """

    def __init__(
        self, encoder: ItemEncoder, content: ItemContent, modalities: Sequence[str] | None = None, show_progress: bool = False
    ) -> None:
        self.modalities, self.content = choose_modalities(modalities, encoder, content), content
        parts = {part for m in self.modalities for part in PARTS[m]}
        if "image" in parts:
            content.use_preprocessing(encoder.preprocess_image, encoder.preprocess_key, encoder.image_size)
        self.present = {m: torch.stack([content.present[part] for part in PARTS[m]]).all(0) for m in self.modalities}
        for m, here in self.present.items():
            if not bool(here.any()):
                fields = " and ".join(f"{part}_field" for part in PARTS[m])
                raise InputError(f"no item has any {' with '.join(PARTS[m])}: leave '{m}' out of modalities, or see {fields}")
        self._encoder, self.show_progress = encoder, show_progress

    def __len__(self) -> int:
        return len(self.content)

    def read(self, modality: str, ids: Tensor) -> Inputs:
        """What the encoder's ``forward`` takes for n items, on the device of ``ids``: uint8 (n, 3, H, W), int64 (n, L), or both."""
        return self._read(modality, ids, self.token_ids)

    def read_once(self, modality: str, ids: Tensor) -> Inputs:
        """As ``read``, for items that are read only once: their texts are tokenised now, without those of the whole catalogue."""
        return self._read(modality, ids, lambda ids: self._encoder.tokenize(self.content.texts(ids)))

    def token_ids(self, ids: Tensor) -> Tensor:
        """The token ids of n items, int64 (n, L), on the device of ``ids``."""
        return self._token_ids[ids.cpu()].long().to(ids.device)

    @cached_property
    def text_lengths(self) -> Tensor:
        """How many tokens the text of each item has, (n_items,)."""
        return (self._token_ids != self._encoder.pad_id).sum(1)

    def digests(self, modality: str) -> list[str]:
        """Names the content of each item in a modality, in 32 or 64 hexadecimal digits; "" for items that lack the modality."""
        parts = zip(*(self.content.digests(part) for part in PARTS[modality]), strict=True)
        return ["".join(names) if all(names) else "" for names in parts]

    def _read(self, modality: str, ids: Tensor, tokens: Callable[[Tensor], Tensor]) -> Inputs:
        on_cpu, read = ids.cpu(), {"image": self.content.images, "text": tokens}
        values = tuple(read[part](on_cpu).to(ids.device) for part in PARTS[modality])
        return values if len(values) > 1 else values[0]

    @cached_property
    def _token_ids(self) -> Tensor:
        return _tokenize(self._encoder, self.content, self.show_progress)


def contents_fingerprint(digests: Mapping[str, list[str]]) -> str:
    """One fingerprint of the contents of all items in each modality, in order of the items (see ``EncoderInputs.digests``)."""
    return blake2b(json.dumps(digests).encode(), digest_size=16).hexdigest()


def _tokenize(encoder: ItemEncoder, content: ItemContent, show_progress: bool) -> Tensor:
    """The token ids of the whole catalogue, int32 (n_items, L)."""
    chunks = torch.arange(len(content)).split(TEXTS_AT_ONCE)
    bar = Bar(chunks, desc="Tokenising texts", disable=not show_progress or len(chunks) < 8)
    parts = [encoder.tokenize(content.texts(ids)).int() for ids in bar]
    longest = max(part.shape[1] for part in parts)
    return torch.cat([functional.pad(part, (0, longest - part.shape[1]), value=encoder.pad_id) for part in parts])


def choose_modalities(wanted: Sequence[str] | None, encoder: ItemEncoder, content: ItemContent) -> tuple[str, ...]:
    """The modalities in use. Where none are asked for, they are image and text in the encoder's order: joint would cost one more pass.

    Raises:
        InputError: the encoder or the items do not have a modality that is asked for, or they have none in common.
    """
    if wanted is None:
        single = tuple(m for m in encoder.modalities if m != "joint")
        chosen = tuple(m for m in single if m in content.modalities)
        if chosen and set(chosen) != {*single, *content.modalities}:
            read, had = ", ".join(single), ", ".join(content.modalities)
            say(labelled("modalities", f"{', '.join(chosen)}: the encoder reads {read}, the items have {had}"))
    else:
        chosen = tuple(dict.fromkeys(wanted))
        for m in chosen:
            if m not in encoder.modalities:
                raise InputError(f"modalities: the encoder has no '{m}', it reads {', '.join(encoder.modalities)}")
            for part in PARTS[m]:
                if part not in content.modalities:
                    raise InputError(f"modalities: the data set's items have no '{part}'; set {part}_field to a column of the .item file")
    if not chosen:
        raise InputError(f"the encoder reads {', '.join(encoder.modalities)} and the items have {', '.join(content.modalities)}")
    return chosen
