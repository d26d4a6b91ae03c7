"""The contract of encoders that read a picture and a text in one pass."""

from abc import abstractmethod

from torch import Tensor

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.pretraining_heads import PretrainingHeads


class JointEncoder(ItemEncoder):
    """An ``ItemEncoder`` with "joint" among its modalities, which says how a joint pass goes.

    Hidden states of a joint pass can be stored only if ``text_first`` is known; image-text matching and masked language modelling need
    ``pretraining_heads`` and ``read_pairs``, and the latter objective also the three attributes of the vocabulary.

    Attributes:
        pretraining_heads: kept beside the encoder where they were asked for; None where it has none.
        vocabulary_size: token ids are below it.
        mask_id: the token that stands for a hidden one; None where the vocabulary has none.
        special_ids: tokens that stand for no part of a text: padding, start, end.
    """

    pretraining_heads: PretrainingHeads | None = None
    vocabulary_size: int | None = None
    mask_id: int | None = None
    special_ids: tuple[int, ...] = ()

    @property
    @abstractmethod
    def text_first(self) -> bool:
        """Does a joint pass have the text's positions before the picture's? May be a class attribute."""

    def read_pairs(self, pixels: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """What ``pretraining_heads`` take.

        Args:
            pixels: pictures, uint8 (n, 3, H, W).
            token_ids: the text of each, int64 (n, L).

        Returns:
            The joint rows, (n, d), and the hidden states of the texts' tokens, (n, L, d).
        """
        raise NotImplementedError(f"{type(self).__name__} has pretraining heads but no read_pairs, whose output they take")
