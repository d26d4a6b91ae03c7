"""``recbole-mm extract``: the catalogue of a data set into the feature store, and out of it into files."""

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file

from recbole_mm.disk import write_whole
from recbole_mm.errors import InputError
from recbole_mm.feature.build import encode, frozen_encoder
from recbole_mm.feature.settings import FeatureSettings
from recbole_mm.items.catalogue import EncodedCatalogue
from recbole_mm.items.feature_store import DTYPES
from recbole_mm.items.feature_table import Table
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.terminal import say


def extract(config, dataset, output: str | Path | None = None) -> EncodedCatalogue:
    """Encodes every item that the store lacks, and shares the work with the other processes of a torchrun.

    Args:
        config: a MultiModalConfig.
        dataset: a MultiModalDataset; for ``encoder_training: finetuned`` its interactions are the training ones.
        output: a folder that gets ``<modality>.safetensors`` (written by the first process): tensor ``features``, and metadata
            ``item_tokens``, the JSON list of the item token of each row. Rows are sorted by token; items that lack the modality
            have no row.

    Raises:
        InputError: no modality comes from an encoder, ``output`` is a file, or see ``build_features``.
    """
    settings = FeatureSettings.from_config(config)
    if not settings.encoder.needed:
        raise InputError("nothing to encode: modalities is empty, or feature_files brings them all")
    if output is not None and Path(output).is_file():
        raise InputError(f"--output {output} is a file, not a folder")
    ranks = Ranks.current()
    encoded = encode(settings.encoder, dataset, frozen_encoder(settings, dataset)[0], ranks)
    if output is not None and ranks.rank == 0:
        for modality, table in encoded.tables.items():
            export(table, dataset.tokens, Path(output) / f"{modality}.safetensors", settings.encoder.feature_dtype)
        say(f"features exported to {output}: {', '.join(f'{m}.safetensors' for m in encoded.tables)}")
    ranks.wait()
    by_whom = f" by process {ranks.rank} of {ranks.world}" if ranks.world > 1 else ""
    say(f"cost: {encoded.cost}{by_whom}")
    return encoded


def export(table: Table, tokens: Sequence[str], path: Path, dtype: str = "fp32") -> None:
    """Writes the present rows of a catalogue, sorted by token, as a feature file. What a killed export left beside it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = sorted(table.present.nonzero().squeeze(1).tolist(), key=lambda i: tokens[i])
    rows = table.rows[ids].to(DTYPES[dtype]).contiguous()
    metadata = {"item_tokens": json.dumps([tokens[i] for i in ids])}
    write_whole(path, lambda file: save_file({"features": rows}, file, metadata))
