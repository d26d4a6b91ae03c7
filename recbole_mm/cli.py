"""The console command ``recbole-mm`` and the script ``run_recbole_mm.py``.

A command imports what it runs only once its arguments are in order, so help and wrong usage are answered without loading torch.
"""

import argparse
import sys
import textwrap
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from recbole_mm import __version__
from recbole_mm.config.parse import parse_settings
from recbole_mm.config.registry import our_models, require_dataset, require_model
from recbole_mm.errors import InputError, nearest

EPILOG = """\
any other setting is --key=value, RecBole's and recbole_mm's alike, for example
  --encoder=open_clip:ViT-B-16-quickgelu@openai  --encoder_training=pretrained  --text_field=title,description
  --epochs=20 --learning_rate=0.005 '--topk=[10,20]' --valid_metric=Recall@20 --data_path=dataset

precedence: overall < model < data set properties < config files < command line
keys of recbole_mm and their defaults: properties/overall.yaml and properties/model/<Model>.yaml
models: {ours},
        and every model of RecBole (BPR, LightGCN, ItemKNN, SASRec, ...)
"""


@dataclass(frozen=True)
class Command:
    """One of the commands.

    Attributes:
        function: gets the parsed arguments and the remaining ones, which are settings, and returns the exit status.
        help: what it does, for the list of commands.
        description: what it does, for its own help.
        options: its own options besides those of a run, with argparse's keyword arguments.
        rest: what its other arguments are: the ``settings`` of a run, which then has the options for model, data set and files too;
            its ``own`` to parse; or ``none``.
    """

    function: Callable[[argparse.Namespace, list[str]], int]
    help: str
    description: str = ""
    options: Mapping[str, dict] = field(default_factory=dict)
    rest: str = "settings"


