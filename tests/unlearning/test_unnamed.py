"""What is said while something is forgotten names nobody."""

import logging

from recbole_mm.terminal import say
from recbole_mm.unlearning.unnamed import unnamed


def test_tokens_are_left_out_where_they_are_whole_words(caplog):
    caplog.set_level("INFO")
    with unnamed({"u1", "7", "Zoë K.", "u1-b"}):
        logging.getLogger().warning("%d pictures: item u1: images/u1.png, u11, u1-b, u1-c, Zoë K., 7 and 17", 7)
        say("7 users, first u1")
    logging.getLogger().warning("u1")
    assert [record.getMessage() for record in caplog.records] == [
        "(forgotten) pictures: item (forgotten): images/(forgotten).png, u11, (forgotten), u1-c, (forgotten), (forgotten) and 17",
        "7 users, first (forgotten)",
        "u1",
    ]
    assert str(caplog.records[1].shown) == "7 users, first (forgotten)"


def test_nobody_is_no_pattern(caplog):
    with unnamed(()):
        logging.getLogger().warning("as it is")
    assert caplog.messages == ["as it is"]
