"""ItemFeatures: one vector an item and modality, from a table where nothing changes it, from the live encoder when it trains."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recbole_mm.encoder.losses import shared_pairs
from recbole_mm.feature.missing import Interactions, fill_mean
from recbole_mm.items.encoded_items import EncodedItems
from recbole_mm.items.encoding_cost import EncodingCost
from recbole_mm.items.feature_table import Table


class ItemFeatures(nn.Module):
    """Item features by internal item id, in any number of named modalities.

    Args:
        tables: the modalities that stay as they are. Their rows are non-persistent buffers: no checkpoint holds them.
        live: the modalities of an encoder that trains with the recommender (end-to-end). It becomes the submodule ``encoder``.
        missing: what an item gets in a modality it lacks: ``learned`` (one trained vector a modality), ``mean`` (of the items at
            hand that have it: the batch's in training, the catalogue's in a table), ``zero``, or ``neighbours`` (see
            ``Interactions.neighbour_mean``; those of a live encoder are as of the last time the catalogue was encoded).
        interactions: the training ones, for ``neighbours``.
        fingerprint: the live encoder's, where tuning has already added to it.

    Attributes:
        modalities, dims: the names, and ``{modality: d}``.
        tabled: whether anything they are made from is a table, which no ``state_dict`` holds.
        fingerprint: of all that makes the features, trained weights as they were at the start.
        contents: a fingerprint of what each item has in each modality.
        live: whether ``forward`` asks the encoder (set it to False to train on cached features for a while).
        cost: items and seconds of encoding.
    """

    def __init__(
        self, tables: Mapping[str, Table] | None = None, live: EncodedItems | None = None, *, missing: str = "learned",
        interactions: Interactions | None = None, fingerprint: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        tables = dict(tables or {})
        self.trainable = self.live = live is not None
        self.tabled = bool(tables) or (live is not None and live.tabled)
        self.missing, self._interactions, self._items = missing, interactions, live
        present = {m: table.present for m, table in tables.items()} | (live.present if live else {})
        self.modalities = tuple(present)
        self.dims = {m: table.rows.shape[1] for m, table in tables.items()} | (live.dims if live else {})
        self.cost = live.cost if live else EncodingCost()
        self.fingerprint = _joined({m: t.fingerprint for m, t in tables.items()}, live and (fingerprint or live.encoder.fingerprint()))
        self.contents = _joined({m: f"{m} {t.contents or t.fingerprint}" for m, t in tables.items()}, live and live.contents)
        device = live.device if live else next(iter(tables.values())).rows.device
        for m, here in present.items():
            self.register_buffer(f"present_{m}", here.to(device), persistent=False)
        for m, table in tables.items():
            self.register_buffer(f"table_{m}", self._filled(m, table.rows.to(device)), persistent=False)
        absent = [m for m, here in present.items() if not bool(here[1:].all())]
        self.missing_vectors = nn.ParameterDict(
            {m: nn.Parameter(torch.randn(self.dims[m]) * 0.02) for m in absent} if missing == "learned" else {}
        )
        self.encoder, self.content = (live.encoder, live.content) if live else (None, None)
        self._alignable = live is not None and live.encoder.aligned and {"image", "text"} <= set(live.modalities)
        if self._alignable:
            for m in ("image", "text"):
                self.register_buffer(f"groups_{m}", live.content.groups(m).to(device), persistent=False)
        self._cache: dict[str, Tensor] | None = None
        self._cache_version: tuple | None = None

    def __len__(self) -> int:
        return len(self.present(self.modalities[0]))

    @property
    def contrasts(self) -> bool:
        """Can ``contrastive_loss`` be had: a live encoder that reads pictures and texts into one space, and both in use?"""
        return self.live and self._alignable

    def train(self, mode: bool = True) -> "ItemFeatures":
        """As any module's; a live encoder's cached catalogue counts as old after training, whichever way its weights changed (the fused
        step of an optimiser changes them without raising their version)."""
        if mode and self.live:
            self._cache_version = None
        return super().train(mode)

    def present(self, modality: str) -> Tensor:
        """Which items have that modality: bool (n_items,)."""
        return getattr(self, f"present_{modality}")

    def forward(self, item_ids: Tensor) -> dict[str, Tensor]:
        """Features of items, any number of times each: (n,) -> {modality: (n, d)}. A live encoder reads each distinct one once."""
        rows = {m: table[item_ids] for m, table in (self._tables() if self.live else self._cached()).items()}
        if self.live:
            distinct, inverse = torch.unique(item_ids, return_inverse=True)
            rows |= {m: row[inverse] for m, row in self._encode_filled(distinct).items()}
        return self._with_learned(rows, item_ids)

    def table(self, fresh_ids: Tensor | None = None) -> dict[str, Tensor]:
        """Features of the whole catalogue: {modality: (n_items, d)}, row = item id.

        With a live encoder the rows come from a cache without gradient, re-encoded in eval mode where the encoder has changed since
        (while the module is training, the last one is good enough); the rows of ``fresh_ids`` are encoded anew, with gradient.
        """
        rows = dict(self._cached())
        if fresh_ids is not None and self.live:
            distinct = torch.unique(fresh_ids)
            for m, fresh in self._encode_filled(distinct).items():
                rows[m] = rows[m].index_copy(0, distinct, fresh.to(rows[m].dtype))
        return self._with_learned(rows, slice(None))

    @property
    def outdated(self) -> bool:
        """Has a live encoder changed, or may it have, since the catalogue was encoded?"""
        return self.trainable and (self._cache is None or self._cache_version != self._items.version())

    def forget_outdated(self) -> None:
        """Drops a cached catalogue that is not the encoder's as it is now; the next use encodes it anew."""
        if self.outdated:
            self._cache = None

    def refresh(self) -> None:
        """Encodes the catalogue anew: eval mode, no gradient, in chunks. Nothing to do without a live encoder."""
        if self.trainable:
            self._cache = {m: self._filled(m, rows) for m, rows in self._items.catalogue().items()}
            self._cache_version = None if self.training and self.live else self._items.version()

    def bare_throughput(self) -> float | None:
        """Of the live encoder alone: see ``EncodedItems``."""
        return self._items.bare_throughput()

    def contrastive_loss(self, item_ids: Tensor, features: dict[str, Tensor]) -> Tensor:
        """The encoder's image-text contrastive loss over those of ``item_ids`` (distinct) that have both a picture and a text; items that
        share one of the two are not each other's negatives.

        ``features`` are theirs, as ``forward(item_ids)`` gave them. Returns a scalar.
        """
        both = self.present("image")[item_ids] & self.present("text")[item_ids]
        same = shared_pairs(self.groups_image[item_ids[both]], self.groups_text[item_ids[both]])
        return self.encoder.contrastive_loss({m: features[m][both] for m in ("image", "text")}, same)

    def _tables(self) -> dict[str, Tensor]:
        return {m: getattr(self, f"table_{m}") for m in self.modalities if hasattr(self, f"table_{m}")}

    def _cached(self) -> dict[str, Tensor]:
        if self.trainable and (self._cache is None or (not self.training and self._cache_version != self._items.version())):
            self.refresh()
        return self._tables() | (self._cache or {})

    def _encode_filled(self, distinct: Tensor) -> dict[str, Tensor]:
        """Rows of distinct items from the live encoder, those they lack filled in (but for learned ones)."""
        rows = self._items.encode(distinct)
        here = {m: self.present(m)[distinct] for m in rows}
        if self.missing == "mean":
            return {m: fill_mean(row, here[m]) for m, row in rows.items()}
        if self.missing == "neighbours":
            cached = self._cached()
            return {m: torch.where(here[m].unsqueeze(1), row, cached[m][distinct].to(row.dtype)) for m, row in rows.items()}
        return rows

    def _filled(self, modality: str, rows: Tensor) -> Tensor:
        """A whole catalogue's rows with the missing ones filled in (but for learned ones)."""
        present = self.present(modality)
        if self.missing == "mean":
            return fill_mean(rows, present)
        if self.missing == "neighbours":
            return self._interactions.neighbour_mean(rows, present)
        return torch.where(present.unsqueeze(1), rows, torch.zeros_like(rows))

    def _with_learned(self, rows: dict[str, Tensor], ids: Tensor | slice) -> dict[str, Tensor]:
        """In the order of ``modalities``."""
        for m, vector in self.missing_vectors.items():
            rows[m] = torch.where(self.present(m)[ids].unsqueeze(1), rows[m], vector.to(rows[m].dtype))
        return {m: rows[m] for m in self.modalities}


def _joined(tables: dict[str, str], encoder: str | None) -> str:
    """One fingerprint of all; that of the encoder where nothing else is in use."""
    parts = {*tables.values(), *([encoder] if encoder else [])}
    if len(parts) == 1:
        return parts.pop()
    lines = sorted(f"{m} {fingerprint}" for m, fingerprint in tables.items()) + [encoder or ""]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]
