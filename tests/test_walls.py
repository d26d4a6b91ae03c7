"""The walls between the rooms: an import only ever points down the list of rooms, and no modules import each other in a circle."""

import ast
import subprocess
import sys
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "recbole_mm"
ROOMS = (
    "cli", "commands", "results", "unlearning", "serving", "audit", "testing", "distillation", "quick_start", "training", "evaluation",
    "model", "feature", "finetune", "items", "encoder", "data", "config", "parallel", "checkpoint", "disk", "terminal", "compat", "errors",
)  # fmt: skip
"""From top to bottom: a room may import those below it."""
WALLS = {"encoder": ("recbole",), "model": ("recbole_mm.encoder", "open_clip", "transformers"), "data": ("recbole_mm.model",)}
"""What a room never imports, wherever that stands in the list."""
NOWHERE = ("recbole.quick_start", "ray")
MAY = {"recbole_mm.results.compare.ray_executor": ("ray",)}
"""What one module may import that the others may not."""


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def imports(source: str, package: list[str]) -> set[str]:
    """Every module that a source file of ``package`` imports, at its head or inside of a function, with what it takes out of each."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            module = f"{base}{node.module or ''}".strip(".")
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


@lru_cache
def imports_of(module: str) -> set[str]:
    file = MODULES[module]
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    return imports(file.read_text(encoding="utf-8"), package)


def own(names: set[str]) -> set[str]:
    """Of imported names the modules of this package. ``from package import module`` means the module, not the package around it."""
    modules = {name for name in names if name in MODULES}
    return {m for m in modules if MODULES[m].name != "__init__.py" or not any(other.startswith(f"{m}.") for other in modules)}


def room(module: str) -> str | None:
    """The room that a module lies in; None for the package itself, which everything is inside of."""
    return module.split(".")[1] if "." in module else None


def broken_by(module: str, names: set[str]) -> list[str]:
    """What is wrong with ``module`` importing ``names``, in words."""
    wrong, here = [], room(module)
    for name in names:
        there = room(name) if name in MODULES else None
        if here and there and here != there and ROOMS.index(there) < ROOMS.index(here):
            wrong.append(f"{module} imports {name}, which is above it")
        for wall in {*NOWHERE, *WALLS.get(here, ())} - {*MAY.get(module, ())}:
            if name == wall or name.startswith(f"{wall}."):
                wrong.append(f"{module} imports {name}")
    return wrong


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle; [] where there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_every_module_lies_in_a_room():
    assert {room(module) for module in MODULES} - {None} == set(ROOMS)


def test_no_module_imports_what_it_may_not():
    assert [fault for module in MODULES for fault in broken_by(module, imports_of(module))] == []


def test_no_modules_import_each_other_in_a_circle():
    assert circle({module: own(imports_of(module)) - {module} for module in MODULES}) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("recbole_mm.data.content", "from recbole_mm.items.inputs import EncoderInputs"),
        ("recbole_mm.data.content", "def f():\n    import recbole_mm.training.trainer"),
        ("recbole_mm.encoder.base", "from recbole.utils import init_seed"),
        ("recbole_mm.model.vbpr", "from ..encoder.base import ItemEncoder"),
        ("recbole_mm.cli", "from recbole.quick_start import run"),
    ],
)
def test_a_broken_wall_is_found(module: str, source: str):
    assert broken_by(module, imports(source, module.split(".")[:-1]))


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})


def test_the_encoder_room_works_without_recbole():
    """And lets torchvision be imported: its wheel for GPUs, beside a torch for CPUs."""
    code = (
        "import sys; sys.modules['recbole'] = None\n"
        "from recbole_mm.encoder import create_encoder\n"
        "import torchvision.transforms as t, PIL.Image as i; t.Resize(4)(i.new('RGB', (8, 8)))\n"
        "assert create_encoder('open_clip:tiny').output_dims"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent).returncode == 0
