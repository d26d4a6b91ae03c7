"""BEiT-3 (Wang et al. 2022, "Image as a Foreign Language", arXiv 2208.10442), written from the paper."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_mm.encoder.beit3.backbone import Backbone
from recbole_mm.encoder.beit3.config import BEiT3Config
from recbole_mm.encoder.beit3.initialise import initialise
from recbole_mm.encoder.beit3.released import fitted
from recbole_mm.encoder.weights import misfit, shapes_of
from recbole_mm.errors import InputError


@dataclass
class BEiT3Output:
    """What one pass returns for n items of L positions; the width is D = embed_dim.

    Attributes:
        cls_feats: (n, D). One modality: position 0 after the final norm and its projection (if the weights have one), L2-normalised.
            Joint: position 0 after the final norm and the tanh pooler (if there is one).
        raw_cls_feats: (n, D), position 0 before the final norm for one modality, after it for joint inputs.
        features: (n, L, D), all positions after the final norm; a picture's [CLS] and patches come before a text's tokens.
    """

    cls_feats: Tensor
    raw_cls_feats: Tensor
    features: Tensor


class Pooler(nn.Module):
    """(n, D) -> (n, D): layer norm, linear map, tanh."""

    def __init__(self, config: BEiT3Config):
        super().__init__()
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps)
        self.dense = nn.Linear(config.embed_dim, config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.norm(x)).tanh()


class BEiT3(nn.Module):
    """A multiway transformer whose modalities share nothing but the attention operation. The state dict has the released names.

    Attributes:
        config: the architecture; loading adapts it to the weights (see ``load_released_state_dict``).
        gradient_checkpointing: recompute each block in the backward pass of training, instead of keeping its activations.
    """

    def __init__(self, config: BEiT3Config):
        super().__init__()
        self.gradient_checkpointing = False
        self.beit3 = Backbone(config)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self._set_ends(config)
        initialise(self)

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks, from input to output."""
        return self.beit3.encoder.layers

    def encode_image(self, pixels: Tensor) -> BEiT3Output:
        """Pictures alone. ``pixels``: (n, 3, image_size, image_size) within [-1, 1]."""
        raw, features = self._encode(pixels, None, None)
        return BEiT3Output(F.normalize(self.vision_head(features[:, 0]), dim=-1), raw, features)

    def encode_text(self, token_ids: Tensor, attention_mask: Tensor) -> BEiT3Output:
        """Texts alone.

        Args:
            token_ids: (n, L), L at most max_positions - 2.
            attention_mask: (n, L), 1 = token, 0 = padding (BEiT-3's own padding mask is the opposite).
        """
        raw, features = self._encode(None, token_ids, attention_mask)
        return BEiT3Output(F.normalize(self.language_head(features[:, 0]), dim=-1), raw, features)

    def encode_joint(self, pixels: Tensor, token_ids: Tensor, attention_mask: Tensor) -> BEiT3Output:
        """Each picture with its text, in one pass. Arguments as above."""
        _, features = self._encode(pixels, token_ids, attention_mask)
        return BEiT3Output(self.pooler(features[:, 0]), features[:, 0], features)

    def encode_cls(self, pixels: Tensor | None, token_ids: Tensor | None, attention_mask: Tensor | None) -> Tensor:
        """Position 0 after the final norm, (n, D), of pictures, texts, or both: ``features[:, 0]`` of the above, in whose last block no
        other position is computed."""
        return self._encode(pixels, token_ids, attention_mask, cls_only=True)[1][:, 0]

    def load_released_state_dict(self, state_dict: Mapping) -> None:
        """Loads the weights of a released file, or of this module's own state dict, and adapts ``config`` to them.

        What training wrapped the weights in is taken off, and the heads of pretraining and of other tasks (mlm_head, mim_head, head) are
        left out. Image positions of another resolution are resized bicubically. The text's position table gets the file's length, and
        texts are truncated to it. A pooler or projections that the file lacks are removed, and a pooler that it has is built, so that
        nothing is left random.

        Raises:
            InputError: missing or unexpected weights, or some of another shape; the message lists them, and nothing has changed.
        """
        state, config = fitted(state_dict, self.config)
        with torch.device("meta"):
            wanted = type(self)(config).state_dict()
        difference = misfit(shapes_of(state), shapes_of(wanted))
        if difference:
            raise InputError(f"these are not the weights of this BEiT-3: {difference}")
        self._set_ends(config)
        if self.logit_scale.is_meta:
            self.to_empty(device="cpu")
        else:
            self.to(self.logit_scale)
        self.load_state_dict(state)

    def _encode(self, *inputs: Tensor | None, cls_only: bool = False) -> tuple[Tensor, Tensor]:
        recompute = self.gradient_checkpointing and self.training and torch.is_grad_enabled()
        return self.beit3(*inputs, recompute=recompute, cls_only=cls_only)

    def _set_ends(self, config: BEiT3Config) -> None:
        """Builds, removes or keeps the parts that not all weights have, so that the module is as ``config`` says."""
        dim = config.embed_dim
        self.config = config
        self.vision_head, self.language_head = (nn.Linear(dim, dim, bias=False) if config.heads else nn.Identity() for _ in range(2))
        self.pooler = Pooler(config) if config.pooler else nn.Identity()
        positions = self.beit3.encoder.embed_positions
        if positions["B"].num_embeddings != config.max_positions:
            positions["B"] = nn.Embedding(config.max_positions, dim)
