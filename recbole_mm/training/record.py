"""The record of a finished run, beside its checkpoint: ``<stem>.json`` says what was run and what came out, ``<stem>.users.parquet`` how
each test user fared."""

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import torch

import recbole_mm
from recbole_mm.checkpoint import plain
from recbole_mm.data.interaction_codes import interaction_codes, pair_codes
from recbole_mm.data.tokens import item_tokens, user_tokens
from recbole_mm.disk import write_whole
from recbole_mm.evaluation.per_user import PerUser, ranks_of, rows_of
from recbole_mm.evaluation.popularity import training_counts, training_pairs
from recbole_mm.model.feature_model import FeatureModel

FORMAT = 1
PACKAGES = ("recbole", "torch", "transformers", "open_clip_torch", "numpy", "pandas")


def write_record(config, model, loaders: tuple, result: Mapping[str, object], per_user: PerUser, started: datetime) -> dict[str, str]:
    """Writes the record of a run.

    Args:
        config, model, loaders: of the run; the loaders are those of training, validation and test.
        result: what ``run`` returns, with ``files``.
        per_user: what its test found per user.

    Returns:
        "record" and "users" -> the path; {} for a run without a checkpoint.
    """
    checkpoint = result["files"].get("checkpoint")
    if checkpoint is None:
        return {}
    stem = Path(checkpoint).with_suffix("")
    files = {"record": f"{stem}.json", **({"users": f"{stem}.users.parquet"} if len(per_user) else {})}
    if "users" in files:
        table = users_table(model, loaders, per_user)
        write_whole(Path(files["users"]), lambda file: duckdb.from_df(table).write_parquet(str(file)))
    facts = _facts(config, loaders, result, started) | {"files": {**result["files"], **files}}
    _write(files["record"], plain(facts))
    return files


def amend_record(file: str, **facts: object) -> None:
    """Adds facts to a record."""
    _write(file, {**json.loads(Path(file).read_text(encoding="utf-8")), **facts})


def users_table(model, loaders: tuple, per_user: PerUser) -> pd.DataFrame:
    """A row per test user.

    Returns:
        The columns ``user``; ``n_training``, the user's interactions in training; every metric; ``rankings``, how many rankings the user
        has been given, over which the metrics are means: one, or, by a sequential model, one per interaction; and lists about the
        user's interactions in the test: ``items``, their ``ranks`` (0 beyond the largest k), their ``counts`` in training, and
        ``has_<modality>``, whether the item has it, for models whose items have features.
    """
    training, test_data = loaders[0]._dataset, loaders[2]
    users, rows, items = (values.cpu() for values in rows_of(test_data))
    lists = {
        "items": np.array(item_tokens(training), dtype=object)[items],
        "ranks": ranks_of(per_user.recommended, rows, items).numpy(),
        "counts": training_counts(training)[items].numpy(),
    }
    features = model.item_features if isinstance(model, FeatureModel) else None  # GCMC has tensors of that name
    for modality in features.modalities if features is not None else ():
        lists[f"has_{modality}"] = features.present(modality).cpu()[items].numpy()
    names = np.array(user_tokens(training), dtype=object)
    own = np.bincount(training_pairs(training)[0], minlength=training.user_num)
    by_user = pd.DataFrame({"user": names[users], "n_training": own[users], **per_user.metrics}).groupby("user", sort=False)
    metrics = by_user.mean().assign(rankings=by_user.size())
    metrics["n_training"] = metrics["n_training"].astype(np.int64)
    group, tested = pd.factorize(users[rows].numpy())
    order, ends = np.argsort(group, kind="stable"), np.bincount(group).cumsum().tolist()
    found = {name: _cut(values[order].tolist(), ends) for name, values in lists.items()}
    return metrics.join(pd.DataFrame(found, index=names[tested])).reset_index(names="user")


def _cut(values: list, ends: Sequence[int]) -> list[list]:
    """A list as several ones, by the places at which each ends."""
    return [values[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _facts(config, loaders: tuple, result: Mapping[str, object], started: datetime) -> dict[str, object]:
    now = datetime.now(timezone.utc)
    return {
        "format": FORMAT,
        "model": config["model"],
        "dataset": config["dataset"],
        "seed": config["seed"],
        "started": started.isoformat(timespec="seconds"),
        "finished": now.isoformat(timespec="seconds"),
        "seconds": round((now - started).total_seconds(), 1),
        "asked": {**config.data_set_config_dict, **config.external_config_dict},
        "data": _data(loaders),
        "valid_metric": str(config["valid_metric"]).lower(),
        "valid_metric_bigger": config["valid_metric_bigger"],
        "best_valid_score": result["best_valid_score"],
        "valid": result["best_valid_result"],
        "test": result["test_result"],
        "parts": {name.removeprefix("test_result_"): found for name, found in result.items() if name.startswith("test_result_")},
        "popularity": result.get("popularity", {}),
        "cost": result.get("cost"),
        "init_from": result.get("init_from"),
        "versions": _versions(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {config['device']}",
        "settings": {**config.final_config_dict, "data_path": os.path.abspath(config["data_path"])},
    }


def _data(loaders: tuple) -> dict[str, object]:
    training, *later = [loader._dataset if loader else None for loader in loaders]
    codes = {"training": pair_codes(training, *training_pairs(training))}
    codes |= {name: interaction_codes(part) for name, part in zip(("valid", "test"), later, strict=True) if part is not None}
    digest = blake2b(digest_size=16)
    for name, found in codes.items():
        digest.update(name.encode() + found.numpy().tobytes())
    sizes = {f"n_{name}": len(found) for name, found in codes.items()}
    return {"fingerprint": digest.hexdigest(), "n_users": training.user_num - 1, "n_items": training.item_num - 1, **sizes}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "recbole_mm": recbole_mm.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found | {"cuda": torch.version.cuda} if torch.version.cuda else found


def finite(value: object) -> object:
    """A value without what JSON has no number for: the best score of a run without validation is -inf."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(file: str, facts: Mapping[str, object]) -> None:
    text = json.dumps(finite(facts), indent=1, ensure_ascii=False, default=str, allow_nan=False)
    write_whole(Path(file), lambda new: new.write_text(text, encoding="utf-8"))
