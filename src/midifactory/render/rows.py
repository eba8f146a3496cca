"""Rows of figures with their intervals, as the pages draw them: places in hundredths of an axis, and texts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

TIMES = (0.25, 0.5, 1, 2, 4, 8, 16, 32)  # of the human ceiling: marks of the axis of distances
_ROOM = 0.05  # of an axis, beyond the outermost values

Ends = tuple[float, float, float]  # value, low, high


def with_interval(value: Any) -> str:
    """1.234 (1.201 to 1.266), with as many decimals as the interval can tell; nothing for None."""
    interval = ends_of(value)
    if interval is None:
        return ""
    middle, low, high = interval
    sure = high - low < 1e-6 * abs(middle)  # the same in all draws, but for rounding
    digits = decimals(abs(middle) / 5 if sure or high == low else high - low)
    return f"{middle:,.{digits}f}" + ("" if sure or high == low else f" ({low:,.{digits}f} to {high:,.{digits}f})")


def decimals(width: float) -> int:
    """How many decimals tell an interval of this width, two digits of its half."""
    return 3 if width <= 0 else min(6, max(0, 1 - math.floor(math.log10(width / 2))))


def ends_of(value: Any) -> Ends | None:
    """(value, low, high) of these, of a number or of {"value", "low", "high"}; None where there is no value."""
    if isinstance(value, tuple):
        return value
    if isinstance(value, Mapping):
        middle, low, high = (value.get(key) for key in ("value", "low", "high"))
        if middle is None:
            return None
        return middle, middle if low is None else low, middle if high is None else high
    return None if value is None else (value, value, value)


def axis_of(values: Sequence[float], from_zero: bool) -> tuple[float, float]:
    """The ends of an axis on which all of `values` lie."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = _ROOM * ((high - low) or abs(high) or 1.0)
    return (min(0.0, low) if from_zero else low - room), high + room


def place(ends: Sequence[float], low: float, high: float) -> tuple[float, ...]:
    """Values in hundredths of an axis."""
    return tuple(round(100 * (x - low) / (high - low), 2) for x in ends)


def time_marks() -> list[tuple[float, str]]:
    """Place and text of the marks of TIMES."""
    return [(doublings((times,), 1)[0], f"{times:g}") for times in TIMES]


def doublings(ends: Sequence[float], one: float) -> tuple[float, ...]:
    """Multiples of `one` in hundredths of an axis that goes from TIMES[0] to TIMES[-1] in doublings."""
    times = [math.log2(min(max(x / one, TIMES[0]), TIMES[-1])) for x in ends]
    return place(times, math.log2(TIMES[0]), math.log2(TIMES[-1]))


def bar_rows(rows: Sequence[tuple[str, Ends | None]]) -> list[dict[str, Any]]:
    """Rows of bars from zero on one axis, each with its interval; without a figure there is no row."""
    known = [(name, row) for name, row in rows if row]
    _, high = axis_of([x for _, row in known for x in row], True)
    return [
        {
            "name": name,
            "kind": "bar",
            "bar": place([max(0.0, x) for x in row], 0.0, high),
            "text": with_interval(row),
        }
        for name, row in known
    ]
