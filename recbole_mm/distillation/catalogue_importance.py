"""How much what an encoder makes of a catalogue hangs on its parts: worked out once, and stored."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from recbole_mm.disk import write_whole
from recbole_mm.distillation.ablation import ablated
from recbole_mm.distillation.importance import Importance, importance_of
from recbole_mm.distillation.settings import DistilSettings
from recbole_mm.encoder import ItemEncoder
from recbole_mm.finetune.batch import Batch
from recbole_mm.finetune.units import Units, generator_for
from recbole_mm.items.encoded_items import EncodedItems

UNITS, AT_ONCE = 256, 32
"""The most units that first-order importance is worked out on, and how many of them at a time."""
ABLATED = 64
"""The most units whose rows are compared where blocks are left out."""
BLOCK = "block "
"""What the names of blocks begin with in the file; those of hidden units do not."""


def catalogue_importance(
    items: EncodedItems, units: Units, trained: Tensor, shares: tuple[float, float], settings: DistilSettings, file: Path
) -> Importance:  # fmt: skip
    """The importance of the parts of ``items.encoder`` for a catalogue, from ``file`` where it was worked out before: of blocks as
    ``prune_by`` says, of hidden units to first order.

    Args:
        trained: bool (n_units,), the units that may be looked at.
        shares: of the blocks and of the hidden units that go.
    """
    if not file.is_file():
        found = _worked_out(items, units, trained.nonzero().squeeze(1), shares, settings)
        values = {BLOCK + name: torch.tensor(value, dtype=torch.float64) for name, value in found.blocks.items()} | found.units
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda path: save_file({name: value.cpu().contiguous() for name, value in values.items()}, path))
    values = load_file(file)
    blocks = {name.removeprefix(BLOCK): float(value) for name, value in values.items() if name.startswith(BLOCK)}
    return Importance(blocks, {name: value for name, value in values.items() if not name.startswith(BLOCK)})


def _worked_out(items: EncodedItems, units: Units, known: Tensor, shares: tuple[float, float], settings: DistilSettings) -> Importance:
    generator = generator_for(settings.seed, "importance")
    some, by_leaving_out = known[torch.randperm(len(known), generator=generator)[:UNITS]], settings.prune_by == "ablation"
    found = Importance({}, {})
    if shares[1] or not by_leaving_out:
        batches = (Batch(items, units, part, generator) for part in some.split(AT_ONCE))
        found = importance_of(items.encoder, batches, AlongDirections(generator))
    return found._replace(blocks=ablated(items, units, some[:ABLATED], shares[0])) if by_leaving_out else found


class AlongDirections:
    """The sum of rows along directions that are drawn anew for each row: a loss that changes with everything that moves rows, whereto
    ever. A distance from the encoder's own rows has no gradient, and a contrast of items with themselves next to none."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def __call__(self, _: ItemEncoder, batch: Batch) -> Tensor:
        losses = []
        for m in batch.units.groups:
            rows = batch.rows[m][batch.having(m)].float()
            directions = torch.randn(rows.shape, generator=self.generator).to(rows.device)
            losses.append((directions * rows / rows.detach().norm(dim=1, keepdim=True).clamp(min=1e-6)).sum())
        return sum(losses)
