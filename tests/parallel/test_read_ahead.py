"""Reading ahead keeps the order, passes errors on, and stops when it is told to."""

import time

import pytest

from recbole_mm.parallel.read_ahead import read_ahead


@pytest.mark.parametrize("threads", [1, 3])
def test_order_and_errors(threads: int):
    assert list(read_ahead(lambda n: n * n, range(7), threads)) == [n * n for n in range(7)]
    ready = read_ahead(lambda n: 1 // n, [1, 0], threads)
    assert next(ready) == 1
    with pytest.raises(ZeroDivisionError):
        next(ready)


def test_no_more_than_what_is_asked_for_is_read():
    begun = []
    ready = read_ahead(lambda n: begun.append(n) or n, range(100), ahead=3)
    assert next(ready) == 0
    time.sleep(0.05)
    ready.close()
    assert len(begun) <= 4
