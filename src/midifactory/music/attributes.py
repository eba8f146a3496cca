"""What a stretch of music is like, in the terms in which a model is told of it and may be asked for it.

The same function measures what a model reads in training and what it composes, so that the two can be compared.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from symusic import Score

from midifactory.errors import UserError
from midifactory.music.score import DEFAULT_TEMPO_BPM, bar_starts, note_arrays, seconds_at
from midifactory.music.statistics import MAJOR_KEYS, MINOR_KEYS, key_estimate, polyphony_of
from midifactory.music.theory import parse_key

# A beat is a quarter note. The units of those that are numbers; the others are words.
UNITS = {
    "density": "notes a beat",
    "polyphony": "notes at once on average",
    "mean_pitch": "MIDI pitch",
    "note_length": "beats",
    "tempo_bpm": "beats a minute",
    "seconds": "seconds",
    "bars": "bars",
}
NAMES = (*UNITS, "metre", "key", "programs")
# Of these transposition makes others; a tempo that is scaled makes others of tempo_bpm and seconds.
TRANSPOSED = ("mean_pitch", "key")


def attributes_of(score: Score) -> dict[str, Any]:
    """A value for each of NAMES, None where the score has none; silence before the first note does not count.

    density      notes / beats from the first onset to the last note's end, drums included
    polyphony    mean number of notes that sound together while any sounds (MusPy), drums included
    mean_pitch   of the notes, drums left out
    note_length  mean duration in beats, drums left out
    tempo_bpm    quarter notes a minute at the first onset
    seconds      from the first onset to the last note's end
    bars         from the bar of the first onset to that of the last one
    metre        such as "3/4", at the first onset
    key          Krumhansl & Schmuckler's estimate (statistics.key_estimate), such as "G major"
    programs     the set of General MIDI programs, drums as -1, as `programs_text`
    """
    notes = note_arrays(score)
    if not len(notes["onset"]):
        return dict.fromkeys(NAMES)
    first, last = int(notes["onset"][0]), int(notes["onset"][-1])
    end = int((notes["onset"] + notes["duration"]).max())
    beats = (end - first) / score.ticks_per_quarter
    pitched = notes["program"] >= 0
    starts = bar_starts(score, last + 1)
    bars = np.searchsorted(starts, [first, last], side="right")
    lengths = notes["duration"][pitched] / score.ticks_per_quarter
    key = key_estimate(score)
    values: dict[str, Any] = {
        "density": len(notes["onset"]) / beats if beats else None,
        "polyphony": polyphony_of(notes["onset"], notes["duration"])[0] if beats else None,
        "mean_pitch": notes["pitch"][pitched].mean() if pitched.any() else None,
        "note_length": lengths.mean() if pitched.any() else None,
        "tempo_bpm": _in_force([(tempo.time, tempo.qpm) for tempo in score.tempos], first, DEFAULT_TEMPO_BPM),
        "seconds": float(np.diff(seconds_at(score, np.array([first, end])))[0]),
        "bars": int(bars[1] - bars[0]) + 1,
        "metre": _in_force([(s.time, f"{s.numerator}/{s.denominator}") for s in score.time_signatures], first, "4/4"),
        "key": None if key == "unknown" else key,
        "programs": programs_text(notes["program"].tolist()),
    }
    return {name: float(value) if name in UNITS and value is not None else value for name, value in values.items()}


def transposed(values: Mapping[str, Any], semitones: int) -> dict[str, Any]:
    """Those of TRANSPOSED in `values`, of the same music so many semitones higher."""
    moved = {}
    if values.get("mean_pitch") is not None:
        moved["mean_pitch"] = values["mean_pitch"] + semitones
    if values.get("key") is not None:
        tonic, _, mode = values["key"].partition(" ")
        names = MAJOR_KEYS if mode == "major" else MINOR_KEYS
        moved["key"] = f"{names[(names.index(tonic) + semitones) % 12]} {mode}"
    return moved


def key_name(text: str) -> str | None:
    """A key as `attributes_of` writes it, such as "F# minor" for "f#m"; None for what is no key."""
    try:
        key = parse_key(text)
    except UserError:
        return None
    return f"{(MINOR_KEYS if key.minor else MAJOR_KEYS)[key.tonic]} {'minor' if key.minor else 'major'}"


def programs_text(programs: Iterable[int]) -> str:
    """A set of General MIDI programs, -1 for drums, as one value: [-1,0,33]."""
    return f"[{','.join(map(str, sorted(set(programs))))}]"


def _in_force(changes: list[tuple[int, Any]], tick: int, default: Any) -> Any:
    """The value of the last change up to `tick`."""
    return max(
        ((time, index, value) for index, (time, value) in enumerate(changes) if time <= tick), default=(0, 0, default)
    )[2]
