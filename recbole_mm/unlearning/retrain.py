"""A model trained from its beginning on what stays, which is what an unlearned one is measured by."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory

from recbole_mm.compat.recbole_modules import no_tensorboard
from recbole_mm.quick_start import data_of
from recbole_mm.terminal import end_bars
from recbole_mm.training.build import build_model, build_trainer
from recbole_mm.training.init_from import read_source, start_from
from recbole_mm.training.tested import floats
from recbole_mm.unlearning.kept import KeptRun


@dataclass(frozen=True)
class Retrained:
    """A model that never knew the forgotten.

    Attributes:
        run: the run over what stays, with this model.
        valid, test: metric -> value; None without such a part.
        seconds: of its training, validations included.
    """

    run: KeptRun
    valid: Mapping[str, float] | None
    test: Mapping[str, float] | None
    seconds: float


def retrain(run: KeptRun, seed: int | None = None, show_progress: bool = False) -> Retrained:
    """Trains the model of a run anew, under the settings of the run and on its interactions. Over the ids of a run that still has the
    forgotten, their rows are what the seed makes of them. Its checkpoint is not kept.

    Args:
        run: whose data are read again; it stays as it is.
        seed: another one than the run's.
    """
    config = run.config.changed(seed=run.config["seed"] if seed is None else seed)
    dataset, loaders = data_of(config, run.checkpoint)
    for part in (dataset, *(loader._dataset for loader in loaders)):
        part.gone_items = run.dataset.gone_items
    with TemporaryDirectory() as folder, no_tensorboard():
        config = config.changed(checkpoint_dir=folder)
        model = build_model(config, loaders[0])
        trainer = build_trainer(config, model)
        source = read_source(config)
        if source is not None:
            trainer.init_from = start_from(model, config, source)
        started = time.monotonic()
        try:
            _, valid = trainer.fit(*loaders[:2], verbose=False, saved=True, show_progress=show_progress)
            seconds = time.monotonic() - started
            test = trainer.evaluate(loaders[2], load_best_model=True)
        finally:
            end_bars()
    return Retrained(replace(run, config=config, model=model, dataset=dataset, **_named(loaders)), floats(valid), floats(test), seconds)


def _named(loaders: tuple) -> dict[str, object]:
    return dict(zip(("train_data", "valid_data", "test_data"), loaders, strict=True))
