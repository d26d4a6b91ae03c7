"""CLIPRec, VLMoRec, BEiT3Rec: id embeddings plus a content part, trained end-to-end with the encoder that reads the items."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recbole_mm.config.kinds import AMOUNT, COUNT, SHARE, SWITCH, Key, choice
from recbole_mm.config.modalities import CROSS
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import two_parts
from recbole_mm.model.fusion import Gate, zero_linear
from recbole_mm.model.loss import squared_norm
from recbole_mm.model.objective import LOSS_TYPE, LOSSES, ObjectiveRecommender


class UserEmbedding(nn.Embedding):
    """User embeddings that are ``common + weight[u]``: what all users share, which is learnt from all interactions and ranks items by
    how popular they are, and what is a user's own, which alone is regularised.

    Args:
        std, common_std: standard deviations at the start, of the users' own rows and of the common one.
    """

    def __init__(self, n_users: int, size: int, std: float, common_std: float) -> None:
        super().__init__(n_users, size)
        nn.init.normal_(self.weight, std=std)
        self.common = nn.Parameter(common_std * torch.randn(size))

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        """As of any module; checkpoints of earlier versions have no vector that users share."""
        state_dict.setdefault(f"{prefix}common", torch.zeros_like(self.common))
        super()._load_from_state_dict(state_dict, prefix, *args)


class CLIPRec(ObjectiveRecommender):
    """score(u, i) = p_u . q_i + c_u . g(f_i)

    p and q are id embeddings (``use_id``), c_u is the user's content embedding, and f_i are the item's features in all modalities in use,
    each L2-normalised. p_u and c_u are each the sum of a vector that all users share and one of the user's own (see ``UserEmbedding``).
    g is one linear map of their concatenation, without bias, since a bias would add the same to all of a user's scores; with
    ``fusion: gated``, a gate weighs the features of each item first (see ``Gate``). With ``fusion: cross``, the tokens of picture and
    text read each other (see ``CrossAttention``), and what they give is one more f_i, whose columns of g are zero at the start.

    The objective is that of "Large Multi-modal Encoders for Recommendation" (Yi et al., arXiv 2310.20343): the recommendation loss plus
    ``contrastive_weight`` times the encoder's image-text contrastive loss over the batch's distinct items. Both pass gradients to the
    encoder.

    The recommendation loss is in-batch sampled softmax with log-popularity correction, or another of Objective's (``loss_type``). With
    ``use_id: False`` no parameter belongs to a single item, so items without interactions are ranked by their content. ``id_dropout``
    hides the id part of that share of the batch's items from the loss, so that the content part has to learn what the ids would otherwise
    explain.

    Deviation: the paper plugs encoders into existing recommenders. This model is a plain one, which shows what the encoder contributes.
    """

    loss_names = ("recommendation", "regularisation", "contrastive")
    keys = {
        "embedding_size": Key(64, COUNT, "Size of the id embeddings, and of the content embeddings."),
        "use_id": Key(True, SWITCH, "False: content only; items without interactions are then ranked like any other."),
        "fusion": Key("concat", choice("concat", "gated", CROSS), "How an item's features are joined."),
        "loss_type": Key("SSM", choice(*LOSSES), LOSS_TYPE),
        "contrastive_weight": Key(0.1, AMOUNT, "Weight of the image-text contrastive loss over the batch's distinct items (end2end)."),
        "id_dropout": Key(0.3, SHARE, "Share of the batch's items whose id part is hidden from the loss."),
        "id_init_std": Key(0.01, AMOUNT, "Standard deviation of the item id embeddings at the start."),
        "reg_weight": Key(0.1, AMOUNT, "Weight of the L2 term over the batch's id embeddings."),
        "content_reg_weight": Key(0.1, AMOUNT, "Weight of the L2 term over user content embeddings and projected item features."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        size = config["embedding_size"]
        self.use_id, self.id_dropout = config["use_id"], config["id_dropout"]
        self.contrastive_weight = config["contrastive_weight"]
        self.reg_weight, self.content_reg_weight = config["reg_weight"], config["content_reg_weight"]
        if self.use_id:
            self.user_embedding = UserEmbedding(self.n_users, size, std=size**-0.5, common_std=0.0)
            self.item_embedding = nn.Embedding(self.n_items, size)
            nn.init.normal_(self.item_embedding.weight, std=config["id_init_std"])
        if self.item_features is not None:
            self.user_content = UserEmbedding(self.n_users, size, std=0.01, common_std=size**-0.5)
            dims = [width for m, width in self.item_features.dims.items() if m != CROSS]
            self.project = nn.Linear(sum(dims), size, bias=False)
            crossed = self.item_features.dims.get(CROSS)
            self.project_cross = None if crossed is None else zero_linear(crossed, size, bias=False)
            self.gate = Gate(dims) if config["fusion"] == "gated" and len(dims) > 1 else None
            if config["fusion"] == "gated" and self.gate is None:
                self.logger.info("fusion: gated has no effect: there is only one modality to weigh")
        if self.contrastive_weight and not self._contrasts:
            self.logger.info("contrastive_weight is not used: it needs an encoder that trains and reads both pictures and texts")

    @classmethod
    def ranks_new_items(cls, config) -> bool:
        return not config["use_id"]

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        batch = self.objective.batch(interaction)
        features = self.item_features(batch.items) if self.item_features is not None else {}
        item_parts = self._item_parts(batch.items, features, dropout=self.id_dropout if self.training else 0.0)
        own = [table(batch.users) for table in self._user_tables()]
        user_parts = [table.common + rows for table, rows in zip(self._user_tables(), own, strict=True)]
        loss = batch.loss(torch.cat(user_parts, dim=-1), torch.cat(item_parts, dim=-1))
        weights = [self.reg_weight] * self.use_id + [self.content_reg_weight] * bool(features)
        norms = [squared_norm(u, i) for u, i in zip(own, item_parts, strict=True)]
        losses = (loss, sum(w * norm for w, norm in zip(weights, norms, strict=True)))
        if self.contrastive_weight and self._contrasts:
            losses += (self.contrastive_weight * self.item_features.contrastive_loss(batch.items, features),)
        return losses

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        features = {} if self.item_features is None else self.item_features.table(fresh_ids)
        users = torch.cat([table.common + table.weight for table in self._user_tables()], dim=-1)
        return users, torch.cat(self._item_parts(slice(None), features), dim=-1)

    @torch.no_grad()
    def item_vectors(self, features: Mapping[str, Tensor]) -> Tensor:
        """The content part, with ``use_id`` beside the id embedding of the nearest known items."""
        if self.item_features is None:
            return super().item_vectors(features)
        content = self._content(features)
        return torch.cat([self.like_nearest(features, self.item_embedding.weight), content], dim=-1) if self.use_id else content

    def score_parts(self) -> dict[str, slice]:
        return two_parts(self.user_content.embedding_dim) if self.use_id and self.item_features is not None else {}

    @property
    def _contrasts(self) -> bool:
        features = self.item_features
        return features is not None and features.contrasts

    def _user_tables(self) -> list[UserEmbedding]:
        return ([self.user_embedding] if self.use_id else []) + ([] if self.item_features is None else [self.user_content])

    def _item_parts(self, items: Tensor | slice, features: dict[str, Tensor], dropout: float = 0.0) -> list[Tensor]:
        """The item side of each dot product, in the order of ``_user_tables``: (n, embedding_size) each."""
        parts = []
        if self.use_id:
            ids = self.item_embedding.weight[items]
            if dropout:
                ids = ids * (torch.rand(len(ids), 1, device=ids.device) >= dropout)
            parts.append(ids)
        if features:
            parts.append(self._content(features))
        return parts

    def _content(self, features: Mapping[str, Tensor]) -> Tensor:
        """g: rows {modality: (n, width)} -> (n, embedding_size)."""
        rows = {m: nn.functional.normalize(features[m], dim=-1) for m in self.item_features.modalities}
        crossed = self.project_cross(rows.pop(CROSS)) if CROSS in rows else 0
        own = list(rows.values())
        return self.project(torch.cat(own if self.gate is None else self.gate(own), dim=-1)) + crossed


class VLMoRec(CLIPRec):
    """CLIPRec over VLMo (Bao et al., arXiv 2111.02358). Only the defaults in properties/model/VLMoRec.yaml differ."""


class BEiT3Rec(CLIPRec):
    """CLIPRec over BEiT-3 (Wang et al., arXiv 2208.10442). Only the defaults in properties/model/BEiT3Rec.yaml differ."""
