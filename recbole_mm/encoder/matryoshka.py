"""Rows cut to their first dimensions (Matryoshka representations; Kusupati et al., arXiv 2205.13147)."""

import re
from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.errors import InputError

NAMES = re.compile(r"[Mm]atryoshka|\bMRL\b")


def says_matryoshka(texts: Iterable[str]) -> bool:
    """Does a model card or a configuration name the training after which the first dimensions of a row are a row of their own?"""
    return any(NAMES.search(text) for text in texts)


def cut_rows(encoder: ItemEncoder, dim: int) -> None:
    """From now on, the encoder's rows are their own first ``dim`` numbers, L2-normalised, in every modality, in place.

    Raises:
        InputError: the rows of a modality have fewer.
    """
    for modality, width in encoder.output_dims.items():
        if width < dim:
            raise InputError(f"encoder_dim {dim}: the {modality} rows of {encoder.name} have {width} numbers; give at most as many")
    encoder.row_dim = dim
    encoder.output_dims = dict.fromkeys(encoder.output_dims, dim)
    encoder.register_forward_hook(_cut)


def _cut(encoder: ItemEncoder, _: tuple, rows: dict[str, Tensor]) -> dict[str, Tensor]:
    return {modality: F.normalize(values[:, : encoder.row_dim], dim=1) for modality, values in rows.items()}
