"""What an encoder is fed: pictures and token ids of a data set's items, in the modalities that both sides have."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from logging import getLogger

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from recbole_mm.data.content import ItemContent
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.base import Inputs
from recbole_mm.errors import InputError

TEXTS_AT_ONCE = 1024
PARTS = {"image": ("image",), "text": ("text",), "joint": ("image", "text")}
"""What a modality is made of: an item has it if it has all of these."""


class EncoderInputs:
    """Pictures as the encoder's preprocessing makes them (from the pack, built here if need be) and texts, tokenised when
    first asked for.

    Args:
        modalities: which to use; None for image and text, as far as encoder and content have them.

    Attributes:
        modalities: those in use.
        present: ``{modality: bool (n_items,)}``.

    Raises:
        InputError: a modality that the encoder or the items do not have.
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
        self._encoder, self._show_progress = encoder, show_progress

    def __len__(self) -> int:
        return len(self.content)

    def __call__(self, modality: str, ids: Tensor) -> Inputs:
        """What the encoder's ``forward`` takes of n items, on the device of ``ids``: uint8 (n, 3, H, W), int64 (n, L), or both."""
        return self._read(modality, ids, self.token_ids)

    def token_ids(self, ids: Tensor) -> Tensor:
        """int64 (n, L), on the device of ``ids``."""
        return self._token_ids[ids.cpu()].long().to(ids.device)

    def once(self, modality: str, ids: Tensor) -> Inputs:
        """The same for items that are read only once: tokenised as they come, not with the whole catalogue."""
        return self._read(modality, ids, lambda ids: self._encoder.tokenize(self.content.texts(ids)))

    def digests(self, modality: str) -> list[str]:
        """What names the content of each item in a modality, in 32 or 64 hexadecimal digits; "" where it lacks the modality."""
        parts = zip(*(self.content.digests(part) for part in PARTS[modality]), strict=True)
        return ["".join(names) if all(names) else "" for names in parts]

    def _read(self, modality: str, ids: Tensor, tokens: Callable[[Tensor], Tensor]) -> Inputs:
        on_cpu, read = ids.cpu(), {"image": self.content.images, "text": tokens}
        values = tuple(read[part](on_cpu).to(ids.device) for part in PARTS[modality])
        return values if len(values) > 1 else values[0]

    @cached_property
    def _token_ids(self) -> Tensor:
        return _tokenize(self._encoder, self.content, self._show_progress)


def contents_fingerprint(digests: Mapping[str, list[str]]) -> str:
    """Of what all items have, in order, in each modality (see ``EncoderInputs.digests``)."""
    return blake2b(json.dumps(digests).encode(), digest_size=16).hexdigest()


def _tokenize(encoder: ItemEncoder, content: ItemContent, show_progress: bool) -> Tensor:
    """int32 (n_items, L)."""
    chunks = torch.arange(len(content)).split(TEXTS_AT_ONCE)
    bar = tqdm(chunks, desc="Tokenising texts", ncols=100, disable=not show_progress or len(chunks) < 8, leave=False)
    parts = [encoder.tokenize(content.texts(ids)).int() for ids in bar]
    longest = max(part.shape[1] for part in parts)
    return torch.cat([functional.pad(part, (0, longest - part.shape[1]), value=encoder.pad_id) for part in parts])


def choose_modalities(wanted: Sequence[str] | None, encoder: ItemEncoder, content: ItemContent) -> tuple[str, ...]:
    """The modalities in use; where none are asked for, image and text in the encoder's order (joint is one pass more)."""
    if wanted is None:
        single = tuple(m for m in encoder.modalities if m != "joint")
        chosen = tuple(m for m in single if m in content.modalities)
        if chosen != single:
            getLogger().info(f"Modalities in use: {chosen} (the encoder reads {single}, the items have {content.modalities})")
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
