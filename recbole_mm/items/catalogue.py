"""The features of a whole catalogue from a frozen encoder: what the feature store lacks is encoded, the rest is read."""

from pathlib import Path
from typing import NamedTuple

from recbole_mm.data.content import ItemContent
from recbole_mm.encoder import ItemEncoder
from recbole_mm.items.encoding_cost import EncodingCost
from recbole_mm.items.feature_store import FeatureStore
from recbole_mm.items.feature_table import Table
from recbole_mm.items.fill_stores import BatchEncoder, fill_stores, store_key, supported_precision
from recbole_mm.items.inputs import EncoderInputs, contents_fingerprint
from recbole_mm.parallel.ranks import Ranks


class EncodedCatalogue(NamedTuple):
    """The features of a catalogue.

    Attributes:
        tables: ``{modality: Table}``.
        new: ``{modality: distinct contents that all processes together have encoded now}``.
        reused: ``{modality: distinct contents that were found in the store}``.
        cost: what this process has encoded.
        folder: the store's.
    """

    tables: dict[str, Table]
    new: dict[str, int]
    reused: dict[str, int]
    cost: EncodingCost
    folder: Path


def encode_catalogue(
    encoder: ItemEncoder, content: ItemContent, modalities: list[str] | None, *, chunk_size: int = 256, dtype: str = "fp32",
    precision: str = "fp32", show_progress: bool = False, ranks: Ranks | None = None,
) -> EncodedCatalogue:  # fmt: skip
    """Features of all items of a data set.

    Every content that the store lacks is encoded in eval mode, in batches of ``chunk_size``, while the next batch is being read, and
    stored one shard of about ``SHARD_ROWS`` rows at a time (see ``fill_stores``).

    Args:
        modalities: None for image and text as far as the encoder and the items have them.
        dtype: ``fp32`` or ``fp16``, in the store.
        precision: ``fp32`` or ``bf16``, of the encoder's arithmetic (fp32 where the device has no bf16).
        ranks: the processes that share the work; None for this one alone.

    Raises:
        InputError: a modality that the encoder or the items do not have, or an encoder that gives NaN or infinity.
    """
    inputs = EncoderInputs(encoder, content, modalities, show_progress)
    fingerprint = encoder.fingerprint()
    precision = supported_precision(precision, next(encoder.parameters()).device)
    folder = content.cache_dir / "features" / store_key(encoder, fingerprint, dtype, precision)
    stores = {m: FeatureStore(folder / m, encoder.output_dims[m], dtype) for m in inputs.modalities}
    batches = BatchEncoder(encoder, inputs, lambda m, values: encoder({m: values})[m], chunk_size, precision)
    new = fill_stores(stores, batches, ranks or Ranks())
    names = {m: inputs.digests(m) for m in stores}
    source = fingerprint if dtype == precision == "fp32" else folder.name
    tables = {m: Table(stores[m].rows(names[m]), inputs.present[m], source, contents_fingerprint({m: names[m]})) for m in stores}
    reused = {m: len(set(names[m]) - {""}) - new[m] for m in stores}
    return EncodedCatalogue(tables, new, reused, batches.cost, folder)
