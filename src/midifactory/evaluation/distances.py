"""How far one set of pieces is from another, and how far two halves of the corpus are: the human ceiling.

Every distance of two finite sets is above 0, even where both are of one kind, the more so the fewer they are. So none
says anything alone: here both sets always have equally many pieces, and beside the distance of samples from held-out
pieces stands that of other held-out pieces from the same ones.

Legend: N pieces of one set, M of the other, F figures of a piece, n pieces that are compared, R splits.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from midifactory.evaluation.bootstrap import Interval

Distance = Callable[[np.ndarray, np.ndarray], float]  # of two sets of rows, (n, F) each

SPLITS = 100
_NORMAL = 1.96  # standard errors of a 95 % interval


def total_variation(one: np.ndarray, other: np.ndarray) -> float:
    """Half the summed differences of two mean histograms, 0 to 1: the mass that must be moved.

    For values without an order, such as the circle of pitch classes.
    """
    return float(np.abs(one.mean(0) - other.mean(0)).sum() / 2)


def wasserstein_of_bins(one: np.ndarray, other: np.ndarray) -> float:
    """The 1-Wasserstein or earth mover's distance of two mean histograms of equal bins, in bins.

    By how much the values must be moved on average to turn one histogram into the other (Rubner et al. 2000), which is
    the area between the two cumulative ones.
    """
    return float(np.abs(np.cumsum(one.mean(0) - other.mean(0))).sum())


def wasserstein_of_values(one: np.ndarray, other: np.ndarray) -> float:
    """The 1-Wasserstein distance of two sets of numbers, (n, 1) each, in their unit: means and spreads both count."""
    if len(one) != len(other):
        raise ValueError(f"{len(one)} and {len(other)} values: give equally many")
    return float(np.abs(np.sort(one[:, 0]) - np.sort(other[:, 0])).mean())


def mean_curve_error(one: np.ndarray, other: np.ndarray) -> float:
    """The mean difference of two mean curves, over the places that any piece of both sets has (others are nan).

    Of bar similarities this is Museformer's similarity error (Yu et al. 2022), with 16 lags.
    """
    shared = np.isfinite(one).any(0) & np.isfinite(other).any(0)
    if not shared.any():
        return np.nan
    return float(np.abs(np.nanmean(one[:, shared], 0) - np.nanmean(other[:, shared], 0)).mean())


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """The Frechet distance of two sets of embeddings, (n, F) and (m, F), each taken for a normal distribution.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), as Heusel et al. 2017 compare images (FID), and Retkowski et al. 2024
    music ("Frechet Music Distance"). The trace of the root is the sum of the singular values of the product of the two
    centred sets, so F may be larger than n. A few pieces know little of a covariance: the distance of two sets of one
    kind is then far above 0, and falls with their size. So compare values of equal n alone.
    """
    means, scaled, total = [], [], 0.0
    for rows in (one.astype(np.float64), other.astype(np.float64)):
        means.append(rows.mean(0))
        scaled.append((rows - means[-1]) / np.sqrt(max(1, len(rows) - 1)))
        total += float((scaled[-1] ** 2).sum())
    shared = np.linalg.svd(scaled[0] @ scaled[1].T, compute_uv=False).sum()
    return max(0.0, float(((means[0] - means[1]) ** 2).sum() + total - 2 * shared))


@dataclass(frozen=True)
class Compared:
    """distance: of samples and held-out pieces. ceiling: of held-out pieces and others. pieces: n, of every set."""

    distance: Interval
    ceiling: Interval
    pieces: int


def compared(
    samples: np.ndarray, corpus: np.ndarray, distance: Distance, seed: int = 0, splits: int = SPLITS
) -> Compared:
    """Rows of samples (N, F) against those of the corpus (M, F); rows that are nan throughout do not count.

    In each of `splits` random splits of the corpus into halves A and B, n samples are compared with n pieces of B, and
    n of A with the same of B, n being the smaller of N and M / 2. Values are means over the splits. The interval is
    the value and 1.96 standard errors to either side, these being the deviation of the distance when the pieces of the
    sets of each split are drawn anew, with replacement (Efron & Tibshirani 1993, 13.3): percentiles would lie too high,
    since a set with copies is further from any other. It is that of a single split, so rather too wide. Without two
    pieces on a side there is no figure.
    """
    samples, corpus = (rows[np.isfinite(rows).any(1)] for rows in (samples, corpus))
    count = min(len(samples), len(corpus) // 2)
    if not count:
        return Compared(Interval(None), Interval(None), 0)
    generator = np.random.default_rng(seed)
    found: list[tuple[float, ...]] = []
    for _ in range(splits):
        order = generator.permutation(len(corpus))
        sets = (
            samples[generator.permutation(len(samples))[:count]],
            corpus[order[:count]],
            corpus[order[count:][:count]],
        )
        again = [rows[generator.integers(0, count, count)] for rows in sets]
        found.append(tuple(distance(one, last) for *two, last in (sets, again) for one in two))
    values = np.array(found)  # (R, 4): samples and ceiling, then both drawn anew
    return Compared(_interval(values[:, 0], values[:, 2]), _interval(values[:, 1], values[:, 3]), count)


def _interval(values: np.ndarray, drawn: np.ndarray) -> Interval:
    values, drawn = values[np.isfinite(values)], drawn[np.isfinite(drawn)]
    if not len(values):
        return Interval(None)
    value = float(values.mean())
    if len(drawn) < 2:
        return Interval(value)
    error = _NORMAL * float(drawn.std(ddof=1))
    return Interval(value, max(0.0, value - error), value + error)


def pairwise_distances(histograms: list[np.ndarray]) -> np.ndarray:
    """(N,) the mean distance of each piece to all others, of one or more kinds of histograms (N, bins) each.

    Total variation, 0 to 1, the mean over the kinds: the diversity of a set, as Yang & Lerch 2020 take the distances
    within one. nan for a single piece; of a kind that a piece has not, nothing counts.
    """
    kinds = []
    for rows in histograms:
        apart = np.stack([np.abs(rows - row).sum(1) / 2 for row in rows])  # (N, N)
        np.fill_diagonal(apart, np.nan)
        kinds.append(apart)
    both = np.array(kinds)
    counted = np.isfinite(both).sum(0)
    means = np.nansum(both, 0) / np.where(counted, counted, np.nan)
    others = np.isfinite(means).sum(1)
    return np.nansum(means, 1) / np.where(others, others, np.nan)


def shared_ngrams(pieces: list[np.ndarray]) -> np.ndarray:
    """(N,) the share of each piece's n-grams (G, W) that stand in any other of the pieces; nan where it has none.

    The more pieces there are, the more is shared: compare sets of one size.
    """
    lengths = [len(rows) for rows in pieces]
    if not sum(lengths):
        return np.full(len(pieces), np.nan)
    piece = np.repeat(np.arange(len(pieces)), lengths)
    _, gram = np.unique(np.concatenate(pieces), axis=0, return_inverse=True)
    gram = gram.reshape(-1)
    first, last = np.full(gram.max() + 1, len(pieces)), np.full(gram.max() + 1, -1)
    np.minimum.at(first, gram, piece)
    np.maximum.at(last, gram, piece)
    shared = np.bincount(piece, first[gram] != last[gram], len(pieces))
    return shared / np.where(lengths, lengths, np.nan)
