"""Scores in and out, and the arithmetic of ticks, bars and seconds.

A `Score` is symusic's, in ticks. Bars and seconds are computed here and nowhere else: a tokenizer may
swallow bar tokens (MidiTok's rests do), a Score cannot.
"""

import os
import struct
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from symusic import Score, TimeSignature

from midifactory import files
from midifactory.errors import UserError

DEFAULT_TEMPO_BPM = 120.0  # the MIDI standard's tempo where a file names none
# MIDI can write 0 microseconds a quarter, an endless tempo, and 1, at which two hours hold 7 billion beats.
MAX_TEMPO_BPM = 10_000.0


@dataclass(frozen=True)
class Limits:
    """What one file may cost; a file beyond a limit is refused with a reason.

    `max_tokens` is for the token store, and `seconds_per_file` and `memory_megabytes` for worker processes
    (music/workers.py); the others hold wherever a file is read. Raises UserError for a limit that is not above 0.
    """

    max_megabytes: float = 5.0
    max_tracks: int = 128
    max_notes: int = 200_000
    # MIDI allows months of silence in a few bytes, and a tokenizer would write it all down.
    max_hours: float = 2.0
    max_tokens: int = 200_000
    seconds_per_file: float = 10.0
    memory_megabytes: float = 500.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise UserError(f"data.limits.{name}={value} lets no file pass; set it to a number above 0")


class UnreadableMidi(ValueError):
    """A file that holds no usable music; the message is the reason, without the path, `kind` the reason's type."""

    def __init__(self, reason: str, kind: str = "unreadable") -> None:
        super().__init__(reason)
        self.kind = kind

    def __reduce__(self) -> tuple[type, tuple[str, str]]:  # else a worker process would lose the kind
        return type(self), (str(self), self.kind)


def load_score(path: str | os.PathLike[str], limits: Limits | None = None) -> Score:
    """Read a MIDI file as a Score in ticks with at least one note; `limits` are the default ones unless given.

    Raises UnreadableMidi, whose `kind` is one of: not_a_file, cannot_open, too_large, unreadable (no MIDI, or broken),
    truncated, smpte (time in frames, not beats), no_ticks_per_beat, no_notes, too_many_tracks, too_many_notes,
    too_long, times_out_of_range, tempo_out_of_range.
    """
    return parse_score(read_midi(path, limits), limits)


def read_midi(path: str | os.PathLike[str], limits: Limits | None = None) -> bytes:
    """The bytes of a file. Raises UnreadableMidi: not_a_file, cannot_open, too_large."""
    limits = limits or Limits()
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # reading a named pipe would wait for ever
            raise UnreadableMidi("not a regular file", "not_a_file")
        with path.open("rb") as file:
            most = int(limits.max_megabytes * 2**20)
            data = file.read(most + 1)  # not the size that the file claims: /proc and others claim 0
    except (OSError, ValueError) as error:
        if isinstance(error, UnreadableMidi):
            raise
        reason = getattr(error, "strerror", None) or error
        raise UnreadableMidi(f"cannot be opened: {reason}", "cannot_open") from error
    if len(data) > most:
        raise UnreadableMidi(f"larger than {limits.max_megabytes:g} MB", "too_large")
    return data


def parse_score(data: bytes, limits: Limits | None = None) -> Score:
    """The Score of a MIDI file's bytes. Raises UnreadableMidi as load_score does."""
    limits = limits or Limits()
    tracks, missing = _walk_chunks(data)
    check_size(limits, tracks=tracks)  # before reading: 65,535 tracks of a few bytes each fit into 5 MB
    try:
        score = Score.from_midi(data, sanitize_data=True)
    except MemoryError:
        raise
    except Exception as error:  # symusic raises bare RuntimeError and ValueError for malformed bytes
        if missing:
            raise UnreadableMidi(f"truncated: {missing}", "truncated") from error
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:120]
        raise UnreadableMidi(f"not a valid MIDI file: {reason}") from error
    if score.ticks_per_quarter <= 0:
        raise UnreadableMidi(f"{score.ticks_per_quarter} ticks per quarter note", "no_ticks_per_beat")
    count = score.note_num()
    if count == 0:
        raise UnreadableMidi(*((f"truncated: {missing}", "truncated") if missing else ("no notes", "no_notes")))
    check_size(limits, tracks=len(score.tracks), notes=count)
    if _has_negative_times(score):
        raise UnreadableMidi("events at negative times, or notes of negative duration", "times_out_of_range")
    for tempo in score.tempos:
        if not 0 < tempo.qpm <= MAX_TEMPO_BPM:
            reason = f"a tempo of {tempo.qpm:g} bpm, not above 0 and up to {MAX_TEMPO_BPM:g}"
            raise UnreadableMidi(reason, "tempo_out_of_range")
    check_size(limits, seconds=float(score.to("second").end()))
    return score


def check_size(limits: Limits, *, tracks: int = 0, notes: int = 0, seconds: float = 0.0) -> None:
    """Raise UnreadableMidi (too_many_tracks, too_many_notes, too_long) for music beyond a limit."""
    if tracks > limits.max_tracks:
        raise UnreadableMidi(f"{tracks} tracks, more than {limits.max_tracks}", "too_many_tracks")
    if notes > limits.max_notes:
        raise UnreadableMidi(f"{notes} notes, more than {limits.max_notes}", "too_many_notes")
    if not 0 <= seconds <= limits.max_hours * 3600:
        raise UnreadableMidi(f"{seconds / 3600:.1f} hours long, more than {limits.max_hours:g}", "too_long")


def _has_negative_times(score: Score) -> bool:
    """Whether symusic's counter of 32 bits has run over, as it does on a few of the longest deltas."""
    columns = [track.notes.numpy()[key] for track in score.tracks for key in ("time", "duration")]
    columns += [events.numpy()["time"] for events in (score.tempos, score.time_signatures, score.key_signatures)]
    return min((int(column.min()) for column in columns if len(column)), default=0) < 0


def _walk_chunks(data: bytes) -> tuple[int, str]:
    """Number of track chunks, and what is missing at the end of the file, if anything.

    Standard MIDI Files 1.0: chunks of a four-letter name, a length of 32 bits and as many bytes. Raises UnreadableMidi
    for a header that names SMPTE frames or no ticks per beat.
    """
    if data[:4] != b"MThd" or len(data) < 14:
        return 0, "the header is not whole" if data[:4] == b"MThd" or (data and b"MThd".startswith(data)) else ""
    length, _, promised, division = struct.unpack(">IHHH", data[4:14])
    if division & 0x8000:
        raise UnreadableMidi("time is in SMPTE frames, not in beats", "smpte")
    if division == 0:
        raise UnreadableMidi("0 ticks per quarter note", "no_ticks_per_beat")
    place, tracks = 8 + length, 0
    while place + 8 <= len(data):
        name, length = struct.unpack(">4sI", data[place : place + 8])
        tracks += name == b"MTrk"
        place += 8 + length
        if place > len(data):
            return tracks, f"chunk {tracks} of {promised} ends {place - len(data)} bytes after the file"
    return tracks, f"{tracks} of {promised} tracks" if tracks < promised and place >= len(data) else ""


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
