"""What RecBole's own models raise ends in one line that says where; what others raise stays as it is."""

import logging

import pytest
from recbole.model.general_recommender import BPR

from recbole_mm.errors import InputError, recboles_own_failures


class Mine(BPR):
    """A model of a user's own."""


def test_a_failure_inside_of_recbole_is_one_line_and_its_traceback_is_in_the_log_file(tmp_path):
    handler = logging.FileHandler(tmp_path / "run.log")
    logging.getLogger().addHandler(handler)
    try:
        with (
            pytest.raises(InputError, match=r"RecBole's BPR does not work with these .*: KeyError: 'x'") as raised,
            recboles_own_failures(BPR),
        ):
            raise KeyError("x")
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    assert "\n" not in str(raised.value) and "Traceback" in (tmp_path / "run.log").read_text()


def test_a_package_that_is_missing_is_named():
    with pytest.raises(InputError, match="model BPR needs the package faiss, which is not installed"), recboles_own_failures(BPR):
        raise ModuleNotFoundError("No module named 'faiss'", name="faiss")


def test_bad_input_and_failures_of_other_models_stay_as_they_are():
    with pytest.raises(InputError, match="^one line$"), recboles_own_failures(BPR):
        raise InputError("one line")
    with pytest.raises(KeyError), recboles_own_failures(Mine):
        raise KeyError("x")
