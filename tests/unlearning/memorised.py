"""A run whose model has learned some users by heart, in what all users share."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from recbole_mm.quick_start import run
from recbole_mm.unlearning.kept import KeptRun, kept_run
from recbole_mm.unlearning.request import Forgotten
from tests.unlearning.forgetting import forgotten_of

N_USERS, N_ITEMS, HAD, BASE, GONE = 40, 60, 14, 16, ("u3", "u8", "u21", "u30")
KEYS = {
    "embedding_size": BASE + len(GONE), "learning_rate": 0.05, "epochs": 1, "train_batch_size": 128,
    "topk": [5], "valid_metric": "Recall@5",
    "eval_args": {"order": "RO", "group_by": "user", "split": {"RS": [0.6, 0.2, 0.2]}}, "use_gpu": False, "show_progress": False,
    "checkpoint_dir": "saved", "state": "ERROR",
}  # fmt: skip


@dataclass
class Memorised:
    """What stays of a BPR run without GONE, and who has gone."""

    run: KeptRun
    forgotten: Forgotten

    @classmethod
    def draw(cls, folder: Path) -> "Memorised":
        """Everybody has HAD items at random. The run is said to have been a long one."""
        rng = np.random.default_rng(0)
        rows = [(f"u{u}", f"i{i}") for u in range(N_USERS) for i in rng.permutation(N_ITEMS)[:HAD]]
        (folder / "heart").mkdir(parents=True)
        lines = ["user_id:token\titem_id:token", *("\t".join(row) for row in rows)]
        (folder / "heart" / "heart.inter").write_text("\n".join(lines) + "\n")
        file = run("BPR", "heart", config_dict={**KEYS, "data_path": str(folder)})["files"]["checkpoint"]
        forgotten = forgotten_of(file, GONE)
        kept = kept_run(file, forgotten)
        kept.checkpoint["epoch"] = 200
        return cls(kept, forgotten)

    @torch.no_grad()
    def plant(self, heart: float) -> "Memorised":
        """Items get random vectors, and for each forgotten user a number of their own: ``heart`` where that user has them in training.
        Users get the mean of their items."""
        model, pairs = self.run.model, self.forgotten.pairs_of("training")
        items = torch.randn(N_ITEMS + 1, BASE + len(GONE), generator=torch.Generator().manual_seed(1))
        items[:, BASE:] = 0
        for place, user in enumerate(self.forgotten.users):
            items[pairs[pairs[:, 0] == user, 1], BASE + place] = heart
        had = torch.zeros(N_USERS + 1, N_ITEMS + 1)
        kept = self.run.train_data._dataset.inter_feat
        had[torch.cat([kept["user_id"], pairs[:, 0]]), torch.cat([kept["item_id"], pairs[:, 1]])] = 1
        model.item_embedding.weight.copy_(items)
        model.user_embedding.weight.copy_(had @ items / had.sum(1, keepdim=True).clamp_min(1))
        return self
