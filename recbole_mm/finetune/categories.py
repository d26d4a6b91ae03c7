"""The categories of a catalogue's contents."""

import torch
from torch import Tensor

from recbole_mm.data.text import clean_text
from recbole_mm.errors import InputError
from recbole_mm.finetune.units import Units


def unit_categories(dataset, units: Units, field: str | None) -> Tensor:
    """int64 (n_units,): the category of each unit, numbered in the order of their names; -1 for units without one.

    Args:
        dataset: a MultiModalDataset.
        field: the column of the .item file that holds each item's category; every distinct value is one.

    Raises:
        InputError: no field is given, there is no such column, or its items do not differ.
    """
    if not field:
        raise InputError("clce and supcon need category_field, the column of the .item file that holds each item's category")
    values = [clean_text(value) for value in dataset.item_column(field, "category_field")]
    of_unit = [values[item] for item in units.ids.tolist()]
    classes = {value: i for i, value in enumerate(sorted(set(of_unit) - {""}))}
    if len(classes) < 2:
        raise InputError(f"all items have the same {field} (category_field), or none")
    return torch.tensor([classes.get(value, -1) for value in of_unit])
