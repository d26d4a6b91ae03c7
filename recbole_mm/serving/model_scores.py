"""Scores by the model itself."""

from collections.abc import Sequence

import torch
from recbole.data.interaction import Interaction
from recbole.utils import ModelType
from torch import Tensor
from torch.nn import functional

from recbole_mm.errors import InputError
from recbole_mm.evaluation.chunks import SCORES_AT_ONCE
from recbole_mm.model.base import EmbeddingRecommender
from recbole_mm.model.sequential.base import SequenceRecommender
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.serving.histories import Histories
from recbole_mm.serving.product import factors_of
from recbole_mm.serving.scores import Scores
from recbole_mm.serving.similarities import ItemSimilarities

PAIRS_AT_ONCE, FACTORED_AT_ONCE = 2**20, 4096


class ModelScores(Scores):
    """The scores of a trained model.

    Args:
        config, model, dataset: what ``load_data_and_model`` returns.
        histories: of the model's users.
    """

    def __init__(self, config, model, dataset, histories: Histories) -> None:
        similarities = ItemSimilarities.of_model(config["model"], model)
        super().__init__(config["model"], dataset.item_num, histories, similarities)
        self.config, self.model, self.dataset = config, model.eval(), dataset
        self.sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL

    @torch.no_grad()
    def of_users(self, users: Tensor) -> Tensor:
        if self.sequential:
            return self._full_sort(self._sequences_of(users))
        return self._full_sort(self.dataset.join(Interaction({self.dataset.uid_field: users})))

    @property
    def reads_histories(self) -> bool:
        return self.sequential or super().reads_histories or hasattr(self.model, "history_item_value")

    @property
    def are_products(self) -> bool:
        return isinstance(self.model, EmbeddingRecommender)

    @property
    def has_repeat_bias(self) -> bool:
        return getattr(self.model, "repeat_bias", None) is not None

    def find_vectors_together(self, ranks: Ranks) -> None:
        """Lets each of several processes find the vectors of a part of the users, which all of them have then. All of them must call
        this."""
        if self.similarities is None:
            self._vectors = self._find_vectors(ranks)

    def _find_vectors(self, ranks: Ranks | None = None) -> tuple[Tensor, Tensor] | None:
        if self.are_products:
            with torch.no_grad():
                return tuple(table.detach().cpu().float() for table in self.model.final_embeddings())
        users = torch.arange(1, len(self.histories.starts) - 1)  # some models have nothing for the padding
        ranks, some = ranks or Ranks(), self._factors(users[:2])
        if some is None:
            return None
        chunks = users.split(min(FACTORED_AT_ONCE, max(2, SCORES_AT_ONCE // self.n_items)))
        found = [self._factors(users) for users in chunks[ranks.slice(len(chunks))]]
        parts = [part for own in ranks.collect([factors and factors[0] for factors in found]) for part in own]
        return None if any(part is None for part in parts) else (torch.cat([torch.zeros_like(some[0][:1]), *parts]), some[1])

    @torch.no_grad()
    def user_vectors(self, histories: Sequence[Tensor], items: Tensor, times: Sequence[Tensor] | None = None) -> Tensor:
        if not isinstance(self.model, SequenceRecommender):
            return super().user_vectors(histories, items, times)
        return self._states(self._sequences(histories, torch.zeros(len(histories), dtype=torch.int64), times))

    def _states(self, sequences: Interaction) -> Tensor:
        return self.model.user_states(self.model.histories(sequences.to(self.config["device"]))).float().cpu()

    @torch.no_grad()
    def _factors(self, users: Tensor) -> tuple[Tensor, Tensor] | None:
        """The vectors of some users and of all items whose product the scores are, if they are one."""
        if isinstance(self.model, SequenceRecommender):
            return self._states(self._sequences_of(users)), self.model.ranked(self.model.catalogue()).float().cpu()
        chosen = users if len(users) > 1 else users.repeat(2)
        found = factors_of(lambda: self.of_users(chosen), self.n_items)
        return found and tuple(rows.detach().cpu().float() for rows in (found[0][: len(users)], found[1]))

    @torch.no_grad()
    def _read(self, histories: Sequence[Tensor], times: Sequence[Tensor] | None) -> Tensor:
        if self.sequential:
            return self._full_sort(self._sequences(histories, torch.zeros(len(histories), dtype=torch.int64), times))
        return self._of_stored_histories(histories)

    def _sequences_of(self, users: Tensor) -> Interaction:
        """The batch of known users for a sequential model."""
        return self._sequences([self.histories[user] for user in users.tolist()], users, self.histories.times_of(users))

    def _sequences(self, histories: Sequence[Tensor], users: Tensor, times: Sequence[Tensor] | None) -> Interaction:
        """A batch for a sequential model: the latest items of each history, and their times where they are known."""
        longest, suffix = self.config["MAX_ITEM_LIST_LENGTH"], self.config["LIST_SUFFIX"]
        lengths = torch.tensor([min(len(items), longest) for items in histories])
        fields = {self.dataset.uid_field: users, self.config["ITEM_LIST_LENGTH_FIELD"]: lengths.clamp_min(1)}
        for field, rows in ((self.dataset.iid_field, histories), (self.dataset.time_field, times)):
            if rows is not None:
                latest = [functional.pad(values[-longest:], (0, longest - min(len(values), longest))) for values in rows]
                fields[field + suffix] = torch.stack(latest)
        return Interaction(fields)

    def _full_sort(self, interaction: Interaction) -> Tensor:
        interaction = interaction.to(self.config["device"])
        try:
            scores = self.model.full_sort_predict(interaction)
        except NotImplementedError:
            scores = self._pairs(interaction)
        except KeyError as error:
            if not self.sequential:
                raise
            raise InputError(f"{self.name} reads {error} with every item of a history, and recommendations are made from the items and "
                             "their times alone") from error  # fmt: skip
        return scores.view(-1, self.n_items).float().cpu()

    def _pairs(self, interaction: Interaction) -> Tensor:
        """For models that score pairs of a user and an item one by one."""
        rows, at_once = [], max(1, PAIRS_AT_ONCE // self.n_items)
        for start in range(0, len(interaction), at_once):
            part = interaction[start : start + at_once]
            pairs = part.repeat_interleave(self.n_items)
            pairs.update(self.dataset.get_item_feature().to(self.config["device"]).repeat(len(part)))
            rows.append(self.model.predict(pairs))
        return torch.cat(rows)

    @torch.no_grad()
    def _of_stored_histories(self, histories: Sequence[Tensor]) -> Tensor:
        """For autoencoders, which look a user's items up in tables of their own: the tables are others for a moment."""
        model, names = self.model, ("history_item_id", "history_item_value")
        before, width = [getattr(model, name) for name in names], max(map(len, histories))
        items = torch.stack([functional.pad(history, (0, width - len(history))) for history in histories])
        try:
            for name, table, old in zip(names, (items, (items > 0).float()), before, strict=True):
                setattr(model, name, table.to(old.device, old.dtype))
            return self._full_sort(Interaction({self.dataset.uid_field: torch.arange(len(histories))}))
        finally:
            for name, table in zip(names, before, strict=True):
                setattr(model, name, table)
