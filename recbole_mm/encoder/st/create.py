"""The backend st: ``st:all-MiniLM-L6-v2``, ``st:org/name@revision``, ``st:/folder``."""

from logging import getLogger

import torch

from recbole_mm.encoder.factory import register_backend
from recbole_mm.encoder.hf.load import quiet
from recbole_mm.encoder.hf.processor import NO_PATCHES
from recbole_mm.encoder.st.encoder import PAIR, StEncoder, StJointEncoder
from recbole_mm.encoder.st.load import Loaded, chain_of, find_source, load_chain
from recbole_mm.encoder.st.pictures import Pictures, find_pictures
from recbole_mm.encoder.st.tokens import StTokens, prompt_of, task_of
from recbole_mm.errors import InputError


def _label(name: str, source: str | None) -> str:
    return f"st:{name}" + (f"@{source}" if source else "")


def check_st(name: str, source: str | None) -> None:
    """Raises InputError: sentence-transformers is not installed, no such folder, or a malformed name."""
    find_source(_label(name, source), name, source)


@register_backend("st", check=check_st)
def create_st(
    name: str, source: str | None, *, seed: int = 0, gradient_checkpointing: bool = False, trust_remote_code: bool = False,
    prompt: str = "document", max_patches: int | None = None,
) -> StEncoder:  # fmt: skip
    """``name``: a hub repository, ``org/name`` or one of sentence-transformers' own, with or without a revision as ``source``, or a folder
    (``/folder``, ``./folder``). ``seed`` has no effect: all weights come from the files.

    Args:
        prompt: what is put before a text: ``document`` or ``query`` for what the model's ``encode_document`` or ``encode_query`` would put
            there, the name of one of its prompts, or a prompt itself.
        max_patches: of a picture, if pictures keep their shape; None for what the model's files say.

    Raises:
        InputError: see ``create_encoder``.
    """
    label = _label(name, source)
    loaded = load_chain(label, find_source(label, name, source), source, trust_remote_code)
    with torch.random.fork_rng(devices=[]), quiet():
        encoder = _build(label, loaded, prompt, trust_remote_code, max_patches)
    if gradient_checkpointing:
        try:
            with quiet():
                encoder.network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        except ValueError as error:
            raise InputError(f"{label}: the model has no gradient checkpointing; set gradient_checkpointing: False") from error
    return encoder


def _build(label: str, loaded: Loaded, prompt: str, trust: bool, max_patches: int | None) -> StEncoder:
    model = loaded.model
    chain, modalities = chain_of(label, model, task_of(prompt)), getattr(model, "modalities", ["text"])
    tokens = StTokens(model, chain[0], prompt) if {"text", "message"} & set(modalities) else None
    if prompt == "query" and tokens is not None and not tokens.prompt and not hasattr(model[0], "sub_modules"):
        getLogger().warning(f"encoder_prompt query: {label} has no prompt for queries, so nothing is put before its texts")
    pictures = _pictures(label, loaded, prompt, trust, max_patches) if "image" in modalities else None
    if pictures is None and max_patches is not None:
        raise InputError(f"{label}: {NO_PATCHES}")
    joint = tokens is not None and pictures is not None and model.supports(PAIR)
    return (StJointEncoder if joint else StEncoder)(label, loaded, chain, tokens, pictures)


def _pictures(label: str, loaded: Loaded, prompt: str, trust: bool, max_patches: int | None) -> Pictures | None:
    """How the model reads pictures. One whose texts can be read all the same is used for these."""
    model, task = loaded.model, task_of(prompt)
    first = chain_of(label, model, task)[0]

    def prepare(items: list) -> dict[str, object]:
        return model.preprocess(items, prompt=prompt_of(model, prompt), task=task)

    try:
        return find_pictures(label, first, prepare, trust, max_patches)
    except InputError as error:
        if "text" not in model.modalities or max_patches is not None:
            raise
        getLogger().warning(f"{error}: {label} reads texts alone")
        return None
