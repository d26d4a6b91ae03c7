"""Encoders around a model of another library, whose parts a probe finds."""

from collections.abc import Container, Sequence

import torch
from torch import Tensor, nn

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.patches import read_places
from recbole_mm.encoder.probe import probe_inputs
from recbole_mm.encoder.shrink import Kept, require_alike, take_out
from recbole_mm.encoder.trace import trace
from recbole_mm.errors import InputError, one_line

SIMILARITY = ("logit_scale", "logit_bias", "temperature")
CLS = {"cls_token", "class_token", "class_embedding"}


class TracedEncoder(ItemEncoder):
    """An encoder that finds out for itself what the model is made of: the widths of its rows, its blocks, and what comes after them.

    Attributes:
        has_cls: the model has a [CLS] token, which is the first position of a picture.
    """

    def towers(self) -> list[list[nn.Module]]:
        return [[self.get_submodule(name) for name in names] for names in self._blocks]

    def head(self) -> list[str]:
        return list(self._head)

    def shrink(self, kept: Sequence[Kept]) -> None:
        require_alike(self)
        for names, stays in zip(self._blocks, kept, strict=True):
            self.resize(names[0].rpartition(".")[0], len(names), stays)
        take_out(self, kept)
        self._blocks = [names[: len(stays.blocks)] for names, stays in zip(self._blocks, kept, strict=True)]

    def resize(self, stack: str, depth: int, kept: Kept) -> None:
        """Says in the configuration what stays of the ``depth`` blocks in the module ``stack``. Raises InputError: see ``shrink``."""
        super().shrink([kept])

    def no_rows(self, modality: str) -> Tensor:
        """(0, d) rows that depend on a weight, so that a loss over them has a graph."""
        return next(self.parameters()).reshape(-1)[:0, None].expand(0, self.output_dims[modality])

    def picture_arguments(self, pictures: Tensor) -> dict[str, Tensor]:
        """What a model of transformers takes for n > 0 pictures."""
        dtype = next(self.parameters()).dtype
        if not self.keeps_shapes:
            return {"pixel_values": self.normalise(pictures, dtype)}
        patches, mask, grid = read_places(pictures)
        return {"pixel_values": self.normalise(patches, dtype), "pixel_attention_mask": mask.int(), "spatial_shapes": grid}

    def find_parts(
        self, kind: str, network: str, among: Container[nn.Module] | None = None, blocks_in: str = "", of_texts: bool = False
    ) -> set[str]:  # fmt: skip
        """Fills in ``output_dims``, and finds towers and head with one probe of each modality. Parameters that no row depends on (a mask
        token, an unused pooler) no longer require gradients.

        Args:
            kind: what messages call the model.
            network: the name of the module with the scale of its similarity, if it has one.
            among: the modules that may be blocks; None for all.
            blocks_in: the name of the module that the blocks lie in, where they may not lie anywhere.
            of_texts: the blocks are those that a text passes through, in every modality.

        Returns:
            The names of the parameters that rows and similarity depend on.

        Raises:
            InputError: the model cannot encode one of its modalities, or not the same way twice, or has no list of blocks.
        """
        self.has_cls = any(CLS & set(name.split(".")) for name, _ in self.named_parameters())
        self._blocks, self._head, used = [], [], set()
        for modality in sorted(self.modalities, key=lambda m: of_texts and m != "text"):
            try:
                self.output_dims = {**self.output_dims, modality: 0}
                probe = probe_inputs(self, modality, n=1)
                found = trace(self, lambda m=modality, x=probe: self({m: x})[m], among, blocks_in)
                with torch.no_grad():
                    first, second = self({modality: probe})[modality], self({modality: probe})[modality]
            except Exception as error:
                raise InputError(f"{self.name}: the model cannot encode a plain {modality} ({one_line(error)})") from error
            if first.dim() != 2 or not torch.allclose(first, second, rtol=1e-4, atol=1e-6):
                what = f"gives {tuple(first.shape)} for one {modality}" if first.dim() != 2 else f"encodes the same {modality} in two ways"
                raise InputError(f"{self.name}: a {kind} model {what}, so it is no encoder of items")
            if not found.blocks:
                raise InputError(f"{self.name}: no list of blocks is found in a {kind} model")
            self.output_dims[modality] = first.shape[1]
            if of_texts:
                among = {self.get_submodule(name) for name in found.blocks}
            if found.blocks not in self._blocks:
                self._blocks.append(found.blocks)
            self._head += [name for name in found.head if name not in self._head]
            used |= set(found.parameters)
        self.output_dims = {modality: self.output_dims[modality] for modality in self.modalities}
        used |= {f"{network}.{name}" for name in SIMILARITY}
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in used)
        return used
