"""SimilarityRecommender, the base of EASEM and ItemKNNM: what a user has is multiplied by similarities between items."""

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from recbole.utils import InputType, ModelType
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from recbole_mm.config.keys import KEYS
from recbole_mm.config.kinds import Key, Kind, is_amount
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.errors import InputError
from recbole_mm.model.base import MultiModalRecommender
from recbole_mm.model.graph import InteractionGraph
from recbole_mm.model.sparse import CELLS_AT_ONCE

WEIGHTS = Kind(
    "dict", "weights of modalities that are not negative, such as {text: 2, image: 1}",
    lambda v: isinstance(v, Mapping) and all(map(is_amount, v.values())) and any(v.values()),
)  # fmt: skip


class SimilarityRecommender(MultiModalRecommender):
    """A recommender that is found at once and not trained step by step: score(u, i) is the sum of S_ji over the items j that u has in
    training.

    S may have two parts, one by interactions and one by content, which ``score_mix`` weighs. Subclasses put modules for ``parts`` in place
    and fill them in ``solve``. Features have to stay as they are: of a live encoder, there is no loss whose gradient could reach it.

    Attributes:
        parts: ``id`` and, where there is one, ``content``: a DenseSimilarity or a NeighbourSimilarity each. A checkpoint holds them.
        most_neighbours: how many other items there are beside an item.
    """

    type = ModelType.TRADITIONAL
    input_type = InputType.POINTWISE
    keys = {
        "encoder_training": Key("pretrained", KEYS["encoder_training"].kind, "There is no loss by which an encoder could train end2end."),
        "modality_weights": Key(None, WEIGHTS, "How much each modality counts in the similarity of contents. ~: all alike."),
        "score_mix": Key("auto", KEYS["score_mix"].kind, KEYS["score_mix"].help, may_be_empty=True),
    }  # fmt: skip

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        self.parts = nn.ModuleDict()
        self.most_neighbours = max(1, self.n_items - 2)
        graph = InteractionGraph.from_dataset(dataset)
        self.register_buffer("own", graph.items, persistent=False)
        self.register_buffer("starts", functional.pad(graph.degrees()[0].cumsum(0), (1, 0)), persistent=False)
        self.modality_weights = {}
        if self.item_features is not None:
            self.modality_weights = self._weights(config["modality_weights"])
            for vector in self.item_features.missing_vectors.values():  # which nothing would ever train
                nn.init.zeros_(vector)

    def _weights(self, given: Mapping[str, float] | None) -> dict[str, float]:
        modalities = self.item_features.modalities
        if given is not None and not set(given) <= set(modalities):
            raise InputError(f"modality_weights {dict(given)}: the modalities are {', '.join(modalities)}")
        weights = {m: 1 if given is None else given.get(m, 0) for m in modalities}
        return {m: weight / sum(weights.values()) for m, weight in weights.items()}

    @abstractmethod
    def solve(self) -> None:
        """Finds the similarities from the training interactions and the features, and puts them into ``parts``."""

    @abstractmethod
    def item_vectors(self, features: Mapping[str, Tensor]) -> Tensor:
        """The columns (n, n_items) that S has for items that the model was not trained with: their similarities to those that it was.

        Args:
            features: rows (n, width) of each modality in use.

        Raises:
            InputError: the model reads no features.
        """

    def interactions(self) -> sparse.csr_matrix:
        """(n_users, n_items), 1 for each pair of the training interactions."""
        own, starts = self.own.cpu().numpy(), self.starts.cpu().numpy()
        return sparse.csr_matrix((np.ones(len(own), np.float32), own, starts), (self.n_users, self.n_items))

    def contents(self, features: Mapping[str, Tensor]) -> Tensor:
        """Rows (n, d) whose dot products are the weighted mean of the cosines of all modalities. An item that lacks one has zeros in it,
        unless ``missing`` names another stand-in.

        Args:
            features: rows (n, width) of each modality.

        Raises:
            InputError: the model reads no features.
        """
        self.require_features()
        return torch.cat([weight**0.5 * functional.normalize(features[m], dim=-1) for m, weight in self.modality_weights.items()], dim=-1)

    def item_contents(self) -> Tensor:
        """``contents`` of the catalogue: (n_items, d), zeros for the padding item."""
        rows = self.contents(self.item_features.table())
        return rows * (torch.arange(len(rows), device=rows.device) != 0).unsqueeze(1)

    def fill_content(self) -> None:
        """Fills the part ``content`` with the cosines of each item's nearest items, of those that have interactions."""
        contents = self.item_contents()
        for items in torch.arange(self.n_items, device=contents.device).split(max(1, CELLS_AT_ONCE // self.n_items)):
            self.parts["content"].fill(items, self._cosines(contents[items], contents))

    def content_columns(self, contents: Tensor) -> Tensor:
        """The columns (n, n_items) that the part ``content`` has for items that came later, of these ``contents`` (n, d)."""
        found = self._cosines(contents, self.item_contents()).topk(self.parts["content"].weights.shape[1])
        return found.values.new_zeros(len(contents), self.n_items).scatter_(1, found.indices, found.values.clamp_min(0))

    def _cosines(self, contents: Tensor, known: Tensor) -> Tensor:
        return (contents @ known.T).masked_fill(~self.interacted, 0)

    def score_parts(self) -> dict[str, slice]:
        """All columns each: the parts are no columns of embeddings."""
        return dict.fromkeys(self.parts, slice(None)) if len(self.parts) == 2 else {}

    def part_scores(self, users: Tensor, items: Tensor) -> dict[str, Tensor]:
        distinct, places = torch.unique(users, return_inverse=True)
        found = {name: torch.zeros(len(users), device=users.device) for name in self.parts}
        for some in torch.arange(len(distinct), device=users.device).split(max(1, CELLS_AT_ONCE // self.n_items)):
            pairs = (places >= some[0]) & (places <= some[-1])
            for name, rows in self._rows(distinct[some]).items():
                found[name][pairs] = rows[places[pairs] - some[0], items[pairs]]
        return found

    def predict(self, interaction) -> Tensor:
        """Scores of (user, item) pairs: (n,)."""
        return sum(self.part_scores(interaction[self.USER_ID], interaction[self.ITEM_ID]).values())

    def full_sort_predict(self, interaction) -> Tensor:
        """Scores of users and the whole catalogue, flat: (n * n_items,)."""
        return sum(self._rows(interaction[self.USER_ID]).values()).view(-1)

    def similarities(self) -> tuple[sparse.csr_matrix, sparse.csr_matrix | np.ndarray]:
        """The ``interactions``, and S (n_items, n_items), sparse or dense; their product is the scores."""
        matrices = [weight * part.matrix() for weight, part in zip(self.part_weights(), self.parts.values(), strict=True)]
        whole = sum(matrices[1:], matrices[0])
        return self.interactions(), whole.tocsr() if sparse.issparse(whole) else np.asarray(whole)

    def part_weights(self) -> list[float]:
        return super().part_weights() if len(self.parts) == 2 else [1.0]

    @torch.no_grad()
    def _rows(self, users: Tensor) -> dict[str, Tensor]:
        """The weighed scores (n, n_items) of each part."""
        first, counts = self.starts[users], self.starts[users + 1] - self.starts[users]
        ends = counts.cumsum(0)
        within = torch.arange(int(counts.sum()), device=users.device) - torch.repeat_interleave(ends - counts, counts)
        items = self.own[torch.repeat_interleave(first, counts) + within]
        weighed = zip(self.parts.items(), self.part_weights(), strict=True)
        return {name: weight * part.sums(items, counts) for (name, part), weight in weighed}
