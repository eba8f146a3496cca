"""Obedience on the page of an evaluation: a row for each attribute, and asked against measured as a picture."""

from collections.abc import Mapping
from typing import Any

from midifactory.render.pages import percent
from midifactory.render.rows import axis_of, bar_rows, place, with_interval


def obeyed_rows(obedience: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """One for each attribute of evaluation.json's `obedience`: figures as text, `points` or `shares` to be drawn."""
    rows: list[dict[str, Any]] = []
    for name, row in obedience["attributes"].items() if obedience else ():
        numeric = "spearman" in row
        figure = with_interval({**row, "value": row["spearman"]}) if numeric else percent(row["exact"])
        rows.append({
            "name": name.replace("_", " "),
            "unit": row["unit"],
            "numeric": numeric,
            "figure": figure or "none",
            "guessing": None if numeric else percent(row["guessing"]),
            "median_difference": row.get("median_difference"),
            "pieces": row["pieces"],
            "without": row["without"],
            "points": _points(row) if numeric else None,
            "shares": [] if numeric else _shares(row),
        })  # fmt: skip
    return rows


def _points(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Each piece on axes that are the same for asked and measured, in hundredths; None where no piece has a value."""
    pairs = [pair for pair in zip(row["asked"], row["measured"], strict=True) if pair[1] is not None]
    if not pairs:
        return None
    low, high = axis_of([value for pair in pairs for value in pair], False)
    dots = [(*place(pair, low, high), f"asked {pair[0]:.3g}, measured {pair[1]:.3g}") for pair in pairs]
    return {"low": low, "high": high, "dots": dots}


def _shares(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Bars: of the pieces that were asked for a value, the share that is it."""
    pairs = list(zip(row["asked"], row["measured"], strict=True))
    shares = []
    for value in dict.fromkeys(row["asked"]):
        found = [measured == value for asked, measured in pairs if asked == value]
        share = sum(found) / len(found)
        shares.append((value, (share, share, share)))
    return bar_rows(shares)
