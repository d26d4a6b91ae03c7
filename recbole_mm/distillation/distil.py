"""``recbole-mm distil``: a large encoder into a small one, on the contents of a catalogue."""

from dataclasses import replace
from logging import getLogger
from pathlib import Path

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.data.content import ItemContent
from recbole_mm.distillation.comparison import seconds_to_encode, validated
from recbole_mm.distillation.lesson import Lesson
from recbole_mm.distillation.request import Request
from recbole_mm.distillation.settings import DistilSettings
from recbole_mm.distillation.student import check_output, check_student, write_report, write_student
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.build_encoder import build_encoder
from recbole_mm.encoder.factory import options_of, parse_name
from recbole_mm.encoder.settings import OPTIONS, EncoderSettings
from recbole_mm.errors import InputError, listed
from recbole_mm.feature.build import encode
from recbole_mm.finetune.retrieval import before_and_after
from recbole_mm.finetune.tuned_store import load_or_tune
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.terminal import say

logger = getLogger(__name__)
NOT_IN_FILES = ("prompt", "max_patches")
"""Options that a student's files do not hold."""


def distil(config: MultiModalConfig, dataset, request: Request) -> dict:
    """Distils a teacher into the encoder of a configuration, which is pruned before that where the request says so, and compares the two.

    The teacher encodes the catalogue once, into the feature store. What was distilled before from the same rows, with the same settings,
    into the same student, is found again.

    Args:
        config: a configuration whose ``encoder`` is the student, with the recommender that compares the two in the end.
        dataset: its MultiModalDataset, of which the contents of the items are read.

    Returns:
        The report, which is ``distillation.json`` in the student's folder as well (docs/distillation.md says what it holds).

    Raises:
        InputError: teacher, student and items have no modality in common, the student cannot be pruned, or read again from files, or the
            output is something else; all of this is found before anything is trained.
    """
    how, settings, content = EncoderSettings.from_config(config), DistilSettings.from_config(config), dataset.content
    _check(how, request)
    teacher, student = build_encoder(_for_teacher(how, request.teacher)), build_encoder(how)
    check_student(student, request.prune)
    modalities = _common(teacher, student, content, how)
    untaught = [m for m in student.modalities if m in ("image", "text") and m not in modalities]
    if untaught:
        taught, others = listed(modalities), listed(untaught)
        logger.warning(f"the student learns {taught} alone: what it makes of {others} is not the teacher's; use it for {taught}")
    tables = encode(replace(how, modalities=tuple(modalities)), dataset, teacher, Ranks.current()).tables
    teacher.cpu()
    lesson = Lesson(content, {m: table.rows for m, table in tables.items()}, settings)
    if request.prune:
        whole, student = student, lesson.pruned(student, request.prune)
        say(f"pruned from {_size(whole)} to {_size(student)}")
    loop, folder = lesson.staged(student, same_space=how.name == request.teacher)
    found, reused = load_or_tune(loop, folder)
    student.eval().requires_grad_(False)
    say(_summary(found, folder, reused))
    output = folder / "encoder" if request.output is None else Path(request.output)
    report = {**found, "teacher": request.teacher, "student": how.name, "pruned": request.prune and list(request.prune)}
    report["name"] = write_student(student, output, report)
    say(f"student written to {output}: --encoder={report['name']} uses it")
    report["seconds_to_encode"] = seconds = {
        who: seconds_to_encode(encoder, content, modalities, how) for who, encoder in (("teacher", teacher), ("student", student))
    }
    faster = seconds["teacher"] / seconds["student"]
    say(f"encoding the catalogue: teacher {seconds['teacher']:.2f} s, student {seconds['student']:.2f} s, {faster:.2f} times as fast")
    write_report(output, report)
    report["recommender"] = _recommended(config, request.teacher, report["name"])
    write_report(output, report)
    return report


def _check(how: EncoderSettings, request: Request) -> None:
    if Ranks.current().world > 1:
        raise InputError("distil works in one process; start it without torchrun")
    if not how.needed:
        raise InputError("nothing to distil: modalities is empty, or feature_files brings them all")
    if how.row_dim is not None:
        raise InputError(f"encoder_dim {how.row_dim}: a student learns whole feature vectors; give it to the runs that use the student")
    if request.output is not None:
        check_output(Path(request.output))


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


def _size(encoder: ItemEncoder) -> str:
    blocks = " and ".join(str(len(tower)) for tower in encoder.towers())
    return f"{blocks} blocks, {sum(p.numel() for p in encoder.parameters()) / 1e6:.1f} million parameters"


def _summary(found: dict, folder: Path, reused: bool) -> str:
    how = "reused from" if reused else "distilled into"
    facts = f"student {how} {folder}: epoch {found['best_epoch']} of {len(found['epochs'])}, {found['seconds']} s"
    if found["before"] is None:
        return f"{facts}; no items were held out"
    return f"{facts}; among {found['held_out']} held-out items: {before_and_after(found['before'], found['after'])}"


def _recommended(config: MultiModalConfig, teacher: str, student: str) -> dict[str, object]:
    """The validation result of the recommender over each of the two encoders, frozen."""
    options = _for_teacher(EncoderSettings.from_config(config), teacher).options
    of_teacher = {key: options.get(option) for key, option in OPTIONS.items()}
    of_student = {key: config[key] if option in NOT_IN_FILES else None for key, option in OPTIONS.items()}
    found = {
        "teacher": validated(config.changed(encoder=teacher, **of_teacher)),
        "student": validated(config.changed(encoder=student, **of_student)),
    }
    model, metric, share = config["model"], config["valid_metric"], found["student"] / found["teacher"] if found["teacher"] else 1.0
    say(f"{model} over frozen features, {metric} on validation: teacher {found['teacher']:.4f}, student {found['student']:.4f}, "
        f"{share:.3f} of the teacher's", result=True)  # fmt: skip
    return {"model": model, "valid_metric": metric, **found}
