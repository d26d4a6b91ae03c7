"""ItemFeatures: one vector per item and modality, from a table where nothing changes it, from an encoder where one trains."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_mm.config.modalities import CROSS
from recbole_mm.encoder.losses import shared_pairs
from recbole_mm.feature.centring import directions
from recbole_mm.feature.missing import Interactions, fill_mean
from recbole_mm.feature.projection import project_rows
from recbole_mm.items.encoded_items import EncodedItems
from recbole_mm.items.encoding_cost import EncodingCost
from recbole_mm.items.feature_table import Table
from recbole_mm.items.throughput import bare_throughput


class ItemFeatures(nn.Module):
    """Item features by internal item id, in any number of named modalities.

    Args:
        tables: the modalities that stay as they are. Their rows are non-persistent buffers: no checkpoint holds them.
        encoded_items: the modalities of an encoder that trains with the recommender (end-to-end), or of a cross-attention that does
            (see ``TokenItems``). They become the submodules ``encoder`` and ``cross``.
        missing: what an item gets in a modality it lacks: ``learned`` (one trained vector per modality), ``mean`` (of the items at
            hand that have the modality: those of the batch in training, those of the catalogue in a table), ``zero``, or ``neighbours``
            (see ``Interactions.neighbour_mean``; from an encoder that trains, as of the last time the catalogue was encoded). In ``cross``
            it is always zero.
        interactions: the training interactions, for ``neighbours``.
        fingerprint: of the encoder that trains, before anything was added to it to train; None without one.
        cost: what the tables have cost to encode; not with ``encoded_items``, which count their own.
        centres: whether ``centred`` differs from ``table``.
        tuned: the name in the cache of the fine-tuned encoder that made the tables; None without one.

    Attributes:
        modalities, dims: the names of the modalities, and ``{modality: width of its rows}``.
        trainable: whether there is an encoder that trains.
        live: whether ``forward`` runs that encoder. Set it to False to train on cached features for a while.
        tabled: whether a table (or states on the disk) that no ``state_dict`` holds has a part in the features.
        fingerprint: names all that makes the features, with trained weights as they were at the start.
        row_codes, made_by: the same in two parts, for another catalogue: the codes of the rows that come from files, by modality, and a
            fingerprint of what makes the others.
        contents: a fingerprint of the content of each item in each modality.
        cross: the cross-attention between pictures and texts, which trains with the recommender; None without one.
        encoded_items: the given ones, or None.
        cost: items and seconds of encoding.
    """

    def __init__(
        self, tables: Mapping[str, Table], encoded_items: EncodedItems | None = None, *, missing: str = "learned",
        interactions: Interactions | None = None, fingerprint: str | None = None, cost: EncodingCost | None = None,
        tuned: str | None = None, centres: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        items = encoded_items
        self.trainable = self.live = items is not None and items.encoder_trains
        self.tuned, self.centres = tuned, centres
        self.tabled = bool(tables) or (items is not None and items.from_states)
        self.missing, self._interactions, self.encoded_items = missing, interactions, items
        present = {m: table.present for m, table in tables.items()} | (items.present if items else {})
        self.modalities = tuple(present)
        self.dims = {m: table.rows.shape[1] for m, table in tables.items()} | (items.dims if items else {})
        self.cost = items.cost if items else cost or EncodingCost()
        self.fingerprint = _one_fingerprint({m: t.fingerprint for m, t in tables.items()}, fingerprint)
        self.row_codes = {m: table.codes for m, table in tables.items() if table.codes is not None}
        self.made_by = _one_fingerprint({m: t.fingerprint for m, t in tables.items() if m not in self.row_codes}, fingerprint)
        self.contents = _one_fingerprint({m: f"{m} {t.contents or t.fingerprint}" for m, t in tables.items()}, items and items.contents)
        device = items.device if items else next(iter(tables.values())).rows.device
        for m, here in present.items():
            self.register_buffer(f"present_{m}", here.to(device), persistent=False)
        for m, table in tables.items():
            self.register_buffer(f"table_{m}", self._filled(m, table.rows.to(device)), persistent=False)
        absent = [m for m, here in present.items() if self._stand_in(m) == "learned" and not bool(here[1:].all())]
        self.missing_vectors = nn.ParameterDict({m: nn.Parameter(torch.randn(self.dims[m]) * 0.02) for m in absent})
        self.encoder, self.content = (items.encoder, items.content) if self.trainable else (None, None)
        self.cross = items and items.cross
        self._alignable = self.trainable and items.encoder.aligned and {"image", "text"} <= set(items.modalities)
        if self._alignable:
            for m in ("image", "text"):
                self.register_buffer(f"groups_{m}", items.content.groups(m).to(device), persistent=False)
        self._cache: dict[str, Tensor] | None = None
        self._centred: dict[str, tuple[Tensor, Tensor]] = {}
        self._cache_version: tuple | None = None

    def __len__(self) -> int:
        return len(self.present(self.modalities[0]))

    @property
    def contrasts(self) -> bool:
        """Whether there is a ``contrastive_loss``: a live encoder reads pictures and texts into one space, and both are in use."""
        return self.live and self._alignable

    def train(self, mode: bool = True) -> "ItemFeatures":
        """As any module's. Training makes the cached catalogue of a live encoder count as outdated, whichever way its weights changed
        (the fused step of an optimiser changes them without raising their version)."""
        if mode and self._anew:
            self._cache_version = None
        return super().train(mode)

    def start_step(self, step: int) -> None:
        """To be called before every training batch, with the number of batches before it (see ``EncodedItems.start_step``)."""
        if self.encoded_items is not None:
            self.encoded_items.start_step(step)

    def present(self, modality: str) -> Tensor:
        """Which items have that modality: bool (n_items,)."""
        return getattr(self, f"present_{modality}")

    def forward(self, item_ids: Tensor) -> dict[str, Tensor]:
        """Features of items, (n,) -> {modality: (n, d)}. An id may occur any number of times; a live encoder reads each item once."""
        rows = {m: table[item_ids] for m, table in (self._tables() if self._anew else self._cached()).items()}
        if self._anew:
            distinct, inverse = torch.unique(item_ids, return_inverse=True)
            rows |= {m: row[inverse] for m, row in self._encode_filled(distinct).items()}
        return self._with_learned(rows, item_ids)

    def projected(self, maps: Mapping[str, tuple[Tensor, Tensor | None]], item_ids: Tensor | None = None,
                  fresh_ids: Tensor | None = None) -> dict[str, Tensor]:  # fmt: skip
        """Linear maps of features, each modality's by itself.

        Args:
            maps: {modality: (weight (size, d), bias (size,) or None)} of every modality.
            item_ids: (n,), best without repetition; None for the whole catalogue.
            fresh_ids: of the whole catalogue, those whose rows are encoded now: see ``table``.

        Returns:
            {modality: (n, size)}.
        """
        if self._anew:
            rows = self.table(fresh_ids) if item_ids is None else self(item_ids)
            return {m: functional.linear(rows[m], *maps[m]) for m in self.modalities}
        rows = {m: project_rows(table, item_ids, *maps[m]) for m, table in self._cached().items()}
        for m, vector in self.missing_vectors.items():  # the table's row is zero there
            absent = ~self.present(m)[slice(None) if item_ids is None else item_ids]
            rows[m] = rows[m] + absent.unsqueeze(1) * functional.linear(vector, maps[m][0])
        return {m: rows[m] for m in self.modalities}

    def table(self, fresh_ids: Tensor | None = None) -> dict[str, Tensor]:
        """Features of the whole catalogue, {modality: (n_items, d)}, one row per internal item id.

        With a live encoder the rows come from a cache without gradient. Outside of training the catalogue is encoded again, in eval
        mode, if the encoder has changed since; in training the last cache is good enough. The rows of ``fresh_ids`` are encoded now, with
        gradient.
        """
        return self._with_learned(self._rows(fresh_ids), slice(None))

    def centred(self, fresh_ids: Tensor | None = None) -> dict[str, Tensor]:
        """As ``table``, each modality's rows less their mean over the items that have it, and then of length 1, unless they have but one
        number.

        Features of one network point much the same way: the mean cosine of two items is .5 to .97 on Last.fm. Where a model divides what it
        makes of them by its length, or takes a softmax of products, that way is most of what it sees. An item that lacks the modality has
        zeros, the learned vector, or what its neighbours' rows come to, as ``missing`` says.
        """
        if not self.centres:
            return self.table(fresh_ids)
        tables = self._tables()
        rows = {m: values if m in tables else self.directions(m, values) for m, values in self._rows(fresh_ids).items()}
        for m, table in tables.items():
            if self._centred.get(m, (None,))[0] is not table:
                self._centred[m] = table, self.directions(m, table)
            rows[m] = self._centred[m][1]
        return self._with_learned(rows, slice(None))

    def directions(self, modality: str, rows: Tensor) -> Tensor:
        """What ``centred`` makes of a modality's rows (n_items, d)."""
        present, stand_in = self.present(modality).unsqueeze(1), self._stand_in(modality)
        found = directions(rows, present.squeeze(1))
        if stand_in == "neighbours":
            return found
        return torch.where(present, found, rows if stand_in == "learned" else torch.zeros_like(found))

    def _rows(self, fresh_ids: Tensor | None) -> dict[str, Tensor]:
        """The rows of ``table``, zeros where an item has a learned vector."""
        rows = dict(self._cached())
        if fresh_ids is not None and self._anew:
            distinct = torch.unique(fresh_ids)
            for m, fresh in self._encode_filled(distinct).items():
                rows[m] = rows[m].index_copy(0, distinct, fresh.to(rows[m].dtype))
        return rows

    @property
    def outdated(self) -> bool:
        """Whether what makes the features has changed, or may have, since the catalogue was encoded."""
        return self.encoded_items is not None and (self._cache is None or self._cache_version != self.encoded_items.version())

    @property
    def stale(self) -> bool:
        """Whether a cached catalogue is kept that is outdated, as training does for a while."""
        return self._cache is not None and self.outdated

    def forget_outdated(self) -> None:
        """Drops the cached catalogue if the encoder may have changed since; the next use encodes it again."""
        if self.outdated:
            self._cache = None

    def refresh(self) -> None:
        """Encodes the catalogue again, in eval mode, without gradient, in chunks. Where nothing that trains makes features, it does
        nothing."""
        if self.encoded_items is not None:
            self._cache = {m: self._filled(m, rows) for m, rows in self.encoded_items.catalogue().items()}
            self._cache_version = None if self.training and self._anew else self.encoded_items.version()

    def bare_throughput(self) -> float | None:
        """Items per second of the encoder alone: see ``items.throughput``. None without an encoder that trains."""
        return bare_throughput(self.encoded_items) if self.trainable else None

    def contrastive_loss(self, item_ids: Tensor, features: dict[str, Tensor]) -> Tensor:
        """The encoder's image-text contrastive loss over the items that have both a picture and a text. Items that share one of the two
        are not each other's negatives.

        Args:
            item_ids: (n,) distinct ids.
            features: what ``forward(item_ids)`` gave.

        Returns:
            A scalar.
        """
        both = self.present("image")[item_ids] & self.present("text")[item_ids]
        same = shared_pairs(self.groups_image[item_ids[both]], self.groups_text[item_ids[both]])
        return self.encoder.contrastive_loss({m: features[m][both] for m in ("image", "text")}, same)

    @property
    def _anew(self) -> bool:
        """Whether ``forward`` makes rows of the items at hand, by an encoder that trains, or by a cross-attention over stored tokens."""
        return self.live or (self.encoded_items is not None and not self.trainable)

    def _stand_in(self, modality: str) -> str:
        """What an item gets that lacks the modality; of a picture and a text that are not both there, nothing is crossed."""
        return "zero" if modality == CROSS else self.missing

    def _tables(self) -> dict[str, Tensor]:
        return {m: getattr(self, f"table_{m}") for m in self.modalities if hasattr(self, f"table_{m}")}

    def _cached(self) -> dict[str, Tensor]:
        if self.encoded_items is not None and (self._cache is None or (not self.training and self.outdated)):
            self.refresh()
        return self._tables() | (self._cache or {})

    def _encode_filled(self, distinct: Tensor) -> dict[str, Tensor]:
        """Rows of distinct items from the live encoder, with missing ones filled in unless they are learned."""
        rows = self.encoded_items.encode(distinct)
        here = {m: self.present(m)[distinct] for m in rows}
        for m, row in rows.items():
            if self._stand_in(m) == "mean":
                rows[m] = fill_mean(row, here[m])
            elif self._stand_in(m) == "neighbours":
                rows[m] = torch.where(here[m].unsqueeze(1), row, self._cached()[m][distinct].to(row.dtype))
        return rows

    def _filled(self, modality: str, rows: Tensor) -> Tensor:
        """The rows of the whole catalogue, with missing ones filled in unless they are learned."""
        present = self.present(modality)
        if self._stand_in(modality) == "mean":
            return fill_mean(rows, present)
        if self._stand_in(modality) == "neighbours":
            return self._interactions.neighbour_mean(rows, present)
        return torch.where(present.unsqueeze(1), rows, torch.zeros_like(rows))

    def _with_learned(self, rows: dict[str, Tensor], ids: Tensor | slice) -> dict[str, Tensor]:
        """The rows of all modalities in their order, with the learned vectors where an item lacks one."""
        for m, vector in self.missing_vectors.items():
            rows[m] = torch.where(self.present(m)[ids].unsqueeze(1), rows[m], vector.to(rows[m].dtype))
        return {m: rows[m] for m in self.modalities}


def _one_fingerprint(tables: dict[str, str], encoder: str | None) -> str:
    """One fingerprint of all of them; if they are all the same, or there is only one, that one."""
    parts = {*tables.values(), *([encoder] if encoder else [])}
    if len(parts) == 1:
        return parts.pop()
    lines = sorted(f"{m} {fingerprint}" for m, fingerprint in tables.items()) + [encoder or ""]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]
