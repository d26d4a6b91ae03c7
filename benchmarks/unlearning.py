"""Does a model forget, what do the others lose, and how much sooner is it done than training anew?

    python benchmarks/unlearning.py --dataset=... --data_path=... --models LightGCN CLIPRec --seeds 1 2 3 --text_field=title

Per model and seed, a run is trained, unlearns a share of the users (``--what items`` or ``--what interactions``: of these), and is trained
anew without them. The same ones go under every seed. The table has means and standard deviations over the seeds: the recall of the
forgotten interactions, the membership test, the test recall of the others, and the seconds of training anew over those of unlearning, all
of its checks included. Settings of a run (``--key=value``) are for all models; those of one are written ``--Model.key=value``.
"""

import argparse
import itertools
import random
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from recbole_mm import run
from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.unlearning.report import Report
from recbole_mm.unlearning.request import Request
from recbole_mm.unlearning.unlearn import unlearn

STAGES = ("before", "after", "retrained")


def request(checkpoint: str, what: str, share: float) -> Request:
    """A share of the users, items or interactions of a run, the same ones whatever its seed."""
    found = load_checkpoint(checkpoint, pickled=True)
    tokens = {kind: sorted(found["tokens"][f"{kind}_id"]) for kind in ("user", "item")}
    if what == "interactions":
        file = Path(found["config"]["data_path"]) / f"{found['config']['dataset']}.inter"
        rows = (tuple(line.split("\t")[:2]) for line in file.read_text().splitlines()[1:])
        pool = sorted(set(rows) & set(itertools.product(tokens["user"], tokens["item"])))
    else:
        pool = tokens[what.removesuffix("s")]
    chosen = dict.fromkeys(random.Random(0).sample(pool, int(share * len(pool))), what)
    return Request(**{**dict.fromkeys(("users", "items", "interactions"), {}), what: chosen})


def measure(model: str, seed: int, dataset: str, what: str, share: float, settings: Mapping[str, object]) -> Report:
    """What has come of an unlearning."""
    with tempfile.TemporaryDirectory() as folder:
        keys = {**settings, "seed": seed, "checkpoint_dir": folder, "screen": "quiet", "show_progress": False}
        checkpoint = run(model, dataset, config_dict=keys)["files"]["checkpoint"]
        return unlearn(checkpoint, request(checkpoint, what, share), retrained=True).report


def tell(model: str, reports: Sequence[Report]) -> None:
    k, metric = reports[0].k, reports[0].metric
    rows = {
        f"recall@{k} of the forgotten": lambda stage: stage.known and stage.known.recall,
        "membership test": lambda stage: stage.known and stage.known.told_apart,
        f"{metric} of the others": lambda stage: stage.others[metric],
    }
    print(f"\n{model}, {len(reports)} seeds")
    print(f"{'':28}" + "".join(f"{stage:>18}" for stage in STAGES))
    for name, of in rows.items():
        print(f"{name:28}" + "".join(f"{_spread([of(report.stages[stage]) for report in reports]):>18}" for stage in STAGES))
    ratios = [report.stages["retrained"].seconds / report.stages["after"].seconds for report in reports]
    print(f"training anew takes {_spread(ratios, 1)} times as long as unlearning", flush=True)


def _spread(values: Sequence[float | None], digits: int = 4) -> str:
    if None in values:
        return ""
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--models", nargs="+", default=["LightGCN", "CLIPRec"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--what", choices=["users", "items", "interactions"], default="users")
    parser.add_argument("--share", type=float, default=0.05)
    arguments, rest = parser.parse_known_args()
    sys.argv = sys.argv[:1]
    settings = [argument.removeprefix("--").split("=", 1) for argument in rest]
    for model in arguments.models:
        mine = [(key.removeprefix(f"{model}."), value) for key, value in settings]
        own = {key: yaml.safe_load(value) for key, value in mine if "." not in key}
        tell(model, [measure(model, seed, arguments.dataset, arguments.what, arguments.share, own) for seed in arguments.seeds])


if __name__ == "__main__":
    main()
