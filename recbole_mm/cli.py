"""The console command ``recbole-mm`` and the script ``run_recbole_mm.py``."""

import argparse
import sys
import traceback
from collections.abc import Callable
from logging import getLogger

from recbole_mm.errors import InputError

EPILOG = """\
any other setting is --key=value, RecBole's and recbole_mm's alike, for example
  --encoder=open_clip:ViT-B-16-quickgelu@openai  --encoder_training=pretrained  --text_field=title,description
  --epochs=20 --learning_rate=0.005 --topk=[10,20] --valid_metric=Recall@20 --data_path=dataset

precedence: overall < model < data set properties < config files < command line
keys of recbole_mm and their defaults: properties/overall.yaml and properties/model/<Model>.yaml
models: CLIPRec, VLMoRec, BEiT3Rec, VBPR, LightGCNM, MMGCN, MMGCL, SLMRec, LATTICE, BM3, FREEDOM, MGCN,
        and every model of RecBole (BPR, LightGCN, ItemKNN, SASRec, ...)
"""


def main(argv: list[str] | None = None) -> int:
    """Runs a command. Returns the exit status: 0, or 2 for bad input (said in one line)."""
    parser = argparse.ArgumentParser(prog="recbole-mm", description="RecBole items with pictures and words.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_run(commands.add_parser("run", **_RUN_HELP))
    extract = commands.add_parser("extract", **_EXTRACT_HELP)
    _add_run(extract)
    extract.add_argument("--output", help="a folder that gets one <modality>.safetensors each, with the item tokens of its rows")
    finetune = commands.add_parser("finetune", **_FINETUNE_HELP)
    _add_run(finetune)
    finetune.add_argument("--output", help="a .safetensors file that gets the tuned weights, for --encoder=backend:name@file")
    audit = commands.add_parser("audit", **_AUDIT_HELP)
    _add_run(audit)
    audit.add_argument("--json", action="store_true", help="print one JSON object")
    audit.add_argument("--shuffle-test", action="store_true", help="train a small VBPR on true and on permuted features as well")
    commands.add_parser("prepare", add_help=False, allow_abbrev=False)  # its options are read in data/prepare
    arguments, rest = parser.parse_known_args(argv)
    own = {"run": _run, "extract": _extract, "finetune": _finetune, "audit": _audit, "prepare": _prepare}
    return _guarded(arguments, rest, own[arguments.command])


def main_run(argv: list[str] | None = None) -> int:
    """``run`` by itself, as RecBole's run_recbole.py is called."""
    parser = argparse.ArgumentParser(prog="run_recbole_mm.py", **_RUN_HELP)
    _add_run(parser)
    return _guarded(*parser.parse_known_args(argv))


_EXTRACT_HELP = {
    "description": "Encode the catalogue of a data set once, into the cache that runs with encoder_training: pretrained (or finetuned) "
    "read, and export it. Takes the keys and files of a run; goes on where a killed one stopped; under torchrun, processes share the work.",
    "allow_abbrev": False,
}
_FINETUNE_HELP = {
    "description": "Adapt an encoder to a data set's own pictures and texts, once, for all runs with encoder_training: finetuned. Takes "
    "the keys and files of a run (finetune_epochs, finetune_weights, encoder_tuning, ...); goes on where a killed one stopped.",
    "allow_abbrev": False,
}
_AUDIT_HELP = {
    "description": "Is this data set sound? Takes the keys and files of a run; exit status 1 where something would corrupt a result.",
    "allow_abbrev": False,
}
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


def _guarded(arguments: argparse.Namespace, rest: list[str], command: Callable[[argparse.Namespace, list[str]], int] | None = None) -> int:
    try:
        return (command or _run)(arguments, rest)
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
    from recbole_mm.parallel.ranks import Ranks
    from recbole_mm.quick_start import run_command

    run_command(arguments.model, arguments.dataset, _files(arguments), rest)
    ranks = Ranks.current()
    if ranks.rank == 0:
        getLogger().info(_next_step(arguments))
    ranks.leave()
    return 0


def _extract(arguments: argparse.Namespace, rest: list[str]) -> int:
    from recbole_mm.config.catalogue_config import EXTRACTION, CatalogueConfig
    from recbole_mm.feature.extract import extract
    from recbole_mm.parallel.ranks import Ranks
    from recbole_mm.quick_start import start
    from recbole_mm.training.loaders import create_dataset, training_dataset
    from recbole_mm.training.log import starting

    config = CatalogueConfig(arguments.model, arguments.dataset, _files(arguments), rest, EXTRACTION)
    finetuned = config["encoder_training"] == "finetuned"
    with starting():
        start(config)
        extract(config, training_dataset(config) if finetuned else create_dataset(config), arguments.output)
    Ranks.current().leave()
    return 0


def _finetune(arguments: argparse.Namespace, rest: list[str]) -> int:
    from recbole_mm.config.catalogue_config import FINE_TUNING, CatalogueConfig
    from recbole_mm.finetune.tune_and_export import finetune
    from recbole_mm.parallel.ranks import Ranks
    from recbole_mm.quick_start import start
    from recbole_mm.training.loaders import training_dataset
    from recbole_mm.training.log import starting

    config = CatalogueConfig(arguments.model, arguments.dataset, _files(arguments), rest, FINE_TUNING)
    with starting():
        start(config)
        finetune(config, training_dataset(config), arguments.output)
    Ranks.current().leave()
    return 0


def _files(arguments: argparse.Namespace) -> list[str] | None:
    return (arguments.config_files or "").replace(",", " ").split() or None


def _audit(arguments: argparse.Namespace, rest: list[str]) -> int:
    from recbole_mm.audit.audit_command import main

    return main(arguments.model, arguments.dataset, _files(arguments), rest, arguments.json, arguments.shuffle_test)


def _prepare(arguments: argparse.Namespace, rest: list[str]) -> int:
    from recbole_mm.data.prepare.pipeline import main

    return main(rest)


def _next_step(arguments: argparse.Namespace) -> str:
    from recbole_mm.config.registry import our_models

    if arguments.dataset != "demo":
        return "next: --model=BPR (or LightGCN, ItemKNN, ...) and the same --topk and --valid_metric compare on the same split"
    if arguments.model not in our_models():
        return "next: --model=CLIPRec --dataset=demo reads the pictures and texts as well"
    return "next: --model=BPR --dataset=demo for ids alone, --use_id=False for cold items, or your own pictures (README, 'Your own data')"


if __name__ == "__main__":
    sys.exit(main())
