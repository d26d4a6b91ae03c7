"""From a configuration to ItemFeatures: which modalities come from files, from a frozen encoder, from a live one."""

import time
from dataclasses import replace
from logging import getLogger
from pathlib import Path

from recbole_mm.config.modalities import from_encoder, from_files, trains_encoder
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.build import build_encoder, chunk_size, sharded
from recbole_mm.encoder.tuning.tunings import Side, Tuning, tuning_of_key
from recbole_mm.feature.features import ItemFeatures
from recbole_mm.feature.files import read_tables
from recbole_mm.feature.missing import Interactions
from recbole_mm.finetune.apply import finetune
from recbole_mm.items.catalogue import EncodedCatalogue, encode_catalogue
from recbole_mm.items.encoded_items import ITEMS_A_CALL, EncodedItems
from recbole_mm.items.feature_table import Table
from recbole_mm.items.hidden_items import HiddenItems
from recbole_mm.items.inputs import EncoderInputs
from recbole_mm.items.raw_items import RawItems
from recbole_mm.items.side_items import SideItems
from recbole_mm.parallel.ranks import Ranks

TRAINING_OPTIONS = {"encoder_tuning": "full", "gradient_checkpointing": False}
logger = getLogger(__name__)


def build_features(config, dataset) -> ItemFeatures:
    """The features that a configuration asks for, over a MultiModalDataset's items.

    Raises:
        InputError: no such encoder, weights that cannot be had, a modality that neither files nor encoder nor items have.
    """
    users, items = dataset.inter_feat[dataset.uid_field].numpy(), dataset.inter_feat[dataset.iid_field].numpy()
    keys = {"missing": config["missing"], "interactions": Interactions(users, items, dataset.user_num, dataset.item_num)}
    tables = file_tables(config, dataset)
    if unused := _unused(config):
        logger.warning(f"not used: {'; '.join(unused)}")
    if from_encoder(config) == []:
        if config["encoder_training"] != "pretrained":
            logger.info("All modalities come from feature_files: there is no encoder to train")
        return ItemFeatures(tables, **keys)
    if trains_encoder(config):
        encoder = build_encoder(config)
        fingerprint = encoder.fingerprint()
        items = trained_items(config, dataset, encoder, fingerprint)
        if sharded(config):
            items.shard(config["device"])
        return ItemFeatures(tables, items, fingerprint=fingerprint, **keys)
    if config["encoder_training"] == "end2end":
        logger.info("encoder_learning_rate 0: the encoder stays as it is, as with encoder_training: pretrained")
    started = time.perf_counter()
    encoder = frozen_encoder(config, dataset)
    tuning = time.perf_counter() - started if config["encoder_training"] == "finetuned" else 0.0
    encoded = encode(config, dataset, encoder, Ranks.current())
    tables |= encoded.tables
    cost = replace(encoded.cost, finetuning=tuning)
    return ItemFeatures({m: tables[m] for m in config["modalities"] or tables}, cost=cost, **keys)


def _unused(config) -> list[str]:
    """What is set of an encoder's training where none trains, with the recommender or before; or for another ``encoder_tuning``."""
    tuning, owners = config["encoder_tuning"], tuning_of_key()
    sizes = [key for key in owners if key in config.external_config_dict]
    if trains_encoder(config) or config["encoder_training"] == "finetuned" and from_encoder(config) != []:
        others = [key for key in sizes if tuning != owners[key]]
        return [f"{key} {config[key]}, of encoder_tuning: {owners[key]}, where encoder_tuning is {tuning}" for key in others]
    given = [*(key for key, default in TRAINING_OPTIONS.items() if config[key] != default), *sizes]
    return [f"{key} {config[key]}, where no encoder trains" for key in given]


def trained_items(config, dataset, encoder: ItemEncoder, fingerprint: str) -> EncodedItems:
    """The items of an encoder that trains, in whole or in part."""
    inputs = EncoderInputs(encoder, dataset.content, from_encoder(config), bool(config["show_progress"]))
    options = {"chunk_size": chunk_size(config), "precision": config["encoder_precision"]}
    stored = {"dtype": config["feature_dtype"], "fingerprint": fingerprint}
    tuning = Tuning.from_config(config)
    if isinstance(tuning, Side):
        return SideItems(encoder, inputs, dim=tuning.side_dim, seed=config["seed"], **stored, **options)
    tuning.apply(encoder, config["seed"])
    if config["cache_hidden_states"]:
        return HiddenItems(encoder, inputs, k=tuning.last_k, **stored, **options)
    return RawItems(encoder, inputs, **options)


def file_tables(config, dataset) -> dict[str, Table]:
    """The modalities that come from feature files."""
    return read_tables(from_files(config), dataset.tokens, Path(dataset.dataset_path), config["feature_ids"], dataset.iid_field)


def frozen_encoder(config, dataset) -> ItemEncoder:
    """The encoder that features are extracted by; ``finetuned`` to the items, now or before (``dataset`` holds the training
    interactions), or as it is."""
    encoder = build_encoder(config)
    if config["encoder_training"] == "finetuned":
        finetune(config, dataset, encoder, chunk_size(config))
    return encoder


def encode(config, dataset, encoder: ItemEncoder, ranks: Ranks | None = None) -> EncodedCatalogue:
    """The modalities that come from an encoder, all items of the data set: from the store, or encoded into it now."""
    encoded = encode_catalogue(
        encoder.requires_grad_(False), dataset.content, from_encoder(config), chunk_size=chunk_size(config) or ITEMS_A_CALL,
        dtype=config["feature_dtype"], precision=config["encoder_precision"], show_progress=bool(config["show_progress"]), ranks=ranks,
    )  # fmt: skip
    counts = (f"{m} ({encoded.reused[m]} reused, {encoded.new[m]} new)" for m in encoded.tables)
    verb = "encoded into" if any(encoded.new.values()) else "reused from"
    logger.info(f"features {verb} {encoded.folder}: {', '.join(counts)}")
    return encoded
