"""The walls between the rooms: who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "recbole_mm"
RUN = ("recbole_mm.trainer", "recbole_mm.preparation", "recbole_mm.quick_start")


def imports(file: Path) -> set[str]:
    """Every module a file imports, absolute and resolved."""
    package = ["recbole_mm", *file.relative_to(PACKAGE).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            module = f"{base}{node.module or ''}".strip(".")
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("encoder", ("recbole", "recbole_mm.data", "recbole_mm.feature", "recbole_mm.model", *RUN)),
        ("model", ("recbole_mm.encoder", "open_clip", "transformers", *RUN)),
        ("data", ("recbole_mm.model", "recbole_mm.feature", "recbole_mm.config", "recbole_mm.keys", *RUN)),
        ("feature", ("recbole_mm.model", "recbole_mm.config", *RUN)),
        ("finetune", ("recbole_mm.model", "recbole_mm.config", *RUN)),
        (".", ("recbole.quick_start", "ray")),
    ],
)
def test_a_room_does_not_import_what_is_above_it(room: str, forbidden: tuple[str, ...]):
    files = list((PACKAGE / room).rglob("*.py"))
    assert files
    for file in files:
        for name in imports(file):
            assert not any(name == wall or name.startswith(wall + ".") for wall in forbidden), f"{file} imports {name}"


def test_ray_is_never_loaded():
    code = "import recbole_mm.quick_start, recbole_mm.cli, sys; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent).returncode == 0


def test_the_encoder_room_works_without_recbole():
    code = (
        "import sys; sys.modules['recbole'] = None\n"
        "from recbole_mm.encoder import create_encoder\n"
        "assert create_encoder('open_clip:tiny').output_dims"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent).returncode == 0
