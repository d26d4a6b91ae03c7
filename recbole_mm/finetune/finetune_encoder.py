"""Fine-tuning from its beginning to its end: from settings, a data set and an encoder to a tuned encoder."""

from pathlib import Path
from typing import NamedTuple

from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.export import check_exportable
from recbole_mm.encoder.joint import JointEncoder
from recbole_mm.finetune.choose_objectives import ObjectiveChooser
from recbole_mm.finetune.held_out import HeldOut
from recbole_mm.finetune.loop import FinetuningLoop
from recbole_mm.finetune.retrieval import before_and_after
from recbole_mm.finetune.settings import FinetuneSettings
from recbole_mm.finetune.tuned_store import REPORT, load_or_tune, tuned_key
from recbole_mm.finetune.units import Units
from recbole_mm.items.inputs import EncoderInputs
from recbole_mm.items.raw_items import RawItems
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.terminal import say


class TunedEncoder(NamedTuple):
    """A tuned encoder, its report (see ``recbole_mm.finetune.tuned_store``), its folder, and whether it was there already."""

    encoder: ItemEncoder
    report: dict
    folder: Path
    reused: bool


def finetune_encoder(settings: FinetuneSettings, dataset, encoder: ItemEncoder, to_export: bool = False) -> TunedEncoder:
    """Adapts an encoder to the pictures and texts of a data set, in place: by weights stored before, or by training it now.

    Every modality that the encoder and the items have takes part, whichever of them the recommender uses: one tuned encoder serves
    them all.

    Args:
        dataset: a MultiModalDataset whose interactions are the training ones.
        encoder: on its device, with its pretraining heads if its kind has any.
        to_export: its weights are to be exported afterwards, so that has to be possible.

    Raises:
        InputError: an objective that was asked for is not possible, nothing is left to learn, or see ``check_exportable``.
    """
    content = dataset.content
    modalities = [m for m in encoder.modalities if m in content.modalities and bool(content.present[m].any())]
    inputs, alone = EncoderInputs(encoder, content, modalities, settings.show_progress), Ranks()
    items = RawItems(encoder, inputs, chunk_size=settings.chunk_size, precision=settings.precision, ranks=alone)
    settings, units = settings.for_encoder(encoder), Units(inputs)
    held_out = HeldOut(encoder, dataset, units, settings)
    objectives = ObjectiveChooser(encoder, dataset, units, held_out.split.trained, settings).choose()
    settings = settings.only(objectives)
    store, name = content.cache_dir / "encoders", tuned_key(encoder.fingerprint(), settings, units, objectives)
    folder = store / (settings.stored if settings.stored and (store / settings.stored / REPORT).is_file() else name)
    settings.tuning.apply(encoder, settings.seed)
    if to_export:
        check_exportable(encoder)
    loop = FinetuningLoop(items, units, objectives, held_out, settings)
    if held_out.split.mixed:
        say("pictures or texts are shared by so many items that held-out items share some with the training items")
    with Ranks.current().first_one_first():  # the first process trains by itself, the others load
        report, reused = load_or_tune(loop, folder)
    if isinstance(encoder, JointEncoder):
        encoder.pretraining_heads = None
    encoder.eval().requires_grad_(False)
    say(_summary(report, folder, reused))
    return TunedEncoder(encoder, report, folder, reused)


def _summary(report: dict, folder: Path, reused: bool) -> str:
    how = "reused from" if reused else "fine-tuned into"
    facts = f"encoder {how} {folder}: epoch {report['best_epoch']} of {len(report['epochs'])}, {report['seconds']} s"
    if report["before"] is None:
        return f"{facts}; no items were held out"
    return f"{facts}; retrieval among {report['held_out']} held-out items: {before_and_after(report['before'], report['after'])}"
