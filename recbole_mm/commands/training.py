"""The commands that make models and what they need."""

import argparse

from recbole_mm.commands.command import Command, imports
from recbole_mm.errors import InputError


def _run(arguments: argparse.Namespace, settings: list[str]) -> int:
    with imports():
        from recbole_mm.parallel.ranks import Ranks
        from recbole_mm.quick_start import run_command
        from recbole_mm.terminal import labelled, say

    screen = [f"--screen={arguments.screen}"] if arguments.screen else []
    result = run_command(arguments.model, arguments.dataset, arguments.config_files, [*settings, *screen])
    checkpoint = result.get("files", {}).get("checkpoint")
    if checkpoint:
        say(labelled("next", f"recbole-mm recommend {checkpoint}"))
    Ranks.current().leave()
    return 0


def _extract(arguments: argparse.Namespace, settings: list[str]) -> int:
    with imports():
        from recbole_mm.config.catalogue_config import EXTRACTION, CatalogueConfig
        from recbole_mm.feature.extract import extract
        from recbole_mm.parallel.ranks import Ranks
        from recbole_mm.quick_start import start
        from recbole_mm.training.loaders import create_dataset, training_dataset
        from recbole_mm.training.log import starting

    config = CatalogueConfig(arguments.model, arguments.dataset, arguments.config_files, settings, EXTRACTION)
    finetuned = config["encoder_training"] == "finetuned"
    with starting():
        start(config)
        extract(config, training_dataset(config) if finetuned else create_dataset(config), arguments.output)
    Ranks.current().leave()
    return 0


def _finetune(arguments: argparse.Namespace, settings: list[str]) -> int:
    with imports():
        from recbole_mm.config.catalogue_config import FINE_TUNING, CatalogueConfig
        from recbole_mm.finetune.tune_and_export import tune_and_export
        from recbole_mm.parallel.ranks import Ranks
        from recbole_mm.quick_start import start
        from recbole_mm.training.loaders import training_dataset
        from recbole_mm.training.log import starting

    config = CatalogueConfig(arguments.model, arguments.dataset, arguments.config_files, settings, FINE_TUNING)
    with starting():
        start(config)
        tune_and_export(config, training_dataset(config), arguments.output)
    Ranks.current().leave()
    return 0


def _distil(arguments: argparse.Namespace, settings: list[str]) -> int:
    with imports():
        from recbole_mm.config.catalogue_config import DISTILLING, CatalogueConfig
        from recbole_mm.distillation.distil import distil
        from recbole_mm.distillation.request import Request, shares
        from recbole_mm.quick_start import create_dataset, start
        from recbole_mm.training.log import starting

    if any(setting.startswith("--encoder=") for setting in settings):
        raise InputError("distil takes two encoders, --teacher and --student, in place of --encoder")
    if not arguments.student and not arguments.prune:
        raise InputError("distil needs a --student, which is another encoder, or --prune, for the teacher without a share of its blocks")
    request = Request(arguments.teacher, arguments.prune and shares(arguments.prune), arguments.output)
    given = [*settings, f"--encoder={arguments.student or arguments.teacher}"]
    config = CatalogueConfig(arguments.model, arguments.dataset, arguments.config_files, given, DISTILLING, stand_in="VBPR")
    with starting():
        start(config)
        distil(config, create_dataset(config), request)
    return 0


def _audit(arguments: argparse.Namespace, settings: list[str]) -> int:
    with imports():
        from recbole_mm.audit.audit_command import main

    return main(arguments.model, arguments.dataset, arguments.config_files, settings, arguments.json, arguments.shuffle_test)


def _prepare(_: argparse.Namespace, rest: list[str]) -> int:
    with imports():
        from recbole_mm.data.prepare.pipeline import main

    return main(rest)


TRAINING = {
    "run": Command(
        _run,
        "train and test a recommender",
        "Train and test a recommender: one of recbole_mm's, or one of RecBole's on the same data and split.",
        {
            "--quiet": {"action": "store_const", "const": "quiet", "dest": "screen", "help": "show the table of results alone"},
            "--verbose": {"action": "store_const", "const": "verbose", "dest": "screen", "help": "show all that the log file has"},
        },
    ),
    "extract": Command(
        _extract,
        "encode a data set's pictures and texts once",
        "Encode the pictures and texts of a data set once, into the cache that runs with encoder_training: pretrained (or finetuned) read, "
        "and export the features. It takes the keys and files of a run. Killed and started again, it continues where it stopped. Under "
        "torchrun, the processes share the work.",
        {"--output": {"help": "a folder that gets one <modality>.safetensors per modality, with the item tokens of its rows"}},
    ),
    "finetune": Command(
        _finetune,
        "adapt an encoder to a data set's pictures and texts",
        "Adapt an encoder to a data set's own pictures and texts, once for all runs with encoder_training: finetuned. It takes the keys "
        "and files of a run (finetune_epochs, finetune_weights, encoder_tuning, ...). Killed and started again, it continues "
        "where it stopped.",
        {"--output": {"help": "a .safetensors file that gets the tuned weights, for --encoder=backend:name@file"}},
    ),
    "distil": Command(
        _distil,
        "teach a small encoder what a large one makes of a data set",
        "Distil a large encoder, the teacher, into a small one, the student, on the pictures and texts of a data set. The student is "
        "written into a folder and is an encoder like any other. It takes the keys and files of a run (distil_epochs, distil_weights, "
        "...); the model, VBPR unless you name another, is trained over both encoders in the end to compare them. Killed and started "
        "again, it continues where it stopped.",
        {
            "--teacher": {"required": True, "help": "the teacher, an encoder as --encoder takes it: backend:name[@tag-or-path]"},
            "--student": {"help": "the student, an encoder as --encoder takes it; without it, the pruned teacher"},
            "--prune": {
                "help": "the share of its blocks that the student loses before it learns, those that matter least: 0.5; after a "
                "comma, the share of the hidden units of its feed-forward parts: 0.5,0.25"
            },
            "--output": {"help": "a folder that gets the student; without it, the student stays in the cache beside the data set"},
        },
    ),
    "audit": Command(
        _audit,
        "check whether a data set is sound",
        "Check whether a data set is sound. It takes the keys and files of a run. The exit status is 1 if something would corrupt "
        "a result.",
        {
            "--json": {"action": "store_true", "help": "print one JSON object"},
            "--shuffle-test": {"action": "store_true", "help": "also train a small VBPR on the true features and on permuted ones"},
        },
    ),
    "prepare": Command(_prepare, "make a data set of your own tables and pictures, or of a published data set", rest="own"),
}
