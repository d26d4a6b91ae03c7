"""The commands that ask finished runs."""

import argparse
from pathlib import Path

from recbole_mm.commands.command import CHECKPOINT, PLUGINS, Command, imports, later


def _compare(arguments: argparse.Namespace, _: list[str]) -> int:
    with imports():
        from recbole_mm.results.compare.compare import compare_and_tell

    return 1 if compare_and_tell(arguments.grid, Path(arguments.output), arguments.executor, arguments.workers) else 0


RESULTS = {
    "runs": Command(
        later("recbole_mm.results.runs", "runs"),
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
    "knockout": Command(
        later("recbole_mm.results.knockout_command", "knockout"),
        "measure what a checkpoint's model loses without each modality",
        "Measure what a checkpoint's model loses when the features of a modality are replaced: by zeros, by the mean over the items, or by "
        "those of another item.",
        {
            "checkpoint": CHECKPOINT,
            "--part": {"choices": ["valid", "test"], "default": "test", "help": "the part of the split to measure on; default: test"},
            "--csv": {"help": "a CSV file that gets all metrics", "metavar": "FILE"},
            "--plot": {"help": "an .html file that gets a plot of the metric that chose the epoch", "metavar": "FILE"},
            **PLUGINS,
        },
        rest="none",
    ),
    "report": Command(
        later("recbole_mm.results.report.command", "report", extra="compare"),
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
            **PLUGINS,
        },
        rest="none",
    ),
}
