"""The property files that users read say what the table of keys and the models' classes say."""

import pytest
import yaml

from recbole_mm.config.keys import KEYS
from recbole_mm.config.kinds import COUNT, Key, choice
from recbole_mm.config.known_keys import known_keys
from recbole_mm.config.model_keys import declared_keys
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.properties import properties_dir
from recbole_mm.config.property_files import LINE_LENGTH, key_lines, property_files
from recbole_mm.errors import InputError
from recbole_mm.model import OUR_MODELS, get_model
from recbole_mm.model.base import EmbeddingRecommender

PRESETS = sorted(file.stem for file in (properties_dir() / "best").glob("*.yaml"))
FILES = {file.stem: (file, text) for file, text in property_files().items()}


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_written_from_the_keys(name):
    file, text = FILES[name]
    assert file.read_text(encoding="utf-8") == text, "run python -m recbole_mm.config.property_files"
    assert all(len(line) <= LINE_LENGTH for line in text.splitlines())


def test_what_yaml_reads_there_are_the_defaults():
    overall = yaml.safe_load(FILES["overall"][1])
    assert overall == {name: key.default for name, key in KEYS.items()}


@pytest.mark.parametrize("model", OUR_MODELS)
def test_a_models_file_and_those_of_its_bases_have_its_defaults(model):
    read = {}
    for parent in reversed(get_model(model).__mro__):
        read |= yaml.safe_load(FILES[parent.__name__][1]) if parent.__name__ in FILES else {}
    assert {name: read.get(name) for name in declared_keys(get_model(model))} == {
        name: key.default for name, key in declared_keys(get_model(model)).items()
    }


def test_a_line_says_type_help_and_choices():
    keys = {"knn_k": Key(None, COUNT, "Neighbours."), "fusion": Key("sum", choice("sum", "concat"), "How.")}
    assert key_lines(keys).splitlines() == [
        "knn_k: ~                        # (int) Neighbours.",
        "fusion: sum                     # (str) How. Range in ['sum', 'concat'].",
    ]


@pytest.mark.parametrize("model", PRESETS)
def test_the_settings_of_a_preset_hold(model):
    plain = MultiModalConfig(model, "demo", None, None, [])
    best = MultiModalConfig(model, "demo", None, {"preset": "best"}, [])
    chosen = yaml.safe_load((properties_dir() / "best" / f"{model}.yaml").read_text())
    assert {key: best[key] for key in chosen} == chosen != {key: plain[key] for key in chosen}
    assert set(chosen) <= known_keys(get_model(model))
    own = MultiModalConfig(model, "demo", None, {"preset": "best", "learning_rate": 0.123}, [])
    assert own["learning_rate"] == 0.123, "what the user sets counts more"


def test_a_preset_that_is_not_there():
    with pytest.raises(InputError, match="preset 'bets' is none of best"):
        MultiModalConfig("VBPR", "demo", None, {"preset": "bets"}, [])

    class Mine(EmbeddingRecommender):
        pass

    mine = MultiModalConfig(Mine, "demo", None, {"preset": "best"}, [])
    assert mine.notices == ["preset: best has no other settings for Mine than its own"]


def test_a_class_of_ones_own_goes_before_the_preset_of_its_base():
    class Mine(get_model("LATTICE")):
        default_settings = {"loss_temperature": 0.5}

    mine = MultiModalConfig(Mine, "demo", None, {"preset": "best"}, [])
    assert (mine["loss_type"], mine["loss_temperature"]) == ("SSM", 0.5)
