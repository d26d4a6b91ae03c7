"""The shuffle test: do the features of an item tell who likes it, or might they as well belong to another item?"""

import json
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from recbole.utils import init_seed
from safetensors.numpy import save_file
from scipy.stats import rankdata, ttest_rel

from recbole_mm.audit.report import Report
from recbole_mm.config.model_keys import declared_keys
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.errors import InputError
from recbole_mm.feature.build import build_features
from recbole_mm.model.vbpr import VBPR
from recbole_mm.terminal import Bar
from recbole_mm.training.loaders import training_dataset

SMALL_MODEL = {
    **{name: key.default for name, key in declared_keys(VBPR).items()},
    "embedding_size": 32, "use_bias": False, "legacy_norm": False, "reg_weight": 0.001, "missing": "zero", "encoder_training": "pretrained",
}  # fmt: skip
FOLDS, STEPS, BATCH, RATE = 5, 150, 512, 0.01
LEVEL = 0.01
"""The significance level of the one-sided paired t test over the folds."""
LEAST_GAIN = 0.01
"""How much larger the area under the curve must be with the true features for a signal to be reported."""
MOST_USERS, MOST_COLD = 4000, 4000
"""Users and cold items that are ranked; of more, a sample is taken."""
FEWEST_ITEMS = 20


class Outcome(NamedTuple):
    """The area under the ROC curve over cold items in each fold, with the true and with permuted features."""

    true: np.ndarray
    permuted: np.ndarray

    @property
    def signal(self) -> bool:
        gain = self.true - self.permuted
        return bool(gain.mean() > LEAST_GAIN and ttest_rel(self.true, self.permuted, alternative="greater").pvalue < LEVEL)

    def numbers(self) -> dict[str, float | bool]:
        gain = self.true - self.permuted
        return {"true": float(self.true.mean()), "permuted": float(self.permuted.mean()), "difference": float(gain.mean()),
                "standard_error": float(gain.std(ddof=1) / np.sqrt(len(gain))), "signal": self.signal}  # fmt: skip


def shuffle_test(config: MultiModalConfig, report: Report) -> None:
    """Trains a small VBPR without id embeddings for each modality, on the true and on permuted features, and compares how well it ranks
    items that it has not seen in training. Only the training part of the run's split is used: each fifth of its items is cold in one of
    the five folds. An encoder is taken as it is, frozen.

    Raises:
        InputError: there are no features to permute, or they cannot be had.
    """
    if config["modalities"] == []:
        raise InputError("modalities: [] leaves no features to permute")
    config = config.changed(**SMALL_MODEL)
    init_seed(config["seed"], config["reproducibility"])  # the run's split
    dataset = training_dataset(config)
    training = np.stack([dataset.inter_feat[field].numpy() for field in (dataset.uid_field, dataset.iid_field)], axis=1)
    features = build_features(config, dataset)
    tables = {m: (features.table()[m].detach().cpu().numpy(), features.present(m).cpu().numpy()) for m in features.modalities}
    bar = Bar(total=2 * FOLDS * len(tables), desc="Shuffle test", disable=not config["show_progress"])
    with bar, tempfile.TemporaryDirectory() as folder:
        for modality, (rows, present) in tables.items():
            seen = np.unique(training[:, 1])
            if present[seen].sum() < FEWEST_ITEMS:
                report.add("info", "shuffle_test.too_few", f"{modality}: only {present[seen].sum()} items of the training part have it",
                           f"nothing: the shuffle test needs {FEWEST_ITEMS} such items")  # fmt: skip
                continue
            outcome = _compare(config, dataset, training, modality, rows, present, Path(folder), bar)
            _report(modality, outcome, report)


def _report(modality: str, outcome: Outcome, report: Report) -> None:
    numbers = report.numbers["shuffle_test"][modality] = outcome.numbers()
    facts = (
        f"{modality}: unseen items are ranked at AUC {numbers['true']:.3f} with the true features, {numbers['permuted']:.3f} with permuted "
        f"ones (difference {numbers['difference']:+.3f}, standard error {numbers['standard_error']:.3f}, {FOLDS} folds)"
    )
    if outcome.signal:
        report.add(
            "info", "shuffle_test.signal", f"the alignment carries signal: {facts}", "nothing: the features of an item tell who likes it"
        )
    else:
        report.add("warning", "shuffle_test.no_signal", f"no signal found: features may be misaligned: {facts}", "check the order of the "
                   "feature file's rows and feature_ids; or the features tell nothing about taste, or the data are too few")  # fmt: skip


