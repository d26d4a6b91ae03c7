"""What values each kind accepts, and what its complaint says."""

from fractions import Fraction
from math import inf, nan

import pytest

from recbole_mm.config import kinds
from recbole_mm.config.kinds import choice, or_auto


@pytest.mark.parametrize(
    ("kind", "accepted", "refused"),
    [
        ("COUNT", [1, 10**9], [0, -1, 1.0, True, "1", None]),
        ("WHOLE", [0, 7], [-1, 0.5, False, "0", None]),
        ("AMOUNT", [0, 0.5, Fraction(1, 3), inf], [-0.1, nan, True, "0.5", None]),
        ("POSITIVE", [0.1, 1], [0, -1, True, None]),
        ("SHARE", [0, 0.99], [1, 1.0, -0.1, None]),
        ("FRACTION", [0, 1, 0.5], [1.1, -0.1, None]),
        ("SWITCH", [True, False], ["True", 2, None]),
        ("NAME", ["a"], ["", 5, None]),
        ("NAMES", [[], ["a", "b"]], ["a", ["a", 1], ("a",), None]),
    ],
)
def test_a_kind_accepts_its_values_alone(kind, accepted, refused):
    accepts = getattr(kinds, kind).accepts
    assert all(map(accepts, accepted)) and not any(map(accepts, refused))


def test_a_choice_or_a_kind_with_auto():
    size = or_auto(kinds.COUNT)
    assert size.accepts("auto") and size.accepts(3) and not size.accepts("automatic") and not size.accepts(0)
    assert size.type == "int or str" and size.words == "a positive whole number, or auto"
    assert choice("sum", "concat").type == "str" and kinds.SWITCH.type == "bool"


def test_complaints_name_the_key_the_value_and_what_it_must_be():
    assert kinds.COUNT.complaint("epochs", "two") == "epochs 'two': a positive whole number"
    assert kinds.COUNT.complaint("epochs", None) == "epochs '~': a positive whole number"
    assert choice("sum", "concat").complaint("fusion", "summ") == "fusion 'summ' is none of sum, concat (did you mean 'sum'?)"
