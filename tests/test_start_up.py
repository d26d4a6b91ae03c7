"""What a command loads: nothing heavy for help, and for a run only what it uses."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from recbole_mm.compat.late_imports import late, tell_stand_ins
from recbole_mm.testing.planted import write_planted

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "numpy", "pandas", "scipy", "sklearn", "recbole", "ray", "hyperopt", "transformers", "open_clip"}
SCRIPT = """
import sys
import recbole_mm

def absent(*names):
    assert not {*names} & {*sys.modules}, {*names} & {*sys.modules}

absent(*HEAVY)
from recbole_mm import cli
for call, argument in ((cli.main, ["--help"]), (cli.main, ["run", "--help"]), (cli.main_run, ["--help"]), (cli.main_run, ["--version"])):
    try:
        call(argument)
    except SystemExit as end:
        assert end.code == 0
absent(*HEAVY)

def run(*arguments):
    shared = ("--dataset=shop", f"--data_path={sys.argv[1]}", "--epochs=1", "--use_gpu=False", "--quiet")
    assert cli.main_run([*shared, *arguments]) == 0
    absent("sklearn", "scipy.stats", "torch._dynamo", "transformers", "timm", "ray", "hyperopt", "plotly")

run("--model=BPR")
absent("open_clip", "torchvision", "scipy.linalg")
run("--model=VBPR", "--encoder=open_clip:tiny", "--encoder_training=pretrained")

from recbole.evaluator import metrics
assert metrics.sk_auc([0, 0.5, 1], [0, 1, 1]) == 0.75
import sklearn.metrics
assert metrics.mean_squared_error is sklearn.metrics.mean_squared_error
from recbole.model.general_recommender import slimelastic
slimelastic.ElasticNet(alpha=1)
assert issubclass(slimelastic.ConvergenceWarning, Warning)
"""


def test_help_and_a_small_run_load_what_they_use(tmp_path):
    write_planted(tmp_path / "shop", n_users=8, n_items=24)
    call = [sys.executable, "-c", f"HEAVY = {HEAVY}\n{SCRIPT}", str(tmp_path)]
    done = subprocess.run(call, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_modules_behind_help_import_nothing_heavy():
    """All that recbole_mm.cli brings, by the source, so that the message names the file."""
    waiting, seen = ["recbole_mm.cli", "recbole_mm"], set()
    while waiting:
        name = waiting.pop()
        file = ROOT / f"{name.replace('.', '/')}.py"
        file = file if file.is_file() else ROOT / name.replace(".", "/") / "__init__.py"
        if name in seen or not file.is_file():
            continue
        seen.add(name)
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                named = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            assert not HEAVY & {module.partition(".")[0] for module in named}, (file, named)
            waiting += named
    assert len(seen) > 10


HEAVY_MODULE = "loaded = []\nclass Kept(UserWarning):\n    pass\ndef double(x):\n    return 2 * x\n"
IMPORTER = "import heavy\nfrom heavy import Kept, double as twice\nTABLE = {'twice': twice}\ndef use(x):\n    return twice(x), Kept\n"


def test_a_late_name_is_imported_where_it_is_used_first(tmp_path, monkeypatch):
    (tmp_path / "heavy.py").write_text(HEAVY_MODULE)
    (tmp_path / "importer.py").write_text(IMPORTER)
    monkeypatch.syspath_prepend(tmp_path)
    with late({"heavy": ("double", "Kept", "not_in_this_version")}):
        import importer
    tell_stand_ins(importer)
    assert "heavy" not in sys.modules
    assert importer.use(3) == (6, importer.Kept)
    import heavy

    assert importer.twice is heavy.double and importer.Kept is heavy.Kept and importer.heavy.loaded is heavy.loaded
    assert importer.TABLE["twice"](4) == 8
    with pytest.raises(AttributeError, match="nothing"):
        _ = importer.heavy.nothing
    for name in ("heavy", "importer"):
        monkeypatch.delitem(sys.modules, name)


def test_a_name_that_no_stand_in_has_is_missing_as_it_would_be(tmp_path):
    with late({"heavy": ("double",)}), pytest.raises(ImportError, match="triple"):
        from heavy import triple  # noqa: F401


def test_what_is_loaded_already_is_imported_as_it_is():
    with late({"json": ("dumps",)}):
        from json import dumps
    assert dumps([1]) == "[1]" and type(dumps).__name__ == "function"


@pytest.mark.parametrize("name", ["SGD", "Adam", "Adagrad"])
def test_an_optimiser_needs_no_compiler_and_is_compiled_as_before(name):
    """It steps as it does beside a compiler, with no gradient of its own, and a compiled step is one graph."""
    from torch._dynamo.testing import CompileCounter

    found, counter = {}, CompileCounter()
    for compiler in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            if not compiler:
                patch.delitem(sys.modules, "torch._dynamo")
            weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
            optimiser = getattr(torch.optim, name)([weight], lr=0.1)
            for _ in range(3):
                optimiser.zero_grad()
                (weight**2).sum().backward()
                optimiser.step()
            optimiser.load_state_dict(optimiser.state_dict())
            assert ("torch._dynamo" in sys.modules) == compiler
            found[compiler] = weight.tolist()
    assert found[False] == found[True] != [1.0, -2.0]
    if name == "SGD":
        torch.compile(lambda: optimiser.step(), backend=counter)()
        assert counter.frame_count == 1
