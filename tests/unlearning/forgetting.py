"""What the tests of unlearning ask for, and how they look at what is left."""

from collections import Counter
from pathlib import Path

import numpy as np

from recbole_mm.data.tokens import item_tokens, user_tokens
from recbole_mm.evaluation.popularity import training_pairs
from recbole_mm.unlearning.request import Forgotten, Request, forget


def asked(users: tuple = (), items: tuple = (), interactions: tuple = ()) -> Request:
    """A request that stands in no file."""
    return Request(*(dict.fromkeys(tokens, "asked") for tokens in (users, items, interactions)))


def forgotten_of(file: Path, users: tuple = (), items: tuple = (), interactions: tuple = ()) -> Forgotten:
    return forget(str(file), asked(users, items, interactions))


def pairs_of(loader) -> Counter:
    """The interactions of a part by their tokens, those that stand in a history alone included."""
    dataset = loader._dataset
    users, items = training_pairs(dataset)
    names = np.array(user_tokens(dataset), dtype=object), np.array(item_tokens(dataset), dtype=object)
    return Counter(zip(names[0][users], names[1][items], strict=True))
