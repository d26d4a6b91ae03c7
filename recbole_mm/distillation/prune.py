"""Encoders without their least important blocks and hidden units."""

import copy
import os

import torch
from torch import Tensor

from recbole_mm.distillation.importance import Importance
from recbole_mm.distillation.skipping import without
from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.probe import probe_inputs
from recbole_mm.encoder.separate import SeparateEncoder
from recbole_mm.encoder.shrink import HiddenUnits, Kept
from recbole_mm.encoder.tuning.feed_forward import OUTSIDE, hidden_units
from recbole_mm.errors import InputError


def pruned(encoder: ItemEncoder, blocks: float, widths: float, importance: Importance) -> ItemEncoder:
    """A smaller encoder; the given one stays as it is.

    Args:
        blocks: the share of the blocks of each tower that goes, 0 <= share < 1, rounded down to whole blocks: the least important ones.
        widths: the share of the hidden units of each feed-forward part of the other blocks that goes. Each part loses as many.
        importance: see ``importance_of``.

    Raises:
        InputError: the shares take nothing away, the encoder's backend has no way to say that shape, or what is left does not compute as
            it did before.
    """
    for share in (blocks, widths):
        if not 0 <= share < 1:
            raise InputError(f"--prune: a share is at least 0 and below 1, not {share:g}")
    if isinstance(encoder, SeparateEncoder):
        parts = {m: pruned(getattr(encoder, m), blocks, widths, _of_part(importance, m)) for m in encoder.modalities}
        return SeparateEncoder(encoder.name, **parts).eval()
    kept = _chosen(encoder, blocks, widths, importance)
    smaller = copy.deepcopy(encoder)
    smaller.shrink(kept)
    with without(encoder, kept):
        require_same_rows(smaller, rows_of(encoder))
    return smaller


def require_same_rows(encoder: ItemEncoder, rows: dict[str, Tensor]) -> None:
    """Raises InputError: a pruned encoder gives other rows for invented items than those that it should."""
    for modality, found in rows_of(encoder).items():
        if not torch.allclose(found, rows[modality], rtol=1e-3, atol=1e-4 * rows[modality].abs().max().item()):
            raise InputError(
                f"{encoder.name} cannot be pruned: without the blocks that go, its others compute something else than before; name a "
                "small encoder with --student"
            )


@torch.no_grad()
def rows_of(encoder: ItemEncoder) -> dict[str, Tensor]:
    """Rows of invented items of each modality, in eval mode; on the CPU, whatever the encoder is on."""
    training = encoder.training
    try:
        rows = encoder.eval()({modality: probe_inputs(encoder, modality) for modality in encoder.modalities})
        return {modality: found.cpu() for modality, found in rows.items()}
    finally:
        encoder.train(training)


def _chosen(encoder: ItemEncoder, blocks: float, widths: float, importance: Importance) -> list[Kept]:
    names = {module: name for name, module in encoder.named_modules()}
    towers = [[names[block] for block in tower] for tower in encoder.towers()]
    if len(set(sum(towers, []))) < sum(map(len, towers)):
        raise InputError(f"{encoder.name} cannot be pruned: its towers share blocks")
    parts = hidden_units(encoder) if widths else {}
    kept = []
    for tower in towers:
        stays = most_important(torch.tensor([importance.blocks.get(name, 0.0) for name in tower]), blocks).tolist()
        kept.append(Kept(stays, _units(encoder.name, [parts.get(tower[i], []) for i in stays], widths, importance) if widths else []))
    for part in parts.get(OUTSIDE, []):
        shared = [os.path.commonprefix([part.last.split("."), tower[0].split(".")]) for tower in towers]
        nearest = max(range(len(towers)), key=lambda i, shared=shared: len(shared[i]))
        alone = not any(step.isdigit() for step in part.last.split(".")[len(shared[nearest]) :])
        if alone and kept[nearest].units and kept[nearest].units[0][0][2:] == part[2:]:  # of the tower's width, and in no other tower
            kept[nearest].units.append((part, _important_units(part, widths, importance)))
    if not any(len(stays.blocks) < len(tower) or stays.units for stays, tower in zip(kept, towers, strict=True)):
        counts = " and ".join(str(len(tower)) for tower in towers)
        raise InputError(f"--prune {blocks:g},{widths:g} takes nothing of {encoder.name}, which has {counts} blocks")
    return kept


def _units(label: str, blocks: list[list[HiddenUnits]], share: float, importance: Importance) -> list[tuple[HiddenUnits, Tensor]]:
    """What stays of the feed-forward parts of blocks; [] where that is all of it."""
    if not all(blocks):
        raise InputError(f"{label} cannot be narrowed: blocks of it have no feed-forward part of linear maps, as in convolutional networks")
    parts = [part for block in blocks for part in block]
    if len({part[2:] for part in parts}) > 1:
        raise InputError(f"{label} cannot be narrowed: its feed-forward parts have several widths; prune blocks alone")
    units = [(part, _important_units(part, share, importance)) for part in parts]
    return [(part, stays) for part, stays in units if len(stays) < part.width]


def _important_units(part: HiddenUnits, share: float, importance: Importance) -> Tensor:
    return most_important(importance.units.get(part.last, torch.zeros(part.width)).cpu(), share)


def most_important(scores: Tensor, share: float) -> Tensor:
    """What is left without the ``share`` of the lowest scores, rounded down: places in order, int64 (k,), k >= 1."""
    goes = int(share * len(scores) + 1e-9)
    return scores.argsort(stable=True, descending=True)[: len(scores) - goes].sort().values


def _of_part(importance: Importance, modality: str) -> Importance:
    """What belongs to the part of a ``SeparateEncoder``, whose names begin with its modality."""
    start = f"{modality}."
    return Importance(*({key.removeprefix(start): value for key, value in of.items() if key.startswith(start)} for of in importance))
