"""How a trainer evaluates under ``fast_loop: True``, whether it is ours or RecBole's."""

import torch
from recbole.trainer import Trainer
from recbole.utils import EvaluatorType

from recbole_mm.evaluation.chunks import scores_at_once
from recbole_mm.evaluation.collector import RankingCollector
from recbole_mm.evaluation.evaluator import RankingEvaluator
from recbole_mm.evaluation.factors import Factors
from recbole_mm.evaluation.scores import Candidates, Products, WholeRows, aligned
from recbole_mm.model.base import EmbeddingRecommender


class RanksQuickly(Trainer):
    """A mixin that stands before a Trainer: what it collects and computes of an evaluation. With ``fast_loop: False`` it changes nothing.

    The rows of an evaluation are scored in the forms of ``evaluation.scores``, which RecBole's loop passes on to a ``RankingCollector``.
    """

    def __init__(self, config, model) -> None:
        super().__init__(config, model)
        if config["fast_loop"]:
            self.eval_collector, self.evaluator = RankingCollector(config), RankingEvaluator(config)

    def _full_sort_batch_eval(self, batched_data: tuple) -> tuple:
        if not self.config["fast_loop"]:
            return super()._full_sort_batch_eval(batched_data)
        interaction, history, *positive = batched_data
        collector, shape = self.eval_collector, (len(interaction), self.tot_item_num)
        if collector.are_products is None and multiplies(self.model):
            collector.are_products = True
        try:
            with Factors(shape, left_out=bool(collector.are_products)) as factors:
                scores = self.model.full_sort_predict(interaction.to(self.device))
        except NotImplementedError:
            _, scores, *_ = super()._full_sort_batch_eval(batched_data)
            return interaction, WholeRows(scores), *positive
        if collector.are_products is None:
            collector.are_products = factors.are_all_of(scores)
        masked = tuple(of.to(self.device) for of in history or [torch.zeros(0, dtype=torch.int64)] * 2)
        if scores.is_meta:
            users, items = factors.found[-1]
            room = collector.room(min(scores_at_once(users.device), len(users) * aligned(shape[1])), users)
            return interaction, Products(users, items.T, masked, room), *positive
        scores = scores.view(shape)
        scores[:, 0] = -torch.inf
        scores[masked] = -torch.inf
        return interaction, WholeRows(scores), *positive

    def _neg_sample_batch_eval(self, batched_data: tuple) -> tuple:
        if not self.config["fast_loop"] or self.config["eval_type"] == EvaluatorType.VALUE:
            return super()._neg_sample_batch_eval(batched_data)
        interaction, rows, *positive = batched_data
        if len(interaction) > self.test_batch_size:
            scores = self._spilt_predict(interaction, len(interaction))
        else:
            scores = self.model.predict(interaction.to(self.device))
        items = interaction[self.config["ITEM_ID_FIELD"]].to(self.device)
        n = int(rows[-1]) + 1
        return interaction, Candidates(rows.to(self.device), items, scores.view(-1), n, self.tot_item_num), *positive


def multiplies(model) -> bool:
    """Whether its scores are those of an ``EmbeddingRecommender``, and nobody has changed them (see ``never_recommend``)."""
    return getattr(model.full_sort_predict, "__func__", None) is EmbeddingRecommender.full_sort_predict
