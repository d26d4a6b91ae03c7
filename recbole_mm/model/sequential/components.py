"""Linear maps of features that begin as their principal components."""

from collections.abc import Mapping

import torch
from torch import Tensor

from recbole_mm.model.base import ModalityProjection

SAMPLE = 20_000
"""At most so many items tell the components."""
OVERSAMPLING, ROUNDS = 8, 4


@torch.no_grad()
def start_from_components(maps: ModalityProjection, features: Mapping[str, Tensor]) -> None:
    """Sets each modality's map to the principal components of its features, as many as there are (Halko et al., SIAM Review 2011): x ->
    g V (x - mean), with g such that the mapped features, all modalities added, are about 1 long. What is alike in features is then alike in
    rows from the first step on. What a map has room for beyond the components starts at zero.

    Args:
        features: {modality: (n, width)}.
    """
    with torch.random.fork_rng(devices=[]):  # the same components whatever was drawn before, and the same draws after
        torch.manual_seed(0)
        for m, rows in features.items():
            linear, rows = maps.maps[m], rows.float()
            rows = rows[torch.randperm(len(rows))[:SAMPLE].to(rows.device)]
            mean = rows.mean(0)
            wanted = min(len(linear.weight), *rows.shape)
            _, _, found = torch.pca_lowrank(rows, min(wanted + OVERSAMPLING, *rows.shape), niter=ROUNDS)
            components = found[:, :wanted].T
            length = ((rows - mean) @ components.T).norm(dim=1).mean() * len(features) ** 0.5
            linear.weight.zero_()
            linear.bias.zero_()
            if length > 0:
                linear.weight[:wanted] = components / length
                linear.bias[:wanted] = -(components / length) @ mean
