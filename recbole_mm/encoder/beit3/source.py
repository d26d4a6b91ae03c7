"""Finds the files of a BEiT-3: the name that the user gave -> weights file, sentencepiece file."""

from pathlib import Path

from recbole_mm.encoder.weights import fetch
from recbole_mm.errors import InputError, listed, nearest

RELEASE = "https://github.com/addf400/files/releases/download/beit3/"
TAGS = {
    "224": "beit3_{}_patch16_224.pth",
    "itc_224": "beit3_{}_itc_patch16_224.pth",
    "indomain_224": "beit3_{}_indomain_patch16_224.pth",
    "384_coco_retrieval": "beit3_{}_patch16_384_coco_retrieval.pth",
    "384_f30k_retrieval": "beit3_{}_patch16_384_f30k_retrieval.pth",
}
SPM = "beit3.spm"
TINY_SPM = Path(__file__).with_name("tiny.spm")
SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".zip")


def find_weights(label: str, size: str, source: str | None) -> Path | None:
    """The weights file behind ``beit3:size[@source]``, downloaded if ``source`` is a tag; None for a random tiny.

    Raises:
        InputError: the tag is unknown, no weights are named, or they cannot be downloaded.
    """
    if not source:
        if size == "tiny":
            return None
        raise InputError(f"{label} names no weights, and random ones are never used silently: {_advice(size)}")
    path = Path(source).expanduser()
    if size != "tiny" and source in TAGS:
        return fetch(label, RELEASE + TAGS[source].format(size))
    if path.exists() or "/" in source or "\\" in source or path.suffix in SUFFIXES:
        return path
    near = "" if size == "tiny" else nearest(source, TAGS)
    raise InputError(f"{label}: no tag and no file '{source}'{near}: {_advice(size)}")


def find_spm(label: str, size: str, weights: Path | None, given: str | None) -> Path:
    """The sentencepiece file: the one ``given``, else that of tiny, else the one beside the weights, else the released one.

    Raises:
        InputError: it is not there and cannot be downloaded.
    """
    if given:
        path = Path(given).expanduser()
        if not path.is_file():
            raise InputError(f"{label}: no such tokenizer file: {path}")
        return path
    if size == "tiny":
        return TINY_SPM
    if weights is not None and weights.with_name(SPM).is_file():
        return weights.with_name(SPM)
    try:
        return fetch(label, RELEASE + SPM)
    except InputError as error:
        raise InputError(
            f"{label}: its tokenizer {SPM} is not here and cannot be downloaded; get it from {RELEASE + SPM} elsewhere, and put it "
            f"beside the weights as {weights.with_name(SPM) if weights else SPM} or name it with the encoder option 'tokenizer'"
        ) from error


def _advice(size: str) -> str:
    tags = "" if size == "tiny" else f"beit3:{size}@<tag> with one of: {listed(TAGS)}; or "
    return f"{tags}beit3:{size}@/path/to/file"
