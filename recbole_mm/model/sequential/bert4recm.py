"""BERT4RecM: items of a history are hidden, and found from those before and behind them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_mm.config.kinds import FRACTION, SHARE, Key
from recbole_mm.data.sequential_dataset import MultiModalSequentialDataset
from recbole_mm.model.sequential.histories import Histories, NextItems
from recbole_mm.model.sequential.sasrecm import SASRecM


@dataclass(frozen=True)
class Cloze(Histories):
    """Histories of which some items are hidden: bool (b, l)."""

    hidden: Tensor | None = None

    def of(self, places: Tensor) -> "Cloze":
        some = super().of(places)
        return Cloze(some.items, some.lengths, some.times, self.hidden[places, : some.items.shape[1]])


class BERT4RecM(SASRecM):
    """BERT4Rec (Sun et al., CIKM 2019, arXiv 1904.06690) over item rows of ids and content.

    Training hides items of a history, its last one included, and finds each again among all items from those on both sides of it:

        h_1 ... h_t = LayerNorm(gelu(W Transformer(dropout(LayerNorm(e'_1 + p_1 ... e'_t + p_t))) + b)),

    with e' the learned vector m in place of a hidden item's row e. As in RecBole, ``ft_ratio`` of the histories hide the last item alone,
    which is what ranking asks for, and of the others ``mask_ratio`` of the items are hidden, or the last one where none was drawn. A user
    is the state of an m behind the history.

    Deviations: the paper adds a bias per item to the scores, which items without interactions do not have; it hides items of sliding
    windows, here it is a user's last ``MAX_ITEM_LIST_LENGTH`` items and the one after them; and it draws all masks before training.
    """

    keys = {
        "mask_ratio": Key(0.2, SHARE, "Share of the items of a history that are hidden."),
        "ft_ratio": Key(0.5, FRACTION, "Share of the histories of which the last item alone is hidden."),
    }

    def __init__(self, config, dataset: MultiModalSequentialDataset) -> None:
        super().__init__(config, dataset)
        size, eps = config["hidden_size"], config["layer_norm_eps"]
        self.mask_ratio, self.ft_ratio = config["mask_ratio"], config["ft_ratio"]
        self.position_embedding = nn.Embedding(self.max_seq_length + 1, size)
        self.head = nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.LayerNorm(size, eps=eps))
        self.initialise()
        self.mask = nn.Parameter(torch.randn(size) * self.initializer_range)

    def next_items(self, interaction) -> NextItems:
        """Whole histories, and as steps the items of them that are hidden."""
        batch = super().next_items(interaction)
        short, users = batch.histories, torch.arange(len(batch.users), device=batch.users.device)
        ends = batch.steps == short.lengths[batch.rows] - 1
        items = functional.pad(short.items, (0, 1))
        items[users, short.lengths] = batch.targets[ends]
        hidden = self.draw_hidden(Histories(items, short.lengths + 1))
        histories = Cloze(items, short.lengths + 1, hidden=hidden)
        return NextItems(histories, batch.users, *hidden.nonzero(as_tuple=True), items[hidden], batch.negatives)

    def seen(self, batch: NextItems) -> Tensor:
        return (batch.histories.present & ~batch.histories.hidden)[batch.rows]

    def draw_hidden(self, histories: Histories) -> Tensor:
        """Which items of histories to hide: bool (b, l), at least one of each."""
        b, device = len(histories.items), histories.items.device
        hidden = (torch.rand(histories.items.shape, device=device) < self.mask_ratio) & histories.present
        last_alone = (torch.rand(b, device=device) < self.ft_ratio) | ~hidden.any(1)
        hidden[last_alone] = False
        hidden[last_alone, histories.lengths[last_alone] - 1] = True
        return hidden

    def encode(self, rows: Tensor, histories: Histories) -> Tensor:
        """Of a ``Cloze``: the state of each item. Of other histories: a step later, so that the last state is of an m behind the history;
        the states before it, unlike other models', know all items."""
        if isinstance(histories, Cloze):
            return self._read(rows, histories.present, histories.hidden)
        places, ends = torch.arange(rows.shape[1] + 1, device=rows.device), histories.lengths.unsqueeze(1)
        return self._read(functional.pad(rows, (0, 0, 0, 1)), places <= ends, places == ends)[:, 1:]

    def _read(self, rows: Tensor, present: Tensor, hidden: Tensor) -> Tensor:
        rows = torch.where(hidden.unsqueeze(-1), self.mask.to(rows.dtype), rows)
        return self.head(self.attend(rows, present, bidirectional=True))
