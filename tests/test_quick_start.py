"""The names that other programs import, with RecBole's signatures."""

import ast
import inspect
from importlib.util import find_spec
from pathlib import Path

import pytest

import recbole_mm
from recbole_mm import quick_start

PUBLIC = {
    "InputError", "MultiModalConfig", "MultiModalTrainer", "build_model", "build_trainer", "create_dataset", "data_preparation",
    "find_dataset", "load_data_and_model", "objective_function", "run", "start",
}  # fmt: skip
OTHERS = (
    "Ranks", "checkpoint_name", "cost_line", "evaluate_parts", "is_ours", "launch", "load_checkpoint", "load_model_state", "start_log",
    "starting", "starts_others",
)  # fmt: skip
"""Not meant as public, but importable in version 0.1.0."""


def recboles(function: str) -> list[str]:
    """The parameters of a function of recbole.quick_start, which is not imported, because it alone needs ray."""
    source = Path(find_spec("recbole").origin).parent / "quick_start" / "quick_start.py"
    definitions = [node for node in ast.parse(source.read_text()).body if isinstance(node, ast.FunctionDef)]
    (found,) = [node for node in definitions if node.name == function]
    return [argument.arg for argument in found.args.args]


def test_public_names():
    assert set(quick_start.__all__) == PUBLIC
    assert all(hasattr(quick_start, name) for name in (*PUBLIC, *OTHERS))
    assert recbole_mm.run is quick_start.run


@pytest.mark.parametrize(
    ("name", "recboles_name"),
    [("run", "run_recbole"), ("objective_function", "objective_function"), ("load_data_and_model", "load_data_and_model")],
)
def test_what_calls_recbole_can_call_this(name, recboles_name):
    """The parameters are RecBole's, but for the queue that only its own processes need; further ones have defaults."""
    own, expected = inspect.signature(getattr(quick_start, name)).parameters, recboles(recboles_name)
    expected = [parameter for parameter in expected if parameter != "queue"]
    assert list(own)[: len(expected)] == expected
    assert all(own[parameter].default is not inspect.Parameter.empty for parameter in list(own)[len(expected) :])
