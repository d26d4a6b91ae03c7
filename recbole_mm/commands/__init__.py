"""The commands of ``recbole-mm``, in one table: what each is called, what it takes, and the function behind it."""

from recbole_mm.commands.command import Command
from recbole_mm.commands.results import RESULTS
from recbole_mm.commands.serving import SERVING
from recbole_mm.commands.training import TRAINING
from recbole_mm.commands.unlearning import UNLEARNING

COMMANDS = {**TRAINING, **SERVING, **UNLEARNING, **RESULTS}

__all__ = ["COMMANDS", "Command"]
