"""The console command ``recbole-mm`` and the script ``run_recbole_mm.py``."""

import argparse
import sys
import traceback
from logging import getLogger

from recbole_mm.errors import InputError

EPILOG = """\
any other setting is --key=value, RecBole's and recbole_mm's alike, for example
  --encoder=open_clip:ViT-B-16-quickgelu@openai  --encoder_training=pretrained  --text_field=title,description
  --epochs=20 --learning_rate=0.005 --topk=[10,20] --valid_metric=Recall@20 --data_path=dataset

precedence: overall < model < data set properties < config files < command line
keys of recbole_mm and their defaults: properties/overall.yaml and properties/model/<Model>.yaml
models: CLIPRec, and every model of RecBole (BPR, LightGCN, ItemKNN, SASRec, ...)
"""


def main(argv: list[str] | None = None) -> int:
    """Runs a command. Returns the exit status: 0, or 2 for bad input (said in one line)."""
    parser = argparse.ArgumentParser(prog="recbole-mm", description="RecBole items with pictures and words.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_run(commands.add_parser("run", **_RUN_HELP))
    arguments, rest = parser.parse_known_args(argv)
    return _guarded(arguments, rest)


def main_run(argv: list[str] | None = None) -> int:
    """``run`` by itself, as RecBole's run_recbole.py is called."""
    parser = argparse.ArgumentParser(prog="run_recbole_mm.py", **_RUN_HELP)
    _add_run(parser)
    return _guarded(*parser.parse_known_args(argv))


_RUN_HELP = {
    "description": "Train and test a recommender: one of recbole_mm's, or one of RecBole's on the same data and split.",
    "epilog": EPILOG,
    "formatter_class": argparse.RawDescriptionHelpFormatter,
    "allow_abbrev": False,
}


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", "-m", help="name of the model, for example CLIPRec or BPR")
    parser.add_argument("--dataset", "-d", help="name of the data set: the folder <data_path>/<dataset>; 'demo' is drawn on first use")
    parser.add_argument("--config_files", help="YAML files, separated by spaces (quoted) or commas")


def _guarded(arguments: argparse.Namespace, rest: list[str]) -> int:
    try:
        return _run(arguments, rest)
    except (InputError, OSError) as error:
        if "--state=DEBUG" in rest:
            traceback.print_exc()
        told = error if isinstance(error, InputError) else f"{error.filename or ''}: {error.strerror or error}".lstrip(": ")
        print(f"error: {told}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _run(arguments: argparse.Namespace, rest: list[str]) -> int:
    from recbole_mm.config import MultiModalConfig
    from recbole_mm.quick_start import run

    MultiModalConfig.command_line = rest
    files = (arguments.config_files or "").replace(",", " ").split()
    try:
        run(arguments.model, arguments.dataset, files or None)
    finally:
        MultiModalConfig.command_line = None
    getLogger().info(_next_step(arguments))
    return 0


def _next_step(arguments: argparse.Namespace) -> str:
    if arguments.dataset != "demo":
        return "next: --model=BPR (or LightGCN, ItemKNN, ...) and the same --topk and --valid_metric compare on the same split"
    if arguments.model != "CLIPRec":
        return "next: --model=CLIPRec --dataset=demo reads the pictures and texts as well"
    return "next: --model=BPR --dataset=demo for ids alone, --use_id=False for cold items, or your own pictures (README, 'Your own data')"


if __name__ == "__main__":
    sys.exit(main())
