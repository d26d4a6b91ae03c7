"""From a configuration to an encoder."""

from recbole_mm.config.modalities import trains_encoder
from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.compiled import compile_blocks
from recbole_mm.encoder.factory import create_encoder, options_of, parse_name
from recbole_mm.parallel.ranks import Ranks

ENCODER_OPTIONS = {"encoder_image_size": "image_size", "encoder_tokenizer": "tokenizer", "trust_remote_code": "trust_remote_code"}


def build_encoder(config) -> ItemEncoder:
    """The configuration's encoder, on its device; on the CPU where it is still to be sharded, and nothing runs it before."""
    options = {option: config[key] for key, option in ENCODER_OPTIONS.items() if config[key]}
    finetuned = config["encoder_training"] == "finetuned"
    if (finetuned or trains_encoder(config)) and config["gradient_checkpointing"]:
        options["gradient_checkpointing"] = True
    if finetuned and "pretraining_heads" in (options_of(parse_name(config["encoder"])[0]) or ()):
        options["pretraining_heads"] = True
    device = "cpu" if sharded(config) and not config["cache_hidden_states"] else config["device"]
    encoder = create_encoder(config["encoder"], seed=config["seed"], **options).to(device)
    if config["encoder_compile"]:
        compile_blocks(encoder, config["device"])
    return encoder


def sharded(config) -> bool:
    """Does each of several processes hold a share of the encoder?"""
    return config["strategy"] == "fsdp" and trains_encoder(config) and Ranks.current().world > 1


def chunk_size(config) -> int | None:
    """None for ``auto``."""
    return None if config["encoder_chunk_size"] == "auto" else config["encoder_chunk_size"]
