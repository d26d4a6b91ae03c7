"""The console command ``recbole-mm`` and the script ``run_recbole_mm.py``: arguments, usage, and how errors are told."""

import argparse
import sys
import textwrap
import traceback

from recbole_mm import __version__
from recbole_mm.commands import COMMANDS, Command
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
    if not comes_later and (arguments.model or command is COMMANDS["run"]):
        require_model(arguments.model)
    if not arguments.config_files:
        require_dataset(arguments.dataset)


def _nearest_option(key: str, arguments: argparse.Namespace) -> str:
    """A suggestion where a setting resembles an option of a run that was not given."""
    missing = [f"--{name}" for name in ("model", "dataset", "config_files", "plugins") if not getattr(arguments, name)]
    return nearest(f"--{key}", missing, cutoff=0.85)


if __name__ == "__main__":
    sys.exit(main())
