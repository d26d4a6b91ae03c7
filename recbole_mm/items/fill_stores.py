"""Filling feature stores: a frozen encoder reads the contents that its stores lack."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from logging import getLogger

import torch
from torch import Tensor

from recbole_mm.data.content import ItemContent
from recbole_mm.disk import locked
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.base import Inputs
from recbole_mm.encoder.frozen.cut import with_length
from recbole_mm.errors import InputError
from recbole_mm.items.encoded_items import LARGE_ENCODERS_CALL
from recbole_mm.items.encoding_cost import EncodingCost
from recbole_mm.items.feature_store import FeatureStore
from recbole_mm.items.inputs import PARTS, EncoderInputs
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.parallel.read_ahead import read_ahead
from recbole_mm.terminal import Bar

SHARD_ROWS = 256
VERSION = 2
"""To be raised where the same encoder, inputs and settings come to give other rows, or shards another form."""
logger = getLogger(__name__)


def store_key(encoder: ItemEncoder, fingerprint: str, *kind: str) -> str:
    """Names everything that decides a row besides its content and modality: the encoder's preprocessing, its ``fingerprint``, and
    ``kind``: dtype, precision, and which part of the encoder gives the rows."""
    preprocessing = encoder.preprocess_key if encoder.image_size else None
    return blake2b(json.dumps([VERSION, fingerprint, preprocessing, *kind]).encode(), digest_size=16).hexdigest()


def supported_precision(precision: str, device: torch.device) -> str:
    """``precision``, or ``fp32`` (with a warning) where the device has no bf16."""
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        logger.warning("encoder_precision: this device does not support bf16; encoding in fp32")
        return "fp32"
    return precision


class BatchEncoder:
    """Reads batches of items, encodes them in eval mode without gradient, and counts the cost.

    Args:
        encoder: the encoder that ``compute`` runs, in whole or in part.
        inputs: reads the items.
        compute: (modality, what the encoder's ``forward`` takes for n items) -> n rows, (n, d) or (n, length, d).
        chunk_size: items per call of ``compute``; fewer for large encoders on a CPU (``LARGE_ENCODERS_CALL``).
        precision: ``fp32`` or ``bf16``, of the arithmetic.

    Attributes:
        cost: of the calls so far; an item counts once however many modalities it has.
    """

    def __init__(
        self, encoder: ItemEncoder, inputs: EncoderInputs, compute: Callable[[str, Inputs], Tensor], chunk_size: int, precision: str
    ) -> None:
        self.encoder, self.inputs, self.chunk_size, self.cost = encoder, inputs, chunk_size, EncodingCost()
        self._compute, self._bf16 = compute, precision == "bf16"
        self._device = next(encoder.parameters()).device
        self._seen: set[int] = set()

    @torch.no_grad()
    def encode(self, modality: str, shards: list[list[str]], id_of: dict[str, int]) -> Iterator[tuple[list[str], Tensor]]:
        """(digests, float32 rows) of each shard; ``id_of`` says which item has a digest."""
        self.encoder.eval()
        size = self.chunk_size
        if self._device.type == "cpu" and not self.encoder.from_scratch:
            size = min(size, LARGE_ENCODERS_CALL[modality])
        batches = [torch.tensor([id_of[d] for d in part]) for shard in shards for part in _slices(shard, size)]
        ready = read_ahead(lambda ids: (ids, self.inputs.read_once(modality, ids)), batches)
        for shard in shards:
            parts = [self._encode_batch(modality, *next(ready)) for _ in _slices(shard, size)]
            longest = max(part.shape[1] for part in parts)
            yield shard, torch.cat([with_length(part, longest) for part in parts])

    def _encode_batch(self, modality: str, ids: Tensor, values: Inputs) -> Tensor:
        fresh = set(ids.tolist()) - self._seen
        self._seen |= fresh
        with self.cost.measure(len(fresh), self._device), torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            values = tuple(v.to(self._device) for v in values) if isinstance(values, tuple) else values.to(self._device)
            return self._compute(modality, values).float().cpu()


def fill_stores(stores: Mapping[str, FeatureStore], batches: BatchEncoder, ranks: Ranks) -> dict[str, int]:
    """Encodes all contents that the stores (``{modality: store}``) lack into them, each process of ``ranks`` its share of the shards.
    Another run that is filling them is waited for, and what it has encoded is not encoded again.

    What is missing is cut into shards in an order that its contents alone decide. Taking whole shards out of the list leaves the others
    as they are, so a run that goes on after a kill, or shares the list with other processes, encodes the very same batches and gets
    the same bytes.

    Returns:
        ``{modality: how many contents were missing}``.

    Raises:
        InputError: the encoder gives NaN or infinity.
    """
    id_of = {m: {digest: i for i, digest in enumerate(batches.inputs.digests(m)) if digest} for m in stores}
    missing = _missing(stores, batches, ranks, id_of)
    if not any(missing.values()):
        return {m: 0 for m in stores}
    with _alone(stores, ranks):
        missing = _missing(stores, batches, ranks, id_of)
        _fill(stores, batches, ranks, id_of, missing)
    return {m: len(ordered) for m, ordered in missing.items()}


@contextmanager
def _alone(stores: Mapping[str, FeatureStore], ranks: Ranks) -> Iterator[None]:
    """The first of the processes that share a run keeps other runs away; they have added what the stores have then."""
    if ranks.rank:
        yield
        return
    folder = next(iter(stores.values())).folder.parent
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "fill.lock", f"encoding items into {folder}"):
        for store in stores.values():
            store.reload()
        yield


def _missing(
    stores: Mapping[str, FeatureStore], batches: BatchEncoder, ranks: Ranks, id_of: Mapping[str, dict[str, int]]
) -> dict[str, list[str]]:  # fmt: skip
    """What the first process finds missing, in its order."""
    content = batches.inputs.content
    return ranks.agree({m: _ordered(m, content, {d: i for d, i in id_of[m].items() if d not in stores[m]}) for m in stores})


def _fill(
    stores: Mapping[str, FeatureStore], batches: BatchEncoder, ranks: Ranks, id_of: Mapping[str, dict[str, int]],
    missing: Mapping[str, list[str]],
) -> None:  # fmt: skip
    inputs, chunk_size = batches.inputs, batches.chunk_size
    for m, ordered in missing.items():
        shards = ranks.share(list(_slices(ordered, chunk_size * max(1, SHARD_ROWS // chunk_size))))
        todo = sum(map(len, shards))
        quiet = not inputs.show_progress or not todo or ranks.rank > 0
        with Bar(total=todo, desc=f"Encoding {m}", disable=quiet) as bar:
            for digests, rows in batches.encode(m, shards, id_of[m]):
                tokens = inputs.content.tokens([id_of[m][digest] for digest in digests])
                _check_finite(m, rows.to(stores[m].dtype), tokens)
                stores[m].add(digests, rows, tokens)
                bar.update(len(digests))
    ranks.wait()
    if ranks.world > 1:
        for store in stores.values():
            store.reload()


def _slices(values: list, size: int) -> Iterator[list]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _ordered(modality: str, content: ItemContent, id_of: dict[str, int]) -> list[str]:
    """Digests in an order that contents alone decide; texts of similar length share a batch, which saves padding."""
    ids = list(id_of.values())
    sizes = map(len, content.texts(ids)) if "text" in PARTS[modality] else [0] * len(ids)
    return [digest for _, digest in sorted(zip(sizes, id_of, strict=True))]


def _check_finite(modality: str, rows: Tensor, tokens: list[str]) -> None:
    bad = (~rows.isfinite().flatten(1).all(1)).nonzero().squeeze(1).tolist()
    if bad:
        raise InputError(f"the encoder gives NaN or infinite numbers for the {modality} of item {tokens[bad[0]]}; set feature_dtype and "
                         "encoder_precision to fp32, or check its weights")  # fmt: skip
