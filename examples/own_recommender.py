"""A recommender of one's own in one file, with a configuration key of its own.

It is handed to `run` as a class. Since it only asks `self.item_features`, it takes any encoder, frozen or trained, and feature files.
The file could as well lie in recbole_mm/model/, with a file properties/model/TasteRec.yaml: then `--model=TasteRec` finds it.
"""

import torch
from torch import Tensor

from recbole_mm.config.kinds import AMOUNT, COUNT, Key
from recbole_mm.model.base import EmbeddingRecommender, ModalityProjection, xavier_embedding


class TasteRec(EmbeddingRecommender):
    """Every user has a taste t_um in every modality m: score(u, i) = the sum over m of t_um . W_m f_im. An item that the user took should
    outscore another one by a margin (hinge loss)."""

    needs_features = True
    keys = {
        "embedding_size": Key(64, COUNT, "The size of a user's taste in one modality."),
        "margin": Key(1.0, AMOUNT, "By how much an item that the user took should outscore another one."),
    }

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        size, features = config["embedding_size"], self.item_features
        self.margin = config["margin"]
        self.tastes = xavier_embedding(self.n_users, size * len(features.modalities))
        self.projection = ModalityProjection(features.dims, size)

    def calculate_loss(self, interaction) -> Tensor:
        users = self.tastes(interaction[self.USER_ID])
        both = torch.cat([interaction[self.ITEM_ID], interaction[self.NEG_ITEM_ID]])
        taken, other = self.project(self.item_features(both)).chunk(2)
        return torch.relu(self.margin - (users * (taken - other)).sum(-1)).mean()

    def embed(self, fresh_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.tastes.weight, self.project(self.item_features.table(fresh_ids))

    def project(self, features: dict[str, Tensor]) -> Tensor:
        return torch.cat(list(self.projection(features).values()), -1)


if __name__ == "__main__":
    from recbole_mm import run

    settings = {"encoder_training": "pretrained", "epochs": 20, "learning_rate": 0.01, "show_progress": False, "state": "WARNING"}
    for margin in (1.0, 10.0):
        result = run(TasteRec, "demo", config_dict={**settings, "margin": margin})["test_result"]
        print(f"TasteRec with margin {margin}: recall@20 {result['recall@20']:.3f}")
