"""Samples against the corpus: what two sets of pieces measure, how far they are apart, and the human ceiling.

Each figure says what the samples measure, what held-out pieces of the corpus measure, how far the two sets are apart,
and how far two halves of the held-out pieces are (distances.compared): samples that are as near as that cannot be told
from the corpus by this figure.

Legend: N samples, M held-out pieces, D size of an embedding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from midifactory.evaluation.bootstrap import Interval, interval_of_mean
from midifactory.evaluation.distances import (
    Compared,
    Distance,
    compared,
    frechet_distance,
    mean_curve_error,
    pairwise_distances,
    shared_ngrams,
    total_variation,
    wasserstein_of_bins,
    wasserstein_of_values,
)
from midifactory.evaluation.harmony_model import ChordModel
from midifactory.evaluation.metrics import LAGS, MOST_BEATS, MOST_SEMITONES, STATISTICS, Measures
from midifactory.music.originality import NGRAM, Report
from midifactory.music.statistics import GRID_PER_BEAT, PITCH_CLASSES

LONGEST_COPY, COPIED = "longest_copy_beats", "copied_ngrams_share"
# (unit, source) of statistics that need more than the piece.
_FURTHER: dict[str, tuple[str, str]] = {
    "chord_perplexity": ("chords", "trigrams of chord changes, Witten & Bell 1991, of the training pieces"),
    LONGEST_COPY: ("beats", "music/originality.py, transposed or not"),
    COPIED: (f"share of {NGRAM}-note n-grams", "music/originality.py, transposed or not"),
    "shared_ngrams_share": (f"share of {NGRAM}-note n-grams", "in another piece of the set; own definition"),
    "pairwise_distance": ("total variation", "within the set, as Yang & Lerch 2020"),
}
_DIVERSITY = ("pitch_classes_in_key", "pitch_intervals", "onset_intervals")


def _in_cells(one: np.ndarray, other: np.ndarray) -> float:
    return wasserstein_of_bins(one, other) / GRID_PER_BEAT


@dataclass(frozen=True)
class _Curve:
    """A figure of many numbers, such as a histogram: how two sets of it are compared, and where the numbers stand."""

    distance: Distance
    unit: str
    source: str
    places: Sequence[float | str]


_BEATS = [cell / GRID_PER_BEAT for cell in range(MOST_BEATS * GRID_PER_BEAT + 1)]
CURVES: dict[str, _Curve] = {
    "pitch_classes": _Curve(total_variation, "total variation", "Yang & Lerch 2020 (PCH)", PITCH_CLASSES),
    "pitch_classes_in_key": _Curve(
        total_variation, "total variation", "Yang & Lerch 2020 (PCH), from the estimated tonic", range(12)
    ),
    "pitch_intervals": _Curve(
        wasserstein_of_bins,
        "semitones",
        "Yang & Lerch 2020 (PI); 1-Wasserstein",
        range(-MOST_SEMITONES, MOST_SEMITONES + 1),
    ),
    "onset_intervals": _Curve(_in_cells, "beats", "Yang & Lerch 2020 (IOI); 1-Wasserstein", _BEATS),
    "durations": _Curve(_in_cells, "beats", "Yang & Lerch 2020 (NLH); 1-Wasserstein", _BEATS),
    "repetition": _Curve(mean_curve_error, "similarity", "Yu et al. 2022 (Museformer, similarity error)", LAGS),
}
FRECHET = "frechet_ours"


def compare_sets(
    samples: Sequence[Measures],
    corpus: Sequence[Measures],
    chords: ChordModel,
    seed: int = 0,
    copies: tuple[Sequence[Report], Sequence[Report]] | None = None,
    embeddings: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Of N samples and M held-out pieces, as plain values that JSON can say (null for what does not exist).

    metrics: by name value, low, high, unit, kind, better, corpus, distance, ceiling and source. A "statistic" is a mean
    over the pieces, best near the corpus' (`corpus`); its `distance` and `ceiling` are of the whole distribution over
    the pieces (1-Wasserstein, in the statistic's unit). A "distance" is its own value. compared_pieces: how many pieces
    of each set the distances are of. curves: the mean histograms behind the distances. pieces, corpus_pieces: the
    statistics of each.

    copies: what stands in the training set of each sample and of each held-out piece. embeddings (N, D) and (M, D): of
    one of our models, for the Frechet distance; another model's distances cannot be compared with them.
    """
    both, most = (samples, corpus), min(len(samples), len(corpus))
    rows = [
        _further(pieces, chords, most, seed, copies and copies[index])  # of samples, then of held-out pieces
        for index, pieces in enumerate(both)
    ]
    metrics = {}
    for name, curve in CURVES.items():
        found = compared(_curves(samples, name), _curves(corpus, name), curve.distance, seed)
        metrics[name] = _distance_entry(found, curve.unit, curve.source)
    for name, (unit, source) in (STATISTICS | _FURTHER).items():
        mine, theirs = (np.array([row[name] for row in part]) for part in rows)
        if np.isfinite(mine).any() or np.isfinite(theirs).any():
            metrics[name] = _statistic_entry(mine, theirs, unit, source, seed)
    if embeddings is not None:
        apart = compared(*embeddings, frechet_distance, seed)
        metrics[FRECHET] = _distance_entry(apart, "squared distance", "Heusel et al. 2017; Retkowski et al. 2024")
    return {
        "compared_pieces": min(len(samples), len(corpus) // 2),
        "metrics": metrics,
        "curves": {name: _curve_record(curve, name, samples, corpus) for name, curve in CURVES.items()},
        "pieces": [_plain(row) for row in rows[0]],
        "corpus_pieces": [_plain(row) for row in rows[1]],
    }


def _further(
    pieces: Sequence[Measures], chords: ChordModel, most: int, seed: int, copies: Sequence[Report] | None
) -> list[dict[str, float]]:
    """The statistics of each piece, those included that need the set or the training pieces.

    most: of so many pieces n-grams are looked for in one another, so that both sets have as many to share with.
    """
    apart = pairwise_distances([np.array([piece.histograms[name] for piece in pieces]) for name in _DIVERSITY])
    shared = np.full(len(pieces), np.nan)
    some = np.random.default_rng(seed).permutation(len(pieces))[:most]
    shared[some] = shared_ngrams([pieces[index].ngrams for index in some])
    rows = []
    for index, piece in enumerate(pieces):
        report = copies[index] if copies is not None and copies[index].notes else None
        further = {
            "chord_perplexity": chords.perplexity(piece.chords),
            LONGEST_COPY: report.transposed_beats if report else np.nan,
            COPIED: report.ngrams_transposed if report else np.nan,
            "shared_ngrams_share": float(shared[index]),
            "pairwise_distance": float(apart[index]),
        }
        rows.append({**piece.statistics, **further})
    return rows


def _curves(pieces: Sequence[Measures], name: str) -> np.ndarray:
    return np.array([piece.repetition if name == "repetition" else piece.histograms[name] for piece in pieces])


def _distance_entry(found: Compared, unit: str, source: str) -> dict[str, Any]:
    return {
        **_interval(found.distance),
        "unit": unit,
        "kind": "distance",
        "better": "lower",
        "corpus": None,
        "distance": _interval(found.distance),
        "ceiling": _interval(found.ceiling),
        "source": source,
    }


def _statistic_entry(mine: np.ndarray, theirs: np.ndarray, unit: str, source: str, seed: int) -> dict[str, Any]:
    found = compared(mine[:, None], theirs[:, None], wasserstein_of_values, seed)
    return {
        **_interval(interval_of_mean(mine[np.isfinite(mine)].tolist(), seed)),
        "unit": unit,
        "kind": "statistic",
        "better": "near corpus",
        "corpus": _interval(interval_of_mean(theirs[np.isfinite(theirs)].tolist(), seed)),
        "distance": _interval(found.distance),
        "ceiling": _interval(found.ceiling),
        "source": source,
    }


def _curve_record(
    curve: _Curve, name: str, samples: Sequence[Measures], corpus: Sequence[Measures]
) -> dict[str, list[Any]]:
    means = {}
    for kind, pieces in (("samples", samples), ("corpus", corpus)):
        rows = _curves(pieces, name)
        known = np.isfinite(rows).sum(0)
        means[kind] = [_finite(value) for value in np.nansum(rows, 0) / np.where(known, known, np.nan)]
    return {"places": list(curve.places), **means}


def _interval(interval: Interval) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in interval.to_dict().items()}


def _plain(row: dict[str, float]) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in row.items()}


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def table_lines(metrics: dict[str, dict[str, Any]]) -> list[str]:
    """A table for people: what the samples measure, the corpus, how far apart they are, and the human ceiling."""
    lines = [f"{'':<25} {'samples':<27} {'held-out':<9} {'apart':<27} {'human ceiling':<27} times"]
    for name, row in metrics.items():
        statistic = row["kind"] == "statistic"
        value = _text(row) if statistic else ""
        corpus = _number(row["corpus"]["value"]) if statistic else ""
        apart, ceiling = row["distance"]["value"], row["ceiling"]["value"]
        times = f"{apart / ceiling:.1f}" if apart is not None and ceiling else ""
        columns = f"{value:<27} {corpus:<9} {_text(row['distance']):<27} {_text(row['ceiling']):<27} {times}"
        lines.append(f"{name:<25} {columns}".rstrip())
    return lines


def _text(interval: dict[str, Any]) -> str:
    value, low, high = (_number(interval[key]) for key in ("value", "low", "high"))
    return value if interval["low"] is None else f"{value} ({low} to {high})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
