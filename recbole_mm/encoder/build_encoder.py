"""From settings to an encoder."""

from logging import getLogger

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.compiled import compile_blocks
from recbole_mm.encoder.factory import check_name, create_encoder, options_of, parse_name
from recbole_mm.encoder.matryoshka import cut_rows
from recbole_mm.encoder.settings import OPTIONS, EncoderSettings
from recbole_mm.errors import InputError


def check_encoder(settings: EncoderSettings) -> None:
    """Says what is wrong with the encoder's name and options before anything is read, downloaded or built.

    Raises:
        InputError: see ``check_name``.
    """
    if settings.needed:
        valid = options_of(parse_name(settings.name)[0])
        for key, option in OPTIONS.items():
            if valid is not None and option in settings.options and option not in valid:
                raise InputError(f"{key}: {settings.name} has no such setting; leave it out")
        check_name(settings.name, settings.options)


def build_encoder(settings: EncoderSettings) -> ItemEncoder:
    """The encoder, on its device; on the CPU if it is still to be sharded and nothing runs it before.

    Raises:
        InputError: see ``create_encoder``, ``cut_rows`` and ``compile_blocks``.
    """
    options = dict(settings.options)
    if (settings.finetuned or settings.trains) and settings.gradient_checkpointing:
        options["gradient_checkpointing"] = True
    if settings.finetuned and "pretraining_heads" in (options_of(parse_name(settings.name)[0]) or ()):
        options["pretraining_heads"] = True
    device = "cpu" if settings.sharded and not settings.cache_hidden_states else settings.device
    encoder = create_encoder(settings.name, seed=settings.seed, **options).to(device)
    if settings.row_dim is not None:
        if not encoder.matryoshka:
            getLogger().warning(
                f"encoder_dim {settings.row_dim}: {encoder.name} does not say that it was trained for shorter rows (Matryoshka); compare "
                "with whole ones"
            )
        cut_rows(encoder, settings.row_dim)
    if settings.compile:
        compile_blocks(encoder, settings.device)
    return encoder
