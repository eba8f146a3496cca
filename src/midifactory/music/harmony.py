"""Which chord sounds on each beat of a Score.

Legend: N beats.
"""

from itertools import pairwise

import numpy as np
from symusic import Score

from midifactory.music.joining import bar_lines, signature_at
from midifactory.music.score import note_arrays
from midifactory.music.theory import CHORD_INTERVALS

_QUALITIES = ("", "m", "7", "m7", "maj7", "dim", "m7b5", "aug")


def beat_lines(score: Score) -> np.ndarray:
    """Ticks of all beats (N + 1,), and where the last one ends; three eighths are a beat of 6/8, 9/8 and 12/8."""
    found: list[int] = []
    lines = bar_lines(score)
    for begin, end in pairwise(lines.tolist()):
        signature = signature_at(score, begin)
        compound = signature.denominator == 8 and signature.numerator % 3 == 0
        beat = max(1, score.ticks_per_quarter * 4 * (3 if compound else 1) // max(1, signature.denominator))
        found += range(begin, end, beat)
    return np.array([*found, lines[-1]], dtype=np.int64)


def chords_of_beats(score: Score) -> tuple[np.ndarray, list[frozenset[int]]]:
    """`beat_lines` (N + 1,) and the pitch classes of the chord on each beat (N).

    The time for which each pitch class sounds is compared with the notes of every chord (Fujishima, "Realtime Chord
    Recognition of Musical Sound", ICMC 1999): on the beat where three classes or more sound in it, else in its bar, and
    a silent bar goes on with the chord before. All twelve classes where nothing has sounded yet.
    """
    beats = beat_lines(score)
    of_beats = time_of_classes(score, beats)
    lines = bar_lines(score)
    of_bars = time_of_classes(score, lines)
    templates, classes = _templates()
    bars = np.searchsorted(lines, beats[:-1], side="right") - 1
    found: list[frozenset[int]] = []
    for index, bar in enumerate(bars):
        weights = of_beats[index] if (of_beats[index] > 0).sum() >= 3 else of_bars[bar]
        if weights.any():
            found.append(classes[int(np.argmax(templates @ weights))])
        else:
            found.append(found[-1] if found else frozenset(range(12)))
    return beats, found


def time_of_classes(score: Score, edges: np.ndarray) -> np.ndarray:
    """(N, 12) ticks for which each pitch class sounds between two edges, drums aside."""
    notes = note_arrays(score)
    weights = np.zeros((len(edges) - 1, 12))
    rows = zip(*(notes[key].tolist() for key in ("program", "onset", "duration", "pitch")), strict=True)
    for program, onset, duration, pitch in rows:
        if program < 0:
            continue
        first = max(0, int(np.searchsorted(edges, onset, side="right")) - 1)
        for place in range(first, len(weights)):
            if edges[place] >= onset + duration:
                break
            weights[place, pitch % 12] += min(onset + duration, edges[place + 1]) - max(onset, edges[place])
    return weights


def chord_classes() -> list[frozenset[int]]:
    """The pitch classes of every chord that `chords_of_beats` can name, on every root."""
    return [
        frozenset((root + step) % 12 for step in CHORD_INTERVALS[quality])
        for quality in _QUALITIES
        for root in range(12)
    ]


def _templates() -> tuple[np.ndarray, list[frozenset[int]]]:
    """Rows of length 1 for every chord on every root, (chords, 12), and its classes."""
    classes = chord_classes()
    rows = np.zeros((len(classes), 12))
    for row, chord in zip(rows, classes, strict=True):
        row[list(chord)] = 1 / np.sqrt(len(chord))
    return rows, classes
