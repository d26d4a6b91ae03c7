"""Random changes of the pictures and texts that an encoder reads in a training step."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recbole_mm.encoder.base import Inputs, ItemEncoder
from recbole_mm.encoder.random_views import augment_pictures

VIEWS = {"light": {"crop": 0.6, "flip": 0.5, "jitter": 0.2}, "strong": {"crop": 0.2, "flip": 0.5, "jitter": 0.4}}
"""The value of ``image_augmentation`` -> the settings of ``augment_pictures``."""


class Augmentation:
    """Changes an encoder's inputs anew in every step, by random numbers of torch's generator for the CPU: with its state, they repeat.

    Args:
        encoder: it will read the inputs.
        views: a key of ``VIEWS``; None leaves pictures as they are.
        token_dropout: the share of its tokens that a text loses; see ``drop_tokens``.
    """

    def __init__(self, encoder: ItemEncoder, views: str | None = None, token_dropout: float = 0.0) -> None:
        self._views, self._token_dropout, self._pad_id = VIEWS.get(views), token_dropout, encoder.pad_id
        self._kept = encoder.tokenize([""]).flatten().unique() if token_dropout and encoder.pad_id is not None else None

    def __call__(self, modality: str, inputs: Inputs) -> Inputs:
        """What the encoder's ``forward`` takes of n items, changed: pictures, token ids, or both."""
        if modality == "joint":
            return self._pictures(inputs[0]), self._texts(inputs[1])
        return self._pictures(inputs) if modality == "image" else self._texts(inputs)

    def _pictures(self, pixels: Tensor) -> Tensor:
        return augment_pictures(pixels, **self._views) if self._views else pixels

    def _texts(self, token_ids: Tensor) -> Tensor:
        return drop_tokens(token_ids, self._token_dropout, self._kept, self._pad_id) if self._token_dropout else token_ids


def drop_tokens(token_ids: Tensor, share: float, kept: Tensor | Sequence[int], pad_id: int) -> Tensor:
    """Texts without a random ``share`` of their tokens (word dropout: Iyyer et al., 2015, "Deep unordered composition rivals syntactic
    methods for text classification"), closed up, and padded to their old length.

    Args:
        token_ids: int64 (n, L), padded with ``pad_id``.
        kept: tokens that always stay: those that every text has, such as its start and its end.

    Returns:
        int64 (n, L).
    """
    kept = torch.as_tensor(kept, device=token_ids.device)
    stays = (torch.rand(token_ids.shape) >= share).to(token_ids.device) | torch.isin(token_ids, kept) | (token_ids == pad_id)
    closed = token_ids.gather(1, stays.logical_not().byte().argsort(dim=1, stable=True))
    places = torch.arange(token_ids.shape[1], device=token_ids.device)
    return closed.where(places < stays.sum(1, keepdim=True), pad_id)
