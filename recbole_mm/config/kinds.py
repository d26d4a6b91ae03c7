"""What a configuration key is: ``Key``, and the kinds of values that keys hold.

Pure Python: the table of keys, the models' classes and the encoders' settings may all import it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real

from recbole_mm.errors import nearest

EVERY_MODEL = "every model"
"""A key belongs to every model, RecBole's included."""
SEQUENTIAL_MODELS = "sequential models"
"""A key belongs to every sequential model, RecBole's included."""
OUR_MODELS = "our models"
"""A key belongs to recbole_mm's models, and to those that users build on its base classes."""


@dataclass(frozen=True)
class Kind:
    """What a value must be.

    Attributes:
        type: the value's type as a comment in a property file gives it, such as "int" or "float or str".
        words: what the value must be, as a complaint says it, such as "a positive whole number".
        accepts: whether a value is of this kind.
        choices: every value there is, for a kind that lists its values.
    """

    type: str
    words: str
    accepts: Callable[[object], bool]
    choices: tuple = ()

    def complaint(self, key: str, value: object) -> str:
        """The line that says what is wrong with a value which this kind does not accept."""
        written = "~" if value is None else value
        if self.choices:
            return f"{key} '{written}' is none of {self.words}{nearest(str(written), map(str, self.choices))}"
        return f"{key} '{written}': {self.words}"


@dataclass(frozen=True)
class Key:
    """One configuration key.

    Attributes:
        default: its value where nobody sets another one.
        kind: what its value must be.
        help: what it means, in whole sentences; the comment beside it in the property file.
        belongs_to: ``EVERY_MODEL``, ``SEQUENTIAL_MODELS``, ``OUR_MODELS``, or the one ``encoder_tuning`` that reads it.
        may_be_empty: whether ``~`` is a value too. It always is for a key whose default is ``~``.
    """

    default: object
    kind: Kind
    help: str
    belongs_to: str = OUR_MODELS
    may_be_empty: bool = False


def choice(*values: object) -> Kind:
    """One of these values."""
    kinds = dict.fromkeys(type(value).__name__ for value in values)
    return Kind(" or ".join(kinds), ", ".join(map(str, values)), lambda v: v in values, values)


def or_auto(kind: Kind) -> Kind:
    """A value of that kind, or the word auto."""
    return Kind(f"{kind.type} or str", f"{kind.words}, or auto", lambda v: v == "auto" or kind.accepts(v))


def is_whole(value: object) -> bool:
    """Is it an integer? True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_amount(value: object) -> bool:
    """Is it a number that is not negative? True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool) and value >= 0


def is_number(value: object) -> bool:
    """Is it a number? True, False and nan are none."""
    return isinstance(value, Real) and not isinstance(value, bool) and value == value


def is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def is_name_mapping(value: object) -> bool:
    """Is it a mapping with at least one entry, from names to names?"""
    return isinstance(value, Mapping) and bool(value) and all(map(is_name, (*value, *value.values())))


COUNT = Kind("int", "a positive whole number", lambda v: is_whole(v) and v > 0)
WHOLE = Kind("int", "a whole number that is not negative", lambda v: is_whole(v) and v >= 0)
AMOUNT = Kind("float", "a number that is not negative", is_amount)
POSITIVE = Kind("float", "a positive number", lambda v: is_amount(v) and v > 0)
SHARE = Kind("float", "a share below 1", lambda v: is_amount(v) and v < 1)
FRACTION = Kind("float", "a number from 0 to 1", lambda v: is_amount(v) and v <= 1)
SWITCH = choice(True, False)
NAME = Kind("str", "a name", is_name)
PATH = Kind("str", "the path of a file", is_name)
FOLDER = Kind("str", "a folder", is_name)
NAMES = Kind("list", "a list of names", lambda v: isinstance(v, list) and all(isinstance(name, str) for name in v))
ANY = Kind("any", "anything", lambda v: True)
"""What is not checked: the keys of a class that gives their defaults alone (``default_settings``)."""
