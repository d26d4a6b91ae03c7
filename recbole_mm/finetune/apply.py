"""From a configuration to a tuned encoder."""

from logging import getLogger
from pathlib import Path
from typing import NamedTuple

from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.export import check_exportable
from recbole_mm.encoder.joint import JointEncoder
from recbole_mm.encoder.tuning.tune import tune
from recbole_mm.finetune.choose import Chooser
from recbole_mm.finetune.retrieval import told
from recbole_mm.finetune.settings import Settings
from recbole_mm.finetune.stage import Stage
from recbole_mm.finetune.tuned_store import key, load_or_tune
from recbole_mm.finetune.units import Units, hold_out
from recbole_mm.items.inputs import EncoderInputs
from recbole_mm.items.raw_items import RawItems
from recbole_mm.parallel.ranks import Ranks

logger = getLogger(__name__)


class Tuned(NamedTuple):
    """A tuned encoder, its report (see ``recbole_mm.finetune.tuned_store``), its folder, and whether it was there already."""

    encoder: ItemEncoder
    report: dict
    folder: Path
    reused: bool


def finetune(config, dataset, encoder: ItemEncoder, chunk_size: int | None, exported: bool = False) -> Tuned:
    """Adapts an encoder to a data set's pictures and texts, in place: by weights stored before, or by training it now.

    Every modality that encoder and items have takes part, whichever of them the recommender uses: one tuned encoder serves them all.

    Args:
        dataset: a MultiModalDataset whose interactions are the training ones.
        encoder: on its device, with its pretraining heads if its kind has any.
        chunk_size: see ``EncodedItems``.
        exported: it will be, so it has to be possible.

    Raises:
        InputError: an objective that was asked for is not possible, or nothing is left to learn.
    """
    content, show_progress = dataset.content, bool(config["show_progress"])
    parts = [m for m in encoder.modalities if m in content.modalities and bool(content.present[m].any())]
    inputs, alone = EncoderInputs(encoder, content, parts, show_progress), Ranks()  # the first process trains, the others load
    items = RawItems(encoder, inputs, chunk_size=chunk_size, precision=config["encoder_precision"], ranks=alone)
    settings, units = Settings.from_config(config, encoder), Units(inputs)
    split = hold_out(units, settings.valid_ratio if encoder.aligned else 0.0, settings.seed)
    asked = config.external_config_dict.get("finetune_weights") or {}
    objectives = Chooser(encoder, dataset, units, split.trained, settings).choose(asked)
    settings = settings.only(objectives)
    name = key(encoder.fingerprint(), settings, units, objectives)
    tune(encoder, settings.tuning, seed=settings.seed, **settings.tuning_options)
    if exported:
        check_exportable(encoder)
    folder = content.cache_dir / "encoders" / name
    stage = Stage(items, units, objectives, split, settings)
    if split.mixed:
        logger.info("pictures or texts are shared so widely that held-out pairs share some with the training pairs")
    with Ranks.current().first_one_first():
        report, reused = load_or_tune(stage, folder, show_progress)
    if isinstance(encoder, JointEncoder):
        encoder.pretraining_heads = None
    encoder.eval().requires_grad_(False)
    logger.info(_summary(report, folder, reused))
    return Tuned(encoder, report, folder, reused)


def _summary(report: dict, folder: Path, reused: bool) -> str:
    how = "reused from" if reused else "fine-tuned into"
    facts = f"encoder {how} {folder}: epoch {report['best_epoch']} of {len(report['epochs'])}, {report['seconds']} s"
    if report["before"] is None:
        return f"{facts}; no held-out pairs to retrieve"
    return f"{facts}; retrieval among {report['held_out']} held-out pairs: {told(report['before'], report['after'])}"
