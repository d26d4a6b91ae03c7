"""The base classes of the recommenders: MultiModalRecommender for all of them, EmbeddingRecommender for most."""

from collections.abc import Iterable, Mapping
from itertools import chain

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_mm.model.feature_model import FeatureModel


class MultiModalRecommender(FeatureModel, GeneralRecommender):
    """A RecBole GeneralRecommender whose items have features."""


class EmbeddingRecommender(MultiModalRecommender):
    """A recommender whose score(u, i) is the dot product of u's and i's final embeddings, which are rows of two tables.

    Subclasses implement ``embed`` and ``calculate_loss``. In eval mode and without gradient the two tables are made once and serve every
    batch, until the model trains or a weight changes. RecBole samples one negative per positive, unless ``train_neg_sample_args`` says
    otherwise.
    """

    input_type = InputType.PAIRWISE

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The final embeddings of all users (n_users, d) and all items (n_items, d).

        Args:
            fresh_ids: the items of a training batch, for ``item_features.table``: an encoder that trains encodes them anew, with gradient.
        """
        raise NotImplementedError

    def predict(self, interaction) -> Tensor:
        """Scores of (user, item) pairs: (n,)."""
        users, items = self.final_embeddings()
        return (users[interaction[self.USER_ID]] * items[interaction[self.ITEM_ID]]).sum(-1)

    def full_sort_predict(self, interaction) -> Tensor:
        """Scores of users and the whole catalogue, flat: (n * n_items,)."""
        users, items = self.final_embeddings()
        return (users[interaction[self.USER_ID]] @ items.T).view(-1)

    def final_embeddings(self) -> tuple[Tensor, Tensor]:
        """The result of ``embed()`` as scores take it (``ranked``, ``score_mix``), which is computed once per evaluation."""
        if self.training or torch.is_grad_enabled():
            return self.ranked_embeddings()
        version = self.score_mix, tensor_versions(chain(self.parameters(), self.buffers()))
        if self._final is None or self._final_version != version:
            self._final, self._final_version = self.ranked_embeddings(), version
        return self._final

    def ranked_embeddings(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The result of ``embed(fresh_ids)`` as scores take it. The parts of the users alone are weighed by ``score_mix``, so that new
        items need no weights."""
        users, items = map(self.ranked, self.embed(fresh_ids))
        if self.score_mix is not None:
            users = users.clone()
            for part, weight in zip(self.score_parts().values(), self.part_weights(), strict=True):
                users[:, part] *= weight
        return users, items

    def part_scores(self, users: Tensor, items: Tensor) -> dict[str, Tensor]:
        of_users, of_items = self.final_embeddings()
        return {name: (of_users[users, part] * of_items[items, part]).sum(-1) for name, part in self.score_parts().items()}

    @torch.no_grad()
    def item_vectors(self, features: Mapping[str, Tensor]) -> Tensor:
        """Final embeddings (n, d) of items that the model was not trained with, from their features alone: as the final embeddings of the
        known items whose features are nearest. A model whose score says more of it overrides this.

        Args:
            features: rows (n, width) of each modality in use, as ``item_features.table`` has them.

        Raises:
            InputError: the model reads no features when it scores.
        """
        self.require_features()
        return self.like_nearest(features, self.final_embeddings()[1])

    def like_nearest(self, features: Mapping[str, Tensor], vectors: Tensor) -> Tensor:
        """The mean vectors (n, d) of the known items that have training interactions and whose features are nearest (see
        ``nearest_mean``).

        Args:
            features: see ``item_vectors``.
            vectors: of the known items (n_items, d).
        """
        return nearest_mean(features, self.item_features.table(), vectors, self.interacted)

    def forget_features(self) -> None:
        super().forget_features()
        self._final = None

    def train(self, mode: bool = True) -> "EmbeddingRecommender":
        self._final = None
        return super().train(mode)

    _final: tuple[Tensor, Tensor] | None = None
    _final_version: tuple | None = None


class ModalityProjection(nn.Module):
    """One linear map per modality, {m: (n, dims[m])} -> {m: (n, size)}. Weights start from Xavier's distribution, biases at 0."""

    def __init__(self, dims: Mapping[str, int], size: int, bias: bool = True) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({m: nn.Linear(d, size, bias=bias) for m, d in dims.items()})
        for linear in self.maps.values():
            nn.init.xavier_uniform_(linear.weight)
            if bias:
                nn.init.zeros_(linear.bias)

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {m: self.maps[m](rows) for m, rows in features.items()}

    def of(self, features, item_ids: Tensor | None = None, fresh_ids: Tensor | None = None) -> dict[str, Tensor]:
        """The maps of items' features, {m: (n, size)}: see ``ItemFeatures.projected``. ``features``: ItemFeatures, or TrainedFeatures."""
        return features.projected({m: (linear.weight, linear.bias) for m, linear in self.maps.items()}, item_ids, fresh_ids)


def xavier_embedding(n: int, size: int) -> nn.Embedding:
    """An id table (n, size), Xavier uniform as in the public code of most graph recommenders."""
    table = nn.Embedding(n, size)
    nn.init.xavier_uniform_(table.weight)
    return table


def two_parts(size: int) -> dict[str, slice]:
    """The ``score_parts`` of embeddings [id ; content] that have ``size`` columns each."""
    return {"id": slice(0, size), "content": slice(size, 2 * size)}


def tensor_versions(tensors: Iterable[Tensor]) -> tuple:
    """A value that changes whenever one of the tensors is updated in place, replaced, or moved to another dtype or device."""
    return tuple((id(t), t._version, t.dtype, t.device) for t in tensors)


def nearest_mean(features: Mapping[str, Tensor], known: Mapping[str, Tensor], vectors: Tensor, among: Tensor, k: int = 10) -> Tensor:
    """Of each new item, the mean of the vectors of the k known items whose features are nearest, as long as they are in the mean.

    A neighbour's weight falls exponentially with its distance, which is 1 less the mean cosine of all modalities, in units of a fiftieth
    of the median distance of the k: how far the features of a catalogue lie apart has no effect, and a copy of a known item takes all the
    weight.

    Args:
        features, known: rows (n, width) and (n_items, width) of each modality.
        vectors: (n_items, d).
        among: bool (n_items,), the items that may be neighbours; at least one.

    Returns:
        (n, d).
    """
    normalize, ids = nn.functional.normalize, among.nonzero().squeeze(1)
    cosines = sum(normalize(rows, dim=-1) @ normalize(known[m][ids], dim=-1).T for m, rows in features.items()) / len(features)
    nearest = cosines.topk(min(k, len(ids)))
    distances, neighbours = (1 - nearest.values).clamp_min(0), vectors[ids[nearest.indices]]
    weights = torch.softmax(-50 * distances / distances.median(1, keepdim=True).values.clamp_min(1e-9), dim=1).unsqueeze(-1)
    lengths = (weights * neighbours.norm(dim=-1, keepdim=True)).sum(1)
    return lengths * normalize((weights * neighbours).sum(1), dim=-1)