def _compare(
    config: MultiModalConfig,
    dataset: MultiModalDataset,
    training: np.ndarray,
    modality: str,
    rows: np.ndarray,
    present: np.ndarray,
    folder: Path,
    bar: Bar,
) -> Outcome:
    """Trains on both kinds of features in every fold. Items that lack the modality take no part."""
    tokens = dataset.tokens
    owners, spread = np.flatnonzero(present), rows[present].std(0)
    standard = (rows[present] - rows[present].mean(0)) / np.where(spread > 1e-6, spread, np.inf)
    table = np.zeros((len(tokens) - 1, rows.shape[1]), dtype=np.float32)
    table[owners - 1] = standard / np.sqrt(max((spread > 1e-6).sum(), 1))
    training = training[present[training[:, 1]]]
    items = np.random.default_rng(0).permutation(np.unique(training[:, 1]))
    found: dict[bool, list[float]] = {True: [], False: []}
    for fold in range(FOLDS):
        permuted = table.copy()
        permuted[owners - 1] = table[np.random.default_rng(fold + 1).permutation(owners) - 1]
        for true, features in ((True, table), (False, permuted)):
            file = folder / "features.safetensors"
            save_file({"features": features}, file, {"item_tokens": json.dumps(tokens[1:])})
            own = config.changed(feature_files={modality: str(file)}, feature_ids=None, modalities=[modality])
            found[true].append(_cold_auc(own, dataset, training, items[fold::FOLDS], fold))
            bar.update()
    return Outcome(np.array(found[True]), np.array(found[False]))


def _cold_auc(config: MultiModalConfig, dataset: MultiModalDataset, training: np.ndarray, cold: np.ndarray, seed: int) -> float:
    """Trains on the items that are not cold. Id embeddings are zero and fixed, so that only the features can rank the cold ones."""
    init_seed(seed, True)
    model = VBPR(config, dataset)
    model.item_embedding.weight.requires_grad_(False).zero_()
    is_cold = np.isin(training[:, 1], cold)
    warm = torch.from_numpy(training[~is_cold])
    pool = warm[:, 1].unique()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=RATE)
    for _ in range(STEPS):
        users, positives = warm[torch.randint(len(warm), (BATCH,))].T
        batch = {model.USER_ID: users, model.ITEM_ID: positives, model.NEG_ITEM_ID: pool[torch.randint(len(pool), (BATCH,))]}
        optimizer.zero_grad()
        sum(model.calculate_loss(batch)).backward()
        optimizer.step()
    model.eval()
    users, items = (side.detach().numpy() for side in model.embed())
    return _auc(users, items, training[is_cold], cold, seed)


def _auc(users: np.ndarray, items: np.ndarray, pairs: np.ndarray, cold: np.ndarray, seed: int) -> float:
    """The share of pairs in which a cold item of the user is scored above a cold item that is not."""
    rng = np.random.default_rng(seed)
    cold = np.sort(rng.permutation(cold)[:MOST_COLD])
    pairs = pairs[np.isin(pairs[:, 1], cold)]
    some = np.sort(rng.permutation(np.unique(pairs[:, 0]))[:MOST_USERS])
    pairs = pairs[np.isin(pairs[:, 0], some)]
    relevant = np.zeros((len(some), len(cold)), dtype=bool)
    relevant[np.searchsorted(some, pairs[:, 0]), np.searchsorted(cold, pairs[:, 1])] = True
    ranks = rankdata(users[some] @ items[cold].T, axis=1)
    n, others = relevant.sum(1), (~relevant).sum(1)
    above = (ranks * relevant).sum(1) - n * (n + 1) / 2
    if not (n * others).sum():
        raise InputError("there are too few interactions with the items that were left out for the shuffle test to rank them")
    return float(above.sum() / (n * others).sum())
