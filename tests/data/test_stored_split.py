"""What a stored split says of interactions that somebody has several times, and how they become numbers."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

from recbole_mm.data.interaction_codes import codes_in_order, codes_of_tokens, new_and_gone, pair_codes, without
from recbole_mm.data.stored_split import deal


def codes(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


def test_the_last_of_equal_interactions_are_those_that_come_later():
    parts = {"training": codes(1, 1, 3, 5), "valid": codes(1, 2), "test": codes(1, 4, 5)}
    assert deal(codes(5, 1, 3, 1, 2, 1, 4, 1, 5), parts).tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2]


def test_more_of_them_than_there_were_are_in_the_earliest_part():
    parts = {"training": codes(1), "valid": codes(2), "test": codes(1, 2)}
    assert deal(codes(2, 1, 1, 2, 1, 2), parts).tolist() == [1, 0, 0, 1, 2, 2]


def test_what_is_taken_away_is_counted():
    assert without(codes(1, 1, 1, 2, 3), codes(3, 1, 4, 1)).tolist() == [1, 2]
    assert without(codes(), codes(3)).tolist() == [] and without(codes(7), codes()).tolist() == [7]
    assert new_and_gone(codes(1, 1, 2), codes(1, 3, 3)) == (2, 2)


def test_tokens_and_ids_have_the_same_numbers():
    tokens = np.array(["[PAD]", "7", "b"])
    dataset = SimpleNamespace(uid_field="u", iid_field="i", field2id_token={"u": tokens, "i": tokens})
    users, items = codes(1, 2, 1, 2), codes(2, 1, 1, 2)
    found = codes_in_order(dataset, users, items)
    assert torch.equal(found, codes_of_tokens(pd.Categorical(tokens[users]), pd.Series(tokens[items], dtype=object)))
    assert len(found.unique()) == 4 and torch.equal(pair_codes(dataset, users, items), found.sort().values)
