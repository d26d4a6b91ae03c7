"""The command ``unlearn``."""

import argparse
from pathlib import Path

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.config.plugins import load_plugins
from recbole_mm.errors import recboles_own_failures
from recbole_mm.quick_start import config_of, start
from recbole_mm.serving.export.run_facts import run_facts
from recbole_mm.serving.recommender import Recommender
from recbole_mm.terminal import labelled, say
from recbole_mm.training.log import starting
from recbole_mm.unlearning.beside import forget_beside
from recbole_mm.unlearning.exported import ExportedFolder
from recbole_mm.unlearning.request import read_request
from recbole_mm.unlearning.unlearn import unlearn as write_without
from recbole_mm.unlearning.unnamed import unnamed


def unlearn(arguments: argparse.Namespace, _: list[str]) -> int:
    """Writes a checkpoint that has forgotten what the files name."""
    load_plugins(arguments.plugins.split(",") if arguments.plugins else None)
    config = config_of(load_checkpoint(arguments.checkpoint, pickled=True))
    fields = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
    request = read_request(arguments.users, arguments.items, arguments.interactions, fields)
    folder = ExportedFolder(Path(arguments.folder), arguments.checkpoint) if arguments.folder else None
    own = folder.without_added(request) if folder else request
    if folder and not any((own.users, own.items, own.interactions)):
        folder.follow(Recommender.load(arguments.checkpoint).parts, run_facts(arguments.checkpoint), request.items)
        say(labelled("folder", f"{folder.path} exported anew without what was added to it and is forgotten; start its service again"))
        return 0
    with starting(), recboles_own_failures():
        start(config)
        with unnamed({*request.users, *request.items}):
            done = write_without(arguments.checkpoint, own, arguments.output, correct=arguments.correct, retrained=arguments.retrain)
            forget_beside(done, folder, request.items)
    say(labelled("next", f"recbole-mm recommend {done.file}"))
    return 0
