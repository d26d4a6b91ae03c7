"""ItemFeatures: one vector an item and modality, from a table when the encoder is frozen, from the live encoder when it trains."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from tqdm import tqdm

from recbole_mm.data.content import ItemContent
from recbole_mm.encoder import ItemEncoder, create_encoder
from recbole_mm.encoder.contrastive import shared_pairs
from recbole_mm.encoder.tuning import tune
from recbole_mm.feature.cost import EncodingCost
from recbole_mm.feature.inputs import EncoderInputs

ENCODER_OPTIONS = {"encoder_image_size": "image_size", "encoder_tokenizer": "tokenizer", "trust_remote_code": "trust_remote_code"}
TUNING_OPTIONS = {"encoder_last_k": "last_k", "lora_rank": "lora_rank", "lora_alpha": "lora_alpha", "adapter_dim": "adapter_dim"}


class ItemFeatures(nn.Module):
    """Item features by internal item id.

    Args:
        encoder: reads the items. With ``trainable`` it is a submodule and gets gradients; without, it encodes the catalogue once,
            its features are non-persistent buffers (no checkpoint holds them), and it is kept, frozen, outside the module tree.
        content: pictures and texts by item id.
        modalities: which of the encoder's and the content's modalities to use; None for image and text as far as both have them.
        trainable: train the encoder with the recommender (end-to-end), as far as its parameters require a gradient.
        missing: what an item gets in a modality it lacks: ``learned`` (one trained vector a modality), ``mean`` (of the items at
            hand that have it: the batch's in training, the catalogue's in a table) or ``zero``.
        chunk_size: items an encoder call; beyond about 1,000 a CPU slows down, on a GPU it bounds the memory of a refresh.
        show_progress: a progress bar over catalogue-wide encoding.

    Attributes:
        dims: ``{modality: d}``.
        fingerprint: the encoder's, as it was built.
        live: whether ``forward`` asks the encoder (True only if trainable; set it to False to train on cached features for a while).
    """

    def __init__(
        self,
        encoder: ItemEncoder,
        content: ItemContent,
        modalities: Sequence[str] | None = None,
        *,
        trainable: bool,
        fingerprint: str | None = None,
        missing: str = "learned",
        chunk_size: int = 256,
        show_progress: bool = False,
    ) -> None:
        super().__init__()
        self._inputs = EncoderInputs(encoder, content, modalities, show_progress)
        self.modalities = self._inputs.modalities
        self.dims = {m: encoder.output_dims[m] for m in self.modalities}
        self.content, self.missing, self.chunk_size, self.show_progress = content, missing, chunk_size, show_progress
        self.trainable = self.live = trainable
        self.cost = EncodingCost()
        self.fingerprint = fingerprint or encoder.fingerprint()
        device = next(encoder.parameters()).device
        for m, here in self._inputs.present.items():
            self.register_buffer(f"present_{m}", here.to(device), persistent=False)
        self._alignable = encoder.aligned and {"image", "text"} <= set(self.modalities)
        if trainable and self._alignable:
            for m in ("image", "text"):
                self.register_buffer(f"groups_{m}", content.groups(m).to(device), persistent=False)
        absent = [m for m, here in self._inputs.present.items() if not bool(here[1:].all())]
        self.missing_vectors = nn.ParameterDict(
            {m: nn.Parameter(torch.randn(self.dims[m]) * 0.02) for m in absent} if missing == "learned" else {}
        )
        self._cache: dict[str, Tensor] | None = None
        self._cache_key: tuple | None = None
        if trainable:
            self.encoder = encoder
        else:
            object.__setattr__(self, "encoder", encoder.requires_grad_(False).eval())
            for m, rows in self._encode_catalogue().items():
                self.register_buffer(f"table_{m}", rows, persistent=False)
            encoder.cpu()

    @classmethod
    def from_config(cls, config, dataset) -> "ItemFeatures":
        """The features that a configuration asks for, over a MultiModalDataset's content.

        Raises:
            InputError: no such encoder, weights that cannot be had, a modality that encoder or data set does not have.
        """
        trainable = config["encoder_training"] == "end2end"
        options = {option: config[key] for key, option in ENCODER_OPTIONS.items() if config[key]}
        if trainable and config["gradient_checkpointing"]:
            options["gradient_checkpointing"] = True
        encoder = create_encoder(config["encoder"], seed=config["seed"], **options)
        fingerprint = encoder.fingerprint()
        if trainable:
            sizes = {name: config[key] for key, name in TUNING_OPTIONS.items()}
            tune(encoder, config["encoder_tuning"], seed=config["seed"], **sizes)
        return cls(
            encoder.to(config["device"]),
            dataset.content,
            config["modalities"],
            trainable=trainable,
            fingerprint=fingerprint,
            missing=config["missing"],
            chunk_size=config["encoder_chunk_size"],
            show_progress=bool(config["show_progress"]),
        )

    def __len__(self) -> int:
        return len(self.content)

    @property
    def contrasts(self) -> bool:
        """Can ``contrastive_loss`` be had: a live encoder that reads pictures and texts into one space, and both in use?"""
        return self.live and self._alignable

    def train(self, mode: bool = True) -> "ItemFeatures":
        """As any module's; a live encoder's cached catalogue counts as old after training, whichever way its weights changed."""
        if mode and self.live:
            self._cache_key = None
        return super().train(mode)

    @property
    def device(self) -> torch.device:
        return getattr(self, f"present_{self.modalities[0]}").device

    def present(self, modality: str) -> Tensor:
        """Which items have that modality: bool (n_items,)."""
        return getattr(self, f"present_{modality}")

    def forward(self, item_ids: Tensor) -> dict[str, Tensor]:
        """Features of items, any number of times each: (n,) -> {modality: (n, d)}. Live, each distinct one is encoded once."""
        if not self.live:
            return self._fill_learned({m: rows[item_ids] for m, rows in self._cached().items()}, item_ids)
        distinct, inverse = torch.unique(item_ids, return_inverse=True)
        rows = self._encode_filled(distinct)
        return {m: row[inverse] for m, row in rows.items()}

    def table(self, fresh_ids: Tensor | None = None) -> dict[str, Tensor]:
        """Features of the whole catalogue: {modality: (n_items, d)}, row = item id.

        With a live encoder the rows come from a cache without gradient, re-encoded in eval mode where the encoder has changed since
        (while the module is training, the last one is good enough); the rows of ``fresh_ids`` are encoded anew, with gradient.
        """
        rows = self._fill_learned(self._cached(), slice(None))
        if fresh_ids is None or not self.live:
            return rows
        distinct = torch.unique(fresh_ids)
        fresh = self._encode_filled(distinct)
        return {m: rows[m].index_copy(0, distinct, fresh[m].to(rows[m].dtype)) for m in rows}

    @torch.no_grad()
    def refresh(self) -> None:
        """Encodes the catalogue anew: eval mode, no gradient, in chunks. Nothing to do for a frozen encoder."""
        if self.trainable:
            self._cache, self._cache_key = self._encode_catalogue(), self._encoder_version()

    def contrastive_loss(self, item_ids: Tensor, features: dict[str, Tensor]) -> Tensor:
        """The encoder's image-text contrastive loss over those of ``item_ids`` (distinct) that have both a picture and a text; items that
        share one of the two are not each other's negatives.

        ``features`` are theirs, as ``forward(item_ids)`` gave them. Returns a scalar.
        """
        both = self.present("image")[item_ids] & self.present("text")[item_ids]
        same = shared_pairs(self.groups_image[item_ids[both]], self.groups_text[item_ids[both]])
        return self.encoder.contrastive_loss({m: features[m][both] for m in ("image", "text")}, same)

    def _encoder_version(self) -> tuple:
        """Changes with every update of the encoder's weights: an optimiser's step, a load, a move to another dtype or device."""
        return tuple((id(p), p._version, p.dtype, p.device) for p in self.encoder.parameters())

    def _cached(self) -> dict[str, Tensor]:
        if not self.trainable:
            return {m: getattr(self, f"table_{m}") for m in self.modalities}
        if self._cache is None or (not self.training and self._cache_key != self._encoder_version()):
            self.refresh()
        return self._cache

    def _encode_catalogue(self) -> dict[str, Tensor]:
        training = self.encoder.training
        self.encoder.eval()
        chunks = torch.arange(len(self)).split(self.chunk_size)
        slow = self.show_progress and len(self) > 8 * self.chunk_size
        parts = []
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            for ids in tqdm(chunks, desc="Encoding items", ncols=100, disable=not slow, leave=False):
                parts.append(self._encode(ids.to(self.device)))
        self.encoder.train(training)
        rows = {m: torch.cat([part[m] for part in parts]) for m in self.modalities}
        return self._fill_mean(rows, slice(None))

    def _encode_filled(self, distinct: Tensor) -> dict[str, Tensor]:
        return self._fill_learned(self._fill_mean(self._encode(distinct), distinct), distinct)

    def _encode(self, distinct: Tensor) -> dict[str, Tensor]:
        """(n,) distinct ids -> {modality: (n, d)}, in chunks; zeros in the rows of items that lack the modality."""
        chunks = distinct.split(self.chunk_size) if len(distinct) else (distinct,)
        with self.cost.measure(len(distinct), self.device):
            parts = [self._encode_chunk(ids) for ids in chunks]
        return {m: torch.cat([part[m] for part in parts]) for m in self.modalities}

    def _encode_chunk(self, ids: Tensor) -> dict[str, Tensor]:
        rows = {}
        for m in self.modalities:
            here = self.present(m)[ids]
            encoded = self.encoder({m: self._inputs(m, ids[here])})[m] if bool(here.any()) else None
            dtype = next(self.encoder.parameters()).dtype if encoded is None else encoded.dtype
            row = torch.zeros(len(ids), self.dims[m], dtype=dtype, device=ids.device)
            rows[m] = row if encoded is None else row.index_copy(0, here.nonzero().squeeze(1), encoded)
        return rows

    def _fill_learned(self, rows: dict[str, Tensor], ids: Tensor | slice) -> dict[str, Tensor]:
        return {
            m: torch.where(self.present(m)[ids].unsqueeze(1), row, self.missing_vectors[m].to(row.dtype))
            if m in self.missing_vectors
            else row
            for m, row in rows.items()
        }

    def _fill_mean(self, rows: dict[str, Tensor], ids: Tensor | slice) -> dict[str, Tensor]:
        if self.missing != "mean":
            return rows
        masks = {m: self.present(m)[ids].unsqueeze(1) for m in rows}
        return {m: torch.where(masks[m], row, row.sum(0) / masks[m].sum().clamp(min=1)) for m, row in rows.items()}
