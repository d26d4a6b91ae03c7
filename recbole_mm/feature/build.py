"""From a configuration to ItemFeatures: modalities come from files, from a frozen encoder, or from one that trains."""

import time
from dataclasses import replace
from logging import getLogger
from pathlib import Path

from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.augmentation import Augmentation
from recbole_mm.encoder.build_encoder import build_encoder
from recbole_mm.encoder.settings import EncoderSettings
from recbole_mm.encoder.tuning.tunings import Side
from recbole_mm.feature.features import ItemFeatures
from recbole_mm.feature.files import read_tables
from recbole_mm.feature.missing import Interactions
from recbole_mm.feature.rank import reduced
from recbole_mm.feature.row_faults import warn_of_faults
from recbole_mm.feature.settings import FeatureSettings
from recbole_mm.finetune.finetune_encoder import finetune_encoder
from recbole_mm.items.catalogue import EncodedCatalogue, encode_catalogue
from recbole_mm.items.crossing import Crossing
from recbole_mm.items.encoded_items import ITEMS_A_CALL, EncodedItems
from recbole_mm.items.encoding_cost import EncodingCost
from recbole_mm.items.feature_table import Table
from recbole_mm.items.hidden_items import HiddenItems
from recbole_mm.items.inputs import PARTS, EncoderInputs
from recbole_mm.items.raw_items import RawItems
from recbole_mm.items.side_items import SideItems
from recbole_mm.items.token_items import TokenItems
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.terminal import labelled, say

logger = getLogger(__name__)


def build_features(config, dataset) -> ItemFeatures:
    """The features that a configuration asks for.

    Args:
        config: a MultiModalConfig.
        dataset: a MultiModalDataset with the training interactions, and with ``ready_features`` where they are there already.

    Raises:
        InputError: there is no such encoder, its weights cannot be had, a file cannot be used, or neither the files nor the encoder nor
            the items have a modality.
    """
    settings = FeatureSettings.from_config(config)
    if dataset.ready_features is not None:
        return ItemFeatures(dataset.ready_features, **_handling(settings, dataset))
    tables = _ranked(settings, file_tables(settings, dataset))
    if settings.unused:
        logger.warning(f"not used: {'; '.join(settings.unused)}")
    if not settings.encoder.needed:
        if settings.encoder.training != "pretrained":
            say("All modalities come from feature_files: there is no encoder to train")
        return ItemFeatures(tables, **_handling(settings, dataset))
    if settings.encoder.trains:
        return _trained_features(settings, dataset, tables)
    if settings.encoder.training == "end2end":
        say("encoder_learning_rate 0: the encoder stays as it is, as with encoder_training: pretrained")
    return _frozen_features(settings, dataset, tables)


def _ranked(settings: FeatureSettings, tables: dict[str, Table]) -> dict[str, Table]:
    return tables if settings.rank is None else {m: reduced(m, table, settings.rank) for m, table in tables.items()}


def _trained_features(settings: FeatureSettings, dataset, tables: dict[str, Table]) -> ItemFeatures:
    encoder = build_encoder(settings.encoder)
    fingerprint = encoder.fingerprint()
    items = trained_items(settings.encoder, dataset, encoder, fingerprint, settings.crossed)
    if settings.encoder.sharded:
        items.shard(settings.encoder.device)
    return ItemFeatures(tables, items, fingerprint=fingerprint, **_handling(settings, dataset))


def _frozen_features(settings: FeatureSettings, dataset, tables: dict[str, Table]) -> ItemFeatures:
    started = time.perf_counter()
    encoder, tuned = frozen_encoder(settings, dataset)
    finetuning = time.perf_counter() - started if settings.encoder.finetuned else 0.0
    encoded = encode(settings.encoder, dataset, encoder, Ranks.current())
    tables, cost = tables | _ranked(settings, encoded.tables), replace(encoded.cost, finetuning=finetuning)
    tables = {m: tables[m] for m in settings.modalities or tables}
    items = None if settings.crossed is None else _token_items(settings, dataset, encoder, cost)
    return ItemFeatures(tables, items, cost=cost, tuned=tuned, **_handling(settings, dataset))


