"""The token states of items: what an encoder holds of each patch of a picture and each word of a text."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from recbole_mm.encoder.base import Inputs, ItemEncoder
from recbole_mm.encoder.frozen.cut import with_length
from recbole_mm.encoder.hooks import hidden_of, hooked
from recbole_mm.encoder.probe import probe_inputs
from recbole_mm.errors import InputError


class Tokens(NamedTuple):
    """The tokens of n items in one modality.

    Attributes:
        states: (n, L, d).
        mask: bool (n, L), False for padding. Every item has a token that is no padding.
    """

    states: Tensor
    mask: Tensor

    def of(self, chosen: Tensor) -> "Tokens":
        """Those of some of the items; ``chosen`` are their places or bool (n,)."""
        return Tokens(self.states[chosen], self.mask[chosen])

    @classmethod
    def joined(cls, parts: Sequence["Tokens"]) -> "Tokens":
        """Those of all items of the parts, padded to the longest."""
        longest = max(part.states.shape[1] for part in parts)
        return cls(*(torch.cat([with_length(tensor, longest) for tensor in tensors]) for tensors in zip(*parts, strict=True)))

    def packed(self) -> Tensor:
        """Both in one tensor, (n, L, d + 1), which may be padded with zeros."""
        return torch.cat([self.states, self.mask.unsqueeze(2).to(self.states.dtype)], 2)

    @classmethod
    def unpacked(cls, packed: Tensor) -> "Tokens":
        """What ``packed`` gave, padded or not."""
        return cls(packed[..., :-1], packed[..., -1] > 0)


class TokenStates:
    """Takes the hidden states that enter the last block of an encoder out of its forward pass. The output of that block would not do:
    several encoders compute it at one position alone, the one that becomes the row.

    Attributes:
        widths: ``{modality: d}``.

    Raises:
        InputError: the encoder's last block is not entered by hidden states.
    """

    def __init__(self, encoder: ItemEncoder, modalities: Sequence[str]) -> None:
        self.encoder = encoder
        self._last = {m: self._last_block(m) for m in modalities}
        self.widths = {m: self.with_rows(m, probe_inputs(encoder, m))[1].states.shape[2] for m in modalities}

    @torch.no_grad()
    def with_rows(self, modality: str, inputs: Inputs) -> tuple[Tensor, Tokens]:
        """What the encoder's ``forward`` takes of n items -> their rows and their tokens, without gradient."""
        with self.taken(modality) as found:
            rows = self.encoder({modality: inputs})[modality]
        return rows, self.tokens(modality, found[0], inputs)

    @contextmanager
    def taken(self, modality: str) -> Iterator[list[Tensor]]:
        """Inside the block, the encoder's forward pass over a modality leaves the hidden states of its last block in the list."""
        found: list[Tensor] = []

        def take(block: nn.Module, args: tuple, kwargs: dict) -> None:
            found[:] = [hidden_of(args or tuple(kwargs.values()))]

        handle = self._last[modality].register_forward_pre_hook(take, with_kwargs=True)
        try:
            yield found
        finally:
            handle.remove()

    def tokens(self, modality: str, hidden: Tensor, inputs: Inputs) -> Tokens:
        """Hidden states of n items and what they were encoded from -> their tokens, without the end that is padding in all of them."""
        if not isinstance(hidden, Tensor) or hidden.dim() not in (2, 3, 4) or len(hidden) != len(inputs):
            raise InputError(f"fusion: cross: the last block of {self.encoder.name} does not begin with the hidden states of each item, so "
                             f"a {modality} has no tokens; set fusion: concat")  # fmt: skip
        states, mask = self.encoder.token_states(modality, hidden, inputs)
        length = int(mask.any(0).nonzero().max()) + 1
        return Tokens(states[:, :length], mask[:, :length])

    def _last_block(self, modality: str) -> nn.Module:
        passed: list[nn.Module] = []
        with torch.no_grad(), hooked(self.encoder.layers(), lambda block, *_: passed.append(block)):
            self.encoder({modality: probe_inputs(self.encoder, modality, n=1)})
        return passed[-1]
