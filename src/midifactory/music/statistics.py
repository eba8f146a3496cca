"""Numbers that describe pieces and corpora, for reports and for comparing generated with real music.

A beat is a quarter note. A statistic that a piece cannot have (a mean pitch without pitched notes) is nan.
Definitions from the literature: MusPy is Dong et al., "MusPy: A Toolkit for Symbolic Music Generation", ISMIR 2020;
Yang & Lerch is "On the evaluation of generative models in music", Neural Computing and Applications 32, 2020.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from symusic import Score

from midifactory.music.score import DEFAULT_TEMPO_BPM, bar_starts, duration_seconds, note_arrays, seconds_at

GRID_PER_BEAT = 12  # the coarsest grid that holds both sixteenths and triplets
MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
_FRAMES_PER_SECOND = 100  # of the tempo estimate
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
    notes_per_second           notes / duration_seconds
    pitch_mean, _lowest, _highest   MIDI pitch
    pitch_range                semitones, highest - lowest (Yang & Lerch: PR)
    pitches_used, pitch_classes_used     different ones (MusPy)
    pitch_entropy_bits         of the pitches by note count (MusPy)
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
    polyphony_share            share of the time up to the last note's end in which two or more notes sound (MusPy:
                               polyphony_rate with threshold 1)
    velocity_mean              MIDI velocity
    programs                   different programs, the drums counted as one
    drum_notes_share           drum notes / notes
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
    polyphony_mean, polyphony_share = polyphony_of(notes["onset"], notes["duration"])
    lowest, highest = (pitches.min(), pitches.max()) if len(pitches) else (np.nan, np.nan)
    duration = duration_seconds(score)
    statistics = {
        "duration_seconds": duration,
        "bars": len(starts),
        "notes": len(onsets),
        "tempo_bpm": first_tempo[1] if first_tempo[0] == 0 else DEFAULT_TEMPO_BPM,
        "notes_per_beat": len(onsets) / total_beats if total_beats else np.nan,
        "notes_per_second": len(onsets) / duration if duration else np.nan,
        "pitch_mean": _mean(pitches),
        "pitch_lowest": lowest,
        "pitch_highest": highest,
        "pitch_range": highest - lowest,
        "pitches_used": len(np.unique(pitches)),
        "pitch_classes_used": len(np.unique(pitches % 12)),
        "pitch_entropy_bits": _entropy_bits(pitches),
        "pitch_class_entropy_bits": _entropy_bits(pitches % 12),
        "scale_consistency": _scale_consistency(pitches),
        "duration_mean_beats": _mean(durations),
        "duration_median_beats": np.median(durations) if len(durations) else np.nan,
        "duration_entropy_bits": _entropy_bits(np.rint(durations * GRID_PER_BEAT)),
        "onset_interval_mean_beats": _mean(np.diff(different_onsets)),
        "onset_position_entropy_bits": _entropy_bits(places),
        "onsets_on_beat_share": _mean(places == 0),
        "groove_consistency": _groove_consistency(score, starts, notes["onset"]),
        "polyphony_mean": polyphony_mean,
        "polyphony_share": polyphony_share,
        "velocity_mean": _mean(notes["velocity"]),
        "programs": len(np.unique(notes["program"])),
        "drum_notes_share": _mean(notes["program"] < 0),
        "empty_bars_share": _mean(_sounding(starts, notes["onset"], notes["duration"]) == 0),
    }
    return {name: float(value) for name, value in statistics.items()}


def piece_histograms(score: Score) -> dict[str, np.ndarray]:
    """Counts over one piece's notes, to be added up over pieces and given their bins by `panels_of`.

    Drums have no pitch here. An onset interval lies between successive different onsets; `onset_place` is the place
    inside the beat, rounded to 1/12. Values beyond the outer edges are counted in the outer bins.
    """
    notes = note_arrays(score)
    pitches = notes["pitch"][notes["program"] >= 0]
    different = np.unique(notes["onset"])
    different_seconds = seconds_at(score, different)
    columns = {
        "pitch": pitches,
        "pitch_class": pitches % 12,
        "duration_beats": notes["duration"] / score.ticks_per_quarter,
        "velocity": notes["velocity"],
        "onset_interval_beats": np.diff(different) / score.ticks_per_quarter,
        "onset_interval_seconds": np.diff(different_seconds),
        "onset_place": np.rint(notes["onset"] / score.ticks_per_quarter * GRID_PER_BEAT) % GRID_PER_BEAT,
    }
    return {name: bin_counts(name, values) for name, values in columns.items()}


def bin_counts(name: str, values: np.ndarray) -> np.ndarray:
    """How many of `values` lie in each bin of BINS[name]."""
    bins = BINS[name]
    if isinstance(bins, tuple):
        return np.bincount(np.clip(values, 0, len(bins) - 1).astype(np.int64), minlength=len(bins))
    return np.histogram(np.clip(values, bins[0], bins[-1]), bins)[0]


def panels_of(counts: Mapping[str, np.ndarray]) -> dict[str, dict[str, list]]:
    """Counts by name of BINS with their bins, ready for json.dumps.

    Each value holds `counts` and either `labels`, one for each count, or `edges`, one more than counts, in the unit
    that the name gives.
    """
    result: dict[str, dict[str, list]] = {}
    for name, values in counts.items():
        bins = BINS[name]
        result[name] = {"labels": list(bins)} if isinstance(bins, tuple) else {"edges": bins.tolist()}
        result[name]["counts"] = values.tolist()
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


def tempo_estimate(score: Score) -> float:
    """Beats a minute that the onsets suggest, 30 to 300, without a look at the file's beat; nan below 8 onsets.

    Ellis, "Beat Tracking by Dynamic Programming", Journal of New Music Research 36, 2007: the autocorrelation of
    onset strength (here the notes' velocities in steps of 10 ms, over the first five minutes), each lag supported by
    its double, weighted by a Gaussian over log2 of the period around half a second. Like every such estimate it
    may name half or double the beat that a listener taps.
    """
    notes = note_arrays(score)
    seconds = seconds_at(score, notes["onset"])
    seconds = seconds - seconds.min(initial=np.inf)
    kept = seconds < 300
    frames = np.rint(seconds[kept] * _FRAMES_PER_SECOND).astype(np.int64)
    if len(np.unique(frames)) < 8:
        return np.nan
    # Velocities of a chord add up by their root: four voices are no four times as strong a beat.
    strength = np.sqrt(np.bincount(frames, notes["velocity"][kept]))
    smooth = np.convolve(strength, np.exp(-0.5 * (np.arange(-6, 7) / 2.0) ** 2), mode="same")
    smooth -= smooth.mean()
    size = 2 ** int(np.ceil(np.log2(2 * len(smooth))))
    likeness = np.fft.irfft(np.abs(np.fft.rfft(smooth, size)) ** 2)[: len(smooth)]
    likeness = np.pad(likeness, (0, max(0, 20 * _FRAMES_PER_SECOND - len(likeness))))
    lags = np.arange(_FRAMES_PER_SECOND // 5, 2 * _FRAMES_PER_SECOND + 1)  # 300 to 30 a minute
    support = likeness[lags] + 0.5 * likeness[2 * lags] + 0.25 * (likeness[2 * lags - 1] + likeness[2 * lags + 1])
    period = float(lags[np.argmax(support * np.exp(-0.5 * np.log2(lags / (0.5 * _FRAMES_PER_SECOND)) ** 2))])
    for multiple in (1, 2, 4, 8):  # the peak at a multiple of the period is as wide, so it tells the period finer
        near = round(period * multiple) + np.arange(-2, 3)
        peak = int(near[np.argmax(likeness[near])])
        left, top, right = likeness[peak - 1 : peak + 2]
        if top < 0.2 * likeness[0] or top < max(left, right):
            break
        period = (peak + 0.5 * (left - right) / min(left - 2 * top + right, -1e-9)) / multiple
    return 60.0 * _FRAMES_PER_SECOND / period


# Labels where each value has its own bin, else edges.
BINS: dict[str, tuple[int | str, ...] | np.ndarray] = {
    "pitch": tuple(range(128)),
    "pitch_class": PITCH_CLASSES,
    "velocity": tuple(range(128)),
    "duration_beats": np.arange(0, 8.125, 0.125),
    "onset_interval_beats": np.arange(0, 4.125, 0.125),
    "onset_interval_seconds": np.arange(0, 2.025, 0.025),
    "onset_place": tuple(range(GRID_PER_BEAT)),
    "tempo_bpm": np.arange(0.0, 310.0, 10.0),
    "tempo_estimated_bpm": np.arange(0.0, 310.0, 10.0),
    "piece_duration_seconds": np.array([0, 5, 10, 20, 30, 45, 60, 90, 120, 180, 240, 300, 450, 600, 1200, 7200.0]),
    "polyphony_mean": np.arange(0.0, 25.0),
    "notes_per_second": np.arange(0.0, 62.0, 2.0),
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


def polyphony_of(onsets: np.ndarray, durations: np.ndarray) -> tuple[float, float]:
    """Sum of all durations / time in which a note sounds; share of the time from 0 in which two or more do."""
    if not durations.sum():
        return np.nan, np.nan
    times = np.concatenate([onsets, onsets + durations])
    order = np.argsort(times, kind="stable")
    sounding = np.cumsum(np.repeat([1, -1], len(onsets))[order])[:-1]
    spans = np.diff(times[order])
    return durations.sum() / spans[sounding > 0].sum(), spans[sounding > 1].sum() / times.max()


def _sounding(starts: np.ndarray, onsets: np.ndarray, durations: np.ndarray) -> np.ndarray:
    """Number of notes that sound in each bar, shape of `starts`."""
    first = np.searchsorted(starts, onsets, side="right") - 1
    last = np.searchsorted(starts, np.maximum(onsets + durations - 1, onsets), side="right") - 1
    changes = np.zeros(len(starts) + 1, dtype=np.int64)
    np.add.at(changes, first, 1)
    np.add.at(changes, last + 1, -1)
    return np.cumsum(changes)[:-1]