def _token_items(settings: FeatureSettings, dataset, encoder: ItemEncoder, cost: EncodingCost) -> TokenItems:
    how = settings.encoder
    inputs = EncoderInputs(encoder, dataset.content, how.modalities, how.show_progress)
    stored = {"dtype": how.feature_dtype, "precision": how.precision}
    return TokenItems(encoder, inputs, size=settings.crossed, seed=how.seed, cost=cost, chunk_size=how.chunk_size, **stored)


def _handling(settings: FeatureSettings, dataset) -> dict[str, object]:
    """The arguments of ItemFeatures that say what stands in for a missing modality, and whether there are centred rows."""
    users, items = (dataset.inter_feat[field].numpy() for field in (dataset.uid_field, dataset.iid_field))
    interactions = Interactions(users, items, dataset.user_num, dataset.item_num)
    return {"missing": settings.missing, "interactions": interactions, "centres": settings.scaling is not None}


def trained_items(settings: EncoderSettings, dataset, encoder: ItemEncoder, fingerprint: str, crossed: int | None = None) -> EncodedItems:
    """The items of an encoder that trains in whole, in part, or by a side network; ``fingerprint`` is the encoder's as it was built.
    ``crossed``: see ``FeatureSettings``."""
    inputs = EncoderInputs(encoder, dataset.content, settings.modalities, settings.show_progress)
    options = {"chunk_size": settings.chunk_size, "precision": settings.precision}
    stored = {"dtype": settings.feature_dtype, "fingerprint": fingerprint}
    if isinstance(settings.tuning, Side):
        sizes = {"dim": settings.tuning.side_dim, "noise": settings.tuning.side_noise}
        return SideItems(encoder, inputs, seed=settings.seed, **sizes, **stored, **options)
    settings.tuning.apply(encoder, settings.seed)
    if crossed is not None:
        options["crossing"] = Crossing(encoder, inputs, crossed, settings.seed)
    if settings.cache_hidden_states:
        return HiddenItems(encoder, inputs, k=settings.tuning.last_k, **stored, **options)
    return RawItems(encoder, inputs, _augmentation(settings, encoder, inputs), **options)


def _augmentation(settings: EncoderSettings, encoder: ItemEncoder, inputs: EncoderInputs) -> Augmentation | None:
    parts = {part for m in inputs.modalities for part in PARTS[m]}
    views = None if settings.image_augmentation == "none" else settings.image_augmentation
    for key, value, part in (("image_augmentation", views, "image"), ("token_dropout", settings.token_dropout, "text")):
        if value and part not in parts:
            logger.warning(f"not used: {key} {value}, because the encoder reads no {part}")
    views, share = views if "image" in parts else None, settings.token_dropout if "text" in parts else 0.0
    return Augmentation(encoder, views, share) if views or share else None


def file_tables(settings: FeatureSettings, dataset) -> dict[str, Table]:
    """The modalities that come from feature files."""
    folder = Path(dataset.dataset_path)
    return read_tables(settings.files, dataset.tokens, folder, settings.feature_ids, dataset.iid_field, settings.scaling)


def frozen_encoder(settings: FeatureSettings, dataset) -> tuple[ItemEncoder, str | None]:
    """The encoder that features are extracted by: as it is, or fine-tuned to the items, now or before, with its name in the store. For the
    latter, ``dataset`` holds the training interactions."""
    encoder = build_encoder(settings.encoder)
    if settings.encoder.finetuned:
        return encoder, finetune_encoder(settings.finetuning, dataset, encoder).folder.name
    return encoder, None


def encode(settings: EncoderSettings, dataset, encoder: ItemEncoder, ranks: Ranks) -> EncodedCatalogue:
    """The modalities that come from a frozen encoder, of all items of the data set: from the store, or encoded into it now."""
    encoded = encode_catalogue(
        encoder.requires_grad_(False), dataset.content, settings.modalities, chunk_size=settings.chunk_size or ITEMS_A_CALL,
        dtype=settings.feature_dtype, precision=settings.precision, show_progress=settings.show_progress, ranks=ranks,
    )  # fmt: skip
    counts = ", ".join(f"{m} ({encoded.reused[m]} reused, {encoded.new[m]} new)" for m in encoded.tables)
    verb = "encoded into" if any(encoded.new.values()) else "reused from"
    say(labelled("features", counts), text=f"features {verb} {encoded.folder}: {counts}")
    for modality, table in encoded.tables.items():
        warn_of_faults(modality, str(encoded.folder), table, dataset.tokens)
    return encoded
