"""A model of a user's own declares its keys in its class, and edits nothing else."""

import pytest

from recbole_mm.config.kinds import AMOUNT, COUNT, SHARE, Key, choice
from recbole_mm.config.model_keys import declared_keys
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError
from recbole_mm.model.base import EmbeddingRecommender
from recbole_mm.model.cliprec import CLIPRec


class Mine(EmbeddingRecommender):
    keys = {
        "my_share": Key(0.5, SHARE, "A share."),
        "my_limit": Key(None, COUNT, "A limit. ~: none."),
        "my_way": Key("long", choice("long", "short"), "A way."),
        "embedding_size": Key(8, COUNT, "The size of the id embeddings."),
    }
    default_settings = {"epochs": 3}


class Finer(Mine):
    keys = {"my_share": Key(0.1, AMOUNT, "An amount.")}


def config(model: type, **keys) -> MultiModalConfig:
    return MultiModalConfig(model, "demo", None, {"use_gpu": False, **keys})


def test_its_keys_have_their_defaults_until_somebody_sets_them(tmp_path):
    read = config(Mine)
    assert (read["my_share"], read["my_limit"], read["my_way"], read["embedding_size"], read["epochs"]) == (0.5, None, "long", 8, 3)
    (tmp_path / "mine.yaml").write_text("my_way: short\nmy_limit: 7\n")
    read = MultiModalConfig(Mine, "demo", [str(tmp_path / "mine.yaml")], {"use_gpu": False, "my_limit": 9})
    assert (read["my_way"], read["my_limit"]) == ("short", 9)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"my_share": 1}, "my_share '1': a share below 1"),
        ({"my_share": None}, "my_share '~': a share below 1"),
        ({"my_limit": 0}, "my_limit '0': a positive whole number"),
        ({"my_way": "shrt"}, r"my_way 'shrt' is none of long, short \(did you mean 'short'\?\)"),
        ({"my_shrae": 0.2}, r"unknown key 'my_shrae' \(did you mean 'my_share'\?\)"),
        ({"knn_k": 5, "my_sahre": 1}, r"unknown key 'my_sahre'"),
    ],
)
def test_its_keys_are_checked_and_near_misses_named(keys, says):
    with pytest.raises(InputError, match=says):
        config(Mine, **keys)


def test_a_subclass_has_its_bases_keys_and_may_declare_them_anew():
    assert config(Finer)["my_share"] == 0.1 and config(Finer)["my_way"] == "long" and config(Finer, my_share=5)["my_share"] == 5
    assert list(declared_keys(Finer)) == list(declared_keys(Mine))


def test_classes_that_declare_choices_and_default_settings_go_on_working():
    class Older(CLIPRec):
        default_settings = {"my_alpha": 0.5, "my_mode": "a", "epochs": 3}
        choices = {"my_mode": ("a", "b")}

    read = config(Older, my_alpha=0.7)
    assert (read["my_alpha"], read["my_mode"], read["epochs"], read["loss_type"]) == (0.7, "a", 3, "SSM")
    for keys, says in (({"my_mode": "c"}, "my_mode 'c' is none of a, b"), ({"loss_type": "BRP"}, "none of BPR, SSM, sampled_softmax"),
                       ({"my_alfa": 1}, "'my_alpha'")):  # fmt: skip
        with pytest.raises(InputError, match=says):
            config(Older, **keys)
