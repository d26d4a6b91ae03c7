"""Intervals of numbers, as RecBole writes them: ``[5,inf)``, or several of them joined by semicolons."""

import re

from recbole_mm.config.kinds import Kind, is_number

INTERVAL = re.compile(r"\s*([\[(])\s*([^\s,\[\]()]+)\s*,\s*([^\s,\[\]()]+)\s*([\])])\s*")
BOUND = re.compile(r"(>=|>|<=|<|==?)?\s*(-?\d+(?:\.\d+)?)\s*\+?")
FORM = "an interval such as '[5,inf)', or several joined by ;"


def is_interval(value: object) -> bool:
    """Is it one interval or several, and does each of them hold a number? Two numbers in a list are one, with both bounds."""
    if isinstance(value, list | tuple):
        return len(value) == 2 and all(map(is_number, value)) and _holds_a_number("[", *map(str, value), "]")
    if not isinstance(value, str):
        return False
    found = [INTERVAL.fullmatch(part) for part in value.split(";")]
    return all(match and _holds_a_number(*match.groups()) for match in found)


def interval_hint(value: object) -> str:
    """What a value that is no interval may have meant, `` (perhaps '[5,inf)'?)``; empty if that cannot be told."""
    match = BOUND.fullmatch(str(value).strip())
    if match is None:
        return " (no number is within these bounds)" if INTERVAL.fullmatch(str(value)) else ""
    sign, number = match.group(1), match.group(2)
    low, high = {"<=": ("(-inf", f"{number}]"), "<": ("(-inf", f"{number})"), ">": (f"({number}", "inf)")}.get(sign, (f"[{number}", "inf)"))
    return f" (perhaps '{low},{high if sign not in ('=', '==') else number + ']'}'?)"


class IntervalKind(Kind):
    """A kind whose complaint suggests an interval."""

    def complaint(self, key: str, value: object) -> str:
        return f"{super().complaint(key, value)}{interval_hint(value)}"


INTERVALS = IntervalKind("str", FORM, is_interval)


def _holds_a_number(left: str, low: str, high: str, right: str) -> bool:
    try:
        first, last = float(low), float(high)
    except ValueError:
        return False
    return first < last or first == last and (left, right) == ("[", "]") and abs(first) != float("inf")
