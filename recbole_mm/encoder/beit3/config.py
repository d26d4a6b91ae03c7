"""The sizes of BEiT-3."""

from dataclasses import dataclass, replace

from recbole_mm.errors import InputError, listed, nearest


@dataclass(frozen=True)
class BEiT3Config:
    """Architecture of a BEiT-3 (Wang et al. 2022, arXiv 2208.10442, table 11); the defaults are the base size.

    Attributes:
        embed_dim: width of the tokens and of the rows, a multiple of ``num_heads``.
        depth, num_heads: the number of blocks, and of attention heads per block.
        mlp_ratio: hidden width of the feed-forward experts divided by ``embed_dim``.
        image_size, patch_size: the side of the square pictures and of their patches, in pixels; the former is a multiple of the latter.
        vocab_size: rows of the token embedding.
        max_text_len: the number of tokens that texts are truncated to, start and end token included.
        max_positions: rows of the text's position table, of which the first two are never used.
        heads: there are projections from contrastive training; plain pretrained weights have none.
        pooler: there is a pooler for joint inputs, as in weights fine-tuned for visual question answering.
        layer_norm_eps: the epsilon of every layer norm.

    Raises:
        InputError: the numbers do not fit together.
    """

    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4
    image_size: int = 224
    patch_size: int = 16
    vocab_size: int = 64010
    max_text_len: int = 64
    max_positions: int = 1024
    heads: bool = True
    pooler: bool = False
    layer_norm_eps: float = 1e-5

    def __post_init__(self):
        for key in ("embed_dim", "depth", "num_heads", "image_size", "patch_size", "vocab_size"):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"BEiT-3: {key} is a positive integer, not {value!r}")
        if self.image_size % self.patch_size:
            raise InputError(f"BEiT-3: image_size {self.image_size} is not a multiple of the patch size {self.patch_size}")
        if self.embed_dim % self.num_heads:
            raise InputError(f"BEiT-3: embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}")
        if not 2 < self.max_text_len <= self.max_positions - 2:
            raise InputError(f"BEiT-3: max_text_len {self.max_text_len} is not within 3 and max_positions - 2 = {self.max_positions - 2}")

    @property
    def ffn_dim(self) -> int:
        """Hidden width of the feed-forward experts."""
        return int(self.embed_dim * self.mlp_ratio)

    @property
    def num_patches(self) -> int:
        """Patches of a picture."""
        return (self.image_size // self.patch_size) ** 2

    @classmethod
    def named(cls, name: str, **changes: object) -> "BEiT3Config":
        """The released "base" or "large", or "tiny" (64 px, for demos and tests), with ``changes``.

        Raises:
            InputError: unknown name.
        """
        if name not in SIZES:
            raise InputError(f"BEiT-3 has no size '{name}'{nearest(name, SIZES)}; its sizes: {listed(SIZES)}")
        return replace(SIZES[name], **changes)


SIZES = {
    "base": BEiT3Config(),
    "large": BEiT3Config(embed_dim=1024, depth=24, num_heads=16),
    "tiny": BEiT3Config(embed_dim=128, depth=4, num_heads=4, image_size=64, vocab_size=4001, max_text_len=32, max_positions=64),
}
