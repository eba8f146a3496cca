"""How well a model obeys: what was asked of each piece, against what its music measures.

Legend: N pieces, D draws of the bootstrap.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

_DRAWS = 1000


def obeyed_numbers(asked: Sequence[float], measured: Sequence[float | None], seed: int = 0) -> dict[str, Any]:
    """Of one numeric attribute, (N,) each, None where the music has none (no notes), which is left out and counted.

    spearman: the rank correlation, nan where either is the same in all; low, high: of its 95 % interval by bootstrap
    over the pieces (Efron 1979), percentiles of 1000 draws; median_difference: of the two in the attribute's unit.
    """
    pairs = np.array([(a, m) for a, m in zip(asked, measured, strict=True) if m is not None], dtype=np.float64)
    pairs = pairs.reshape(-1, 2)
    generator = np.random.default_rng(seed)
    draws = [
        spearman(*pairs[generator.integers(0, len(pairs), len(pairs))].T) for _ in range(_DRAWS if len(pairs) else 0)
    ]
    finite = [value for value in draws if math.isfinite(value)]
    low, high = np.percentile(finite, (2.5, 97.5)) if finite else (math.nan, math.nan)
    return {
        "pieces": len(pairs),
        "without": len(asked) - len(pairs),
        "spearman": spearman(*pairs.T),
        "low": float(low),
        "high": float(high),
        "median_difference": float(np.median(np.abs(pairs[:, 0] - pairs[:, 1]))) if len(pairs) else math.nan,
    }


def obeyed_words(asked: Sequence[str], measured: Sequence[str | None]) -> dict[str, Any]:
    """Of one attribute of words, (N,) each; music without one has not obeyed.

    exact: the share of pieces that are what was asked; guessing: what always giving the value asked most often would
    reach.
    """
    same = sum(a == m for a, m in zip(asked, measured, strict=True))
    return {
        "pieces": len(asked),
        "without": sum(m is None for m in measured),
        "exact": same / len(asked) if asked else math.nan,
        "guessing": max(Counter(asked).values(), default=0) / max(1, len(asked)),
    }


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation (1904) of two (N,), equal values sharing their mean rank; nan where it has none."""
    if len(first) < 2:
        return math.nan
    ranks = [_ranks(values) for values in (first, second)]
    centred = [values - values.mean() for values in ranks]
    norm = math.sqrt(float((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum()) / norm if norm else math.nan


def _ranks(values: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places.reshape(-1)]


def row_figure(row: dict[str, Any]) -> str:
    """The figure of an attribute, as `obeyed_numbers` or `obeyed_words` found it, in words."""
    if "spearman" in row:
        value, low, high = (math.nan if row[key] is None else row[key] for key in ("spearman", "low", "high"))
        return f"Spearman {value:.2f} ({low:.2f} to {high:.2f})"
    return f"exactly {row['exact']:.0%} (guessing {row['guessing']:.0%})"


def table_lines(rows: dict[str, dict[str, Any]]) -> list[str]:
    """A table for people: how well each attribute was obeyed."""
    lines = [f"{'attribute':<12} {'pieces':>6}  obeyed"]
    for name, row in rows.items():
        off = f", median off by {row['median_difference']:.3g} {row['unit']}" if "spearman" in row else ""
        lines.append(f"{name:<12} {row['pieces']:>6}  {row_figure(row)}{off}")
        if row["without"]:
            lines.append(f"{'':<12} {row['without']:>6}  pieces had none")
    return lines
