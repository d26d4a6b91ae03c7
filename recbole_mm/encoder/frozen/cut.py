"""An encoder cut in two: the frozen blocks run once per item, the others in every training step."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_mm.encoder.base import Inputs, ItemEncoder
from recbole_mm.encoder.hooks import hidden_of, hooked, with_hidden
from recbole_mm.encoder.joint import JointEncoder
from recbole_mm.encoder.probe import probe_inputs, randomness
from recbole_mm.errors import InputError

ADVICE = "set cache_hidden_states: False"


class _Reached(Exception):
    """Ends a forward pass at the cut and carries the output of the last frozen block."""

    def __init__(self, output: object) -> None:
        self.output = output


class CutEncoder:
    """``lower`` is an encoder up to the last ``k`` blocks of each tower; ``upper`` is the rest of it.

    Both run the encoder's own forward pass: ``lower`` leaves it after the last frozen block; in ``upper`` the frozen blocks only pass on
    the hidden states that ``upper`` was given. A probe of each modality finds the blocks, and checks that ``upper`` after ``lower``
    gives the encoder's rows, which also shows blocks that hand on more of an item than its hidden states.

    Attributes:
        modalities: those of the given ones that pass through frozen blocks.
        widths: for each of them the last dimension of the hidden states.

    Raises:
        InputError: something random in the frozen part other than dropout, which rests there (see ``resting_modules``), a forward pass that
            cannot be entered at a block, or joint inputs and an encoder that is no ``JointEncoder``.
    """

    def __init__(self, encoder: ItemEncoder, modalities: tuple[str, ...], k: int) -> None:
        self.encoder = encoder
        self._frozen = [block for tower in encoder.towers() for block in tower[:-k]]
        self._below: dict[str, dict[nn.Module, object]] = {}
        self._blank_pictures: dict[str, bool] = {}
        self.widths: dict[str, int] = {}
        if "joint" in modalities and not isinstance(encoder, JointEncoder):
            raise InputError(f"{encoder.name} does not say in which order it reads a picture and its text (see JointEncoder): {ADVICE}")
        for m in modalities:
            outputs = self._outputs(m, probe_inputs(encoder, m))
            if outputs:
                self._below[m] = outputs
                self._check(m)
        self.modalities = tuple(self._below)

    @torch.no_grad()
    def lower(self, modality: str, inputs: Inputs) -> Tensor:
        """What the encoder's ``forward`` takes of n items -> their hidden states, (n, L, d), or (n, d, h, w) of a convolutional
        network. Those of a joint pass have the picture's positions before the text's, whatever the encoder's own order."""
        last = list(self._below[modality])[-1]
        with hooked([last], _leave):
            try:
                self.encoder({modality: inputs})
            except _Reached as reached:
                hidden = hidden_of(reached.output)
        return hidden.roll(-self._text_length(inputs[1]), 1) if self._texthidden_of(modality) else hidden

    def upper(self, modality: str, hidden: Tensor, padded: Tensor | None = None, pictures: Tensor | None = None) -> Tensor:
        """(n, output_dims[modality]) rows of n items.

        Args:
            hidden: their hidden states from ``lower``; the padding at their ends may have been cut or extended since.
            padded: what says where they end: token ids, int64 (n, L), or pictures that keep their shape, uint8 (n, L, B); None for pictures
                of one size.
            pictures: of a joint pass, where they keep their shape; None for blank ones.
        """
        hidden = hidden.to(next(self.encoder.parameters()).dtype)
        inputs = pictures if modality == "joint" else padded
        if inputs is None:
            inputs = self._blank(modality, len(hidden), hidden.device)
        text_length = self._text_length(padded) if self._texthidden_of(modality) else 0

        def hand_on(block: nn.Module, *args, **kwargs) -> object:
            x = args[0] if args else next(iter(kwargs.values()))
            if block is last:
                x = hidden if padded is None else with_length(hidden, x.shape[1]).roll(text_length, 1)
            return with_hidden(below[block], x)

        below = self._below[modality]
        last = list(below)[-1]
        with _replaced(below, hand_on):
            return self.encoder({modality: (inputs, padded) if modality == "joint" else inputs})[modality]

    def _outputs(self, modality: str, inputs: Inputs) -> dict[nn.Module, object]:
        """The outputs of the frozen blocks that the modality passes through, in order, up to the first block that trains."""
        order: list[nn.Module] = []
        outputs: dict[nn.Module, object] = {}

        def note(block: nn.Module, args: tuple, output: object) -> None:
            order.append(block)
            outputs[block] = output

        with torch.no_grad(), hooked(self.encoder.layers(), note):
            self.encoder({modality: inputs})
        below = {block: outputs[block] for block in order if block in self._frozen}
        if len(order) > len(outputs) or order[: len(below)] != list(below):
            raise InputError(f"{self.encoder.name} reads a {modality} in no fixed order of blocks: {ADVICE}")
        return below

    @torch.no_grad()
    def _check(self, modality: str) -> None:
        encoder, seen = self.encoder, probe_inputs(self.encoder, modality)
        inputs = tuple(part.roll(1, 0) for part in seen) if modality == "joint" else seen.roll(1, 0)  # other items than ``_below`` is of
        cause = randomness(encoder, lambda: self.lower(modality, inputs))
        if cause:
            raise InputError(f"{encoder.name} has {cause} below the last blocks, so that a {modality} has no fixed hidden states: {ADVICE}")
        padded = inputs[1] if modality == "joint" else inputs if modality == "text" or encoder.keeps_shapes else None
        pictures = inputs[0] if modality == "joint" and encoder.keeps_shapes else None
        rows, hidden = encoder({modality: inputs})[modality], self.lower(modality, inputs)
        self.widths[modality] = hidden.shape[-1]
        for one_blank in (True, False):
            self._blank_pictures[modality] = one_blank and modality == "image"
            try:
                resumed = self.upper(modality, hidden, padded, pictures)
            except (RuntimeError, ValueError, TypeError, IndexError):
                continue
            if resumed.shape == rows.shape and torch.allclose(resumed, rows, rtol=1e-4, atol=1e-6):
                return
        raise InputError(f"{encoder.name}: its forward pass cannot be entered at its last blocks ({modality}): {ADVICE}")

    def _blank(self, modality: str, n: int, device: torch.device) -> Tensor:
        """Blank pictures, whose content has no effect: a single one for all items where the encoder allows that."""
        n = 1 if self._blank_pictures[modality] else n
        return torch.zeros(1, 3, *self.encoder.image_size, dtype=torch.uint8, device=device).expand(n, -1, -1, -1)

    def _texthidden_of(self, modality: str) -> bool:
        return modality == "joint" and self.encoder.text_first

    def _text_length(self, token_ids: Tensor) -> int:
        return self.encoder.shorten(token_ids, self.encoder.pad_id).shape[1]


def _leave(block: nn.Module, args: tuple, output: object) -> None:
    raise _Reached(output)


def with_length(hidden: Tensor, length: int) -> Tensor:
    """(n, L, ...) -> (n, length, ...), cut at the end or padded there with zeros."""
    if hidden.shape[1] == length:
        return hidden
    return F.pad(hidden, (*[0, 0] * (hidden.dim() - 2), 0, length - hidden.shape[1]))


@contextmanager
def _replaced(blocks, forward) -> Iterator[None]:
    """Inside the block, the modules have another forward, whose first argument is the module."""
    for block in blocks:
        block.forward = lambda *args, _block=block, **kwargs: forward(_block, *args, **kwargs)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward
