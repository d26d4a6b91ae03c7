"""``recbole-mm distil``: a large encoder into a small one, on the contents of a catalogue."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.data.content import ItemContent
from recbole_mm.distillation.agreement import Agreement
from recbole_mm.distillation.choose import DistilChooser
from recbole_mm.distillation.comparison import seconds_to_encode, validated
from recbole_mm.distillation.settings import DistilSettings
from recbole_mm.distillation.student import Written, check_output, check_writable, write_report, write_student
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.build_encoder import build_encoder
from recbole_mm.encoder.factory import options_of, parse_name
from recbole_mm.encoder.settings import OPTIONS, EncoderSettings
from recbole_mm.errors import InputError, listed
from recbole_mm.feature.build import encode
from recbole_mm.finetune.loop import FinetuningLoop
from recbole_mm.finetune.retrieval import before_and_after
from recbole_mm.finetune.tuned_store import load_or_tune, tuned_key
from recbole_mm.finetune.units import Units
from recbole_mm.items.inputs import EncoderInputs
from recbole_mm.items.raw_items import RawItems
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.terminal import say


def distil(config: MultiModalConfig, dataset, teacher: str, output: str | Path | None = None) -> dict:
    """Distils a teacher into the encoder of a configuration, and compares the two.

    The teacher encodes the catalogue once, into the feature store. What was distilled before from the same rows, with the same settings,
    into the same student, is found again.

    Args:
        config: a configuration whose ``encoder`` is the student, with the recommender that compares the two in the end.
        dataset: its MultiModalDataset, of which the contents of the items are read.
        teacher: the teacher's name.
        output: a folder for the student; None for one in the cache.

    Returns:
        The report, which is ``distillation.json`` in the folder as well (docs/distillation.md says what it holds).

    Raises:
        InputError: teacher, student and items have no modality in common, the student cannot be read again from files, or the output is
            something else; all of this is found before anything is trained.
    """
    how, settings = EncoderSettings.from_config(config), DistilSettings.from_config(config)
    _check(how, output)
    source, student = build_encoder(_for_teacher(how, teacher)), build_encoder(replace(how, trains=True))
    check_writable(student)
    modalities = _common(source, student, dataset.content, how)
    taught = encode(replace(how, modalities=tuple(modalities)), dataset, source, Ranks.current()).tables
    source.cpu()
    loop, folder = _staged(student, dataset.content, modalities, {m: table.rows for m, table in taught.items()}, settings)
    found, reused = load_or_tune(loop, folder)
    student.eval().requires_grad_(False)
    say(_summary(found, folder, reused))
    output = Path(output) if output is not None else folder / "encoder"
    written = write_student(student, output)
    say(f"student written to {output}: {written} uses it")
    pair = {"teacher": source, "student": student}
    seconds = {who: seconds_to_encode(encoder, dataset.content, modalities, how) for who, encoder in pair.items()}
    say(f"seconds to encode the catalogue: teacher {seconds['teacher']:.2f}, student {seconds['student']:.2f}, "
        f"{seconds['teacher'] / seconds['student']:.2f} times as fast")  # fmt: skip
    report = {**found, "teacher": teacher, "student": written._asdict(), "seconds_to_encode": seconds}
    write_report(output, report)
    report["recommender"] = _recommended(config, teacher, written)
    write_report(output, report)
    return report


def _check(how: EncoderSettings, output: str | Path | None) -> None:
    if Ranks.current().world > 1:
        raise InputError("distil works in one process; start it without torchrun")
    if not how.needed:
        raise InputError("nothing to distil: modalities is empty, or feature_files brings them all")
    if how.row_dim is not None:
        raise InputError(f"encoder_dim {how.row_dim}: a student learns whole feature vectors; give it to the runs that use the student")
    if output is not None:
        check_output(Path(output))


def _for_teacher(how: EncoderSettings, teacher: str) -> EncoderSettings:
    """The options are the student's; a teacher of another backend takes those that it knows."""
    known = options_of(parse_name(teacher)[0])
    return replace(how, name=teacher, options={option: value for option, value in how.options.items() if known is None or option in known})


def _common(teacher: ItemEncoder, student: ItemEncoder, content: ItemContent, how: EncoderSettings) -> list[str]:
    """The modalities that both encoders and the items have, of those in use."""
    having = [m for m in content.modalities if bool(content.present[m].any()) and (how.modalities is None or m in how.modalities)]
    found = [m for m in student.modalities if m in teacher.modalities and m in having]
    if not found:
        raise InputError(f"nothing to distil: the teacher reads {listed(teacher.modalities)}, the student {listed(student.modalities)}, "
                         f"and the items have {listed(having) or 'neither pictures nor texts'}")  # fmt: skip
    return found


def _staged(
    student: ItemEncoder, content: ItemContent, modalities: list[str], taught: dict[str, Tensor], settings: DistilSettings
) -> tuple[FinetuningLoop, Path]:  # fmt: skip
    """The loop that distils, and the folder of the store that its result belongs into.

    Args:
        taught: ``{modality: (n_items, d)}``, the teacher's rows.
    """
    inputs = EncoderInputs(student, content, modalities, settings.show_progress)
    items = RawItems(student, inputs, chunk_size=settings.chunk_size, precision=settings.precision, ranks=Ranks())
    settings, units = settings.for_encoder(student), Units(inputs)
    taught = {m: rows[units.ids] for m, rows in taught.items()}
    agreement = Agreement(units, taught, student.aligned, settings)
    objectives = DistilChooser(items, units, agreement.split.trained, taught, False, settings).choose()
    settings = settings.only(objectives)
    folder = content.cache_dir / "students" / tuned_key(student.fingerprint(), settings, units, objectives)
    return FinetuningLoop(items, units, objectives, agreement, settings), folder


def _summary(found: dict, folder: Path, reused: bool) -> str:
    how = "reused from" if reused else "distilled into"
    facts = f"student {how} {folder}: epoch {found['best_epoch']} of {len(found['epochs'])}, {found['seconds']} s"
    if found["before"] is None:
        return f"{facts}; no items were held out"
    return f"{facts}; among {found['held_out']} held-out items: {before_and_after(found['before'], found['after'])}"


def _recommended(config: MultiModalConfig, teacher: str, student: Written) -> dict[str, object]:
    """The validation result of the recommender over each of the two encoders, frozen."""
    unset, options = dict.fromkeys(OPTIONS), _for_teacher(EncoderSettings.from_config(config), teacher).options
    own = {key: options[option] for key, option in OPTIONS.items() if option in options}
    found = {
        "teacher": validated(config.changed(encoder=teacher, **unset | own)),
        "student": validated(config.changed(encoder=student.name, **unset | student.keys)),
    }
    model, metric, share = config["model"], config["valid_metric"], found["student"] / found["teacher"] if found["teacher"] else 1.0
    say(f"{model} over frozen features, {metric} on validation: teacher {found['teacher']:.4f}, student {found['student']:.4f}, "
        f"{share:.3f} of the teacher's", result=True)  # fmt: skip
    return {"model": model, "valid_metric": metric, **found}
