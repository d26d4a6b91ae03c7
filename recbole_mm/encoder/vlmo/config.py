"""Sizes of VLMo."""

from dataclasses import dataclass

from recbole_mm.errors import InputError, listed, nearest


@dataclass(frozen=True)
class VLMoConfig:
    """Sizes of a VLMo (arXiv 2111.02358, section 4.1, and the released checkpoints).

    Attributes:
        embed_dim, depth, num_heads: the width, the number of blocks, and the number of attention heads per block.
        mlp_ratio: hidden width of the experts divided by ``embed_dim``.
        image_size, patch_size: the side of the square pictures and of their patches, in pixels.
        vocab_size: rows of the word embedding.
        max_text_len: the largest number of tokens in a text, [CLS] and [SEP] included.
        vl_start_layer: the first block (counted from 0) with a vision-language expert.
        relative_position_bias: attention logits have a bias per offset, layer and head; otherwise absolute positions are added to the
            embeddings.
        layer_scale: what attention and experts add is multiplied by learnt factors, one per channel.
        layer_scale_init: the initial value of these factors.
        bias_text_len: how many text positions the relative bias table covers.

    Raises:
        InputError: the sizes do not fit together.
    """

    embed_dim: int
    depth: int
    num_heads: int
    mlp_ratio: float = 4
    image_size: int = 224
    patch_size: int = 16
    vocab_size: int = 30522
    max_text_len: int = 40
    vl_start_layer: int = 10
    relative_position_bias: bool = True
    layer_scale: bool = True
    layer_scale_init: float = 0.1
    bias_text_len: int = 196

    def __post_init__(self):
        for key in ("embed_dim", "depth", "num_heads", "image_size", "patch_size", "vocab_size", "max_text_len"):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"VLMo: {key} is a positive integer, not {value!r}")
        if self.image_size % self.patch_size:
            raise InputError(f"VLMo's image_size is a multiple of its patch_size {self.patch_size}, not {self.image_size}")
        if self.embed_dim % self.num_heads:
            raise InputError(f"VLMo's embed_dim is a multiple of num_heads {self.num_heads}, not {self.embed_dim}")
        if self.relative_position_bias and self.max_text_len > self.bias_text_len:
            raise InputError(f"VLMo's max_text_len {self.max_text_len} exceeds the {self.bias_text_len} text positions of its bias table")

    @classmethod
    def named(cls, name: str, **changes: object) -> "VLMoConfig":
        """The configuration called "base", "base_plus", "large" (as released, 224 px) or "tiny", with ``changes``.

        Raises:
            InputError: an unknown name, or changes that do not fit.
        """
        if name not in NAMED:
            raise InputError(f"VLMo has no size '{name}'{nearest(name, NAMED)}; its sizes: {listed(NAMED)}")
        return cls(**{**NAMED[name], **changes})

    @property
    def window(self) -> int:
        """Patches per side of a picture."""
        return self.image_size // self.patch_size


NAMED = {
    "base": {"embed_dim": 768, "depth": 12, "num_heads": 12, "vl_start_layer": 10},
    "base_plus": {
        "embed_dim": 544,
        "depth": 24,
        "num_heads": 16,
        "vl_start_layer": 21,
        "relative_position_bias": False,
        "layer_scale": False,
    },
    "large": {"embed_dim": 1024, "depth": 24, "num_heads": 16, "vl_start_layer": 21},
    "tiny": {
        "embed_dim": 128,
        "depth": 4,
        "num_heads": 4,
        "image_size": 64,
        "vocab_size": 4000,
        "max_text_len": 32,
        "bias_text_len": 32,
        "vl_start_layer": 3,
        "layer_scale": False,
    },
}
