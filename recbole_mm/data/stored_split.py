"""StoredSplit: a data set whose checkpoint says which interactions are for training, validation and test."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from recbole_mm.data.interaction_codes import codes_in_order, codes_of_tokens
from recbole_mm.data.quick_split import grouped
from recbole_mm.errors import InputError

PARTS = ("training", "valid", "test")


class StoredSplit:
    """A mixin that stands before one of RecBole's dataset classes, and before ``KnownVocabulary``.

    Interactions that have no part in the stored split are not read, whatever the files hold, and neither are users, items and values that
    the checkpoint does not know: the log counts them, and names none. The split deals what is left as it is stored. Benchmark files are
    parts already, so only what is read of them is.

    Args:
        parts: ``training``, ``valid`` and ``test``: the codes of the interactions (see ``interaction_codes``), in ascending order; and
            ``cold_items``, the ids of the items that are kept from training. None for a split by the settings.
    """

    def __init__(self, config, vocabulary: Mapping[str, Sequence[str]] | None = None, new_items: bool = False,
                 parts: Mapping[str, Tensor] | None = None) -> None:  # fmt: skip
        self.stored = parts
        super().__init__(config, vocabulary, new_items and parts is None, named=parts is None)

    def _remap_ID_all(self) -> None:
        if self.stored is not None:
            self._keep_stored()
        super()._remap_ID_all()

    def _keep_stored(self) -> None:
        rows = self.inter_feat
        kept = torch.isin(codes_of_tokens(rows[self.uid_field], rows[self.iid_field]), torch.cat([self.stored[part] for part in PARTS]))
        if not kept.any():
            raise InputError(f"none of the {len(rows):,} interactions of the data set is one that the checkpoint was left with")
        if not kept.all():
            self.logger.info(f"{int((~kept).sum()):,} of {len(rows):,} interactions are in no part of the checkpoint's split and left out")
            self._drop(rows, ~kept.numpy())

    def split_by_ratio(self, ratios: Sequence[float], group_by: str | None = None) -> list:
        return super().split_by_ratio(ratios, group_by) if self.stored is None else self._dealt(group_by)

    def leave_one_out(self, group_by: str | None, leave_one_mode: str) -> list:
        return super().leave_one_out(group_by, leave_one_mode) if self.stored is None else self._dealt(group_by)

    def time_based_split(self, ratios: Sequence[float], group_by: str | None) -> list:
        return super().time_based_split(ratios, group_by) if self.stored is None else self._dealt(group_by)

    def _dealt(self, group_by: str | None) -> list:
        interactions = self.inter_feat
        rows = np.arange(len(interactions)) if group_by is None else grouped(interactions[group_by])[0]
        parts = self.stored_parts(interactions[self.uid_field], interactions[self.iid_field])
        return self._in_parts(rows, parts.numpy()[rows], len(PARTS))

    def stored_parts(self, users: Tensor, items: Tensor) -> Tensor:
        """The place in ``PARTS`` of every interaction, by the ids of users and items, (n,) each."""
        return deal(codes_in_order(self, users, items), self.stored)


def deal(codes: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
    """The place in ``PARTS`` of every interaction, int64 (n,).

    Args:
        codes: of interactions that are all in some part, int64 (n,). Of several ones with the same code, the last are for the test, and
            those before them for validation, as far as these have it.
        parts: see ``StoredSplit``.
    """
    distinct, places, counts = torch.unique(codes, return_inverse=True, return_counts=True)
    order = torch.argsort(places, stable=True)
    ends = counts.cumsum(0)
    from_end = torch.empty_like(places)
    from_end[order] = ends.repeat_interleave(counts) - 1 - torch.arange(len(codes))
    stored = torch.stack([torch.searchsorted(parts[part], distinct, right=True) - torch.searchsorted(parts[part], distinct)
                          for part in reversed(PARTS)])  # fmt: skip
    from_end = torch.minimum(from_end, (stored.sum(0) - 1)[places])
    return len(PARTS) - 1 - (from_end >= stored.cumsum(0)[:, places]).sum(0)
