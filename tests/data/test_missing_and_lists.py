"""RecBole's ways with columns of lists, under any pandas."""

import numpy as np

from tests.data.tables import interactions, read, write

LOAD = {"inter": ["user_id", "item_id"], "item": ["item_id", "tags", "size"]}


def shop(tmp_path):
    folder = write(tmp_path / "shop", [row[:2] for row in interactions()], "user_id:token\titem_id:token")
    rows = [["i0", "a b", "1 2 3"], ["i1", "", "4"], ["i2", "b", ""], ["i4", "c a b", "5 6"]]
    return write(folder, rows, "item_id:token\ttags:token_seq\tsize:float_seq", "item")


def test_tokens_and_numbers_of_lists_stay_in_their_rows(tmp_path):
    dataset = read(shop(tmp_path), load_col=LOAD, filter_inter_by_user_or_item=False)
    tags = {
        str(dataset.id2token("item_id", i)): [str(tag) for tag in dataset.id2token("tags", list(row.astype(int)))] if len(row) else []
        for i, row in enumerate(dataset.item_feat["tags"])
    }
    assert tags == {"[PAD]": [], "i0": ["a", "b"], "i1": [], "i2": ["b"], "i3": [], "i4": ["c", "a", "b"]}
    assert [row.tolist() for row in dataset.item_feat["size"]] == [[], [1, 2, 3], [4], [], [], [5, 6]]
    assert dataset.field2seqlen["tags"] == dataset.field2seqlen["size"] == 3


def test_lists_of_numbers_are_scaled_and_cut_in_their_rows(tmp_path):
    dataset = read(shop(tmp_path), load_col=LOAD, filter_inter_by_user_or_item=False, normalize_field=["size"], seq_len={"tags": 2})
    np.testing.assert_allclose(np.concatenate(list(dataset.item_feat["size"])), [0, 0.2, 0.4, 0.6, 0.8, 1])
    assert [len(row) for row in dataset.item_feat["size"]] == [0, 3, 1, 0, 0, 2] and dataset.field2seqlen["tags"] == 2
    dataset._change_feat_format()
    assert dataset.item_feat["tags"].shape == (6, 2) and dataset.item_feat["size"].shape == (6, 3)
