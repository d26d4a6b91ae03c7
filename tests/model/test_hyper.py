"""The tuning grids: RecBole's HyperTuning takes them, and every key and value is one the model takes."""

import pytest
import yaml

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.properties import properties_dir
from recbole_mm.model import OUR_MODELS
from recbole_mm.testing.planted import settings

GRIDS = sorted((properties_dir() / "hyper").glob("*.yaml"))


@pytest.mark.parametrize("file", GRIDS, ids=lambda file: file.stem)
def test_a_grid_is_one_of_a_model_and_its_first_point_a_configuration(file, planted):
    from recbole.trainer import HyperTuning

    assert file.stem in OUR_MODELS
    grid = yaml.safe_load(file.read_text())
    tuning = HyperTuning(lambda *_: None, params_dict=grid, algo="exhaustive")
    assert set(tuning.space) == {key for keys in grid.values() for key in keys}
    for points in zip(*grid["choice"].values(), strict=False):
        MultiModalConfig(file.stem, planted.name, config_dict=settings(planted, **dict(zip(grid["choice"], points, strict=True))))


def test_there_are_grids():
    assert {"VBPR", "LightGCNM"} <= {file.stem for file in GRIDS}
