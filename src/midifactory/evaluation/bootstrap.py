"""How sure a figure is: intervals by drawing the pieces anew, with replacement (Efron 1979), percentiles at 95 %.

Pieces and not notes or tokens are drawn, since those of one piece are alike: to draw them would promise far more than
is known.

Legend: N pieces, D draws.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

Values = Sequence[float] | np.ndarray
DRAWS = 1000
_PERCENTILES = (2.5, 97.5)
# How many numbers of a draw lie in memory at once.
_MOST_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval. None where there is none: of fewer than two pieces, or nothing to divide by."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """As JSON says it."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def text(self, digits: int = 3) -> str:
        """`2.345 (2.301 to 2.390)`, `-` for no figure."""
        if self.value is None:
            return "-"
        if self.low is None or self.high is None:
            return f"{self.value:.{digits}f}"
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def interval_of(numerators: Values, denominators: Values, seed: int = 0) -> Interval:
    """The sum of the pieces' numerators (N,) over that of their denominators (N,), such as nats and notes."""
    above, below = _columns(numerators, denominators)
    return _interval(_ratio(above.sum(), below.sum()), _ratios(above, below, seed), len(above))


def interval_of_mean(values: Values, seed: int = 0) -> Interval:
    """The mean of one value a piece, (N,)."""
    return interval_of(values, np.ones(len(values)), seed)


def interval_of_difference(
    numerators: Values,
    denominators: Values,
    other_numerators: Values,
    other_denominators: Values,
    seed: int = 0,
    *,
    share: float = 0.95,
    draws: int = DRAWS,
) -> Interval:
    """`interval_of` of the first less that of the other, paired: both are of the same pieces in the same order, (N,).

    Each draw takes the same pieces of both, so that what makes a piece hard for both cancels out. share: of the draws
    that the interval holds; beyond 95 % it needs more of them.
    """
    mine, theirs = _columns(numerators, denominators), _columns(other_numerators, other_denominators)
    if mine.shape != theirs.shape:
        raise ValueError(f"{mine.shape[1]} pieces cannot be paired with {theirs.shape[1]}")
    first, second = (_ratio(columns[0].sum(), columns[1].sum()) for columns in (mine, theirs))
    value = None if first is None or second is None else first - second
    ratios = _ratios(mine[0], mine[1], seed, draws) - _ratios(theirs[0], theirs[1], seed, draws)
    return _interval(value, ratios, mine.shape[1], (50 * (1 - share), 50 * (1 + share)))


def _columns(numerators: Values, denominators: Values) -> np.ndarray:
    """(2, N); raises ValueError for columns of two lengths."""
    if len(numerators) != len(denominators):
        raise ValueError(f"{len(numerators)} numerators have {len(denominators)} denominators")
    return np.array([numerators, denominators], dtype=np.float64)


def _ratios(above: np.ndarray, below: np.ndarray, seed: int, draws: int = DRAWS) -> np.ndarray:
    """(D,) of the draws, nan where one has nothing to divide by."""
    sums = np.concatenate(
        [(above[rows].sum(1), below[rows].sum(1)) for rows in _draws(len(above), seed, draws)], axis=1
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums[1] > 0, sums[0] / sums[1], np.nan)


def _draws(count: int, seed: int, draws: int) -> Iterator[np.ndarray]:
    """Rows of `count` pieces drawn with replacement, `draws` in all: a function of these and the seed alone."""
    generator, left = np.random.default_rng(seed), draws
    most = max(1, _MOST_AT_ONCE // max(1, count))
    while left:
        rows = min(left, most)
        yield generator.integers(0, max(1, count), (rows, count))
        left -= rows


def _ratio(above: float, below: float) -> float | None:
    return float(above / below) if below > 0 else None


def _interval(
    value: float | None, draws: np.ndarray, pieces: int, percentiles: tuple[float, float] = _PERCENTILES
) -> Interval:
    draws = draws[np.isfinite(draws)]
    if value is None or pieces < 2 or not len(draws):
        return Interval(value)
    low, high = np.percentile(draws, percentiles)
    return Interval(value, float(low), float(high))
