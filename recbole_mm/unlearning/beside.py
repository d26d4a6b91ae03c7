"""What lies beside the checkpoints of a run that has forgotten: the cache, an exported folder, and the files of the data set."""

from collections.abc import Collection, Mapping
from pathlib import Path

from recbole_mm.serving.export.run_facts import run_facts
from recbole_mm.serving.parts import run_parts
from recbole_mm.terminal import labelled, say
from recbole_mm.unlearning.cache import forget_in_cache
from recbole_mm.unlearning.exported import ExportedFolder
from recbole_mm.unlearning.names import Names
from recbole_mm.unlearning.own_files import files_that_hold
from recbole_mm.unlearning.unlearn import Unlearned

CALLED = {"features": "feature vectors", "states": "hidden states", "pictures": "pictures", "columns": "files of columns"}
NAMED = 5
"""How many files of the data set a line names."""


def forget_beside(done: Unlearned, folder: ExportedFolder | None = None, items: Collection[str] = ()) -> Mapping[str, int]:
    """Takes the forgotten out of the cache of the data set and out of an exported folder, and says which files of the data set still have
    them.

    Args:
        folder: was exported from the run that ``done`` comes from.
        items: tokens that go from the folder alone, to which they were added.

    Returns:
        See ``forget_in_cache``.
    """
    run, names = done.run, Names.of(done.kept.dataset, done.forgotten)
    place = Path(run.dataset.dataset_path)
    gone = forget_in_cache(run.config, place, names)
    say(labelled("cache", ", ".join(f"{n:,} {CALLED[kind]}" for kind, n in gone.items() if n) + " removed" if any(gone.values())
                 else "nothing to remove"))  # fmt: skip
    if folder is not None:
        parts = run_parts(run.config, run.model.eval(), run.dataset, run.train_data._dataset)
        folder.follow(parts, run_facts(done.file), names.items | set(items), bool(run.config["show_progress"]))
        say(labelled("folder", f"{folder.path} exported anew; start its service again"))
    holding = files_that_hold(run.config, place, names)
    if holding:
        more = f" and {len(holding) - NAMED} more" if len(holding) > NAMED else ""
        say(labelled("your files", f"{', '.join(map(str, holding[:NAMED]))}{more} still hold the forgotten"))
    return gone
