"""Which blocks of an encoder can be spared, by leaving them out."""

import torch
from torch import Tensor

from recbole_mm.distillation.objectives import variance
from recbole_mm.distillation.skipping import skipping
from recbole_mm.finetune.batch import Batch
from recbole_mm.finetune.units import Units, generator_for
from recbole_mm.items.encoded_items import EncodedItems


@torch.no_grad()
def ablated(items: EncodedItems, units: Units, some: Tensor, share: float) -> dict[str, float]:
    """Leaves out a share of the blocks of each tower, one after the other: each time the one without which the rows of some units change
    least, given that those before it are left out.

    Args:
        some: (n,), the units.
        share: of the blocks, rounded down.

    Returns:
        Name of a block -> how far the rows had moved when it was left out, as a share of their variance; infinity for those that stay.
    """
    encoder = items.encoder
    names = {module: name for name, module in encoder.named_modules()}
    training = encoder.training
    encoder.eval()
    whole, found = _rows(items, units, some), {names[block]: torch.inf for block in encoder.layers()}
    for tower in encoder.towers():
        gone = []
        for _ in range(int(share * len(tower) + 1e-9)):
            moved = {}
            for block in tower:
                if block not in gone:
                    with skipping([*gone, block]):
                        moved[block] = _distance(_rows(items, units, some), whole)
            gone.append(min(moved, key=moved.get))
            found[names[gone[-1]]] = moved[gone[-1]]
    encoder.train(training)
    return found


def _rows(items: EncodedItems, units: Units, some: Tensor) -> dict[str, Tensor]:
    batch = Batch(items, units, some, generator_for("none"))
    return {m: rows[batch.having(m)].float() for m, rows in batch.rows.items()}


def _distance(rows: dict[str, Tensor], whole: dict[str, Tensor]) -> float:
    shares = [float((rows[m] - at).square().sum(1).mean()) / variance(at) for m, at in whole.items() if len(at)]
    return sum(shares) / len(shares)
