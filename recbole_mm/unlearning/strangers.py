"""Users who go, as strangers: what a model finds for somebody who has what they had."""

from collections.abc import Callable
from functools import cached_property

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_mm.model.base import EmbeddingRecommender
from recbole_mm.serving.histories import Histories
from recbole_mm.serving.model_scores import ModelScores
from recbole_mm.serving.new_users import UserMap
from recbole_mm.serving.product import factors_of
from recbole_mm.unlearning.kept import KeptRun, forget_what_was_made


class Strangers:
    """Asks the vectors of items for what users who go had: of each, a random half is told, and makes a vector as of anybody new
    (``UserMap``); the other half is sought.

    The map, and the vectors of users who stay, are those of the model as it was at the last ``refresh``, and have no gradient; the vectors
    of items have one.

    Args:
        run: over what stays.
        pairs: distinct interactions of users who go with items that stay, int64 (n, 2), in ascending order, at least two of each user.
    """

    def __init__(self, run: KeptRun, pairs: Tensor) -> None:
        self.run, device = run, run.model.device
        self.users, self.items = pairs.T.to(device)
        _, self.rows, counts = self.users.unique(return_inverse=True, return_counts=True)
        places = torch.arange(len(pairs), device=device) - (counts.cumsum(0) - counts)[self.rows]
        self.n_told = (counts + 1) // 2
        self.told = places < self.n_told[self.rows]
        kept = run.train_data._dataset.inter_feat
        self.histories = Histories(kept[run.dataset.uid_field], kept[run.dataset.iid_field], run.dataset.user_num)

    def refresh(self) -> None:
        """Follows the model."""
        self.__dict__.pop("_known", None)

    @cached_property
    def _known(self) -> tuple[Tensor, Tensor]:
        """The map, and the vectors of users."""
        model = self.run.model
        training = model.training
        users, items = ModelScores(self.run.config, model, self.run.dataset, self.histories).vectors()
        model.train(training)
        weights = UserMap.fitted(users, items, self.histories).weights
        return weights.to(self.users.device), users.to(self.users.device)

    def beside_others(self, size: int, others_of: Callable[[Tensor], Tensor]) -> Tensor:
        """How much higher they score items of theirs than others do, with gradient: at most ``size`` values.

        Args:
            others_of: another user for each of some items (n,).
        """
        weights, users = self._known
        drawn = (self.rows + torch.rand(len(self.rows), dtype=torch.float64, device=self.rows.device)).argsort()
        told, sought = drawn[self.told], drawn[~self.told]
        sought = sought[torch.randperm(len(sought), device=sought.device)[:size]]
        items = self.items[sought]
        vectors = self._item_vectors(items)
        means = vectors.new_zeros(len(self.n_told), vectors.shape[1]).index_add(0, self.rows[told], vectors[self.items[told]])
        means = means / self.n_told.unsqueeze(1)
        own = torch.cat([means, torch.ones_like(means[:, :1])], 1) @ weights
        return ((own[self.rows[sought]] - users[others_of(items)]) * vectors[items]).sum(-1)

    def _item_vectors(self, items: Tensor) -> Tensor:
        """Those of all items, with gradient, (n_items, d): of an encoder that trains, those of the named items have one."""
        model, dataset = self.run.model, self.run.dataset
        if isinstance(model, EmbeddingRecommender):
            return embeddings_with(model, items)[1]
        anybody = dataset.join(Interaction({dataset.uid_field: torch.tensor([1, 2])})).to(model.device)
        forget_what_was_made(model)
        _, vectors = factors_of(lambda: model.full_sort_predict(anybody), dataset.item_num)
        forget_what_was_made(model)
        return vectors


def embeddings_with(model: EmbeddingRecommender, items: Tensor) -> tuple[Tensor, Tensor]:
    """Those of all users and all items as scores take them; an encoder that trains gets its gradient through the named items."""
    features = model.item_features
    return model.ranked_embeddings(items.unique() if features is not None and features.trainable else None)
