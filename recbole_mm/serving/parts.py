"""What a Recommender is made of, and how it is made of a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch

from recbole_mm.data.tokens import item_tokens, user_tokens
from recbole_mm.serving.catalogue import Catalogue
from recbole_mm.serving.histories import Histories
from recbole_mm.serving.index import VectorIndex
from recbole_mm.serving.item_side import ItemSide
from recbole_mm.serving.item_source import RunSource
from recbole_mm.serving.journal import Journal
from recbole_mm.serving.model_scores import ModelScores
from recbole_mm.serving.scores import Scores
from recbole_mm.serving.served_items import ServedItems


@dataclass
class Parts:
    """The parts of a Recommender.

    Attributes:
        users: the tokens of the users by internal id, from 1.
        scores: of the model, with the histories of its users.
        items: features and vectors of the items.
        make_catalogue: makes what people see of the items.
        manifest: what an exported folder says of itself; empty for a checkpoint.
        journal: of an exported folder; None for a checkpoint.
        index: of the vectors of items, where recommendations go by one.
    """

    users: list[str]
    scores: Scores
    items: ItemSide
    make_catalogue: Callable[[], Catalogue]
    manifest: Mapping[str, object] = field(default_factory=dict)
    journal: Journal | None = None
    index: VectorIndex | None = None

    @cached_property
    def catalogue(self) -> Catalogue:
        """Titles and small pictures of the items."""
        return self.make_catalogue()


def run_parts(config, model, dataset, training_part) -> Parts:
    """The parts of a run that has been loaded by ``load_data_and_model``; ``training_part`` is its training data set."""
    scores = ModelScores(config, model, dataset, Histories.of_dataset(dataset))
    served = ServedItems(item_tokens(dataset), getattr(dataset, "gone_items", torch.zeros(0, dtype=torch.int64)))
    items = ItemSide(RunSource(config, model, training_part), scores, served)
    return Parts(user_tokens(dataset)[1:], scores, items, lambda: Catalogue.of_run(config, dataset))
