"""From a configuration to ItemFeatures: which modalities come from files, from a frozen encoder, from a live one."""

from recbole_mm.encoder import ItemEncoder, create_encoder
from recbole_mm.encoder.tuning import tune
from recbole_mm.feature.encoded import EncodedItems
from recbole_mm.feature.features import ItemFeatures, Table
from recbole_mm.feature.missing import Interactions

ENCODER_OPTIONS = {"encoder_image_size": "image_size", "encoder_tokenizer": "tokenizer", "trust_remote_code": "trust_remote_code"}
TUNING_OPTIONS = {"encoder_last_k": "last_k", "lora_rank": "lora_rank", "lora_alpha": "lora_alpha", "adapter_dim": "adapter_dim"}


def build_features(config, dataset) -> ItemFeatures:
    """See ``ItemFeatures.from_config``."""
    users, items = dataset.inter_feat[dataset.uid_field].numpy(), dataset.inter_feat[dataset.iid_field].numpy()
    keys = {"missing": config["missing"], "interactions": Interactions(users, items, dataset.user_num, dataset.item_num)}
    encoder = _encoder(config)
    fingerprint = encoder.fingerprint()
    if config["encoder_training"] == "end2end":
        sizes = {name: config[key] for key, name in TUNING_OPTIONS.items()}
        tune(encoder, config["encoder_tuning"], seed=config["seed"], **sizes)
        return ItemFeatures(live=_encoded(config, dataset, encoder), fingerprint=fingerprint, **keys)
    encoded = _encoded(config, dataset, encoder.requires_grad_(False))
    rows = encoded.catalogue()
    features = ItemFeatures({m: Table(rows[m], encoded.present[m], fingerprint) for m in encoded.modalities}, **keys)
    features.cost = encoded.cost
    return features


def _encoder(config) -> ItemEncoder:
    options = {option: config[key] for key, option in ENCODER_OPTIONS.items() if config[key]}
    if config["encoder_training"] == "end2end" and config["gradient_checkpointing"]:
        options["gradient_checkpointing"] = True
    return create_encoder(config["encoder"], seed=config["seed"], **options)


def _encoded(config, dataset, encoder: ItemEncoder) -> EncodedItems:
    return EncodedItems(
        encoder.to(config["device"]), dataset.content, config["modalities"], config["encoder_chunk_size"], bool(config["show_progress"])
    )
