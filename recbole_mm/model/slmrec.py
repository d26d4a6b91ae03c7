"""SLMRec: in-batch contrastive learning of users and items, and of views of the items' modalities."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_mm.config.kinds import AMOUNT, POSITIVE, SHARE, SWITCH, Key, choice
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.branches import BranchRecommender
from recbole_mm.model.loss import info_nce, sampled_softmax_loss
from recbole_mm.model.objective import LOSS_TYPE, LOSSES, Batch


class SLMRec(BranchRecommender):
    """SLMRec (Tao et al., "Self-supervised Learning for Multimedia Recommendation", IEEE TMM 2022).

    The embeddings z are BranchRecommender's: LightGCN over the ids and over each modality, fused by a linear map. The main loss is InfoNCE
    on the cosine of z_u and z_i (``temperature``), where a user's negatives are the other items of the batch. It is joined by
    ``ssl_alpha`` * InfoNCE (``ssl_temp``) between two views of each distinct item of the batch, depending on ``ssl_task``:

    - FD, feature dropout: z_i from two draws of dropout (``dropout_rate``) on the items' projected modalities;
    - FM, feature masking: z_i, and z_i with one modality set to zero, which is drawn for each item;
    - FAC, fine and coarse spaces: the id branch and the first modality's branch are mapped to a space that they share, which is in turn
      mapped to a space shared with the second modality, and so on, with a loss in each space. The order is that of the modalities in use.

    FD and FM change items before propagation, so the changes of neighbours reach an item as well. The loss also has ``reg_weight`` * L2 of
    the batch's ids. score(u, i) = z_u . z_i, although cosines are trained: the norms say how popular an item is, and on sparse data rank
    better than cosines do (``rank_scores: cosine``). No negatives are sampled. Another ``loss_type`` takes the place of the main loss.

    Deviations: an item counts as one negative, or one row of the ssl loss, however often it is in the batch, and a user's own training
    items are never the user's negatives. In the public code all other rows are negatives, so that popular items and the user's own items
    are negatives most often, and it ranks by the float32 sigmoid of z_u . z_i, in which large scores tie. ``legacy_duplicates: True`` and
    ``legacy_scores: True`` do the same, for comparison with numbers made with that code. It has only FAC.
    """

    loss_names = ("recommendation", "contrastive", "regularisation")
    keys = {
        "loss_type": Key("InfoNCE", choice("InfoNCE", *LOSSES), LOSS_TYPE),
        "temperature": Key(0.2, POSITIVE, "Temperature of InfoNCE as the main loss."),
        "ssl_task": Key("FAC", choice("FAC", "FD", "FM"), "Fine and coarse spaces, feature dropout, or feature masking."),
        "ssl_alpha": Key(0.1, AMOUNT, "Weight of the self-supervised loss. Grid: [0.01, 0.05, 0.1, 0.5, 1.0]."),
        "ssl_temp": Key(0.2, POSITIVE, "Temperature of the self-supervised loss. Grid: [0.1, 0.2, 0.5, 1.0]."),
        "dropout_rate": Key(0.3, SHARE, "Dropout rate of FD."),
        "legacy_duplicates": Key(False, SWITCH, "True: all other rows of a batch are negatives, whatever their items, as in public code."),
        "legacy_scores": Key(False, SWITCH, "True: rank by the float32 sigmoid of the score, in which large ones tie, as in public code."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        self.temperature, self.ssl_temp, self.ssl_alpha = config["temperature"], config["ssl_temp"], config["ssl_alpha"]
        self.own_loss = config["loss_type"] == "InfoNCE"
        self.ssl_task, self.dropout_rate = config["ssl_task"], config["dropout_rate"]
        self.legacy_duplicates, self.legacy_scores = config["legacy_duplicates"], config["legacy_scores"]
        if config["feature_scaling"] is None and self.own_loss and not self.legacy_scores:
            self.ranks_by_cosine = True  # as in the versions without that key, whose runs are ranked as they were
        if self.ssl_task == "FAC":
            self.onward, self.inward = (
                nn.ModuleList(nn.Linear(self.size, self.size) for _ in self.item_features.modalities) for _ in range(2)
            )

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        batch = self.objective.batch(interaction)
        item_rows = self.item_rows(batch.items)
        user_branches, item_branches = self.branches(item_rows)
        main = self.main_loss(batch, self.fuse_users(user_branches[batch.users]), item_branches)
        items = batch.items[batch.positives]
        views = items if self.legacy_duplicates else items.unique()
        task = {"FAC": self.fine_and_coarse, "FD": self.feature_dropout, "FM": self.feature_masking}[self.ssl_task]
        return main, self.ssl_alpha * task(views, item_rows, item_branches), self.regularisation(batch)

    def main_loss(self, batch: Batch, z_users: Tensor, item_branches: Tensor) -> Tensor:
        z_items = self.fuse_items(item_branches[batch.items])
        if not self.own_loss:
            return batch.loss(z_users, z_items)
        if self.legacy_duplicates:
            return info_nce(z_users, z_items[batch.positives], self.temperature)
        cosines = functional.normalize(z_users, dim=-1) @ functional.normalize(z_items, dim=-1).T
        own = self.objective.known.among(batch.users, batch.items)
        return sampled_softmax_loss(cosines / self.temperature, batch.positives, cosines.new_zeros(()), own)

    def fine_and_coarse(self, items: Tensor, item_rows: list[Tensor], item_branches: Tensor) -> Tensor:
        anchor, *modalities = item_branches[items].split(self.size, dim=1)
        loss = 0.0
        for onward, inward, modality in zip(self.onward, self.inward, modalities, strict=True):
            anchor = onward(anchor)
            loss = loss + info_nce(anchor, inward(modality), self.ssl_temp)
        return loss

    def feature_dropout(self, items: Tensor, item_rows: list[Tensor], item_branches: Tensor) -> Tensor:
        views = ([functional.dropout(rows, self.dropout_rate) for rows in item_rows[1:]] for _ in range(2))
        return info_nce(*(self._view(items, item_rows[0], modalities) for modalities in views), self.ssl_temp)

    def feature_masking(self, items: Tensor, item_rows: list[Tensor], item_branches: Tensor) -> Tensor:
        masked = torch.randint(self.n_branches - 1, (self.n_items, 1), device=items.device)
        view = self._view(items, item_rows[0], [rows * (masked != m) for m, rows in enumerate(item_rows[1:])])
        return info_nce(self.fuse_items(item_branches[items]), view, self.ssl_temp)

    def predict(self, interaction) -> Tensor:
        scores = super().predict(interaction)
        return scores.sigmoid() if self.legacy_scores else scores

    def full_sort_predict(self, interaction) -> Tensor:
        scores = super().full_sort_predict(interaction)
        return scores.sigmoid() if self.legacy_scores else scores

    def _view(self, items: Tensor, ids: Tensor, modalities: list[Tensor]) -> Tensor:
        return self.fuse_items(self.branches([ids, *modalities])[1][items])
