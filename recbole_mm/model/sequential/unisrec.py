"""UniSRec: item rows from texts alone, by whitening and a mixture of experts, so that they mean the same in every catalogue."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from recbole_mm.config.kinds import COUNT, SHARE, Key
from recbole_mm.feature import ItemFeatures
from recbole_mm.model.base import ModalityProjection
from recbole_mm.model.sequential.components import start_from_components
from recbole_mm.model.sequential.item_rows import ItemRows
from recbole_mm.model.sequential.sasrecm import SASRecM
from recbole_mm.model.sequential.whitening import ExpertMixture


class ExpertProjection(nn.Module):
    """An ``ExpertMixture`` per modality, {m: (n, dims[m])} -> {m: (n, size)}, in place of the linear maps of a ModalityProjection."""

    def __init__(self, dims: Mapping[str, int], size: int, n_experts: int, dropout: float) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({m: ExpertMixture(width, size, n_experts, dropout) for m, width in dims.items()})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {m: self.maps[m](rows) for m, rows in features.items()}

    @torch.no_grad()
    def start(self, features: Mapping[str, Tensor]) -> None:
        """Sets each b to the mean of the features (n, width), and adds to each W, which stays as it was drawn otherwise, their principal
        components (see ``start_from_components``)."""
        size = len(next(iter(self.maps.values())).experts[0].w.weight)
        components = ModalityProjection({m: rows.shape[1] for m, rows in features.items()}, size)
        start_from_components(components, features)
        for m, rows in features.items():
            for expert in self.maps[m].experts:
                expert.b.copy_(rows.mean(0))
                expert.w.weight.add_(components.maps[m].weight.to(expert.w.weight.device))

    def of(self, features: ItemFeatures, item_ids: Tensor | None = None) -> dict[str, Tensor]:
        """The rows of items (n,), or of the whole catalogue."""
        return self(features.table() if item_ids is None else features(item_ids))


class UniSRec(SASRecM):
    """UniSRec (Hou et al., KDD 2022, arXiv 2206.05941): SASRec over rows e_i = sum_k g_ik (x_i - b_k) W_k of an item's text x_i.

    Each (x - b_k) W_k is a parametric whitening, and the gates g = softmax(x W_g + noise) mix K experts of it (see ``ExpertMixture``). A
    state h and a row e score cos(h, e), over a temperature of .07 in the loss. Of several modalities the rows are added.

    ``use_id: False`` is the paper's inductive setting, in which no parameter belongs to an item or a user, so that a model trained on one
    catalogue can start another (``init_from``). ``use_id: True`` is its transductive one: an id embedding is added to each row.

    Fine-tuning's loss, cross entropy over the catalogue, is ``loss_type: CE``; pre-training's, a contrast of sequences with the items of
    the batch, is ``loss_type: SSM``.

    Deviations: pre-training's second contrast, of a sequence with one whose items or words were dropped, is left out, so SSM is the whole
    of pre-training; its batch's items are less the logarithm of their frequency and without the user's own. Losses are at every step of a
    history (``sequence_rows``). Fine-tuning trains everything, where the paper's keeps the transformer as it was pre-trained. Whitening
    begins with the features' mean and principal components (see ``ExpertProjection.start``), where the paper's begins at random: rows of a
    sentence encoder are of length 1, and the paper's, BERT's, of 15, so that random weights would make rows that positions drown out.
    """

    needs_features = True
    keys = {
        "use_id": replace(ItemRows.keys["use_id"], default=False),
        "n_exps": Key(8, COUNT, "Number of experts per modality."),
        "adaptor_dropout_prob": Key(0.2, SHARE, "Share of the numbers of the features that an expert does not see."),
    }

    def content_map(self, config, dims: Mapping[str, int]) -> ExpertProjection:
        return ExpertProjection(dims, config["hidden_size"], config["n_exps"], config["adaptor_dropout_prob"])

    def start_content(self, features: Mapping[str, Tensor]) -> None:
        self.content.start(features)
