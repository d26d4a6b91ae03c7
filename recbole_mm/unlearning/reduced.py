"""The run without the rows of the forgotten: the ids of whoever stays close up, and no vocabulary knows the others."""

from collections.abc import Iterator, Mapping
from itertools import combinations

import torch
from recbole.utils import ModelType
from torch import Tensor

from recbole_mm.data.tokens import vocabularies
from recbole_mm.quick_start import data_of
from recbole_mm.training.build import build_model
from recbole_mm.training.trained_data import SPLIT, TOKENS
from recbole_mm.unlearning.carry_over import Kept, alike, carry_over
from recbole_mm.unlearning.kept import KeptRun
from recbole_mm.unlearning.request import Forgotten


def reduced_run(run: KeptRun, forgotten: Forgotten) -> KeptRun:
    """A run over the users and items that stay, whose model knows what ``run.model`` does. One that is found at once is not found yet.

    Raises:
        InputError: a tensor of the model has rows of nobody that is known.
    """
    kept = kept_ids(run, forgotten)
    for stage in _stages(kept):
        run = _smaller(run, stage)
    return run


def kept_ids(run: KeptRun, forgotten: Forgotten) -> dict[str, Kept]:
    """The ids that stay, by the field that names a vocabulary (see ``vocabularies``). Values of users and items, such as a brand, stay
    where anything has them that stays; the entities of a knowledge graph all do."""
    dataset, found = run.dataset, {}
    for field in vocabularies(dataset):
        group = _group(dataset, field)
        stays = torch.ones(len(dataset.field2id_token[field]), dtype=torch.bool)
        if dataset.uid_field in group:
            stays[forgotten.users] = False
        elif dataset.iid_field in group:
            stays[forgotten.items] = False
        elif run.config["MODEL_TYPE"] != ModelType.KNOWLEDGE:
            stays[:] = torch.isin(torch.arange(len(stays)), torch.cat([torch.zeros(1).long(), *_values(run, group, forgotten)]))
        found[field] = Kept(len(stays), stays.nonzero().flatten())
    return found


def _group(dataset, field: str) -> list[str]:
    """The fields that share a vocabulary."""
    tokens = dataset.field2id_token[field]
    return [other for other, own in dataset.field2id_token.items() if own is tokens]


def _values(run: KeptRun, group: list[str], forgotten: Forgotten) -> Iterator[Tensor]:
    """The ids that some fields have in the rows that stay."""
    dataset, suffix = run.dataset, str(run.config["LIST_SUFFIX"])
    for table, gone in ((dataset.inter_feat, None), (dataset.user_feat, forgotten.users), (dataset.item_feat, forgotten.items)):
        for field in () if table is None else table:
            if field in group or field.removesuffix(suffix) in group:
                values = table[field]
                stays = torch.ones(len(values), dtype=torch.bool)
                if gone is not None:
                    stays[gone] = False
                yield values[stays].flatten().long()


def _stages(kept: Mapping[str, Kept]) -> Iterator[dict[str, Kept]]:
    """What goes at a time: everything, or one vocabulary after the other, where their tables could not be told apart."""
    if not any(alike(*pair) for pair in combinations(kept.values(), 2)):
        yield dict(kept)
        return
    whole = {field: Kept(one.n, torch.arange(one.n)) for field, one in kept.items()}
    for field, one in kept.items():
        if one.n_gone:
            yield {**whole, field: one}
            whole[field] = Kept(len(one.ids), torch.arange(len(one.ids)))


def _smaller(run: KeptRun, kept: Mapping[str, Kept]) -> KeptRun:
    dataset, parts = run.dataset, run.checkpoint[SPLIT]
    tokens = {field: [own[i - 1] for i in kept[field].ids[1:].tolist()] for field, own in vocabularies(dataset).items()}
    items = next(kept[field].ids for field in kept if dataset.iid_field in _group(dataset, field))
    cold = torch.isin(items, parts["cold_items"]).nonzero().flatten()
    checkpoint = {**run.checkpoint, TOKENS: tokens, SPLIT: {**parts, "cold_items": cold}}
    config = run.config.changed()
    smaller, loaders = data_of(config, checkpoint)
    model = build_model(config, loaders[0])
    if not run.closed_form:
        by_field = {field: kept[name] for name in kept for field in _group(dataset, name)}
        carry_over(run.model, model, by_field, (dataset.uid_field, dataset.iid_field))
    return KeptRun(config, model, smaller, *loaders, checkpoint)
