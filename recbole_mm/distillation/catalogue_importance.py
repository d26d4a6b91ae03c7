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
from recbole_mm.encoder.losses import image_text_contrastive, shared_pairs
from recbole_mm.finetune.batch import Batch
from recbole_mm.finetune.objectives import INTERACTION_TEMPERATURE
from recbole_mm.finetune.units import Units, generator_for
from recbole_mm.items.encoded_items import EncodedItems

UNITS, AT_ONCE = 256, 32
"""The most units that first-order importance is worked out on, and how many of them are contrasted with each other."""
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
        found = importance_of(items.encoder, batches, item_contrast)
    return found._replace(blocks=ablated(items, units, some[:ABLATED], shares[0])) if by_leaving_out else found


def item_contrast(_: ItemEncoder, batch: Batch) -> Tensor:
    """Every item tells itself, as it is encoded now, from the others of the batch, in each modality by itself."""
    losses = []
    for m, groups in batch.units.groups.items():
        here = batch.having(m)
        same = shared_pairs(groups[batch.chosen[here]]).to(batch.items.device)
        rows = batch.rows[m][here]
        losses.append(image_text_contrastive(rows, rows.detach(), 1 / INTERACTION_TEMPERATURE, same=same))
    return sum(losses) / len(losses)
