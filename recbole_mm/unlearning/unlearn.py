"""Unlearning from a checkpoint to another one: the interactions go, then the rows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from recbole_mm.terminal import labelled, say
from recbole_mm.training.trained_data import UNLEARNED
from recbole_mm.unlearning.kept import KeptRun, kept_run
from recbole_mm.unlearning.reduced import reduced_run
from recbole_mm.unlearning.report import Report, Witness
from recbole_mm.unlearning.request import Forgotten, Request, forget
from recbole_mm.unlearning.write import log_of, output_name, run_files, write_unlearned


@dataclass(frozen=True)
class Unlearned:
    """A run that was unlearned.

    Attributes:
        forgotten: what, by the ids of the run that it comes from.
        kept: the run over what stays, by the same ids.
        run: the run by its own ids, which is the one that is written.
        result: of that run, as ``run`` returns it.
        facts: what its checkpoint and its record say of the unlearning.
        report: how it went.
    """

    forgotten: Forgotten
    kept: KeptRun
    run: KeptRun
    result: Mapping[str, object]
    facts: Mapping[str, object]
    report: Report

    @property
    def file(self) -> str:
        """The new checkpoint."""
        return self.result["files"]["checkpoint"]


def unlearn(
    checkpoint_file: str, request: Request, output: str | None = None, model_class: type | None = None, *, correct: bool = True,
    retrained: bool = False,
) -> Unlearned:  # fmt: skip
    """Writes a checkpoint that knows nothing of what is forgotten, beside the old one, which stays.

    Args:
        output: of the new checkpoint; None for a name beside the old one.
        model_class: of the model, if it is neither one of ours nor one of RecBole's.
        correct: whether what all share is corrected; otherwise the rows of the forgotten are removed, and nothing else changes.
        retrained: whether a model is also trained without the forgotten from its beginning, for the report.

    Raises:
        InputError: see ``forget`` and ``output_name``; or the model is one whose rows are of nobody that is known.
    """
    started = datetime.now(timezone.utc)
    forgotten = forget(checkpoint_file, request, model_class)
    kept = kept_run(checkpoint_file, forgotten, model_class)
    file = output_name(kept.config, checkpoint_file, output)
    _tell(kept, forgotten)
    witness = Witness(checkpoint_file, kept, forgotten, model_class)
    witness.before()
    corrected = witness.correct() if correct else None
    how = "found anew" if kept.closed_form else "corrected" if corrected and corrected.steps else "rows removed"
    facts = {
        "from": Path(checkpoint_file).name, "users": len(forgotten.users), "items": len(forgotten.items),
        "interactions": len(forgotten.pairs), "how": how,
        "correction": corrected and asdict(corrected), "before": kept.checkpoint.get(UNLEARNED),
    }  # fmt: skip
    run = reduced_run(kept, forgotten)
    result = write_unlearned(run, file, checkpoint_file, facts, started)
    witness.after(result["test_result"])
    if retrained:
        witness.retrained()
    witness.report.tell()
    result["files"]["unlearning"] = witness.report.write(file)
    say(labelled("report", result["files"]["unlearning"]))
    known = [str(path) for path in (*run_files(checkpoint_file), *log_of(checkpoint_file)) if path.exists()]
    say(labelled("the old run", f"{', '.join(known)} still know the forgotten: delete them once you are content"))
    return Unlearned(forgotten, kept, run, result, facts, witness.report)


def _tell(kept: KeptRun, forgotten: Forgotten) -> None:
    counts = [_counted(len(forgotten.users), "user"), _counted(len(forgotten.items), "item")]
    parts = ", ".join(f"{len(forgotten.pairs_of(part)):,} {name}" for part, name in
                      (("training", "training"), ("valid", "validation"), ("test", "test")))  # fmt: skip
    pairs = f"{_counted(len(forgotten.pairs), 'interaction')} ({parts})"
    say(labelled("forgets", f"{', '.join([*counts, pairs])}; {kept.config['model']} on {kept.config['dataset']}"))


def _counted(n: int, one: str) -> str:
    return f"{n:,} {one}{'' if n == 1 else 's'}"
