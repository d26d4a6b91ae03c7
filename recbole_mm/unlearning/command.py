"""The command ``unlearn``."""

import argparse

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.config.plugins import load_plugins
from recbole_mm.errors import recboles_own_failures
from recbole_mm.quick_start import config_of, start
from recbole_mm.terminal import labelled, say
from recbole_mm.training.log import starting
from recbole_mm.unlearning.request import read_request
from recbole_mm.unlearning.unlearn import unlearn as write_without


def unlearn(arguments: argparse.Namespace, _: list[str]) -> int:
    """Writes a checkpoint that has forgotten what the files name."""
    load_plugins(arguments.plugins)
    config = config_of(load_checkpoint(arguments.checkpoint, pickled=True))
    fields = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
    request = read_request(arguments.users, arguments.items, arguments.interactions, fields)
    with starting(), recboles_own_failures():
        start(config)
        done = write_without(arguments.checkpoint, request, arguments.output)
    say(labelled("next", f"recbole-mm recommend {done.file}"))
    return 0
