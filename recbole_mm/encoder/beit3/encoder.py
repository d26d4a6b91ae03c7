"""BEiT-3 under the encoder contract: ``beit3:base@itc_224``, ``beit3:large@/path/file.pth``, ``beit3:tiny``."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from recbole_mm.encoder.beit3.config import BEiT3Config
from recbole_mm.encoder.beit3.model import BEiT3
from recbole_mm.encoder.beit3.released import native_image_size, sized
from recbole_mm.encoder.beit3.source import SPM, TAGS, find_spm, find_weights
from recbole_mm.encoder.beit3.tokenizer import PAD, BEiT3Tokenizer
from recbole_mm.encoder.factory import register_backend
from recbole_mm.encoder.multiway import MultiwayEncoder
from recbole_mm.encoder.pretraining_heads import PretrainingHeads, drawn
from recbole_mm.encoder.seeding import seeded
from recbole_mm.encoder.shrink import Kept, take_out
from recbole_mm.encoder.weights import read_weights, require_file
from recbole_mm.errors import InputError

WORDS = "mlm_head"
"""What released files call the head of masked language modelling."""


class BEiT3Encoder(MultiwayEncoder):
    """BEiT-3's rows. Weights without contrastive projections (the plain pretrained ones) give position 0 after the final norm; they were
    not trained to put pictures and texts into one space, so ``aligned`` is then False."""

    pad_id = PAD
    text_first = False

    def __init__(
        self, name: str, model: BEiT3, tokenizer: BEiT3Tokenizer, from_scratch: bool, pretraining_heads: PretrainingHeads | None = None
    ):
        super().__init__(name, model, tokenizer, from_scratch, pretraining_heads)
        self.aligned = model.config.heads
        model.beit3.vision_embed.mask_token.requires_grad_(False)
        model.logit_scale.requires_grad_(self.aligned)

    def rows(self, pixels: Tensor | None, token_ids: Tensor | None) -> Tensor:
        mask = None if token_ids is None else token_ids != self.pad_id
        cls = self.model.encode_cls(pixels, token_ids, mask)
        if token_ids is None:
            return self.model.vision_head(cls)
        return self.model.language_head(cls) if pixels is None else self.model.pooler(cls)

    def head(self) -> list[str]:
        ends = tuple(f"model.{part}." for part in ("beit3.encoder.layer_norm", "vision_head", "language_head", "pooler"))
        return [name for name, _ in self.named_parameters() if name.startswith(ends)]

    def save_files(self, folder: Path) -> tuple[str, dict[str, object]]:
        name, _ = super().save_files(folder)
        (folder / SPM).write_bytes(self.tokenizer.pieces.serialized_model_proto())
        return name, {"image_size": self.image_size[0], "tokenizer": f"{{folder}}/{SPM}"}

    def shrink(self, kept: Sequence[Kept]) -> None:
        take_out(self, kept)
        sizes = {"depth": len(kept[0].blocks), **({"mlp_ratio": kept[0].ratio} if kept[0].units else {})}
        self.model.config = replace(self.model.config, **sizes)

    def adapter_sites(self) -> list[str]:
        """The feed-forward expert of each modality in each block."""
        return [f"model.beit3.encoder.layers.{i}.ffn.{expert}" for i in range(len(self.model.blocks)) for expert in ("A", "B")]


def check_beit3(name: str, source: str | None) -> None:
    """Raises InputError: an unknown size or tag, no source, or no such file."""
    label = _label(name, source)
    BEiT3Config.named(name)
    path = None if name != "tiny" and source in TAGS else find_weights(label, name, source)
    if path is not None:
        require_file(label, path)


@register_backend("beit3", check=check_beit3)
def create_beit3(
    name: str,
    source: str | None,
    *,
    seed: int = 0,
    gradient_checkpointing: bool = False,
    image_size: int | None = None,
    tokenizer: str | None = None,
    pretraining_heads: bool = False,
) -> BEiT3Encoder:
    """``name``: base, large, or tiny (random under ``seed``, 64 px, 32 tokens; a weights file of its own may follow). ``source``: the
    tag of a release, or a weights file.

    Args:
        gradient_checkpointing: recompute the blocks in the backward pass.
        image_size: the side of the pictures in pixels, a multiple of 16; by default the one that the weights were trained with.
        tokenizer: a sentencepiece file, by default beit3.spm beside the weights or the released one.
        pretraining_heads: have heads of matching and masked language modelling beside the encoder. The latter comes from the weights
            where they bring one (plain pretrained weights do); ``seed`` draws the rest.

    Raises:
        InputError: see ``create_encoder``.
    """
    label = _label(name, source)
    config = BEiT3Config.named(name, **({} if image_size is None else {"image_size": image_size}))
    path = find_weights(label, name, source)
    model = _random(config, seed) if path is None else _from_file(label, path, config, native=image_size is None)
    spm = find_spm(label, name, path, tokenizer)
    pieces = BEiT3Tokenizer(label, spm, model.config.max_text_len, model.config.vocab_size)
    model.gradient_checkpointing = gradient_checkpointing
    heads = _pretraining_heads(label, path, model.config, seed) if pretraining_heads else None
    return BEiT3Encoder(label, model, pieces, path is None, heads).eval()


def _label(name: str, source: str | None) -> str:
    return f"beit3:{name}" + (f"@{source}" if source else "")


def _pretraining_heads(label: str, path: Path | None, config: BEiT3Config, seed: int) -> PretrainingHeads:
    match, words = (drawn(lambda out=out: nn.Linear(config.embed_dim, out), seed) for out in (2, config.vocab_size))
    brought = {} if path is None else read_weights(label, path)
    own = {name: brought.get(f"{WORDS}.{name}") for name in ("weight", "bias")}
    if any(tensor is None or tensor.shape != getattr(words, name).shape for name, tensor in own.items()):
        return PretrainingHeads(match, words, frozenset({"match", "words"}))
    words.load_state_dict(own)
    return PretrainingHeads(match, words, frozenset({"match"}))


def _random(config: BEiT3Config, seed: int) -> BEiT3:
    with seeded(seed):
        return BEiT3(config)


def _from_file(label: str, path: Path, config: BEiT3Config, native: bool) -> BEiT3:
    """``native``: take the resolution of the file instead of that of ``config``."""
    state = read_weights(label, path)
    try:
        config = sized(state, config)
        if native:
            config = replace(config, image_size=native_image_size(state, config))
        with torch.device("meta"):
            model = BEiT3(config)
        model.load_released_state_dict(state)
    except InputError as error:
        raise InputError(f"{label}: {path} does not fit: {error}") from error
    return model
