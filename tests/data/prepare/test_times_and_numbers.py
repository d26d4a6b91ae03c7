"""Times and numbers as tables have them: read where they can be read in one way, and an option named where not."""

import pytest

from recbole_mm.errors import InputError
from tests.data.prepare.tables import Prepared, rows

NOON = 1710255720  # 12 March 2024, 15:02 UTC
DAY = 86400


def stamps(folder, *cells: str, arguments: tuple[str, ...] = (), column: str = "date") -> tuple[list[float], str]:
    orders = rows(f"user;item;{column}", *(f'u;i{n:02};"{cell}"' for n, cell in enumerate(cells)))
    found = Prepared(folder, orders, None, *arguments).make()
    return [float(time) for time in found.inter.sort_values("item_id")["timestamp"]], found.summary.tables[0].said["time"]


@pytest.mark.parametrize(
    ("cells", "expected", "said"),
    [
        (["12.03.2024 15:02", "13.03.2024 15:02"], [NOON, NOON + DAY], "day first"),
        (["12/03/2024 15:02:30", "31/12/2023"], [NOON + 30, 1703980800], "day first"),
        (["03/12/2024 3:02 PM", "06/18/2024 3:05 PM"], [NOON, 1718723100], "month first"),
        (["3/12/2024 3:02PM", "3/13/2024 3:02 p.m."], [NOON, NOON + DAY], "month first"),
        (["12.3.24, 15:02", "13.3.24, 15:02"], [NOON, NOON + DAY], "day first"),
        (["12-03-2024T15:02", "13-03-2024T15:02"], [NOON, NOON + DAY], "day first"),
        (["12/03/2024 16:02 +0100", "13/03/2024 15:02 UTC"], [NOON, NOON + DAY], "day first"),
        (["2024/03/12 15:02", "2024.03.12 15:02", "2024-03-12T15:02Z"], [NOON] * 3, "dates"),
        (["2024-03-12 16:02:00 +0100", "2024-03-12T15:02:00.000+0000", "2024-03-12 15:02:00 UTC"], [NOON] * 3, "dates"),
        (["12 Mar 2024 15:02", "March 12, 2024 3:02 PM", "12-Mar-2024 15:02", "Tue, 12 Mar 2024 15:02:00 GMT"], [NOON] * 4, "dates"),
        (["Tue Mar 12 15:02:00 UTC 2024", "Mar 12th, 2024 15:02"], [NOON] * 2, "dates"),
        (["20240312", "20240313"], [1710201600, 1710201600 + DAY], "without separators"),
        (["20240312150200", "20240313150200"], [NOON, NOON + DAY], "without separators"),
        (["45363.62638888889", "45364"], [NOON, 1710288000], "spreadsheet"),
        ([f"{NOON}000", f"{NOON}250"], [NOON, NOON + 0.25], "milliseconds"),
        ([f"{NOON}000000"], [NOON], "microseconds"),
        ([f"{NOON}000000000"], [NOON], "nanoseconds"),
        ([f"{NOON},5", f"{NOON + 1},25"], [NOON + 0.5, NOON + 1.25], "seconds"),
        (["5", "20000"], [5, 20000], "seconds"),
    ],
)
def test_times(tmp_path, cells, expected, said):
    found, how = stamps(tmp_path, *cells)
    assert found == pytest.approx(expected, abs=1e-3) and said in how


@pytest.mark.parametrize(
    ("arguments", "cells", "expected"),
    [
        (("--time-format=%m.%d.%Y",), ["03.12.2024"], [1710201600]),
        (("--time-format=%d/%m/%Y %H:%M",), ["12/03/2024 15:02"], [NOON]),
        (("--time-unit=excel",), ["20000"], [(20000 - 25569) * DAY]),
        (("--decimal=,",), ["1.710.255.720,5"], [NOON + 0.5]),
    ],
)
def test_times_that_an_option_explains(tmp_path, arguments, cells, expected):
    assert stamps(tmp_path, *cells, arguments=arguments)[0] == expected


@pytest.mark.parametrize(
    ("cells", "facts"),
    [
        (["03/04/2024", "05/06/2024"], ["date", "03/04/2024", "above 12", "--time-format='%d/%m/%Y'", "%m/%d/%Y"]),
        (["03.04.2024", "05.06.2024"], ["--time-format='%d.%m.%Y'"]),
        (["13/04/2024", "04/13/2024"], ["both places", "--time-format"]),
        (["24-03-12", "24-03-13"], ["24-03-12", "year", "--time-format"]),
        (["week 12", "week 13"], ["date", "week 12", "--time-format", "--time-column=none"]),
    ],
)
def test_times_that_could_mean_two_things(tmp_path, cells, facts):
    with pytest.raises(InputError) as stopped:
        stamps(tmp_path, *cells)
    assert all(fact in str(stopped.value) for fact in facts), stopped.value


def test_a_time_that_is_empty_is_said_to_be(tmp_path):
    with pytest.raises(InputError, match=r"1 of 2 rows .*row 2: no time .*--time-format.*\(empty\)"):
        stamps(tmp_path, "31.12.2024", "")


def test_a_format_that_is_none(tmp_path):
    with pytest.raises(InputError, match="--time-format=%Q"):
        stamps(tmp_path, "2024", arguments=("--time-format=%Q",))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["4,5", "3"], [4.5, 3]), (["4.5", "3"], [4.5, 3]), (["1.234,5", "4,25"], [1234.5, 4.25]), (["1,234.5", "1,234"], [1234.5, 1234]),
        (["1,234,567"], [1234567]), (["1 234,5"], [1234.5]), (["4,50", ""], [4.5, None]), (["0,125", "4,5"], [0.125, 4.5]),
    ],
)  # fmt: skip
def test_ratings(tmp_path, cells, expected):
    orders = rows("user;item;rating", *(f'u;i{n};"{cell}"' for n, cell in enumerate(cells)))
    found = Prepared(tmp_path, orders, None).make().inter.sort_values("item_id")["rating"]
    assert [float(cell) if cell else None for cell in found] == expected


@pytest.mark.parametrize("cells", [["1,234", "2,500"], ["1,234.5", "1.234,5"]])
def test_ratings_that_could_mean_two_things(tmp_path, cells):
    orders = rows("user;item;rating", *(f'u;i{n};"{cell}"' for n, cell in enumerate(cells)))
    with pytest.raises(InputError, match="--decimal"):
        Prepared(tmp_path, orders, None).make()
    found = Prepared(tmp_path, orders, None, "--decimal=.", "--max-bad-rows=1").make()
    assert float(found.inter["rating"][0]) == float(cells[0].replace(",", ""))


def test_a_column_of_words_is_no_rating(tmp_path):
    found = Prepared(tmp_path, rows("user,item,note", "u,i,as a present", "v,i,"), None).make()
    assert "rating" not in found.inter and any("note" in note for note in found.summary.notes)
