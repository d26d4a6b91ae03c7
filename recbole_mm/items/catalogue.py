"""A catalogue through a frozen encoder, by way of the feature store: only what is not there yet is encoded."""

import json
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from logging import getLogger
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from recbole_mm.data.content import ItemContent
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.base import Inputs
from recbole_mm.encoder.frozen.cut import resized
from recbole_mm.errors import InputError
from recbole_mm.items.encoding_cost import EncodingCost
from recbole_mm.items.feature_store import FeatureStore
from recbole_mm.items.feature_table import Table
from recbole_mm.items.inputs import PARTS, EncoderInputs, contents_fingerprint
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.parallel.read_ahead import read_ahead

SHARD_ROWS = 256
VERSION = 2
"""To be raised where the same encoder, inputs and settings come to give other rows, or shards another form."""
logger = getLogger(__name__)


class Encoded(NamedTuple):
    """Tables by modality; the distinct contents that were encoded now (by all processes) and those found in the store, by modality; the
    cost; and the store's folder."""

    tables: dict[str, Table]
    new: dict[str, int]
    reused: dict[str, int]
    cost: EncodingCost
    folder: Path


def encode_catalogue(
    encoder: ItemEncoder, content: ItemContent, modalities: list[str] | None, *, chunk_size: int = 256, dtype: str = "fp32",
    precision: str = "fp32", show_progress: bool = False, ranks: Ranks | None = None,
) -> Encoded:  # fmt: skip
    """Features of all items of a data set.

    Every content that the store lacks is encoded in eval mode, in batches of ``chunk_size``, while the next batch is being read, and
    stored a shard of about ``SHARD_ROWS`` at a time. What is missing is cut into shards in an order that its contents alone decide:
    taking whole shards out of the list leaves the others as they are, so a run that goes on after a kill, or shares the list with
    other processes, encodes the very same batches and gets the same bytes.

    Args:
        modalities: None for image and text as far as encoder and items have them.
        dtype: ``fp32`` or ``fp16``, in the store.
        precision: ``fp32`` or ``bf16``, of the encoder's arithmetic (fp32 where the device has no bf16).

    Raises:
        InputError: a modality that the encoder or the items do not have, or an encoder that gives NaN or infinity.
    """
    inputs = EncoderInputs(encoder, content, modalities, show_progress)
    fingerprint = encoder.fingerprint()
    precision = possible_precision(precision, next(encoder.parameters()).device)
    folder = content.cache_dir / "features" / store_key(encoder, fingerprint, dtype, precision)
    stores = {m: FeatureStore(folder / m, encoder.output_dims[m], dtype) for m in inputs.modalities}
    worker = Worker(encoder, inputs, lambda m, values: encoder({m: values})[m], chunk_size, precision)
    new = fill(stores, worker, show_progress, ranks)
    names = {m: inputs.digests(m) for m in stores}
    source = fingerprint if dtype == precision == "fp32" else folder.name
    tables = {m: Table(stores[m].rows(names[m]), inputs.present[m], source, contents_fingerprint({m: names[m]})) for m in stores}
    reused = {m: len(set(names[m]) - {""}) - new[m] for m in stores}
    return Encoded(tables, new, reused, worker.cost, folder)


