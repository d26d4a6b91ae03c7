"""VLMo: pictures, texts, and both in one pass."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recbole_mm.encoder.shrink import Kept
from recbole_mm.encoder.vlmo import position
from recbole_mm.encoder.vlmo.config import VLMoConfig
from recbole_mm.encoder.vlmo.load import PRETRAIN_HEADS, fit
from recbole_mm.encoder.vlmo.parts import Head, MaskedWordHead, Pooler, TextEmbeddings, Transformer
from recbole_mm.errors import InputError

INIT_STD = 0.02


@dataclass
class VLMoOutput:
    """What an ``encode_*`` call returns; d = embed_dim.

    Attributes:
        cls_feats: (n, d). One modality: the contrastive projection of [CLS], L2-normalised. Joint: the tanh-pooled [CLS].
        raw_cls_feats: (n, d). [CLS] after the last block: before the final norm for one modality, after it for joint inputs.
        features: (n, L, d), all tokens after the final norm; joint: the text's first, then the picture's.
        cls_vlffn_feats: (n, d), only if asked for: as ``cls_feats``, computed by the vision-language experts.
    """

    cls_feats: Tensor
    raw_cls_feats: Tensor
    features: Tensor
    cls_vlffn_feats: Tensor | None = None


class VLMo(nn.Module):
    """Bao et al., "VLMo: Unified Vision-Language Pre-Training with Mixture-of-Modality-Experts", arXiv 2111.02358.

    State-dict names and shapes are those of the released checkpoints (microsoft/unilm). The weights are random until
    ``load_released_state_dict``: truncated normal of standard deviation 0.02, biases zero. There is no dropout and no drop path.

    Set ``gradient_checkpointing`` to recompute every block in the backward pass of training instead of keeping its activations.
    The pretraining heads (``mlm_logits``, ``itm_logits``, ``vl_expert``) can be dropped, as retrieval checkpoints do.
    """

    def __init__(self, config: VLMoConfig):
        super().__init__()
        dim = config.embed_dim
        self.config = config
        self.gradient_checkpointing = False
        rows = position.table_rows(config.window, config.bias_text_len)
        table = nn.Parameter(torch.zeros(rows, config.depth * config.num_heads)) if config.relative_position_bias else None
        self.register_parameter("relative_position_bias_table", table)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.logit_vl_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.transformer = Transformer(config)
        self.text_embeddings = TextEmbeddings(config)
        self.token_type_embeddings = nn.Embedding(2, dim)
        self.pooler = Pooler(dim)
        self.itc_text_proj = Head(dim, dim, bias=False)
        self.itc_image_proj = Head(dim, dim, bias=False)
        self.itc_vl_text_proj = Head(dim, dim, bias=False)
        self.itc_vl_image_proj = Head(dim, dim, bias=False)
        self.itm_score = Head(dim, 2, bias=True)
        self.mlm_score = MaskedWordHead(dim, config.vocab_size)
        self._initialise()

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks from input to output."""
        return self.transformer.blocks

    def encode_image(self, pixels: Tensor, vl_expert: bool = False) -> VLMoOutput:
        """Pictures (n, 3, S, S) in [-1, 1]. ``vl_expert``: also compute ``cls_vlffn_feats``."""
        return self._encode_one("image", *self._embed(pixels, None, None), vl_expert)

    def encode_text(self, token_ids: Tensor, attention_mask: Tensor, vl_expert: bool = False) -> VLMoOutput:
        """Texts: token ids (n, L) with [CLS] first, and their mask (n, L), 1 = token, 0 = padding.

        Raises:
            ValueError: L exceeds ``max_text_len``.
        """
        return self._encode_one("text", *self._embed(None, token_ids, attention_mask), vl_expert)

    def encode_joint(self, pixels: Tensor, token_ids: Tensor, attention_mask: Tensor) -> VLMoOutput:
        """Pictures and texts in one pass; arguments as above. The [CLS] is the text's.

        Raises:
            ValueError: L exceeds ``max_text_len``.
        """
        x, biases, padding = self._embed(pixels, token_ids, attention_mask)
        features = self.transformer.norm(self._run(x, "vl", biases, padding, text_len=token_ids.shape[1]))
        return VLMoOutput(self.pooler(features[:, 0]), features[:, 0], features)

    def encode_cls(self, pixels: Tensor | None, token_ids: Tensor | None, attention_mask: Tensor | None) -> Tensor:
        """[CLS] after the final norm, (n, d), of pictures, texts, or both: ``features[:, 0]`` of the above, in whose last block no other
        token is computed."""
        x, biases, padding = self._embed(pixels, token_ids, attention_mask)
        mode = "imag" if token_ids is None else "text" if pixels is None else "vl"
        text_len = token_ids.shape[1] if mode == "vl" else 0
        return self.transformer.norm(self._run(x, mode, biases, padding, text_len=text_len, cls_only=True))[:, 0]

    def mlm_logits(self, features: Tensor) -> Tensor:
        """Masked language modelling: token features (..., d) -> (..., vocab_size). Raises InputError without this head."""
        return self._head("mlm_score")(features)

    def itm_logits(self, cls_feats: Tensor) -> Tensor:
        """Image-text matching: joint ``cls_feats`` (n, d) -> (n, 2), [no match, match]. Raises InputError without this head."""
        return self._head("itm_score")(cls_feats)

    def drop_pretraining_heads(self) -> None:
        """Removes the heads that retrieval checkpoints lack."""
        for name in PRETRAIN_HEADS:
            setattr(self, name, None)

    def load_released_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Loads a released checkpoint's weights, whatever they are wrapped in.

        Index buffers are dropped, surplus text positions are cut off, and positions of another resolution are resized; the bias table
        keeps the number of text positions that it has. If the checkpoint lacks the pretraining heads (as retrieval checkpoints do), the
        model's own are removed.

        Raises:
            InputError: missing or unexpected keys, or other shapes; the message lists them in one line.
        """
        state, self.config, has_heads = fit(state_dict, self.state_dict(), self.config)
        if not has_heads:
            self.drop_pretraining_heads()
        table = self.relative_position_bias_table
        if table is not None and table.shape != state["relative_position_bias_table"].shape:
            adopted = table.new_empty(state["relative_position_bias_table"].shape)
            self.relative_position_bias_table = nn.Parameter(adopted, requires_grad=table.requires_grad)
        self.load_state_dict(state)

    def resize(self, kept: Kept) -> None:
        """Makes configuration and bias table those of the blocks that stay, which ``kept`` names by their numbers before."""
        config, with_expert = self.config, sum(i >= self.config.vl_start_layer for i in kept.blocks)
        depth = len(kept.blocks)
        if self.relative_position_bias_table is not None:
            table = self.relative_position_bias_table
            columns = table.detach().unflatten(1, (config.depth, -1))[:, kept.blocks].flatten(1)
            self.relative_position_bias_table = nn.Parameter(columns, requires_grad=table.requires_grad)
        if depth < config.depth:
            config = replace(config, depth=depth, vl_start_layer=depth - with_expert)
        self.config = replace(config, mlp_ratio=kept.ratio) if kept.units else config

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=INIT_STD)
                if getattr(module, "bias", None) is not None:
                    nn.init.zeros_(module.bias)
        for free in (self.relative_position_bias_table, self.transformer.cls_token, self.transformer.pos_embed):
            if free is not None:
                nn.init.trunc_normal_(free, std=INIT_STD)

    def _embed(
        self, pixels: Tensor | None, token_ids: Tensor | None, attention_mask: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor | None, ...], Tensor | None]:
        """The inputs of the blocks: tokens (n, L, d), the text's first; a bias per block; bool (n, L), True where a token is padding."""
        if token_ids is None:
            x = self._embed_image(pixels)
            return x, self._biases(position.image_index(self.config.window, x.device)), None
        text, padding, sizes = self._embed_text(token_ids), attention_mask == 0, (self.config.window, self.config.bias_text_len)
        length = text.shape[1]
        if pixels is None:
            return text, self._biases(position.text_index(*sizes, length, text.device)), padding
        image = self._embed_image(pixels)
        biases = self._biases(position.joint_index(*sizes, length, text.device))
        return torch.cat((text, image), 1), biases, F.pad(padding, (0, image.shape[1]))

    def _embed_image(self, pixels: Tensor) -> Tensor:
        return self.transformer.embed(pixels) + self.token_type_embeddings.weight[1]

    def _embed_text(self, token_ids: Tensor) -> Tensor:
        if token_ids.shape[1] > self.config.max_text_len:
            raise ValueError(f"VLMo reads at most {self.config.max_text_len} tokens, not {token_ids.shape[1]}")
        return self.text_embeddings(token_ids) + self.token_type_embeddings.weight[0]

    def _biases(self, index: Tensor) -> tuple[Tensor | None, ...]:
        if self.relative_position_bias_table is None:
            return (None,) * self.config.depth
        return position.layer_biases(self.relative_position_bias_table, index, self.config.depth)

    def _encode_one(self, modality: str, x: Tensor, biases: tuple, padding: Tensor | None, vl_expert: bool) -> VLMoOutput:
        start, expert = self.config.vl_start_layer, modality[:4]
        lower = self._run(x, expert, biases, padding, last=start)
        raw = self._run(lower, expert, biases, padding, first=start)
        features = self.transformer.norm(raw)
        output = VLMoOutput(F.normalize(self._head(f"itc_{modality}_proj")(features[:, 0]), dim=-1), raw[:, 0], features)
        if vl_expert:
            project = self._head(f"itc_vl_{modality}_proj")
            upper = self._run(lower, "vl", biases, padding, first=start)
            output.cls_vlffn_feats = F.normalize(project(self.transformer.norm(upper)[:, 0]), dim=-1)
        return output

    def _run(
        self, x: Tensor, mode: str, biases: tuple, padding: Tensor | None, first: int = 0, last: int | None = None, text_len: int = 0,
        cls_only: bool = False,
    ) -> Tensor:  # fmt: skip
        recompute = self.gradient_checkpointing and self.training and torch.is_grad_enabled()
        for block, bias in list(zip(self.blocks, biases, strict=True))[first:last]:
            arguments = (x, mode, text_len, bias, padding, cls_only and block is self.blocks[-1])
            x = checkpoint(block, *arguments, use_reentrant=False) if recompute else block(*arguments)
        return x

    def _head(self, name: str) -> nn.Module:
        head = getattr(self, name)
        if head is None:
            raise InputError("this VLMo has no pretraining heads (mlm, itm, vision-language contrast): a pretraining checkpoint has them")
        return head
