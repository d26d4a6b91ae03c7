"""The commands of ``recbole-mm``, in one table: what each is called, what it takes, and the function behind it.

A function imports what it needs when it is called, so that help and wrong usage are answered without loading torch.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from recbole_mm.errors import MissingPackage


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


def _run(arguments: argparse.Namespace, settings: list[str]) -> int:
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


def _compare(arguments: argparse.Namespace, _: list[str]) -> int:
    from pathlib import Path

    from recbole_mm.results.compare.compare import compare_and_tell

    return 1 if compare_and_tell(arguments.grid, Path(arguments.output), arguments.executor, arguments.workers) else 0


def _recommend(arguments: argparse.Namespace, rest: list[str]) -> int:
    from recbole_mm.serving.commands import recommend

    return recommend(arguments, rest)


def _similar(arguments: argparse.Namespace, rest: list[str]) -> int:
    from recbole_mm.serving.commands import similar

    return similar(arguments, rest)


def _search(arguments: argparse.Namespace, rest: list[str]) -> int:
    from recbole_mm.serving.commands import search

    return search(arguments, rest)


def _export(arguments: argparse.Namespace, rest: list[str]) -> int:
    from recbole_mm.serving.commands import export

    return export(arguments, rest)


def _serve(arguments: argparse.Namespace, rest: list[str]) -> int:
    try:
        from recbole_mm.serving.service.serve import serve
    except ModuleNotFoundError as error:
        raise MissingPackage(f"the service needs the package {error.name}: pip install 'recbole-mm[serve]'") from error
    return serve(arguments, rest)


def _runs(arguments: argparse.Namespace, rest: list[str]) -> int:
    from recbole_mm.results.runs import runs

    return runs(arguments, rest)


def _knockout(arguments: argparse.Namespace, rest: list[str]) -> int:
    from recbole_mm.results.knockout_command import knockout

    return knockout(arguments, rest)


def _report(arguments: argparse.Namespace, rest: list[str]) -> int:
    try:
        from recbole_mm.results.report.command import report
    except ModuleNotFoundError as error:
        raise MissingPackage(f"a report needs the package {error.name}: pip install 'recbole-mm[compare]'") from error
    return report(arguments, rest)


PLUGINS_OPTION = {"--plugins": {"help": "modules of your own that the model needs, separated by commas"}}
SERVING_OPTIONS = {
    "checkpoint": {"help": "the checkpoint of a run, saved/<model>-<dataset>-<time>-<process>.pth, or an exported folder"},
    "--k": {"type": int, "default": 10, "help": "how many items; default: 10"},
    **PLUGINS_OPTION,
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
    "compare": Command(
        _compare,
        "run a grid of models, settings and seeds, and make its leaderboard",
        "Run models over encoders, paradigms, data sets, seeds and whatever else a grid file spans, and make the leaderboard: means over "
        "the seeds, tests per user, and costs. Killed and started again, it goes on with what has not ended. The exit status is 1 if a "
        "cell has failed.",
        {
            "grid": {"help": "a YAML file, see docs/compare.md"},
            "--output": {"default": "comparison", "help": "the folder that gets the runs and the leaderboard", "metavar": "FOLDER"},
            "--executor": {
                "choices": ["local", "ray"],
                "default": "local",
                "help": "local: processes on this machine; ray: a cluster, one cell a task; default: local",
            },
            "--workers": {"type": int, "help": "how many cells run at a time; default: 1, or all cores of a cluster"},
        },
        rest="none",
    ),
    "recommend": Command(
        _recommend,
        "recommend items to users, from a checkpoint",
        "Recommend items to users by the model of a checkpoint, without those that they have already. Under torchrun, the processes share "
        "the users.",
        {
            **SERVING_OPTIONS,
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
            **SERVING_OPTIONS,
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
            **SERVING_OPTIONS,
            "--text": {"help": "what to look for, in words"},
            "--image": {"help": "a picture of what to look for", "metavar": "FILE"},
        },
        rest="none",
    ),
    "export": Command(
        _export,
        "write a checkpoint's model as a folder that recommends by itself",
        "Write the model of a checkpoint as a folder that recommends by itself, without the data set: vectors, tokens, and what each user "
        "has, as safetensors and Parquet. Under torchrun, the processes share the users.",
        {
            "checkpoint": {"help": "the checkpoint of a run: saved/<model>-<dataset>-<time>-<process>.pth"},
            "--output": {"required": True, "help": "the folder to write; one that was exported before is replaced", "metavar": "FOLDER"},
            "--with-encoder": {
                "action": "store_true",
                "help": "with the encoder: for searches, and for new pictures and texts",
            },
            "--index": {
                "choices": ["flat", "hnsw"],
                "default": "flat",
                "help": "the FAISS index of the items' vectors: flat looks at every item, hnsw finds .95 of the best or more, and is what "
                "recommendations then go by; default: flat",
            },
            **PLUGINS_OPTION,
        },
        rest="none",
    ),
    "serve": Command(
        _serve,
        "answer over HTTP from an exported folder",
        "Answer over HTTP from an exported folder: recommendations, similar items, search, and a page for people at /. Items can be added "
        "and removed by whoever sends the API key, which is read from the environment variable RECBOLE_MM_API_KEY or from a file; nobody "
        "can without one.",
        {
            "folder": {"help": "the folder that recbole-mm export has written"},
            "--host": {"default": "127.0.0.1", "help": "the address to listen at; default: 127.0.0.1, for this machine alone"},
            "--port": {"type": int, "default": 8000, "help": "the port to listen at, 0 for any that is free; default: 8000"},
            "--workers": {"type": int, "default": 1, "help": "how many processes answer; default: 1"},
            "--api-key-file": {"help": "a file with the API key", "metavar": "FILE"},
            "--verbose": {"action": "store_true", "help": "log one line per request"},
            **PLUGINS_OPTION,
        },
        rest="none",
    ),
    "runs": Command(
        _runs,
        "list the finished runs in a folder",
        "List the finished runs in a folder, from the records that they leave beside their checkpoints.",
        {
            "folder": {"nargs": "?", "default": "saved", "help": "the checkpoint_dir of the runs; default: saved"},
            "--model": {"help": "only the runs of this model", "metavar": "MODEL"},
            "--dataset": {"help": "only the runs on this data set", "metavar": "DATASET"},
            "--sort": {
                "default": "when",
                "metavar": "COLUMN",
                "help": "a column of the CSV file, a metric of the test such as recall@20, or a setting; the best value of a metric comes "
                "first; default: when, the newest first",
            },
            "--columns": {"help": "what to show, separated by commas: whatever --sort takes", "metavar": "COLUMNS"},
            "--csv": {"help": "write a CSV file instead, with all metrics and the cost", "metavar": "FILE"},
        },
        rest="none",
    ),
    "knockout": Command(
        _knockout,
        "measure what a checkpoint's model loses without each modality",
        "Measure what a checkpoint's model loses when the features of a modality are replaced: by zeros, by the mean over the items, or by "
        "those of another item.",
        {
            "checkpoint": {"help": "the checkpoint of a run: saved/<model>-<dataset>-<time>-<process>.pth"},
            "--part": {"choices": ["valid", "test"], "default": "test", "help": "the part of the split to measure on; default: test"},
            "--csv": {"help": "a CSV file that gets all metrics", "metavar": "FILE"},
            "--plot": {"help": "an .html file that gets a plot of the metric that chose the epoch", "metavar": "FILE"},
            **PLUGINS_OPTION,
        },
        rest="none",
    ),
    "report": Command(
        _report,
        "show a run or a comparison, with pictures, in one HTML file",
        "Write one HTML file about a run: results with intervals, slices, what each modality is good for, training, cost, and, with "
        "pictures, what users had, took and were recommended, similar items, misses, cold items and a map of the items. Of a comparison: "
        "the leaderboard, cost against quality, slices, and the two best models side by side. The file needs no network.",
        {
            "source": {
                "help": "the checkpoint of a run, saved/<model>-<dataset>-<time>-<process>.pth, or the folder of a comparison",
                "metavar": "checkpoint",
            },
            "--output": {"default": "report.html", "help": "the file to write; default: report.html", "metavar": "FILE"},
            "--against": {"help": "a checkpoint to show beside it, of a run on the same split", "metavar": "CHECKPOINT"},
            "--no-knockout": {
                "action": "store_false",
                "dest": "knockout",
                "help": "leave out what the model does without each modality, which takes several evaluations",
            },
            **PLUGINS_OPTION,
        },
        rest="none",
    ),
}
