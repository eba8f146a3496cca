"""What one piece measures when sets of music are compared: statistics, histograms, repetition, chords, n-grams.

Times are rounded to 1/12 beat (a quarter note), the coarsest grid that holds sixteenths and triplets, so that performed
and written music stand on the same footing. Drums have no pitch here; where pitches or chords are asked, they are left
out. What a piece cannot have is nan. Definitions from the literature, beside those of music/statistics.py:

Yang & Lerch    "On the evaluation of generative models in music", Neural Computing and Applications 32, 2020
Wu & Yang       "The Jazz Transformer on the front line", ISMIR 2020
Museformer      Yu et al., "Museformer: Transformer with fine- and coarse-grained attention for music generation",
                NeurIPS 2022
MusPy           Dong et al., "MusPy: a toolkit for symbolic music generation", ISMIR 2020
Krumhansl       "Cognitive foundations of musical pitch", 1990, with the ratings of Krumhansl & Kessler 1982
Fujishima       "Realtime chord recognition of musical sound", ICMC 1999

Legend: N notes, K bars, C cells of 1/12 beat, L lags, W windows, E beats.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from symusic import Score

from midifactory.music.harmony import chords_of_beats, time_of_classes
from midifactory.music.joining import bar_lines
from midifactory.music.originality import NGRAM, NoteLine
from midifactory.music.score import note_arrays
from midifactory.music.statistics import (
    GRID_PER_BEAT,
    MAJOR_PROFILE,
    MINOR_PROFILE,
    key_estimate,
    piece_statistics,
)
from midifactory.music.theory import parse_key

LAGS = tuple(range(1, 17))  # bars
MOST_SEMITONES = 24  # greater intervals are counted as this
MOST_BEATS = 8  # greater intervals between onsets, and durations, likewise
# (unit, source) of what `measure` finds in a piece by itself.
STATISTICS: dict[str, tuple[str, str]] = {
    "pitch_range": ("semitones", "Yang & Lerch 2020 (PR); MusPy 2020"),
    "pitch_class_entropy_bits": ("bits", "Wu & Yang 2020 (H); MusPy 2020"),
    "scale_consistency": ("share of notes", "Mogren 2016; MusPy 2020"),
    "key_consistency": ("correlation", "of bars with the key's profile, Krumhansl 1990"),
    "notes_per_beat": ("notes a beat", "density; own definition"),
    "polyphony_mean": ("notes at once", "MusPy 2020 (polyphony)"),
    "polyphony_share": ("share of time", "Dong et al. 2018 (MuseGAN); MusPy 2020 (polyphony rate)"),
    "groove_consistency": ("share of cells", "Wu & Yang 2020 as in MusPy 2020, successive bars"),
    "groove_similarity": ("share of cells", "Wu & Yang 2020 (GS), all pairs of bars"),
    "empty_bars_share": ("share of bars", "Dong et al. 2018 (MuseGAN, EB); MusPy 2020"),
    "chord_tone_share": ("share of time", "templates of Fujishima 1999"),
}


@dataclass(frozen=True, eq=False)
class Measures:
    """One piece.

    statistics: by the names of STATISTICS. histograms: shares that sum to 1, or nan throughout, of pitch_classes and
    pitch_classes_in_key (12,), pitch_intervals (49,) from -24 to 24 semitones, onset_intervals and durations (97,) from
    0 to 8 beats in steps of 1/12. repetition (16,): see `bar_similarity`. chords: see `chord_changes`. ngrams (G, 7):
    see `note_ngrams`.
    """

    statistics: Mapping[str, float]
    histograms: Mapping[str, np.ndarray]
    repetition: np.ndarray
    chords: tuple[int, ...]
    ngrams: np.ndarray


def measure(score: Score) -> Measures:
    """All that is compared of one piece; about 10 ms for 300 notes."""
    found = piece_statistics(score)
    key = key_estimate(score)
    tonic = parse_key(key).tonic if key != "unknown" else 0
    beats, chords = chords_of_beats(score)
    own = {
        "key_consistency": key_consistency(score, key),
        "groove_similarity": groove_similarity(score),
        "chord_tone_share": _chord_tone_share(time_of_classes(score, beats), chords),
    }
    return Measures(
        {name: own[name] if name in own else found[name] for name in STATISTICS},
        _histograms(score, tonic),
        bar_similarity(score),
        chord_changes(chords, tonic),
        note_ngrams(score),
    )


def piece_chords(score: Score) -> tuple[int, ...]:
    """`chord_changes` of a piece in its own key."""
    key = key_estimate(score)
    return chord_changes(chords_of_beats(score)[1], parse_key(key).tonic if key != "unknown" else 0)


def key_consistency(score: Score, key: str, bars: int = 4) -> float:
    """How well each passage of so many bars fits the key of the whole piece: the mean correlation, -1 to 1.

    The time that each pitch class sounds in the passage is correlated with the probe-tone profile of `key`
    (Krumhansl's key-finding, which asks the same of the whole piece). Passages without pitches are left out.
    """
    if key == "unknown":
        return np.nan
    parsed = parse_key(key)
    profile = np.roll(MINOR_PROFILE if parsed.minor else MAJOR_PROFILE, parsed.tonic)
    lines = bar_lines(score)
    edges = np.unique(np.append(lines[:-1:bars], lines[-1]))
    weights = time_of_classes(score, edges)  # (W, 12)
    weights = weights[weights.std(1) > 0]
    return float(np.mean([np.corrcoef(row, profile)[0, 1] for row in weights])) if len(weights) else np.nan


def groove_similarity(score: Score) -> float:
    """Wu & Yang's GS, 0 to 1: 1 - the share of cells in which one bar has an onset and the other has none.

    Mean over all pairs of bars of equal length (they took 64 cells a bar; here a cell is 1/12 beat). nan without such
    a pair.
    """
    edges, onset = _cells(score, bar_lines(score)), _cells(score, note_arrays(score)["onset"])
    lengths = np.diff(edges)
    bar = np.searchsorted(edges, onset, side="right") - 1
    differing = pairs = 0.0
    for length in np.unique(lengths[lengths > 0]):
        bars = np.flatnonzero(lengths == length)
        inside = np.isin(bar, bars)
        grid = np.zeros((len(bars), length), dtype=bool)  # (K, C)
        grid[np.searchsorted(bars, bar[inside]), onset[inside] - edges[bar[inside]]] = True
        struck = grid.sum(0).astype(np.float64)
        differing += float((struck * (len(bars) - struck)).sum()) / length
        pairs += len(bars) * (len(bars) - 1) / 2
    return 1 - differing / pairs if pairs else np.nan


def bar_similarity(score: Score) -> np.ndarray:
    """(16,) how much bars have in common with those 1 to 16 bars later, 0 to 1; nan beyond the piece.

    Museformer's similarity: of two bars the notes in common over those of either. Notes are the same where their place
    in the bar, duration, pitch and instrument are. Pairs of bars that both begin no note are left out.
    """
    notes = note_arrays(score)
    edges, onset = _cells(score, bar_lines(score)), _cells(score, notes["onset"])
    bar = np.searchsorted(edges, onset, side="right") - 1
    rows = zip(
        bar.tolist(),
        (onset - edges[bar]).tolist(),
        _durations(score, notes["duration"]).tolist(),
        notes["pitch"].tolist(),
        notes["program"].tolist(),
        strict=True,
    )
    bars: list[set[tuple[int, ...]]] = [set() for _ in edges[:-1]]
    for place, *note in rows:
        if place < len(bars):
            bars[place].add(tuple(note))
    found = []
    for lag in LAGS:
        pairs = [(one, other) for one, other in zip(bars, bars[lag:], strict=False) if one or other]
        found.append(np.mean([len(one & other) / len(one | other) for one, other in pairs]) if pairs else np.nan)
    return np.array(found)


def chord_changes(chords: list[frozenset[int]], tonic: int) -> tuple[int, ...]:
    """The chords of successive beats in C, as if `tonic` were C, each as bits of its pitch classes; no repeats.

    So neither key nor how long a chord lasts counts. Beats before anything sounds have none.
    """
    bits = [sum(1 << (each - tonic) % 12 for each in chord) for chord in chords if len(chord) < 12]
    return tuple(chord for index, chord in enumerate(bits) if index == 0 or chord != bits[index - 1])


def note_ngrams(score: Score) -> np.ndarray:
    """(G, 7): the runs of 8 notes of a piece as their 7 steps, which transposition leaves as they are.

    Lines and steps are those of music/originality.py, onsets rounded to 1/12 beat: a step is the interval and the time
    to the next note. Drums count where there is nothing else.
    """
    rounded = score.resample(GRID_PER_BEAT, min_dur=1)
    line = NoteLine.of(rounded, False)
    if not len(line.note):
        line = NoteLine.of(rounded, True)
    if len(line.note) < NGRAM:
        return np.zeros((0, NGRAM - 1), np.int64)
    return np.lib.stride_tricks.sliding_window_view(line.steps, NGRAM - 1).astype(np.int64)


def _histograms(score: Score, tonic: int) -> dict[str, np.ndarray]:
    notes = note_arrays(score)
    pitched = notes["program"] >= 0
    pitches = notes["pitch"][pitched]
    onset = _cells(score, notes["onset"])
    most = MOST_BEATS * GRID_PER_BEAT
    lines = [_top_line(onset[here], notes["pitch"][here]) for here in _of_programs(notes["program"])]
    steps = np.concatenate([np.zeros(0, np.int64), *(np.diff(line) for line in lines)])
    return {
        "pitch_classes": _shares(pitches % 12, 12),
        "pitch_classes_in_key": _shares((pitches - tonic) % 12, 12),
        "pitch_intervals": _shares(
            np.clip(steps, -MOST_SEMITONES, MOST_SEMITONES) + MOST_SEMITONES, 2 * MOST_SEMITONES + 1
        ),
        "onset_intervals": _shares(np.minimum(np.diff(np.unique(onset)), most), most + 1),
        "durations": _shares(np.minimum(_durations(score, notes["duration"]), most), most + 1),
    }


def _of_programs(programs: np.ndarray) -> list[np.ndarray]:
    return [programs == program for program in np.unique(programs) if program >= 0]


def _top_line(onset: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """The highest pitch at each onset ("skyline", Uitdenbogerd & Zobel 1999)."""
    order = np.lexsort((pitch, onset))
    last = np.append(np.diff(onset[order]) > 0, True)
    return pitch[order][last[: len(order)]]


def _shares(values: np.ndarray, bins: int) -> np.ndarray:
    if not len(values):
        return np.full(bins, np.nan)
    return np.bincount(values, minlength=bins) / len(values)


def _cells(score: Score, ticks: np.ndarray) -> np.ndarray:
    return np.rint(ticks * GRID_PER_BEAT / score.ticks_per_quarter).astype(np.int64)


def _durations(score: Score, ticks: np.ndarray) -> np.ndarray:
    return np.maximum(_cells(score, ticks), 1)


def _chord_tone_share(weights: np.ndarray, chords: list[frozenset[int]]) -> float:
    """weights (E, 12), the time of each pitch class on each beat: how much of it belongs to the beat's chord."""
    total = weights.sum()
    inside = sum(float(row[list(chord)].sum()) for row, chord in zip(weights, chords, strict=True))
    return inside / total if total else np.nan
