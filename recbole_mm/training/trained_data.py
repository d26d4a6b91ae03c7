"""What a checkpoint says of the data that it was trained on: the tokens by their ids, and the training interactions."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from logging import getLogger

import numpy as np
import torch

from recbole_mm.data.interaction_codes import interaction_codes, new_and_gone
from recbole_mm.data.tokens import item_tokens, user_tokens, vocabularies
from recbole_mm.errors import InputError

TOKENS, INTERACTIONS, FINGERPRINT, REFIT = "tokens", "training_interactions", "data_fingerprint", "refit"
"""The checkpoint's entries: ``vocabularies`` of the data set, ``interaction_codes`` of its training part, a former one instead of these
two, and how a model was trained anew on all interactions (see ``training.refit``), if it was."""
SPLIT, UNLEARNED = "parts", "unlearned"
"""Those of a checkpoint that was unlearned: its stored split (see ``data.stored_split``), and what is said of how."""
logger = getLogger(__name__)


def describe(training) -> dict[str, object]:
    """The entries of a checkpoint that say what it was trained on.

    Args:
        training: the training part of a data set.
    """
    return {TOKENS: vocabularies(training), INTERACTIONS: interaction_codes(training)}


def description(checkpoint: Mapping) -> dict[str, object]:
    """What a checkpoint holds of this; those of former versions have a ``fingerprint_of`` alone, and RecBole's own nothing."""
    return {key: checkpoint[key] for key in (TOKENS, INTERACTIONS, FINGERPRINT, REFIT, SPLIT, UNLEARNED) if key in checkpoint}


def check_ids(checkpoint: Mapping, dataset, file: str) -> None:
    """Checks that the ids of a data set are those of a checkpoint, as far as that holds them. There may be more behind them.

    Raises:
        InputError: they are not.
    """
    if TOKENS not in checkpoint:
        return
    now, before = vocabularies(dataset), checkpoint[TOKENS]
    renamed = not {dataset.uid_field, dataset.iid_field} <= before.keys()
    if renamed or any(now[field][: len(tokens)] != tokens for field, tokens in before.items() if field in now):
        raise InputError(f"{file} has other users, items or ids than this data set: load_data_and_model brings the two together")


def check_resumable(checkpoint: Mapping, training, file: str) -> None:
    """Checks that a run goes on with the interactions that it has been trained on, as far as the checkpoint tells.

    Raises:
        InputError: it does not.
    """
    advice = "train anew, or rank with load_data_and_model"
    if REFIT in checkpoint:
        raise InputError(f"{file} was trained anew on all interactions (refit: True), and no run goes on from there; {advice}")
    if UNLEARNED in checkpoint:
        raise InputError(f"{file} was unlearned, and no run goes on from there; {advice}")
    if INTERACTIONS in checkpoint:
        new, gone = new_and_gone(checkpoint[INTERACTIONS], interaction_codes(training))
        if new or gone:
            raise InputError(f"{file} was trained on other data (rows, split, seed or filter): {new} training interactions of now are new "
                             f"to it, and {gone} that it was trained on are gone; {advice}")  # fmt: skip
    elif checkpoint.get(FINGERPRINT) not in (None, fingerprint_of(training)):
        raise InputError(f"{file} was trained on other data (rows or their order, split, seed or filter); {advice}")
    check_ids(checkpoint, training, file)


def warn_of_other_data(checkpoint: Mapping, parts: Sequence, file: str) -> None:
    """Says in the log where a data set is not what a checkpoint was trained on, so that ids or metrics may mislead.

    Args:
        parts: the training, validation and test part.
    """
    if TOKENS not in checkpoint:
        if checkpoint.get(FINGERPRINT) != fingerprint_of(parts[0]):
            logger.warning(f"{file} holds no tokens, so users and items are matched by their order: right only on the data set it was "
                           "trained on, with the same rows in the same order")  # fmt: skip
        return
    if REFIT in checkpoint:
        logger.info(f"{file} was trained on all interactions (refit: True), so metrics on any of them are too good")
        return
    before = checkpoint[INTERACTIONS]
    if not any(new_and_gone(before, interaction_codes(parts[0]))):
        return
    later = [interaction_codes(part) for part in parts[1:]]
    known, n = sum(int(torch.isin(codes, before).sum()) for codes in later), sum(map(len, later))
    if known:
        logger.warning(f"the split is another one than that of {file}: {known} of the {n} interactions for validation and test were "
                       "trained on, so their metrics are too good (a random split follows the order of the rows)")  # fmt: skip


def fingerprint_of(dataset) -> str:
    """A digest of the users, the items and the interactions of a data set (here: its training part), in their order: what checkpoints
    without tokens hold."""
    digest = blake2b(digest_size=16)
    for field, tokens in ((dataset.uid_field, user_tokens(dataset)), (dataset.iid_field, item_tokens(dataset))):
        digest.update("\0".join(tokens).encode())
        digest.update(np.ascontiguousarray(dataset.inter_feat[field].numpy()).tobytes())
    return digest.hexdigest()
