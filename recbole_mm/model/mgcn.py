"""MGCN: features purified by the ids, spread along graphs of their own, and fused by what the ids say of each modality."""

import torch
from torch import Tensor, nn

from recbole_mm.config.kinds import SWITCH, Key
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import ModalityProjection
from recbole_mm.model.sparse import SparseMatrix
from recbole_mm.model.two_views import TwoViewRecommender


class MGCN(TwoViewRecommender):
    """MGCN (Yu et al., "Multi-View Graph Convolutional Network for Multimedia Recommendation", MM 2023).

    1. Behaviour-guided purifier: p_m = W1_m f_m + b1_m of an item's features; x_m = I * sigmoid(W2_m p_m + b2_m), I its id embedding.
    2. User-item view: E_id = LightGCN over the training interactions from U and I. Item-item view: items' E_m = S_m^n_item_layers x_m,
       S_m the ``knn_k`` largest cosines of each item in modality m, D^-1/2 S D^-1/2; users' E_m = sums of their items' E_m, weighing
       1 / sqrt(d_u d_i).
    3. Behaviour-aware fuser, of users and items alike: E_s = sum of alpha_m E_m, alpha = softmax over m of q . tanh(W4 E_m + b4);
       E_mul = E_s + the mean over m of (E_m - E_s) * sigmoid(W3_m E_id + b3_m).
    4. e = E_id + E_mul; score(u, i) = e_u . e_i.

    Loss: BPR + ``cl_weight`` * (InfoNCE of E_mul and E_id over the batch's users + the same over its positive items, cosine,
    ``temperature``) + ``reg_weight`` * L2 of the batch's final embeddings. The learning rate falls by .96^(epoch / 50), as in the
    published runs.

    With an encoder that trains, its gradient passes through the purifier, and S_m is made anew before every epoch (and every
    ``item_graph_every`` steps).

    Deviations: losses are means over the batch, not sums over all users and items, and a node that is in a batch more than once is not a
    negative of itself. In the released code E_mul is the mean of E_s and the gated (E_m - E_s), a third of their sum with two modalities
    (``legacy_fusion: True``), and the features of a frozen encoder are trained (``legacy_trained_features: True``). An item that lacks a
    modality has E_m = 0 in that modality. With one modality there is nothing to fuse: E_mul = E_m.
    """

    keys = {
        "legacy_fusion": Key(False, SWITCH, "True: the fused view counts 1 / (modalities + 1), as in published numbers."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        size, modalities = config["embedding_size"], self.item_features.modalities
        self.gate = ModalityProjection(dict.fromkeys(modalities, size), size)
        self.fuser = BehaviourAwareFuser(modalities, size, config["legacy_fusion"]) if len(modalities) > 1 else None

    def sides(self, transformed: dict[str, Tensor]) -> dict[str, Tensor]:
        ids = self.item_embedding.weight
        return {m: self.spread(self.item_graph[m], ids * gate.sigmoid()) for m, gate in self.gate(transformed).items()}

    def fuse(self, behaviour: Tensor, sides: dict[str, Tensor]) -> Tensor:
        return self.fuser(behaviour, sides) if self.fuser else next(iter(sides.values()))

    def build_item_graph(self, features: dict[str, Tensor]) -> dict[str, SparseMatrix]:
        """The matrix S_m (n_items, n_items) of each modality."""
        return {m: graph.frozen() for m, graph in self.cosine_graphs(features).items()}


class BehaviourAwareFuser(nn.Module):
    """E_id (n, d) and E_m {m: (n, d)} -> E_mul (n, d), by the equations of MGCN's step 3, or those of its code (``legacy``)."""

    def __init__(self, modalities: tuple[str, ...], size: int, legacy: bool = False) -> None:
        super().__init__()
        self.legacy = legacy
        self.attention = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1, bias=False))
        self.preference = nn.ModuleDict({m: nn.Linear(size, size) for m in modalities})

    def forward(self, behaviour: Tensor, content: dict[str, Tensor]) -> Tensor:
        alpha = torch.cat([self.attention(rows) for rows in content.values()], dim=-1).softmax(-1)
        shared = sum(a.unsqueeze(1) * rows for a, rows in zip(alpha.unbind(-1), content.values(), strict=True))
        specific = [(rows - shared) * self.preference[m](behaviour).sigmoid() for m, rows in content.items()]
        return (shared + sum(specific)) / (1 + len(specific)) if self.legacy else shared + sum(specific) / len(specific)