def fill(stores: Mapping[str, FeatureStore], worker: "Worker", show_progress: bool = False, ranks: Ranks | None = None) -> dict[str, int]:
    """Puts the rows of all contents that the stores lack into them, by modality. Returns how many those were."""
    ranks, inputs, chunk_size = ranks or Ranks(), worker.inputs, worker.chunk_size
    content = inputs.content
    id_of = {m: {digest: i for i, digest in enumerate(inputs.digests(m)) if digest} for m in stores}
    missing = ranks.agree({m: _ordered(m, content, {d: i for d, i in id_of[m].items() if d not in stores[m]}) for m in stores})
    for m, ordered in missing.items():
        shards = ranks.share(list(_slices(ordered, chunk_size * max(1, SHARD_ROWS // chunk_size))))
        todo = sum(map(len, shards))
        quiet = not show_progress or not todo or ranks.rank > 0
        with tqdm(total=todo, desc=f"Encoding {m}", unit=" items", ncols=100, disable=quiet) as bar:
            for digests, rows in worker.encode(m, shards, id_of[m]):
                tokens = content.tokens([id_of[m][digest] for digest in digests])
                _check_finite(m, rows.to(stores[m].dtype), tokens)
                stores[m].add(digests, rows, tokens)
                bar.update(len(digests))
    ranks.wait()
    if ranks.world > 1:
        for store in stores.values():
            store.reload()
    return {m: len(ordered) for m, ordered in missing.items()}


def store_key(encoder: ItemEncoder, *parts: str) -> str:
    """Names all that decides what a row is besides its content and modality: how the encoder prepares pictures, and ``parts``: its
    fingerprint, and what of it a row is."""
    preprocessing = encoder.preprocess_key if encoder.image_size else None
    return blake2b(json.dumps([VERSION, parts[0], preprocessing, *parts[1:]]).encode(), digest_size=16).hexdigest()


class Worker:
    """Reads items, encodes them in eval mode without gradient, and counts.

    Args:
        compute: (modality, what the encoder's ``forward`` takes of n items) -> n rows, (n, d) or (n, length, d).
        chunk_size: items a call.
        precision: see ``encode_catalogue``.
    """

    def __init__(
        self, encoder: ItemEncoder, inputs: EncoderInputs, compute: Callable[[str, Inputs], Tensor], chunk_size: int, precision: str
    ) -> None:
        self.encoder, self.inputs, self.compute, self.chunk_size = encoder, inputs, compute, chunk_size
        self.device = next(encoder.parameters()).device
        self.bf16, self.cost, self.seen = precision == "bf16", EncodingCost(), set()

    @torch.no_grad()
    def encode(self, modality: str, shards: list[list[str]], id_of: dict[str, int]) -> Iterator[tuple[list[str], Tensor]]:
        """(digests, float32 rows) a shard."""
        self.encoder.eval()
        batches = [torch.tensor([id_of[d] for d in part]) for shard in shards for part in _slices(shard, self.chunk_size)]
        ready = read_ahead(lambda ids: (ids, self.inputs.once(modality, ids)), batches)
        for shard in shards:
            parts = [self._forward(modality, *next(ready)) for _ in _slices(shard, self.chunk_size)]
            longest = max(part.shape[1] for part in parts)
            yield shard, torch.cat([resized(part, longest) for part in parts])

    def _forward(self, modality: str, ids: Tensor, values: Inputs) -> Tensor:
        fresh = set(ids.tolist()) - self.seen
        self.seen |= fresh
        with self.cost.measure(len(fresh), self.device), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            values = tuple(v.to(self.device) for v in values) if isinstance(values, tuple) else values.to(self.device)
            return self.compute(modality, values).float().cpu()


def _slices(values: list, size: int) -> Iterator[list]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _ordered(modality: str, content: ItemContent, id_of: dict[str, int]) -> list[str]:
    """Digests in an order that contents alone decide; texts of like length go into a batch together, which saves padding."""
    ids = list(id_of.values())
    sizes = map(len, content.texts(ids)) if "text" in PARTS[modality] else [0] * len(ids)
    return [digest for _, digest in sorted(zip(sizes, id_of, strict=True))]


def possible_precision(precision: str, device: torch.device) -> str:
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        logger.warning("encoder_precision: this device has no bf16; encoding in fp32")
        return "fp32"
    return precision


def _check_finite(modality: str, rows: Tensor, tokens: list[str]) -> None:
    bad = (~rows.isfinite().flatten(1).all(1)).nonzero().squeeze(1).tolist()
    if bad:
        raise InputError(f"the encoder gives NaN or infinite numbers for the {modality} of item {tokens[bad[0]]}; try feature_dtype "
                         "and encoder_precision: fp32, or look at its weights")  # fmt: skip
