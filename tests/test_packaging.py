"""What pyproject.toml asks for: RecBole itself below Python 3.12, and from there on all that RecBole asks for but ray."""

from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


@pytest.fixture()
def project() -> dict:
    return pytest.importorskip("tomllib").loads(PYPROJECT.read_text(encoding="utf-8"))["project"]


def names_for(project: dict, python: str) -> set[str]:
    """The packages that an installation asks for under a version of Python."""
    wanted = (Requirement(text) for text in project["dependencies"])
    return {r.name.lower() for r in wanted if r.marker is None or r.marker.evaluate({"python_version": python})}


@pytest.mark.parametrize("python", ["3.10", "3.11"])
def test_recbole_brings_its_own_requirements_below_python_3_12(project, python):
    assert "recbole" in names_for(project, python) and "colorlog" not in names_for(project, python)


@pytest.mark.parametrize("python", ["3.12", "3.13"])
def test_all_that_recbole_asks_for_but_ray_is_there_from_python_3_12_on(project, python):
    of_recbole = [Requirement(text) for text in requires("recbole") or []]
    needed = {r.name.lower() for r in of_recbole if r.marker is None} - {"ray"}
    assert "recbole" not in names_for(project, python)
    assert needed <= names_for(project, python)


def test_pinned_requirements_of_recbole_are_pinned_alike(project):
    ours = {r.name.lower(): r.specifier for r in map(Requirement, project["dependencies"])}
    pinned = [r for r in map(Requirement, requires("recbole") or []) if r.marker is None and "==" in str(r.specifier)]
    assert pinned and all(ours[r.name.lower()] == r.specifier for r in pinned)


def test_the_readme_has_the_extra_command_before_anything_else(project):
    readme = (PYPROJECT.parent / "README.md").read_text(encoding="utf-8")
    assert 0 < readme.index("pip install --no-deps recbole==1.2.1") < readme.index("## Try on the demo")
    assert project["requires-python"] == ">=3.10,<3.14"
