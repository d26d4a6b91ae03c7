"""SequenceRecommender: the base class of the recommenders over histories."""

import numpy as np
import torch
from recbole.utils import InputType
from torch import Tensor, nn
from torch.nn import functional

from recbole_mm.config.kinds import POSITIVE, Key, choice, or_auto
from recbole_mm.data.sequential_dataset import MultiModalSequentialDataset, next_items
from recbole_mm.errors import InputError
from recbole_mm.model.base import tensor_versions
from recbole_mm.model.loss import log_inclusion, sampled_softmax_loss
from recbole_mm.model.positives import UserPositives
from recbole_mm.model.sequential.histories import Histories, NextItems
from recbole_mm.model.sequential.item_rows import ItemRows
from recbole_mm.model.sequential.loss import catalogue_loss, negatives_loss, with_bias

LOSS_TYPE = "CE: over the catalogue; SSM: over the batch; auto: SSM where an encoder trains, else CE; see docs/sequences.md."


class SequenceRecommender(ItemRows):
    """score(u, i) = h(u) . e_i + r n_i, h(u) = encode(e_1 ... e_t), where 1 ... t is the user's history, and n_i how often i is in it.

    The row e_i of an item says it by id and by content (see ``ItemRows``). The same rows are read as the history and scored, as in SASRec.
    Users have no parameters at all.

    Training has one row per user and a loss at every step of it, or RecBole's prefixes (``sequence_rows``); each distinct item of a batch
    is encoded once. The losses:

    - CE: -log softmax of the next item's score among all items, which needs features that are a table;
    - SSM, debiased in-batch softmax: among the distinct items of the batch, less the logarithm of the probability that an item is in a
      batch (Yi et al., RecSys 2019), without the user's own other items;
    - sampled_softmax: among the item and ``sample_num`` negatives of RecBole's sampler (``train_neg_sample_args``), which the steps of a
      history share. With one negative this is BPR.

    h . e is a dot product, or a cosine (``loss_scores``), over ``loss_temperature``, in the loss and in ranking.

    r is one learned number: how likely it is that somebody comes back to what they had (``repeat_bias``). Since rows are read and scored
    alike, content finds that nothing is as much like the latest item as that item, and does not unlearn it: where nobody buys a thing
    twice, recommendations would begin with what the user has. r starts at the logarithm of the share of such interactions in training.
    Ids can learn this by themselves, so ``auto`` leaves r out without content, as in RecBole. With SSM and r, what a history holds is among
    the negatives of its steps.

    Subclasses implement ``encode``, and call ``initialise`` at the end of ``__init__``.
    """

    input_type = InputType.PAIRWISE
    keys = {
        "sequence_rows": Key("users", choice("users", "prefixes"), "Training rows: one per user, or RecBole's, one per interaction."),
        "loss_type": Key("auto", choice("auto", "CE", "SSM", "sampled_softmax"), LOSS_TYPE),
        "loss_scores": Key("auto", choice("auto", "dot", "cosine"), "What scores are; auto: cosine with content, dot by ids alone."),
        "loss_temperature": Key("auto", or_auto(POSITIVE), "What scores are divided by; auto: 0.07 for cosines, 1 for dot products."),
        "repeat_bias": Key("auto", choice("auto", True, False), "Learn how likely an item comes again; auto: where there is content."),
    }
    automatic = {"loss_scores": ("dot", "cosine")}

    def __init__(self, config, dataset: MultiModalSequentialDataset) -> None:
        super().__init__(config, dataset)
        features, self.cosine = self.item_features, config["loss_scores"] == "cosine"
        if config["loss_temperature"] == "auto":
            config["loss_temperature"] = 0.07 if self.cosine else 1.0
        self.n_users, self.temperature = dataset.user_num, config["loss_temperature"]
        self.recboles_rows = config["sequence_rows"] == "prefixes"
        live = features is not None and features.encoded_items is not None
        self.loss_type = ("SSM" if live else "CE") if config["loss_type"] == "auto" else config["loss_type"]
        if live and self.loss_type == "CE":
            raise InputError("loss_type: CE compares with the whole catalogue, which an encoder that trains would have to encode in every "
                             "step: set loss_type: SSM")  # fmt: skip
        self.time_field = f"{dataset.time_field}{config['LIST_SUFFIX']}"
        self.n_negatives = config["train_neg_sample_args"].get("sample_num", 1) if self.loss_type == "sampled_softmax" else 0
        users, items = (column.numpy() for column in self.training_pairs)
        shares = np.bincount(items, minlength=self.n_items) / max(len(items), 1)
        self.register_buffer("popularity", torch.tensor(shares, dtype=torch.float32), persistent=False)
        self.known = UserPositives(users, items, self.n_items)
        learns = features is not None if config["repeat_bias"] == "auto" else config["repeat_bias"]
        self.repeat_bias = nn.Parameter(repeat_rate(len(users), len(self.known.items)).log()) if learns else None

    def encode(self, rows: Tensor, histories: Histories) -> Tensor:
        """What the users are after each item of their histories: (b, l, d) -> (b, l, d). No state depends on later items.

        Args:
            rows: of the items of the histories, zeros behind their ends.
        """
        raise NotImplementedError

    def states(self, rows: Tensor, places: Tensor, histories: Histories) -> Tensor:
        """``encode`` for histories of any lengths: (b, l, d), with zeros behind their ends. Those of about the same length are encoded
        together, since most histories are much shorter than the longest one; but not in training with RecBole's rows, where dropout is to
        be drawn as RecBole draws it.

        Args:
            rows: of items, (n, d).
            places: of the histories' items in ``rows``, (b, l).
        """
        as_recbole = self.training and self.recboles_rows
        groups = [torch.arange(len(places), device=places.device)] if as_recbole else histories.by_length()
        found = rows.new_zeros(*places.shape, rows.shape[1])
        for group in groups:
            some = histories if as_recbole else histories.of(group)
            width = some.items.shape[1]
            read = rows[places[group, :width]] * some.present.unsqueeze(-1)
            found = found.index_put((group.unsqueeze(1), torch.arange(width, device=group.device)), self.encode(read, some))
        return found

    def ranked(self, rows: Tensor) -> Tensor:
        """States or item rows as scores take them."""
        return functional.normalize(rows, dim=-1) if self.cosine else rows

    def calculate_loss(self, interaction) -> Tensor:
        return self.loss_of(self.next_items(interaction))

    def loss_of(self, batch: NextItems) -> Tensor:
        """The loss, a mean over the steps of a batch."""
        histories, negatives = batch.histories, batch.negatives
        if self.loss_type == "CE":
            items, rows = None, self.item_rows()
            places, targets = histories.items, batch.targets
        else:
            present = histories.items[histories.present]
            wanted = [present, batch.targets] + ([] if negatives is None else [negatives.flatten()])
            items, found = torch.unique(torch.cat(wanted), return_inverse=True)
            own, targets, *others = found.split([len(part) for part in wanted])
            rows, places = self.item_rows(items), torch.zeros_like(histories.items)
            places[histories.present] = own
        states = self.ranked(self.states(rows, places, histories)[batch.rows, batch.steps]) / self.temperature
        rows, seen = self.ranked(rows), (places[batch.rows], self.seen(batch))
        if self.loss_type == "CE":
            return catalogue_loss(states, rows, targets, seen, self.repeat_bias)
        if self.loss_type == "SSM":
            log_sampling = log_inclusion(self.popularity[items], len(present) + len(batch.targets))
            masked = self.known.among(batch.users, items)[batch.rows]
            scores = with_bias(states @ rows.T, seen, self.repeat_bias)
            if self.repeat_bias is not None:
                masked = masked & (with_bias(torch.zeros_like(scores), seen, scores.new_ones(())) == 0)
            return sampled_softmax_loss(scores, targets, log_sampling, masked)
        return negatives_loss(states, rows[targets], rows[others[0].view_as(negatives)][batch.rows])

    def seen(self, batch: NextItems) -> Tensor:
        """Which items of its history each step knows: bool (m, l)."""
        return torch.arange(batch.histories.items.shape[1], device=batch.steps.device) <= batch.steps.unsqueeze(1)

    def next_items(self, interaction) -> NextItems:
        """The histories of a training batch, and the steps that have a loss."""
        histories, users = self.histories(interaction), interaction[self.USER_ID]
        if (field := next_items(self.ITEM_ID)) in interaction:
            rows, steps = histories.present.nonzero(as_tuple=True)
            negatives = interaction[self.NEG_ITEM_ID] if self.n_negatives else None
            return NextItems(histories, users, rows, steps, interaction[field][rows, steps], negatives)
        targets, negatives = interaction[self.POS_ITEM_ID], None
        if self.n_negatives:  # RecBole repeats the batch, once per negative
            b = len(users) // self.n_negatives
            negatives = interaction[self.NEG_ITEM_ID].view(self.n_negatives, b).T
            times = None if histories.times is None else histories.times[:b]
            histories, users, targets = Histories(histories.items[:b], histories.lengths[:b], times), users[:b], targets[:b]
        return NextItems(histories, users, torch.arange(len(users), device=users.device), histories.lengths - 1, targets, negatives)

    def histories(self, interaction) -> Histories:
        """The histories in a batch of RecBole's."""
        return Histories(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN], optional(interaction, self.time_field))

    def user_states(self, histories: Histories) -> Tensor:
        """h(u), as scores take it: (b, hidden_size)."""
        states = histories.last(self.states(self.catalogue(), histories.items, histories))
        return self.ranked(states) / self.temperature

    def catalogue(self) -> Tensor:
        """``item_rows()``, which are computed once per evaluation: (n_items, hidden_size)."""
        if self.training or torch.is_grad_enabled():
            return self.item_rows()
        if self.item_features is not None:
            self.item_features.table()  # which encodes the catalogue again where the encoder has changed
        version = tensor_versions([*self.parameters(), *self.buffers()])
        if self._catalogue is None or self._catalogue_version != version:
            self._catalogue, self._catalogue_version = self.item_rows(), version
        return self._catalogue

    def predict(self, interaction) -> Tensor:
        """Scores of histories and an item each: (b,)."""
        histories, items = self.histories(interaction), interaction[self.ITEM_ID]
        scores = (self.user_states(histories) * self.ranked(self.catalogue())[items]).sum(-1)
        again = (histories.items == items.unsqueeze(1)).sum(1)
        return scores if self.repeat_bias is None else scores + self.repeat_bias * again

    def full_sort_predict(self, interaction) -> Tensor:
        """Scores of histories and the whole catalogue: (b, n_items)."""
        histories = self.histories(interaction)
        scores = self.user_states(histories) @ self.ranked(self.catalogue()).T
        return with_bias(scores, (histories.items, histories.present), self.repeat_bias)

    def forget_features(self) -> None:
        super().forget_features()
        self._catalogue = None

    def train(self, mode: bool = True) -> "SequenceRecommender":
        self._catalogue = None
        return super().train(mode)

    _catalogue: Tensor | None = None
    _catalogue_version: tuple | None = None


def optional(interaction, field: str) -> Tensor | None:
    """A column of a batch; None where it has no such column. An Interaction is no Mapping, and has no ``get``."""
    return interaction[field] if field in interaction else None  # noqa: SIM401


def repeat_rate(n_interactions: int, n_pairs: int) -> Tensor:
    """The share of interactions with an item that the user had before, from the number of distinct pairs of a user and an item, estimated
    so that it is never 0 or 1: a scalar."""
    return torch.tensor((n_interactions - n_pairs + 1) / (n_interactions + 2))
