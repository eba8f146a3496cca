"""Scores in and out, and the arithmetic of ticks, bars and seconds.

A `Score` is symusic's, in ticks. Bars and seconds are computed here and nowhere else: a tokenizer may
swallow bar tokens (MidiTok's rests do), a Score cannot.
"""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
from symusic import Score, TimeSignature

from midifactory import files

DEFAULT_TEMPO_BPM = 120.0  # the MIDI standard's tempo where a file names none
# MIDI allows months of silence in a few bytes, and a tokenizer would write it all down.
MAX_HOURS = 2.0
MAX_NOTES = 200_000


class UnreadableMidi(ValueError):
    """A file that holds no usable music; the message is the reason, without the path."""


def load_score(path: str | os.PathLike[str]) -> Score:
    """Read a MIDI file as a Score in ticks with at least one note.

    Raises UnreadableMidi with the reason when the file cannot be parsed, has no ticks per beat, no notes,
    more than MAX_NOTES notes, or lasts longer than MAX_HOURS.
    """
    if Path(path).exists() and not Path(path).is_file():  # reading a named pipe would wait for ever
        raise UnreadableMidi("not a regular file")
    try:
        score = Score.from_midi(Path(path).read_bytes(), sanitize_data=True)
    except OSError as error:
        raise UnreadableMidi(f"cannot be opened: {error.strerror or error}") from error
    except Exception as error:  # symusic raises bare RuntimeError and ValueError for malformed bytes
        raise UnreadableMidi(f"not a valid MIDI file: {str(error).strip().splitlines()[0][:120]}") from error
    if score.ticks_per_quarter <= 0:
        raise UnreadableMidi(f"{score.ticks_per_quarter} ticks per quarter note")
    count = score.note_num()
    if count == 0:
        raise UnreadableMidi("no notes")
    if count > MAX_NOTES:
        raise UnreadableMidi(f"{count} notes, more than {MAX_NOTES}")
    seconds = float(score.to("second").end())
    if not 0 <= seconds <= MAX_HOURS * 3600:
        raise UnreadableMidi(f"{seconds / 3600:.1f} hours long, more than {MAX_HOURS:g}")
    return score


def save_score(score: Score, path: str | os.PathLike[str]) -> None:
    """Write a Score as a MIDI file, whole or not at all."""
    files.write_bytes(path, score.dumps_midi())


def note_arrays(score: Score) -> dict[str, np.ndarray]:
    """All notes of a Score ordered by onset, then track, then pitch, each array of shape (N,).

    Keys: onset, duration (ticks), pitch, velocity, program (-1 for drums), track (index of the track).
    """
    columns: dict[str, list[np.ndarray]] = {
        key: [] for key in ("onset", "duration", "pitch", "velocity", "program", "track")
    }
    for index, track in enumerate(score.tracks):
        notes = track.notes.numpy()
        size = len(notes["time"])
        columns["onset"].append(notes["time"].astype(np.int64))
        columns["duration"].append(notes["duration"].astype(np.int64))
        columns["pitch"].append(notes["pitch"].astype(np.int64))
        columns["velocity"].append(notes["velocity"].astype(np.int64))
        columns["program"].append(np.full(size, -1 if track.is_drum else track.program, dtype=np.int64))
        columns["track"].append(np.full(size, index, dtype=np.int64))
    arrays = {key: np.concatenate(parts) if parts else np.zeros(0, np.int64) for key, parts in columns.items()}
    order = np.lexsort((arrays["pitch"], arrays["track"], arrays["onset"]))
    return {key: values[order] for key, values in arrays.items()}


def last_note_end(score: Score) -> int:
    """Tick at which the last note ends, 0 without notes; `Score.end` would also count tempos and controls."""
    notes = note_arrays(score)
    return int((notes["onset"] + notes["duration"]).max(initial=0))


