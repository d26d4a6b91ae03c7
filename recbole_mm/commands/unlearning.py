"""The command that takes users, items and interactions out of a trained model."""

from recbole_mm.commands.command import CHECKPOINT, PLUGINS, Command, later

UNLEARNING = {
    "unlearn": Command(
        later("recbole_mm.unlearning.command", "unlearn"),
        "let a checkpoint's model forget users, items or interactions",
        "Write a checkpoint whose model has forgotten users, items or interactions: their rows are removed, what all share is corrected "
        "until it knows no more of them than a model that has never seen them, and nothing of it holds their tokens. The old checkpoint "
        "stays until you delete it.",
        {
            "checkpoint": CHECKPOINT,
            "--users": {"help": "a file with one user per line", "metavar": "FILE"},
            "--items": {"help": "a file with one item per line", "metavar": "FILE"},
            "--interactions": {"help": "a file with a user and an item per line, separated by a tab or a comma", "metavar": "FILE"},
            "--output": {"help": "the new checkpoint, a .pth file; default: a new name beside the old one", "metavar": "FILE"},
            "--folder": {
                "help": "a folder that was exported from the checkpoint, which is exported anew without them",
                "metavar": "FOLDER",
            },
            "--no-correction": {
                "action": "store_false",
                "dest": "correct",
                "help": "remove rows alone, and leave what all share as it is",
            },
            "--retrain": {"action": "store_true", "help": "also train a model without them from its beginning, for the report"},
            **PLUGINS,
        },
        rest="none",
    ),
}
