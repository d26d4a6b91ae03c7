"""What every recommender must do, under every paradigm and any set of modalities."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from recbole.utils import ModelType
from torch import Tensor

from recbole_mm.compat.recbole_modules import no_tensorboard
from recbole_mm.config.registry import get_model
from recbole_mm.errors import InputError
from recbole_mm.quick_start import build_trainer, load_data_and_model
from recbole_mm.testing.demands import Demand, refused, require, working_in
from recbole_mm.testing.model_measures import cold_auc, has_gradient, loss_of, losses_of, main_loss, scores_of
from recbole_mm.testing.planted import built
from recbole_mm.testing.shops import Shops

PARADIGMS = ("pretrained", "end2end")
UNIFIED = {"encoder": "beit3:tiny"}
MODALITIES = {
    "image": {"modalities": ["image"]},
    "text": {"modalities": ["text"], **UNIFIED},
    "image+text": {"modalities": ["image", "text"]},
    "joint": {"modalities": ["joint"], **UNIFIED},
    "three files": {"feature_files": {"a": "a.safetensors", "b": "b.safetensors", "c": "c.safetensors"}},
    "image+text+file": {"modalities": ["image", "text", "c"], "feature_files": {"c": "c.safetensors"}, **UNIFIED},
}
CASES = [("end2end", modalities) for modalities in MODALITIES]
CASES += [("pretrained", modalities) for modalities in ("image", "image+text", "image+text+file")]
"""To a model, other modalities of a frozen encoder are tables like these, and so are files."""

FILES = {"modalities": ["a", "b"], "feature_files": {"a": "a.safetensors", "b": "b.safetensors"}}
QUICK = {"learning_rate": 0.02, "encoder_learning_rate": 3e-3, "encoder_warmup_steps": 1, "stopping_step": 50, "train_batch_size": 256}
GENTLE = {"learning_rate": 0.005, "encoder_learning_rate": 1e-3}
RIGHT = 0.7
"""The recall that a model reaches which has found the planted preference; items drawn at random find .26."""


class ModelChecks:
    """Checks of one model.

    Args:
        model: its class, or its name.
        shops: the data.
        settings: configuration keys with which the model learns quickly on a few hundred interactions, where those here do not suit it.
        patience: a factor of the number of epochs, for a model that needs more.
    """

    gentle: Mapping[str, object] = GENTLE
    live_epochs, cold_epochs = 3, 20

    def __init__(self, model: str | type, shops: Shops, settings: Mapping[str, object], patience: int) -> None:
        self.model, self.shops, self.settings, self.patience = model, shops, dict(settings), patience
        self.at_once = (get_model(model) if isinstance(model, str) else model).type == ModelType.TRADITIONAL

    def demands(self, features_rank: bool) -> list[Demand]:
        """All demands. Those on items without interactions are left out where a model's features do not rank (``features_rank``), and those
        on training where a model is found at once."""
        if self.at_once:
            return self._demands_at_once(features_rank)
        found = [
            Demand(f"trains and sends gradients where it says ({training}, {modalities})", partial(self.trains, training, modalities))
            for training, modalities in CASES
        ]
        for training in PARADIGMS:
            found += [
                Demand(f"finds the planted preference ({training})", partial(self.finds_the_preference, training)),
                Demand(f"items without picture or text are no obstacle ({training})", partial(self.stands_missing_items, training)),
                Demand(f"same seed, same model; checkpoint, same scores ({training})", partial(self.repeats_and_loads, training)),
            ]
        found += [
            Demand("a resumed run equals a straight one", partial(self.resumes, "pretrained")),
            Demand("features of other items rank nothing", self.wrong_features_rank_nothing),
        ]
        if features_rank:
            found += [
                Demand("features rank items without interactions", self.features_rank_cold_items),
                Demand("an encoder that trains ranks items without interactions", self.encoder_ranks_cold_items),
            ]
        return found

    def _demands_at_once(self, features_rank: bool) -> list[Demand]:
        found = [Demand(f"is found at once ({modalities})", partial(self.is_found, modalities)) for training, modalities in CASES
                 if training == "pretrained" or modalities == "three files"]  # fmt: skip
        found += [
            Demand("refuses an encoder that trains", self.refuses_to_train),
            Demand("finds the planted preference", partial(self.finds_the_preference, "pretrained")),
            Demand("items without picture or text are no obstacle", partial(self.stands_missing_items, "pretrained")),
            Demand("same seed, same model; checkpoint, same scores", partial(self.repeats_and_loads, "pretrained")),
            Demand("a resumed run equals a straight one", partial(self.resumes, "pretrained")),
            Demand("features of other items rank nothing", self.wrong_features_rank_nothing),
        ]
        return found + ([Demand("features rank items without interactions", self.features_rank_cold_items)] if features_rank else [])

    def is_found(self, modalities: str) -> None:
        model, (_, _, test), trainer = self.trained(self.shops.small, 1, encoder_training="pretrained", **MODALITIES[modalities])
        self._scores_are_consistent(model, trainer, test)

    def refuses_to_train(self) -> None:
        def end2end() -> None:
            self.ready(self.shops.small, 1, encoder_training="end2end")

        refused(InputError, end2end, "an encoder that trains is refused")

    def trains(self, training: str, modalities: str) -> None:
        keys = {**self.gentle, "train_batch_size": 64, "encoder_training": training, **MODALITIES[modalities]}
        model, (train, _, test), trainer = self.ready(self.shops.small, 1, **keys)
        live, batch = training == "end2end" and modalities != "three files", next(iter(train))
        model.start_training()
        model.start_epoch(0)
        first = losses_of(model, batch)
        sum(first).backward()
        encoder = dict(model.item_features.encoder.named_parameters()) if model.item_features.encoder else {}
        require(bool(encoder) == live, f"its item_features {'have no' if live else 'keep an'} encoder")
        for name, parameter in model.named_parameters():
            if not name.startswith("item_features.encoder"):
                require(has_gradient(parameter), f"the loss sends no gradient to {name}")
        reached = {name for name, p in encoder.items() if has_gradient(p)}
        require(bool(reached) == live, "the loss sends no gradient to the encoder")
        if live and "encoder" not in MODALITIES[modalities]:
            towers = {name for name in encoder if "logit_scale" not in name and ("visual" in name or "text" in modalities)}
            require(towers <= reached, f"the loss sends no gradient to {sorted(towers - reached)} of the encoder")
            require(
                reached <= towers | {"model.logit_scale"},
                f"the loss sends a gradient to {sorted(reached - towers)}, which it does not read",
            )
        start = {name: p.detach().clone() for name, p in model.named_parameters()}
        for epoch in range(self.live_epochs if live else 5):
            trainer._train_epoch(train, epoch)
        require(main_loss(model, losses_of(model, batch)) < main_loss(model, first), "the recommendation loss does not fall")
        still = {name for name, p in model.named_parameters() if torch.equal(p, start[name])}
        still &= {f"item_features.encoder.{name}" for name in reached} | {name for name in start if "encoder" not in name}
        require(not still, f"{sorted(still)} have gradients and do not change")
        self._scores_are_consistent(model, trainer, test)

    def _scores_are_consistent(self, model, trainer, test) -> None:
        scores = self.scores(model, test)
        require(scores.shape[1:] == (model.n_items - 1,) and len(scores), f"full_sort_predict gives {tuple(scores.shape)} scores")
        require(torch.isfinite(scores).all(), "full_sort_predict gives scores that are not finite")
        rows, items = torch.tensor([0, 1, 6]), torch.tensor([3, 1, 20])
        with torch.no_grad():
            pairs = model.predict(self.pairs(test, rows, items))
        require(torch.allclose(pairs, scores[rows, items - 1], rtol=1e-4, atol=1e-5), "predict and full_sort_predict differ")
        trainer.tot_item_num = model.n_items
        with torch.no_grad():
            _, ranked, *_ = trainer._full_sort_batch_eval(next(iter(test)))
        require((ranked.top(5) != 0).all(), "it recommends the padding item")

    def finds_the_preference(self, training: str) -> None:
        frozen = training == "pretrained"
        folder, metric, epochs = (self.shops.larger, "recall@10", 12) if frozen else (self.shops.small, "recall@5", 6)
        _, loaders, trainer = self.trained(folder, epochs, encoder_training=training, train_batch_size=32, **UNIFIED)
        found = trainer.evaluate(loaders[2], load_best_model=False)[metric]
        require(found > RIGHT, f"{metric} is {found:.2f} after {epochs * self.patience} epochs, not above {RIGHT}")

    def stands_missing_items(self, training: str) -> None:
        epochs = 12 if training == "pretrained" else 1
        model, loaders, trainer = self.trained(self.shops.gaps, epochs, encoder_training=training, **UNIFIED)
        require(self.at_once or torch.isfinite(loss_of(model, next(iter(loaders[0])))), "the loss is not finite")
        require(torch.isfinite(self.scores(model, loaders[2])).all(), "the scores are not finite")
        if training == "pretrained":
            found = trainer.evaluate(loaders[2], load_best_model=False)["recall@5"]
            require(found > 0.6, f"recall@5 is {found:.2f}, not above .6")

    def repeats_and_loads(self, training: str) -> None:
        keys = {"encoder_training": training, **(FILES if training == "pretrained" else {"modalities": ["image"], **UNIFIED})}
        model, (*_, test), trainer = self.trained(self.shops.small, 1, **keys)
        scores = self.scores(model, test)
        again, other = (self.scores(self.trained(self.shops.small, 1, **keys, **more)[0], test) for more in ({}, {"seed": 7}))
        require(torch.equal(again, scores), "the same seed gives other scores")
        require(not torch.equal(other, scores), "another seed gives the same scores")
        trainer._save_checkpoint(0, verbose=False)
        stored = torch.load(trainer.saved_model_file, weights_only=False)["state_dict"]
        trains = training == "end2end"
        require(any("encoder" in name for name in stored) == trains, f"its checkpoint has {'no' if trains else 'a frozen'} encoder")
        require(not any("table" in name for name in stored), "its checkpoint has a table of features")
        with working_in(self.shops.folder):  # where RecBole's log is written
            _, loaded, dataset, *_, test = load_data_and_model(trainer.saved_model_file, type(model))
        require(torch.equal(self.scores(loaded, test), scores), "its checkpoint gives other scores")
        require(len(dataset.content) == loaded.n_items, "its checkpoint is loaded over other items")

    def resumes(self, training: str) -> None:
        _, straight = self._fitted(training, 4)
        half, _ = self._fitted(training, 2)
        torch.manual_seed(12345)
        _, resumed = self._fitted(training, 4, resume=half)
        other = [name for name in straight if not torch.equal(straight[name], resumed[name])]
        require(straight.keys() == resumed.keys() and not other, f"after resuming, {other} have other values")

    def _fitted(self, training: str, epochs: int, resume: str | None = None) -> tuple[str, dict[str, Tensor]]:
        keys = FILES if training == "pretrained" else {"encoder_freeze_epochs": 1}
        model, (train, *_), trainer = self.ready(self.shops.small, epochs, encoder_training=training, train_batch_size=32, **keys)
        if resume:
            trainer.resume_checkpoint(resume)
        trainer.eval_step = 0
        trainer.fit(train, None, verbose=False, saved=True)
        return trainer.saved_model_file, model.state_dict()

    def features_rank_cold_items(self) -> None:
        auc = self._cold_auc_of_files("")
        require(auc > 0.85, f"of pairs of cold items, {auc:.2f} are ranked right, not more than .85")

    def wrong_features_rank_nothing(self) -> None:
        auc = self._cold_auc_of_files("shuffled/")
        require(0.25 < auc < 0.75, f"with each other's features, {auc:.2f} of pairs of cold items are ranked right, not about half")

    def _cold_auc_of_files(self, folder: str) -> float:
        shop, files = self.shops.cold, {m: f"{folder}{m}.safetensors" for m in ("a", "b")}
        model, loaders, _ = self.trained(shop, self.cold_epochs, feature_files=files, cold_items=str(shop / "cold.txt"))
        return self.cold_auc(model, loaders)

    def encoder_ranks_cold_items(self) -> None:
        shop = self.shops.small_cold
        keys = {"encoder_training": "end2end", "cold_items": str(shop / "cold.txt"), **GENTLE, **UNIFIED}
        model, loaders, _ = self.trained(shop, 12, **keys)
        auc = self.cold_auc(model, loaders)
        require(auc > 0.75, f"of pairs of cold items, {auc:.2f} are ranked right, not more than .75")

    def scores(self, model, test) -> Tensor:
        """Of users (or of the histories of a test loader) and all items, padding left out: (n, n_items - 1)."""
        return scores_of(model)

    def pairs(self, test, rows: Tensor, items: Tensor):
        """A batch for ``predict``: rows of ``scores``, and items."""
        return {"user_id": rows + 1, "item_id": items}

    def cold_auc(self, model, loaders) -> float:
        """Of pairs of cold items, the share that is ranked right."""
        return cold_auc(model, loaders[0].dataset)

    def ready(self, folder: Path, epochs: int, **keys):
        """model, loaders and trainer, untrained."""
        keys = {**QUICK, "checkpoint_dir": str(self.shops.folder / "saved"), **keys, **self.settings, "epochs": epochs}
        config, model, *loaders = built(folder, self.model, **keys)
        with no_tensorboard():
            return model, loaders, build_trainer(config, model)

    def trained(self, folder: Path, epochs: int, **keys):
        """model, loaders and trainer after so many epochs, times ``patience``."""
        epochs *= self.patience
        model, loaders, trainer = self.ready(folder, epochs, **keys)
        for epoch in range(epochs):
            trainer._train_epoch(loaders[0], epoch)
        return model, loaders, trainer
