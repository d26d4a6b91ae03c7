"""GRU4RecM: a recurrent network over what the items of a history are."""

from torch import Tensor, nn

from recbole_mm.config.kinds import COUNT, SHARE, Key
from recbole_mm.data.sequential_dataset import MultiModalSequentialDataset
from recbole_mm.model.sequential.base import SequenceRecommender
from recbole_mm.model.sequential.histories import Histories


class GRU4RecM(SequenceRecommender):
    """GRU4Rec (Hidasi et al., ICLR 2016, arXiv 1511.06939; Tan et al., DLRS 2016, arXiv 1606.08117) over item rows of ids and content.

    h_1 ... h_t = W GRU(dropout(e_1 ... e_t)) + b, where W leads from the GRU's ``inner_size`` back to the width of item rows.

    Deviations: as in RecBole, histories are users' and not sessions that batches run through side by side, and the loss is the base
    class's in place of BPR, TOP1 or BPR-max. The paper scores by output weights of their own; here the rows that are read are scored.
    """

    keys = {
        "num_layers": Key(1, COUNT, "Number of layers of the GRU."),
        "inner_size": Key(128, COUNT, "Width of the GRU's states."),
        "dropout_prob": Key(0.3, SHARE, "Share of the numbers of item rows that are dropped."),
    }

    def __init__(self, config, dataset: MultiModalSequentialDataset) -> None:
        super().__init__(config, dataset)
        size, inner = config["hidden_size"], config["inner_size"]
        self.dropout = nn.Dropout(config["dropout_prob"])
        self.dense = nn.Linear(inner, size)
        self.initialise()
        self.gru = nn.GRU(size, inner, config["num_layers"], bias=False, batch_first=True)
        for weight in self.gru.parameters():
            nn.init.xavier_uniform_(weight)

    def encode(self, rows: Tensor, histories: Histories) -> Tensor:
        return self.dense(self.gru(self.dropout(rows))[0])
