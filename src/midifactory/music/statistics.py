"""Numbers that describe pieces and corpora, for reports and for comparing generated with real music.

A beat is a quarter note. A statistic that a piece cannot have (a mean pitch without pitched notes) is nan.
Definitions from the literature: MusPy is Dong et al., "MusPy: A Toolkit for Symbolic Music Generation", ISMIR 2020;
Yang & Lerch is "On the evaluation of generative models in music", Neural Computing and Applications 32, 2020.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from symusic import Score

from midifactory.music.score import DEFAULT_TEMPO_BPM, bar_starts, duration_seconds, note_arrays

GRID_PER_BEAT = 12  # the coarsest grid that holds both sixteenths and triplets
MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
# The probe-tone ratings of Krumhansl & Kessler 1982, from the tonic up in semitones.
MAJOR_PROFILE = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR_PROFILE = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
MAJOR_KEYS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_KEYS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")


def piece_statistics(score: Score) -> dict[str, float]:
    """Describe one piece; pitch statistics leave drums out.

    duration_seconds           start of the file to the end of its last note
    bars                       bars up to there, the last one counted whole
    notes                      drums included
    tempo_bpm                  at the start, in quarters a minute
    notes_per_beat             notes / beats up to the end of the last note
    pitch_mean, _lowest, _highest   MIDI pitch
    pitch_range                semitones, highest - lowest (Yang & Lerch: PR)
    pitch_class_entropy_bits   of the 12 pitch classes by note count, 0 to 3.58 (MusPy)
    scale_consistency          largest share of notes that fit one major or natural minor scale (MusPy)
    duration_mean_beats, duration_median_beats
    duration_entropy_bits      of durations rounded to 1/12 beat
    onset_interval_mean_beats  between successive different onsets (Yang & Lerch: IOI, chords counted once)
    onset_position_entropy_bits     of the onsets' places inside the beat, rounded to 1/12 beat, 0 to 3.58
    onsets_on_beat_share       share of notes whose rounded place is the beat itself
    groove_consistency         1 - mean share of 1/12-beat cells in which one of two successive bars of equal length
                               has an onset and the other has none (MusPy)
    polyphony_mean             mean number of notes that sound together while any sounds (MusPy: polyphony)
    velocity_mean              MIDI velocity
    programs                   different programs, the drums counted as one
    empty_bars_share           share of bars in which no note sounds
    """
    notes = note_arrays(score)
    onsets = notes["onset"] / score.ticks_per_quarter
    durations = notes["duration"] / score.ticks_per_quarter
    pitches = notes["pitch"][notes["program"] >= 0]
    starts = bar_starts(score)
    total_beats = (onsets + durations).max(initial=0)
    different_onsets = np.unique(onsets)
    places = np.rint(onsets * GRID_PER_BEAT).astype(np.int64) % GRID_PER_BEAT
    first_tempo = min(((tempo.time, tempo.qpm) for tempo in score.tempos), default=(1, 0.0))
    lowest, highest = (pitches.min(), pitches.max()) if len(pitches) else (np.nan, np.nan)
    statistics = {
        "duration_seconds": duration_seconds(score),
        "bars": len(starts),
        "notes": len(onsets),
        "tempo_bpm": first_tempo[1] if first_tempo[0] == 0 else DEFAULT_TEMPO_BPM,
        "notes_per_beat": len(onsets) / total_beats if total_beats else np.nan,
        "pitch_mean": _mean(pitches),
        "pitch_lowest": lowest,
        "pitch_highest": highest,
        "pitch_range": highest - lowest,
        "pitch_class_entropy_bits": _entropy_bits(pitches % 12),
        "scale_consistency": _scale_consistency(pitches),
        "duration_mean_beats": _mean(durations),
        "duration_median_beats": np.median(durations) if len(durations) else np.nan,
        "duration_entropy_bits": _entropy_bits(np.rint(durations * GRID_PER_BEAT)),
        "onset_interval_mean_beats": _mean(np.diff(different_onsets)),
        "onset_position_entropy_bits": _entropy_bits(places),
        "onsets_on_beat_share": _mean(places == 0),
        "groove_consistency": _groove_consistency(score, starts, notes["onset"]),
        "polyphony_mean": _polyphony(notes["onset"], notes["duration"]),
        "velocity_mean": _mean(notes["velocity"]),
        "programs": len(np.unique(notes["program"])),
        "empty_bars_share": _mean(_sounding(starts, notes["onset"], notes["duration"]) == 0),
    }
    return {name: float(value) for name, value in statistics.items()}


def histograms(scores: Iterable[Score]) -> dict[str, dict[str, list]]:
    """Counts over all notes (tempo and piece duration: over pieces), ready for json.dumps.

    Each value holds `counts` and either `labels`, one for each count, or `edges`, one more than counts, in the unit
    that the name gives. Values beyond the outer edges are counted in the outer bins.
    """
    columns: dict[str, list[np.ndarray]] = {name: [] for name in _BINS}
    for score in scores:
        notes = note_arrays(score)
        pitches = notes["pitch"][notes["program"] >= 0]
        statistics = piece_statistics(score)
        columns["pitch"].append(pitches)
        columns["pitch_class"].append(pitches % 12)
        columns["duration_beats"].append(notes["duration"] / score.ticks_per_quarter)
        columns["velocity"].append(notes["velocity"])
        columns["onset_interval_beats"].append(np.diff(np.unique(notes["onset"])) / score.ticks_per_quarter)
        columns["tempo_bpm"].append(np.array([statistics["tempo_bpm"]]))
        columns["piece_duration_seconds"].append(np.array([statistics["duration_seconds"]]))
    result: dict[str, dict[str, list]] = {}
    for name, bins in _BINS.items():
        values = np.concatenate([*columns[name], np.zeros(0)])
        if isinstance(bins, tuple):
            result[name] = {"labels": list(bins)}
            counts = np.bincount(np.clip(values, 0, len(bins) - 1).astype(np.int64), minlength=len(bins))
        else:
            result[name] = {"edges": bins.tolist()}
            counts, _ = np.histogram(np.clip(values, bins[0], bins[-1]), bins)
        result[name]["counts"] = counts.tolist()
    return result


def corpus_statistics(rows: Sequence[dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """Count, min, p5, median, mean, p95 and max of every statistic over the pieces.

    `rows` are results of `piece_statistics`. Only finite values count; without one, all but the count are None.
    """
    summary: dict[str, dict[str, float | None]] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = np.array([row[name] for row in rows if name in row], dtype=np.float64)
        values = values[np.isfinite(values)]
        measures = ("min", "p5", "median", "mean", "p95", "max")
        results: list[float | None] = [None] * len(measures)
        if len(values):
            low, p5, median, p95, high = (float(value) for value in np.percentile(values, (0, 5, 50, 95, 100)))
            results = [low, p5, median, float(values.mean()), p95, high]
        summary[name] = {"count": len(values), **dict(zip(measures, results, strict=True))}
    return summary


def bars_with_voices(score: Score, count: int = 4) -> float:
    """Share of bars, 0 to 1, in which notes of at least `count` tracks sound; nan for a score without bars."""
    notes = note_arrays(score)
    starts = bar_starts(score)
    voices = np.zeros(len(starts), dtype=np.int64)
    for track in np.unique(notes["track"]):
        here = notes["track"] == track
        voices += _sounding(starts, notes["onset"][here], notes["duration"][here]) > 0
    return _mean(voices >= count)


def key_estimate(score: Score) -> str:
    """The key of the whole piece, such as "G major" or "F# minor"; "unknown" without pitched notes.

    Krumhansl & Schmuckler: the key whose profile correlates best with how long each pitch class sounds.
    """
    notes = note_arrays(score)
    pitched = notes["program"] >= 0
    weights = np.bincount(notes["pitch"][pitched] % 12, notes["duration"][pitched], minlength=12)
    if weights.sum() == 0:
        return "unknown"
    # Each row is a profile turned to one tonic.                                             (24, 12)
    profiles = np.array([np.roll(profile, tonic) for profile in (MAJOR_PROFILE, MINOR_PROFILE) for tonic in range(12)])
    centred = profiles - profiles.mean(axis=1, keepdims=True)
    fit = centred @ (weights - weights.mean()) / np.linalg.norm(centred, axis=1)
    best = int(fit.argmax())
    return f"{MAJOR_KEYS[best]} major" if best < 12 else f"{MINOR_KEYS[best - 12]} minor"


_BINS: dict[str, tuple[int | str, ...] | np.ndarray] = {
    "pitch": tuple(range(128)),
    "pitch_class": PITCH_CLASSES,
    "duration_beats": np.arange(0, 8.125, 0.125),
    "velocity": tuple(range(128)),
    "onset_interval_beats": np.arange(0, 4.125, 0.125),
    "tempo_bpm": np.arange(0.0, 310.0, 10.0),
    "piece_duration_seconds": np.array([0, 5, 10, 20, 30, 45, 60, 90, 120, 180, 240, 300, 450, 600, 1200, 7200.0]),
}


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else np.nan


def _entropy_bits(values: np.ndarray) -> float:
    """Shannon entropy of the distribution of `values`; nan where there are none."""
    if not len(values):
        return np.nan
    shares = np.unique(values, return_counts=True)[1] / len(values)
    return float(-(shares * np.log2(shares)).sum()) + 0.0  # + 0.0: no negative zero in a report


def _scale_consistency(pitches: np.ndarray) -> float:
    if not len(pitches):
        return np.nan
    counts = np.bincount(pitches % 12, minlength=12)
    # A natural minor scale has the notes of its relative major, so twelve scales are all there are.
    return max(counts[[(tonic + step) % 12 for step in MAJOR_SCALE]].sum() for tonic in range(12)) / len(pitches)


def _groove_consistency(score: Score, starts: np.ndarray, onsets: np.ndarray) -> float:
    if len(starts) < 2:
        return np.nan
    ticks_per_cell = score.ticks_per_quarter / GRID_PER_BEAT
    cells = np.unique(np.rint(onsets / ticks_per_cell).astype(np.int64))
    edges = np.rint(starts / ticks_per_cell).astype(np.int64)
    bars = [
        set(part - first) for part, first in zip(np.split(cells, np.searchsorted(cells, edges[1:])), edges, strict=True)
    ]
    lengths = np.diff(edges)  # the last bar's is unknown: take it for as long as the one before
    lengths = np.append(lengths, lengths[-1:])
    differing = [
        len(bars[index] ^ bars[index + 1]) / lengths[index]
        for index in range(len(bars) - 1)
        if lengths[index] == lengths[index + 1] > 0
    ]
    return 1 - _mean(np.array(differing))


def _polyphony(onsets: np.ndarray, durations: np.ndarray) -> float:
    """Sum of all durations / time in which at least one note sounds."""
    if not durations.sum():
        return np.nan
    order = np.argsort(onsets, kind="stable")
    starts, ends = onsets[order], (onsets + durations)[order]
    sounded_until = np.concatenate([starts[:1], np.maximum.accumulate(ends)[:-1]])
    return durations.sum() / np.clip(ends - np.maximum(starts, sounded_until), 0, None).sum()


def _sounding(starts: np.ndarray, onsets: np.ndarray, durations: np.ndarray) -> np.ndarray:
    """Number of notes that sound in each bar, shape of `starts`."""
    first = np.searchsorted(starts, onsets, side="right") - 1
    last = np.searchsorted(starts, np.maximum(onsets + durations - 1, onsets), side="right") - 1
    changes = np.zeros(len(starts) + 1, dtype=np.int64)
    np.add.at(changes, first, 1)
    np.add.at(changes, last + 1, -1)
    return np.cumsum(changes)[:-1]