def main(argv: list[str] | None = None) -> int:
    """Runs a command. Returns the exit status: 0, 1 for an audit that found errors, 2 for bad input (told in one line)."""
    parser = argparse.ArgumentParser(prog="recbole-mm", description="RecBole for items with pictures and texts.", allow_abbrev=False)
    _add_version(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        _add_options(commands.add_parser(name, help=command.help, add_help=command.rest != "own", **_texts(command)), command)
    arguments, rest = parser.parse_known_args(argv)
    return _guarded(COMMANDS[arguments.command], arguments, rest)


def main_run(argv: list[str] | None = None) -> int:
    """The command ``run`` by itself, called as RecBole's run_recbole.py is."""
    command = COMMANDS["run"]
    parser = argparse.ArgumentParser(prog="run_recbole_mm.py", **_texts(command))
    _add_version(parser)
    _add_options(parser, command)
    return _guarded(command, *parser.parse_known_args(argv))


def _add_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", action="version", version=f"recbole_mm {__version__}")


def _texts(command: Command) -> dict[str, object]:
    epilog = EPILOG.format(ours=", ".join(our_models())) if command.rest == "settings" else None
    description, layout = textwrap.fill(command.description, 100), argparse.RawDescriptionHelpFormatter
    return {"description": description, "epilog": epilog, "formatter_class": layout, "allow_abbrev": False}


def _add_options(parser: argparse.ArgumentParser, command: Command) -> None:
    if command.rest == "settings":
        parser.add_argument("--model", "-m", help="name of the model, for example CLIPRec or BPR")
        parser.add_argument("--dataset", "-d", help="name of the data set: the folder <data_path>/<dataset>; 'demo' is drawn on first use")
        parser.add_argument("--config_files", type=_file_list, help="YAML files, separated by spaces (quoted) or commas")
        parser.add_argument("--plugins", help="modules of your own whose models, encoders and metrics are found by name, separated by "
                            "commas: mine.py,package.module")  # fmt: skip
    for name, keywords in command.options.items():
        parser.add_argument(name, **keywords)


def _file_list(text: str) -> list[str] | None:
    return text.replace(",", " ").split() or None


def _guarded(command: Command, arguments: argparse.Namespace, rest: list[str]) -> int:
    """The command's exit status; 2 for bad input and 130 for an interrupt, each told in one line."""
    try:
        if command.rest == "none" and rest:
            raise InputError(f"no option {rest[0].partition('=')[0]}{nearest(rest[0], command.options)}")
        if command.rest == "settings":
            _check_usage(command, arguments, rest)
            rest = [*rest, *([f"--plugins={arguments.plugins}"] if arguments.plugins else [])]
        return command.function(arguments, rest)
    except (InputError, OSError) as error:
        if "--state=DEBUG" in rest:
            traceback.print_exc()
        told = error if isinstance(error, InputError) else f"{error.filename or ''}: {error.strerror or error}".lstrip(": ")
        print(f"error: {told}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _check_usage(command: Command, arguments: argparse.Namespace, settings: list[str]) -> None:
    """What can be said of a run's arguments before anything is loaded. Config files may name the model, the data set and plugins as well,
    and plugins may bring the model."""
    given = parse_settings(settings)
    misspelt = [f"no option --{key}{hint}" for key in given if (hint := _nearest_option(key, arguments))]
    if misspelt:
        raise InputError("; ".join(misspelt))
    comes_later = arguments.config_files or arguments.model and arguments.plugins
    if not comes_later and (arguments.model or command.function is _run):
        require_model(arguments.model)
    if not arguments.config_files:
        require_dataset(arguments.dataset)


def _nearest_option(key: str, arguments: argparse.Namespace) -> str:
    """A suggestion where a setting resembles an option of a run that was not given."""
    missing = [f"--{name}" for name in ("model", "dataset", "config_files", "plugins") if not getattr(arguments, name)]
    return nearest(f"--{key}", missing, cutoff=0.85)


def _run(arguments: argparse.Namespace, settings: list[str]) -> int:
    from recbole_mm.parallel.ranks import Ranks
    from recbole_mm.quick_start import run_command
    from recbole_mm.terminal import labelled, say

    screen = [f"--screen={arguments.screen}"] if arguments.screen else []
    run_command(arguments.model, arguments.dataset, arguments.config_files, [*settings, *screen])
    ranks = Ranks.current()
    if ranks.rank == 0:
        say(labelled("next", _next_step(arguments)))
    ranks.leave()
    return 0


def _next_step(arguments: argparse.Namespace) -> str:
    if arguments.dataset != "demo":
        return "--model=BPR with the same --topk and --valid_metric compares on the same split"
    if arguments.model not in our_models():
        return "--model=CLIPRec --dataset=demo reads the pictures and texts as well"
    return "--model=BPR for ids alone, --use_id=False for new items, then your own data (README)"


def _extract(arguments: argparse.Namespace, settings: list[str]) -> int:
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


def _audit(arguments: argparse.Namespace, settings: list[str]) -> int:
    from recbole_mm.audit.audit_command import main

    return main(arguments.model, arguments.dataset, arguments.config_files, settings, arguments.json, arguments.shuffle_test)


def _prepare(_: argparse.Namespace, rest: list[str]) -> int:
    from recbole_mm.data.prepare.pipeline import main

    return main(rest)


def _recommend(arguments: argparse.Namespace, rest: list[str]) -> int:
    from recbole_mm.serving.commands import recommend

    return recommend(arguments, rest)


def _similar(arguments: argparse.Namespace, rest: list[str]) -> int:
    from recbole_mm.serving.commands import similar

    return similar(arguments, rest)


def _search(arguments: argparse.Namespace, rest: list[str]) -> int:
    from recbole_mm.serving.commands import search

    return search(arguments, rest)


CHECKPOINT_OPTIONS = {
    "checkpoint": {"help": "the checkpoint of a run: saved/<model>-<dataset>-<time>-<process>.pth"},
    "--k": {"type": int, "default": 10, "help": "how many items; default: 10"},
    "--plugins": {"help": "modules of your own that the model needs, separated by commas"},
}
COMMANDS = {
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
    "recommend": Command(
        _recommend,
        "recommend items to users, from a checkpoint",
        "Recommend items to users by the model of a checkpoint, without those that they have already.",
        {
            **CHECKPOINT_OPTIONS,
            "--users": {"help": "a file with one user per line; default: all users", "metavar": "FILE"},
            "--candidates": {"help": "a file with one item per line: the only ones to recommend", "metavar": "FILE"},
            "--include_seen": {"action": "store_true", "help": "also recommend what the user has"},
            "--output": {"help": "a .csv or .parquet file that gets the columns user, item, rank, score", "metavar": "FILE"},
        },
        rest="none",
    ),
    "similar": Command(
        _similar,
        "list the items most like one, from a checkpoint",
        "List the items that are most like one: by the model, which knows who takes them, or by their pictures or texts.",
        {
            **CHECKPOINT_OPTIONS,
            "--item": {"required": True, "help": "the item", "metavar": "TOKEN"},
            "--by": {"default": "model", "help": "model, or a modality such as image or text; default: model"},
        },
        rest="none",
    ),
    "search": Command(
        _search,
        "find items by words or by a picture, from a checkpoint",
        "Find the items that fit words or a picture, by the encoder of a checkpoint's run.",
        {
            **CHECKPOINT_OPTIONS,
            "--text": {"help": "what to look for, in words"},
            "--image": {"help": "a picture of what to look for", "metavar": "FILE"},
        },
        rest="none",
    ),
}


if __name__ == "__main__":
    sys.exit(main())