def bar_starts(score: Score, until_tick: int | None = None) -> np.ndarray:
    """Ticks at which bars start, from 0 up to but not including `until_tick` (default: the last note's end).

    A time signature takes effect where it stands and starts a bar there, as in MidiTok; 4/4 before the first.
    """
    end = last_note_end(score) if until_tick is None else until_tick
    signatures = sorted(score.time_signatures, key=lambda signature: signature.time)
    if not signatures or signatures[0].time > 0:
        signatures.insert(0, TimeSignature(0, 4, 4))
    edges = [signature.time for signature in signatures] + [max(end, signatures[-1].time)]
    starts: list[np.ndarray] = []
    for signature, (first, last) in zip(signatures, pairwise(edges), strict=True):
        starts.append(np.arange(first, min(last, end), ticks_per_bar(signature, score.ticks_per_quarter)))
    return np.unique(np.concatenate(starts)).astype(np.int64)


def ticks_per_bar(signature: TimeSignature, ticks_per_quarter: int) -> int:
    """Length of one bar in ticks, at least 1."""
    return max(1, ticks_per_quarter * 4 * signature.numerator // max(1, signature.denominator))


def bar_count(score: Score) -> int:
    """Number of bars in which the score sounds or waits, the last one counted whole."""
    return len(bar_starts(score))


def seconds_at(score: Score, ticks: np.ndarray) -> np.ndarray:
    """Seconds from the start for each of `ticks` (any shape), through every tempo change."""
    changes = sorted((tempo.time, tempo.qpm) for tempo in score.tempos)
    if not changes or changes[0][0] > 0:
        changes.insert(0, (0, DEFAULT_TEMPO_BPM))
    times = np.array([time for time, _ in changes], dtype=np.float64)
    seconds_per_tick = 60.0 / (np.array([qpm for _, qpm in changes], dtype=np.float64) * score.ticks_per_quarter)
    elapsed = np.concatenate([[0.0], np.cumsum(np.diff(times) * seconds_per_tick[:-1])])
    index = np.clip(np.searchsorted(times, ticks, side="right") - 1, 0, None)
    return elapsed[index] + (np.asarray(ticks) - times[index]) * seconds_per_tick[index]


def duration_seconds(score: Score) -> float:
    """Seconds from the start of the file to the end of its last note."""
    return float(seconds_at(score, np.array([last_note_end(score)]))[0])


def cut(score: Score, end_tick: int) -> Score:
    """The score before `end_tick`: notes that start there or later go, notes that last over it are shortened."""
    part = score.copy()
    for track in part.tracks:
        kept = [note for note in track.notes if note.time < end_tick]
        for note in kept:
            note.duration = min(note.duration, end_tick - note.time)
        track.notes = type(track.notes)(kept)
        track.controls = type(track.controls)([item for item in track.controls if item.time < end_tick])
        track.pitch_bends = type(track.pitch_bends)([item for item in track.pitch_bends if item.time < end_tick])
        track.pedals = type(track.pedals)([item for item in track.pedals if item.time < end_tick])
    part.tempos = type(part.tempos)([item for item in part.tempos if item.time < end_tick])
    part.time_signatures = type(part.time_signatures)([s for s in part.time_signatures if s.time < end_tick])
    part.key_signatures = type(part.key_signatures)([s for s in part.key_signatures if s.time < end_tick])
    part.markers = type(part.markers)([item for item in part.markers if item.time < end_tick])
    return part


def first_bars(score: Score, count: int) -> Score:
    """The first `count` bars of a score; the whole score where it has no more."""
    starts = bar_starts(score)
    return cut(score, int(starts[count])) if count < len(starts) else score.copy()


def first_notes(score: Score, count: int) -> Score:
    """The score with only its first `count` notes, by onset, then track, then pitch, each at its full length."""
    order = [
        (note.time, index, note.pitch, place)
        for index, track in enumerate(score.tracks)
        for place, note in enumerate(track.notes)
    ]
    kept = {(index, place) for _, index, _, place in sorted(order)[: max(0, count)]}
    part = score.copy()
    for index, track in enumerate(part.tracks):
        track.notes = type(track.notes)([note for place, note in enumerate(track.notes) if (index, place) in kept])
    return part
