"""What every sequence model must do, besides or instead of what every recommender must."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_mm.data.tokens import item_tokens
from recbole_mm.model.sequential.histories import Histories
from recbole_mm.testing.demands import Demand, require
from recbole_mm.testing.model_demands import FILES, UNIFIED, ModelChecks
from recbole_mm.testing.planted import recoloured, style
from recbole_mm.testing.shops import is_cold

CASES = (
    ("end2end", "image"),
    ("end2end", "image+text"),
    ("end2end", "image+text+file"),
    ("pretrained", "text"),
    ("pretrained", "three files"),
)
SMALL = {
    "hidden_size": 32, "inner_size": 64, "n_layers": 1, "num_layers": 1, "hidden_dropout_prob": 0.1, "attn_dropout_prob": 0.1,
    "dropout_prob": 0.1, "initializer_range": 0.2, "loss_scores": "cosine", "loss_temperature": 0.2, "train_batch_size": 4,
    "learning_rate": 0.005, "encoder_learning_rate": 3e-4,
}  # fmt: skip
"""A small model, by the names that sequence models have for their sizes; those that a model does not have are left out."""
LIVE = {"initializer_range": 0.02, "loss_temperature": 0.1, "learning_rate": 0.02}
"""Over a random encoder, whose rows are all alike but for a little, rather than over the principal components of features."""
EPOCHS, FROZEN_EPOCHS = 16, 14


class SequenceChecks(ModelChecks):
    """Checks of one sequence model, over ``SequenceShops``: all items of a user have the same words, and the colour of the next one is the
    one that the last one has not.

    Args:
        in_order: whether the model finds the latter in a few epochs. Otherwise it is asked for the words alone, and trains for longer where
            the loss of an encoder that trains is to fall.
    """

    gentle = {"learning_rate": 1e-3, "encoder_learning_rate": 3e-4}
    cold_epochs = 12

    def __init__(self, *given, in_order: bool = True) -> None:
        super().__init__(*given)
        self.in_order = in_order
        self.live_epochs = 8 if in_order else 14

    def demands(self, features_rank: bool) -> list[Demand]:
        found = [
            Demand(f"trains and sends gradients where it says ({training}, {modalities})", partial(self.trains, training, modalities))
            for training, modalities in CASES
        ]
        found += [
            Demand("finds what comes next (pretrained)", partial(self.finds_what_comes_next, "pretrained", "larger", 0.9)),
            Demand("items without picture or text are no obstacle", partial(self.finds_what_comes_next, "pretrained", "gaps", 0.75)),
            Demand("same seed, same model; checkpoint, same scores", partial(self.repeats_and_loads, "end2end")),
            Demand("a resumed run equals a straight one", partial(self.resumes, "pretrained")),
            Demand("a history has the same scores alone", self.reads_histories_alone),
        ]
        if self.in_order:
            found += [
                Demand("finds what comes next (end2end)", partial(self.finds_what_comes_next, "end2end", "larger", 0.9)),
                Demand("no state depends on later items", self.looks_back_alone),
            ]
        if features_rank:
            found += [
                Demand("features rank items without interactions", self.features_rank_cold_items),
                Demand("features of other items rank nothing", self.wrong_features_rank_nothing),
            ]
        return found

    def finds_what_comes_next(self, training: str, shop: str, least: float) -> None:
        live = {"encoder_training": training, "encoder_freeze_epochs": FROZEN_EPOCHS * self.patience, **UNIFIED, **LIVE}
        model, loaders, _ = self.trained(getattr(self.shops, shop), EPOCHS, **(live if training == "end2end" else FILES))
        auc = self.auc(model, loaders[2])
        require(auc > least, f"{auc:.2f} of the pairs of an item that comes next and one that does not are ranked right after "
                f"{EPOCHS * self.patience} epochs, not more than {least}")  # fmt: skip

    def reads_histories_alone(self) -> None:
        model, (*_, test), _ = self.ready(self.shops.small, 1, encoder_training="pretrained", **FILES)
        scores, rows = self.scores(model, test), test.dataset.inter_feat
        for place in range(3):
            with torch.no_grad():
                alone = model.full_sort_predict(rows[place : place + 1]).view(1, -1)[:, 1:]
            require(torch.allclose(alone, scores[place], rtol=1e-4, atol=1e-5), "a history has other scores in a batch than alone")

    @torch.no_grad()
    def looks_back_alone(self) -> None:
        model, (*_, test), _ = self.ready(self.shops.small, 1, encoder_training="pretrained", **FILES)
        model.eval()
        whole = model.histories(test.dataset.inter_feat)
        rows = model.item_rows()[whole.items] * whole.present.unsqueeze(-1)
        states = model.encode(rows, whole)
        for n in range(1, int(whole.lengths.max())):
            begun = Histories(whole.items[:, :n], whole.lengths.clamp(max=n), None if whole.times is None else whole.times[:, :n])
            same = torch.isclose(model.encode(rows[:, :n], begun), states[:, :n], rtol=1e-4, atol=1e-5).all(-1)
            require(same[begun.present].all(), "encode gives states that change with the items after them")

    def scores(self, model, test) -> Tensor:
        rows = test.dataset.inter_feat
        model.eval()
        with torch.no_grad():
            return model.full_sort_predict(rows).view(len(rows), -1)[:, 1:]

    def pairs(self, test, rows: Tensor, items: Tensor) -> Interaction:
        batch = test.dataset.inter_feat[rows]
        batch.interaction[test.dataset.iid_field] = items
        return batch

    def cold_auc(self, model, loaders) -> float:
        return self.auc(model, loaders[2], is_cold)

    def auc(self, model, test, among: Callable[[int], bool] = lambda item: True) -> float:
        """Of the pairs of an item with the words of a history's last one and the other colour, and an item with both of them (or, where the
        order does not count, with other words), the share that is ranked right. It is half by chance. Items of the history do not count."""
        numbers = np.array([int(token[1:]) for token in item_tokens(test.dataset)[1:]])
        rows, right, counted = test.dataset.inter_feat, [], np.array([among(i) for i in numbers])
        for scores, items, n in zip(self.scores(model, test).numpy(), rows["item_id_list"], rows["item_length"], strict=True):
            new = counted & ~np.isin(np.arange(1, len(numbers) + 1), items)
            last = numbers[items[n - 1] - 1]
            follows = style(numbers) == recoloured(last)
            others = style(numbers) == style(last) if self.in_order else style(numbers) // 2 != style(last) // 2
            difference = scores[new & follows][:, None] - scores[new & others]
            right.append(np.mean((difference > 0) + 0.5 * (difference == 0)))
        return float(np.mean(right))

    def ready(self, folder: Path, epochs: int, **keys):
        return super().ready(folder, epochs, **{**SMALL, **keys})
