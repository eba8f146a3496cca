"""How far one piece is from another, note by note: what a reconstruction keeps, and how an interpolation moves.

Legend: N notes.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from symusic import Score

from midifactory.music.score import note_arrays

_PITCH_CLASSES = 12


@dataclass(frozen=True)
class Agreement:
    """Notes that two pieces share, and those of each; a note counts as often as it stands there."""

    shared: int
    reference: int
    other: int

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 1 for two pieces without notes."""
        total = self.reference + self.other
        return 2 * self.shared / total if total else 1.0

    def __add__(self, more: "Agreement") -> "Agreement":
        return Agreement(self.shared + more.shared, self.reference + more.reference, self.other + more.other)


def note_agreement(reference: Score, other: Score, with_pitch: bool = True) -> Agreement:
    """Notes are the same where onset, program and pitch are; without `with_pitch`, where onset and program are."""
    one, two = (_notes(score, with_pitch) for score in (reference, other))
    return Agreement((one & two).total(), one.total(), two.total())


def pitch_class_distance(a: Score, b: Score) -> float:
    """Half the summed differences of how much each pitch class sounds, drums aside: 0 the same, 1 none in common."""
    shares = []
    for score in (a, b):
        notes = note_arrays(score)
        pitched = notes["program"] >= 0
        weight = np.bincount(notes["pitch"][pitched] % _PITCH_CLASSES, notes["duration"][pitched], _PITCH_CLASSES)
        shares.append(weight / max(1.0, weight.sum()))
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def distances(a: Score, b: Score) -> dict[str, float]:
    """From 0, the same, to 1: by notes (1 - F1 of onset, pitch and program), by onsets, and by pitch classes."""
    return {
        "notes": 1 - note_agreement(a, b).f1,
        "onsets": 1 - note_agreement(a, b, with_pitch=False).f1,
        "pitch_classes": pitch_class_distance(a, b),
    }


def rising_share(values: Sequence[float], tolerance: float = 0.0) -> float:
    """The share of steps that do not fall by more than `tolerance`; 1 for a single value."""
    steps = np.diff(np.asarray(values, dtype=np.float64))
    return float((steps >= -tolerance - 1e-12).mean()) if len(steps) else 1.0


def mean_curve(curves: Iterable[Sequence[float]]) -> list[float]:
    """The mean of equally long curves at each step."""
    return np.asarray(list(curves), dtype=np.float64).mean(0).tolist()


def _notes(score: Score, with_pitch: bool) -> Counter[tuple[int, ...]]:
    notes = note_arrays(score)
    # In 480ths of a quarter, so that pieces of different files have the same ticks.
    onset = np.round(notes["onset"] * 480 / score.ticks_per_quarter).astype(np.int64)
    columns = (onset, notes["program"], notes["pitch"]) if with_pitch else (onset, notes["program"])
    return Counter(zip(*(column.tolist() for column in columns), strict=True))
