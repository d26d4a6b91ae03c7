"""How much what an encoder makes of a catalogue hangs on its parts: worked out once, and stored."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from recbole_mm.disk import write_whole
from recbole_mm.distillation.importance import Importance, importance_of
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.losses import image_text_contrastive, shared_pairs
from recbole_mm.finetune.batch import Batch
from recbole_mm.finetune.objectives import INTERACTION_TEMPERATURE
from recbole_mm.finetune.units import Units, generator_for
from recbole_mm.items.encoded_items import EncodedItems

UNITS, AT_ONCE = 256, 32
"""The most units that importance is worked out on, and how many of them are contrasted with each other."""
BLOCK = "block "
"""What the names of blocks begin with in the file; those of hidden units do not."""


def catalogue_importance(items: EncodedItems, units: Units, trained: Tensor, seed: int, file: Path) -> Importance:
    """The importance of the parts of ``items.encoder`` for telling the contents of a catalogue apart, from ``file`` where it was worked out
    before.

    Args:
        trained: bool (n_units,), the units that may be looked at.
    """
    if not file.is_file():
        known = trained.nonzero().squeeze(1)
        generator = generator_for(seed, "importance")
        some = known[torch.randperm(len(known), generator=generator)[:UNITS]]
        found = importance_of(items.encoder, (Batch(items, units, part, generator) for part in some.split(AT_ONCE)), item_contrast)
        values = {BLOCK + name: torch.tensor(value, dtype=torch.float64) for name, value in found.blocks.items()} | found.units
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda path: save_file({name: value.cpu().contiguous() for name, value in values.items()}, path))
    values = load_file(file)
    blocks = {name.removeprefix(BLOCK): float(value) for name, value in values.items() if name.startswith(BLOCK)}
    return Importance(blocks, {name: value for name, value in values.items() if not name.startswith(BLOCK)})


def item_contrast(_: ItemEncoder, batch: Batch) -> Tensor:
    """Every item tells itself, as it is encoded now, from the others of the batch, in each modality by itself."""
    losses = []
    for m, groups in batch.units.groups.items():
        here = batch.having(m)
        same = shared_pairs(groups[batch.chosen[here]]).to(batch.items.device)
        rows = batch.rows[m][here]
        losses.append(image_text_contrastive(rows, rows.detach(), 1 / INTERACTION_TEMPERATURE, same=same))
    return sum(losses) / len(losses)
