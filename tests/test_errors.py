"""What is raised inside of RecBole ends in one line that says where; what others raise stays as it is."""

import logging
from pathlib import Path

import pytest
import recbole
import torch
from recbole.data.interaction import Interaction
from recbole.sampler import Sampler

from recbole_mm.errors import InputError, recboles_own_failures


def test_a_failure_inside_of_recbole_is_one_line_and_its_traceback_is_in_the_log_file(tmp_path):
    handler = logging.FileHandler(tmp_path / "run.log")
    logging.getLogger().addHandler(handler)
    try:
        says = r"RecBole does not work with these .*: ValueError: .*\(sampler.py, line \d+\); --state=DEBUG"
        with pytest.raises(InputError, match=says) as raised, recboles_own_failures():
            Sampler(["train", "test"], [])
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    assert "\n" not in str(raised.value) and "Traceback" in (tmp_path / "run.log").read_text()


def test_a_package_that_is_missing_is_named():
    missing = compile("import faiss_of_nobody.contrib", str(Path(recbole.__file__).parent / "model" / "ncl.py"), "exec")
    with pytest.raises(InputError, match="RecBole's ncl needs the package faiss_of_nobody, which is not"), recboles_own_failures():
        exec(missing)


@pytest.mark.parametrize(
    ("raising", "kind"),
    [
        (lambda: {}["x"], KeyError),
        (lambda: torch.zeros(2) @ torch.zeros(3), RuntimeError),
        (lambda: Interaction({"user_id": torch.zeros(1)})["item_id"], KeyError),
    ],
)
def test_what_others_raise_stays_as_it_is(raising, kind):
    """A model of a user's own, torch when it calls it, and a batch that is asked for a column that it has not."""
    with pytest.raises(kind), recboles_own_failures():
        raising()
    with pytest.raises(InputError, match="^one line$"), recboles_own_failures():
        raise InputError("one line")
