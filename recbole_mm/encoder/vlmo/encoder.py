"""VLMo under the encoder contract: ``vlmo:base@/path``, ``vlmo:large@384_coco``, ``vlmo:tiny``."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from recbole_mm.encoder.factory import register_backend
from recbole_mm.encoder.multiway import MultiwayEncoder
from recbole_mm.encoder.pretraining_heads import PretrainingHeads, drawn
from recbole_mm.encoder.seeding import seeded
from recbole_mm.encoder.shrink import Kept, take_out
from recbole_mm.encoder.vlmo.config import VLMoConfig
from recbole_mm.encoder.vlmo.load import sized, source_window
from recbole_mm.encoder.vlmo.model import VLMo
from recbole_mm.encoder.vlmo.parts import Head, MaskedWordHead
from recbole_mm.encoder.vlmo.tokenizer import FILES, TINY_VOCABULARY, WordPieceTokenizer, find_vocabulary, read_vocabulary
from recbole_mm.encoder.weights import fetch, read_weights, require_file
from recbole_mm.errors import InputError, listed, nearest

RELEASE = "https://github.com/wenhui0924/vlmo_ckpts/releases/download/vlmo/vlmo_{size}_patch16_{tag}.pt"
TAGS = ("224", "224_stage2", "384_coco", "384_f30k")
SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")


class VLMoEncoder(MultiwayEncoder):
    """Rows: the contrastive projection of a picture's or a text's [CLS] token, and the tanh-pooled [CLS] token of the joint pass."""

    text_first = True

    def rows(self, pixels: Tensor | None, token_ids: Tensor | None) -> Tensor:
        mask = None if token_ids is None else token_ids != self.pad_id
        cls = self.model.encode_cls(pixels, token_ids, mask)
        if token_ids is None:
            return self.model.itc_image_proj(cls)
        return self.model.itc_text_proj(cls) if pixels is None else self.model.pooler(cls)

    def head(self) -> list[str]:
        parts = ("model.transformer.norm.", "model.itc_", "model.pooler.")
        return [name for name, _ in self.named_parameters() if name.startswith(parts)]

    def save_files(self, folder: Path) -> tuple[str, dict[str, object]]:
        name, _ = super().save_files(folder)
        (folder / FILES[0]).write_text("\n".join(self.tokenizer.pieces) + "\n", encoding="utf-8")
        return name, {"image_size": self.image_size[0], "tokenizer": f"{{folder}}/{FILES[0]}"}

    def shrink(self, kept: Sequence[Kept]) -> None:
        take_out(self, kept)
        self.model.resize(kept[0])

    def adapter_sites(self) -> list[str]:
        """The experts."""
        names = {module: name for name, module in self.named_modules()}
        return [names[getattr(block, f"mlp_{expert}")] for block in self.layers() for expert in block.experts]


def check_vlmo(name: str, source: str | None) -> None:
    """Raises InputError: an unknown size or tag, no source, or no such file."""
    label = _label(name, source)
    VLMoConfig.named(name)
    path = None if name != "tiny" and source in TAGS else _weights(label, name, source)
    if path is not None:
        require_file(label, path)


@register_backend("vlmo", check=check_vlmo)
def create_vlmo(
    name: str,
    source: str | None,
    *,
    seed: int = 0,
    gradient_checkpointing: bool = False,
    image_size: int | None = None,
    tokenizer: str | None = None,
    pretraining_heads: bool = False,
) -> VLMoEncoder:
    """``name``: base, base_plus or large with a weights file or a released tag as ``source``, or ``tiny`` (random under ``seed``,
    64 px, 32 tokens; a weights file of its own may follow).

    Args:
        gradient_checkpointing: recompute the blocks in the backward pass.
        image_size: the side of the pictures in pixels, a multiple of 16; by default the one that the weights were trained with.
        tokenizer: a vocab.txt or tokenizer.json of bert-base-uncased, or a folder with one.
        pretraining_heads: keep the heads of matching and masked language modelling beside the encoder; ``seed`` draws them where the
            weights bring none.

    Raises:
        InputError: an unknown size or tag, no source, or weights or a vocabulary that are not available or do not fit.
    """
    label = _label(name, source)
    changes = {} if image_size is None else {"image_size": image_size}
    config = VLMoConfig.named(name, **changes)
    weights = _weights(label, name, source)
    with seeded(seed):
        model = VLMo(config) if weights is None else _from_file(label, name, weights, changes)
    heads = _pretraining_heads(model, seed, weights is None) if pretraining_heads else None
    model.drop_pretraining_heads()
    if config.relative_position_bias:
        model.text_embeddings.position_embeddings.requires_grad_(False)  # in the released files, but never read
    model.gradient_checkpointing = gradient_checkpointing
    vocabulary = TINY_VOCABULARY if name == "tiny" and tokenizer is None else find_vocabulary(label, tokenizer, weights or Path())
    pieces = read_vocabulary(label, vocabulary, config.vocab_size)
    return VLMoEncoder(label, model, WordPieceTokenizer(pieces, config.max_text_len), weights is None, heads).eval()


def _pretraining_heads(model: VLMo, seed: int, from_scratch: bool) -> PretrainingHeads:
    if model.itm_score is not None:
        return PretrainingHeads(model.itm_score, model.mlm_score, frozenset({"match", "words"} if from_scratch else ()))
    dim = model.config.embed_dim
    match, words = drawn(lambda: Head(dim, 2, bias=True), seed), drawn(lambda: MaskedWordHead(dim, model.config.vocab_size), seed)
    return PretrainingHeads(match, words, frozenset({"match", "words"}))


def _label(name: str, source: str | None) -> str:
    return f"vlmo:{name}" + (f"@{source}" if source else "")


def _weights(label: str, name: str, source: str | None) -> Path | None:
    if name == "tiny":
        return Path(source).expanduser() if source else None
    advice = f"vlmo:{name}@/path/to/file, or a released tag: {listed(TAGS)}"
    if not source:
        raise InputError(f"{label} names no weights, and random ones are never used silently: {advice}")
    if source in TAGS:
        return fetch(label, RELEASE.format(size=name, tag=source))
    path = Path(source).expanduser()
    if not (path.exists() or "/" in source or "\\" in source or path.suffix in SUFFIXES):
        raise InputError(f"{label}: VLMo has no released tag '{source}'{nearest(source, TAGS)}: {advice}")
    return path


def _from_file(label: str, name: str, path: Path, changes: dict) -> VLMo:
    state = read_weights(label, path)
    config = sized(state, VLMoConfig.named(name, **changes))
    window = source_window(state, config)
    if window is not None and not changes:
        config = replace(config, image_size=window * config.patch_size)
    with torch.device("meta"):
        model = VLMo(config)
    model.to_empty(device="cpu")
    try:
        model.load_released_state_dict(state)
    except InputError as error:
        raise InputError(f"{label}: {path}: {error}") from error
    return model
