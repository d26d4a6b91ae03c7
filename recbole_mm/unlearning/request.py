"""What a model is asked to forget: files of tokens, and what they mean in the data of a run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path

import torch
from recbole.utils import EvaluatorType, ModelType
from torch import Tensor

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.data.interaction_codes import codes_in_order, interaction_codes, new_and_gone, without
from recbole_mm.data.stored_split import PARTS, deal
from recbole_mm.data.tokens import item_tokens, user_tokens
from recbole_mm.errors import InputError, unknown
from recbole_mm.quick_start import config_of, data_of
from recbole_mm.training.trained_data import INTERACTIONS, REFIT, SPLIT, TOKENS


@dataclass(frozen=True)
class Request:
    """What is to be forgotten, by tokens. ``places`` say where each stands, for messages.

    Attributes:
        users, items: token -> the place.
        interactions: (user, item) -> the place.
    """

    users: Mapping[str, str]
    items: Mapping[str, str]
    interactions: Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Forgotten:
    """What is to be forgotten, by the internal ids of the run.

    Attributes:
        users, items: int64 (n,) in ascending order.
        pairs: the user and the item of every interaction that goes, in any part of the data, with those of forgotten users and items:
            int64 (n, 2).
        pair_parts: the part of each, as its place in ``data.stored_split.PARTS``: int64 (n,).
        learned: those that the model was trained on: of training without cold items, or all where it was refitted: int64 (m, 2).
        parts: the split of what stays (see ``StoredSplit``).
    """

    users: Tensor
    items: Tensor
    pairs: Tensor
    pair_parts: Tensor
    learned: Tensor
    parts: Mapping[str, Tensor]

    def pairs_of(self, part: str) -> Tensor:
        """Those of ``pairs`` that are in the ``training``, ``valid`` or ``test`` part."""
        return self.pairs[self.pair_parts == PARTS.index(part)]


def read_request(
    users: str | None = None, items: str | None = None, interactions: str | None = None, fields: Sequence[str] = ()
) -> Request:
    """Reads the files of a request.

    Args:
        users, items: files with one token per line.
        interactions: a file with a user and an item per line, separated by a tab or a comma.
        fields: what a header of the latter calls its columns.

    Raises:
        InputError: no file is named, or one is not there, is no text, is empty, or has a line with other than two columns.
    """
    if not (users or items or interactions):
        raise InputError("name what to forget: --users=FILE, --items=FILE or --interactions=FILE")
    pairs = _pairs(interactions, fields) if interactions else {}
    return Request(_tokens(users), _tokens(items), pairs)


def forget(checkpoint_file: str, request: Request, model_class: type | None = None) -> Forgotten:
    """Finds what a request means in the data of a run, whose split is the one that the run has trained on.

    Raises:
        InputError: the checkpoint does not say whose parameters are whose, the request names somebody or something that it does not know,
            or too little would stay.
    """
    checkpoint = load_checkpoint(checkpoint_file, pickled=True)
    if TOKENS not in checkpoint:
        raise InputError(f"{checkpoint_file} does not say whose parameters are whose (it is RecBole's own, or an earlier version's): train "
                         "it anew")  # fmt: skip
    config = config_of(checkpoint, model_class)
    _check_model(config, request, checkpoint_file)
    dataset, loaders = data_of(config, checkpoint)
    users, items = all_pairs(dataset)
    codes, parts = codes_in_order(dataset, users, items), _parts(checkpoint, dataset, loaders, checkpoint_file)
    gone_users = _ids("user", request.users, request.users.values(), user_tokens(dataset)).sort().values
    gone_items = _ids("item", request.items, request.items.values(), item_tokens(dataset)).sort().values
    gone = torch.isin(users, gone_users) | torch.isin(items, gone_items) | torch.isin(codes, _asked(dataset, codes, request.interactions))
    left = {part: stored[~torch.isin(stored, codes[gone])] for part, stored in parts.items() if part in PARTS}
    left["cold_items"] = dataset.cold_items
    pairs, places = torch.stack([users, items], 1), deal(codes, parts)
    learned = (places == PARTS.index("training")) & ~torch.isin(items, dataset.cold_items) | (REFIT in checkpoint)
    forgotten = Forgotten(gone_users, gone_items, pairs[gone], places[gone], pairs[gone & learned], left)
    _check_what_stays(config, dataset, forgotten)
    return forgotten


def all_pairs(dataset) -> tuple[Tensor, Tensor]:
    """The users and the items of all interactions of a data set whose parts have been built, in the order of time where there is one."""
    if dataset.in_order is not None:
        return dataset.in_order[:2]
    return dataset.inter_feat[dataset.uid_field], dataset.inter_feat[dataset.iid_field]


def _check_model(config, request: Request, file: str) -> None:
    kind, name = config["MODEL_TYPE"], config["model"]
    if kind == ModelType.DECISIONTREE:
        raise InputError(f"{file}: the trees of {name} have no rows of single users or items: train anew without the interactions")
    if kind == ModelType.KNOWLEDGE and request.items:
        raise InputError(f"{file}: the knowledge graph of {name} holds the items: take them out of it and train anew")


def _parts(checkpoint: Mapping, dataset, loaders: tuple, file: str) -> dict[str, Tensor]:
    """The codes of all interactions, by the part that they have been in when the run was trained. What is in no row of a part, such as the
    first of a history or a cold item, is for training."""
    every, trained = codes_in_order(dataset, *all_pairs(dataset)), checkpoint[INTERACTIONS]
    if gone := len(without(trained, every)):
        getLogger().warning(f"{gone} interactions that {file} was trained on are no longer in the data set, and what all share cannot be "
                            "corrected for them: unlearn first, and take rows out of the files then")  # fmt: skip
    valid, test = (interaction_codes(loader._dataset) for loader in loaders[1:])
    if SPLIT not in checkpoint and REFIT not in checkpoint and any(new_and_gone(trained, interaction_codes(loaders[0]._dataset))):
        known = len(valid) + len(test)
        valid, test = (codes[~torch.isin(codes, trained)] for codes in (valid, test))
        lost = known - len(valid) - len(test)
        getLogger().warning(f"the data are not those that {file} was trained on, and the split is another one: {lost} interactions for "
                            "validation and test were trained on, and count as training")  # fmt: skip
    return {"training": without(every, torch.cat([valid, test])), "valid": valid, "test": test}


def _asked(dataset, codes: Tensor, interactions: Mapping[tuple[str, str], str]) -> Tensor:
    """The codes of the interactions that a request names."""
    if not interactions:
        return codes[:0]
    if dataset.benchmark_filename_list is not None and getattr(dataset, "item_id_list_field", None) in dataset.inter_feat:
        raise InputError("benchmark files hold histories that are made already: take the interactions out of the files and train anew")
    places, sides = list(interactions.values()), zip(*interactions, strict=True)
    names = ("user", user_tokens(dataset)), ("item", item_tokens(dataset))
    asked = codes_in_order(dataset, *(_ids(kind, tokens, places, known) for tokens, (kind, known) in zip(sides, names, strict=True)))
    absent = (~torch.isin(asked, codes)).nonzero().flatten().tolist()
    if absent:
        (user, item), more = list(interactions)[absent[0]], f", and so for {len(absent) - 1} more" if len(absent) > 1 else ""
        raise InputError(f"{places[absent[0]]}: user '{user}' has no interaction with item '{item}' in the data of the run{more}")
    return asked


def _ids(kind: str, tokens: Iterable[str], places: Iterable[str], known: Sequence[str]) -> Tensor:
    """The internal ids of users or items (n,), of which ``known`` has the tokens by id."""
    ids = {token: i for i, token in enumerate(known) if i}
    for token, place in zip(tokens, places, strict=True):
        if token not in ids:
            raise InputError(f"{place}: {unknown(kind, token, ids)}")
    return torch.tensor([ids[token] for token in tokens], dtype=torch.int64)


def _check_what_stays(config, dataset, forgotten: Forgotten) -> None:
    n_users, n_items = dataset.user_num - 1 - len(forgotten.users), dataset.item_num - 1 - len(forgotten.items)
    n = len(forgotten.parts["training"])
    if not (n_users and n_items and n):
        raise InputError(f"too little would stay: {n_users} users, {n_items} items, {n} training interactions; delete the run instead")
    if config["eval_type"] == EvaluatorType.RANKING and max(config["topk"]) > n_items:
        raise InputError(f"too little would stay: {n_items} items, and the run is measured by its best {max(config['topk'])} (topk)")


def _tokens(file: str | None) -> dict[str, str]:
    return {line: place for line, place in _lines(file)} if file else {}


def _pairs(file: str, fields: Sequence[str]) -> dict[tuple[str, str], str]:
    found = {}
    for number, (line, place) in enumerate(_lines(file)):
        cells = tuple(line.split("\t" if "\t" in line else ","))
        if len(cells) != 2 or not all(cells):
            raise InputError(f"{place}: '{line}' is no user and item, separated by a tab or a comma")
        if number or [cell.partition(":")[0] for cell in cells] != list(fields):
            found[cells] = place
    if not found:
        raise InputError(f"{file} names no interaction")
    return found


def _lines(file: str) -> Iterator[tuple[str, str]]:
    """The lines of a file that are not empty, and what a message calls each."""
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is no text in UTF-8") from error
    lines = [(line, f"{file}, line {number}") for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise InputError(f"{file} is empty: nothing to forget")
    return iter(lines)
