"""Shims for modules of recbole 1.2.1 itself, each for the lines that its docstring names."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, wraps
from types import ModuleType

from recbole_mm.errors import InputError


def fix_trainer(module: ModuleType) -> None:
    """recbole/trainer/trainer.py:323 and :583, ``torch.load`` without arguments: torch >= 2.6 refuses the pickled Config in RecBole's own
    checkpoints. The former default is restored for that module only, which our trainer does not use for loading."""
    import torch

    if torch.__version__ >= torch.torch_version.TorchVersion("2.6") and module.torch is torch:
        module.torch = _With(torch, load=partial(torch.load, weights_only=False))


def fix_quick_start(module: ModuleType) -> None:
    """recbole/quick_start/quick_start.py:250, ``torch.load`` in ``load_data_and_model``, likewise: it imports torch itself, so the former
    default holds during its call."""
    import torch

    load_data_and_model = module.load_data_and_model

    @wraps(load_data_and_model)
    def with_former_default(*args, **kwargs):
        original, torch.load = torch.load, partial(torch.load, weights_only=False)
        try:
            return load_data_and_model(*args, **kwargs)
        finally:
            torch.load = original

    for place in (module, sys.modules.get("recbole.quick_start")):
        if hasattr(place, "load_data_and_model"):
            place.load_data_and_model = with_former_default


@contextmanager
def keeping_anomaly_mode() -> Iterator[None]:
    """recbole/model/sequential_recommender/sine.py:25, which turns on torch's search for anomalies when it is imported. All sequential
    models are imported with it, and then every backward pass of the process is several times slower."""
    import torch

    before = torch.is_anomaly_enabled()
    yield
    torch.autograd.set_detect_anomaly(before)


def fix_collector(module: ModuleType) -> None:
    """recbole/evaluator/collector.py:213, ``.cpu()`` on all that was collected: the number of items and their counts, which ItemCoverage,
    GiniIndex, TailPercentage and AveragePopularity need, are no tensors."""
    import torch

    get_data_struct = module.Collector.get_data_struct
    if getattr(get_data_struct, "moves_tensors_only", False):
        return

    @wraps(get_data_struct)
    def of_tensors_only(self) -> object:
        collected = self.data_struct._data_dict
        others = {key: collected.pop(key) for key in list(collected) if not isinstance(collected[key], torch.Tensor)}
        struct = get_data_struct(self)
        collected.update(others)
        struct._data_dict.update(others)
        return struct

    of_tensors_only.moves_tensors_only = True
    module.Collector.get_data_struct = of_tensors_only


def fix_case_study(module: ModuleType) -> None:
    """recbole/utils/case_study.py:43, the items that a user has interacted with, which the loader knows only for users with an item in the
    evaluated part: for all others it holds None. For sequential models such users were silently left out of the result, so that its rows
    were other users'.

    The function then raises InputError for users without a row of a sequential model.
    """
    import torch

    full_sort_scores = module.full_sort_scores
    if getattr(full_sort_scores, "knows_every_user", False):
        return

    @wraps(full_sort_scores)
    def of_every_user(uid_series, model, test_data, device=None):
        users = [int(user) for user in uid_series]
        if test_data.is_sequential:
            rows = torch.bincount(test_data.dataset.inter_feat[test_data.dataset.uid_field], minlength=test_data.dataset.user_num)
            odd = [user for user in users if rows[user] != 1]
            if odd:
                example = test_data.dataset.id2token(test_data.dataset.uid_field, odd[0])
                raise InputError(f"{len(odd)} of {len(users)} users have no sequence in this part of the data, or several: leave them out "
                                 f"(for example {example})")  # fmt: skip
        else:
            for user in users:
                if test_data.uid2history_item[user] is None:
                    test_data.uid2history_item[user] = torch.tensor(sorted(test_data._sampler.used_ids[user]), dtype=torch.int64)
        return full_sort_scores(users, model, test_data, device)

    of_every_user.knows_every_user = True
    module.full_sort_scores = of_every_user


@contextmanager
def without_ray() -> Iterator[None]:
    """recbole/quick_start/quick_start.py:20, ``from ray import tune``, which only ``objective_function`` under Ray Tune uses. RecBole asks
    for ray <= 2.6.3, which has no wheels for Python 3.12 and needs the ``pkg_resources`` of setuptools < 82. Where ray cannot be imported,
    something stands in for it that says so when it is used."""
    try:
        importlib.import_module("ray.tune")
    except Exception as error:
        absent = ModuleType("ray")
        absent.tune = _Absent(f"ray cannot be imported ({type(error).__name__}: {error}); RecBole's HyperTuning needs none")
        sys.modules["ray"] = absent
        try:
            yield
        finally:
            del sys.modules["ray"]
    else:
        yield


class _Absent:
    """Says what is missing when it is used."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> object:
        raise ImportError(self._reason)


class _With:
    """A module of which some names are replaced."""

    def __init__(self, module: object, **names: object) -> None:
        self._module = module
        vars(self).update(names)

    def __getattr__(self, name: str) -> object:
        return getattr(self._module, name)


@contextmanager
def no_tensorboard() -> Iterator[None]:
    """recbole/trainer/trainer.py:115: every trainer writes into log_tensorboard. Of several processes, only the first one should."""
    import recbole.trainer.trainer as module

    original, module.get_tensorboard = module.get_tensorboard, lambda _: _Silent()
    try:
        yield
    finally:
        module.get_tensorboard = original


class _Silent:
    """Takes any call and does nothing, in no folder."""

    log_dir = None

    def __getattr__(self, name: str) -> object:
        return lambda *_, **__: None
