"""What an interval is, and what else may have been meant."""

import pytest

from recbole_mm.config.intervals import INTERVALS, is_interval


@pytest.mark.parametrize("value", ["[5,inf)", "(0, 1]", " [ 5 , 5 ] ", "[1,2];[4,inf)", "[1,2] ; (3,4)", "(-inf,1e3]", [5, 10], (0.5, 1)])
def test_intervals(value):
    assert is_interval(value)


@pytest.mark.parametrize(
    "value",
    [50, 5.0, ">=5", "5", "[5,3]", "[5 inf)", "[5,inf", "5,inf)", "[5,]", "[,5]", "[5,5)", "[nan,1]", "[1,2];", "", "[a,b]", "[1,2,3]", [5],
     [5, 3], [1, 2, 3], ["1", "2"], {"a": 1}, True, "[inf,inf]"],
)  # fmt: skip
def test_what_is_none(value):
    assert not is_interval(value)


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (50, "[50,inf)"),
        (">=5", "[5,inf)"),
        ("5+", "[5,inf)"),
        ("> 5", "(5,inf)"),
        ("<=2.5", "(-inf,2.5]"),
        ("<3", "(-inf,3)"),
        ("=4", "[4,4]"),
    ],
)
def test_what_may_have_been_meant(value, meant):
    assert INTERVALS.complaint("key", value) == f"key '{value}': {INTERVALS.words} (perhaps '{meant}'?)" and is_interval(meant)
