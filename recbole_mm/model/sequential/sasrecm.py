"""SASRecM: self-attention over what the items of a history are."""

import torch
from recbole.model.layers import TransformerEncoder
from torch import Tensor, nn

from recbole_mm.config.kinds import COUNT, POSITIVE, SHARE, Key, choice, or_auto
from recbole_mm.data.sequential_dataset import MultiModalSequentialDataset
from recbole_mm.model.sequential.base import SequenceRecommender
from recbole_mm.model.sequential.histories import Histories

AUTO = "auto: 0.3 with content, 0.5 by ids alone"


class SASRecM(SequenceRecommender):
    """SASRec (Kang & McAuley, ICDM 2018, arXiv 1808.09781) over item rows of ids and content.

    h_1 ... h_t = Transformer(dropout(LayerNorm(e_1 + p_1 ... e_t + p_t))), with learned positions p and attention to earlier items alone.
    The layers are RecBole's, and with ``modalities: []`` and ``sequence_rows: prefixes`` so is the model. End-to-end over pictures and
    texts, this is the model of MicroLens (Ni et al., arXiv 2309.15379) and of PixelRec (Cheng et al., arXiv 2309.06789).
    """

    keys = {
        "n_layers": Key(2, COUNT, "Number of attention layers."),
        "n_heads": Key(2, COUNT, "Number of attention heads, which divides hidden_size."),
        "inner_size": Key(256, COUNT, "Width of the feed-forward layers."),
        "hidden_dropout_prob": Key("auto", or_auto(SHARE), f"Share of the numbers that are dropped between layers; {AUTO}."),
        "attn_dropout_prob": Key("auto", or_auto(SHARE), f"Share of the attention weights that are dropped; {AUTO}."),
        "hidden_act": Key("gelu", choice("gelu", "relu", "swish", "tanh", "sigmoid"), "Activation of the feed-forward layers."),
        "layer_norm_eps": Key(1e-12, POSITIVE, "What layer norms add to the variance."),
    }

    automatic = {"hidden_dropout_prob": (0.5, 0.3), "attn_dropout_prob": (0.5, 0.3)}

    def __init__(self, config, dataset: MultiModalSequentialDataset) -> None:
        super().__init__(config, dataset)
        size, eps = config["hidden_size"], config["layer_norm_eps"]
        self.position_embedding = nn.Embedding(self.max_seq_length, size)
        self.transformer = TransformerEncoder(
            n_layers=config["n_layers"], n_heads=config["n_heads"], hidden_size=size, inner_size=config["inner_size"],
            hidden_dropout_prob=config["hidden_dropout_prob"], attn_dropout_prob=config["attn_dropout_prob"],
            hidden_act=config["hidden_act"], layer_norm_eps=eps,
        )  # fmt: skip
        self.norm = nn.LayerNorm(size, eps=eps)
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])
        self.initialise()

    def encode(self, rows: Tensor, histories: Histories) -> Tensor:
        return self.attend(rows, histories.items)

    def attend(self, rows: Tensor, items: Tensor, bidirectional: bool = False) -> Tensor:
        """The states of item rows (b, l, d), of which only those count where ``items`` (b, l) is not zero."""
        positions = self.position_embedding(torch.arange(rows.shape[1], device=rows.device))
        inputs = self.dropout(self.norm(rows + positions))
        mask = self.get_attention_mask(items, bidirectional=bidirectional)
        return self.transformer(inputs, mask, output_all_encoded_layers=True)[-1]
