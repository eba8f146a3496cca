"""Spans of bars taken out of a Score, and new notes put into it: all else stays where it is, tick by tick.

Legend: N notes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pretty_midi
from symusic import Note, Score, TimeSignature, Track

from midifactory.errors import UserError
from midifactory.music.instruments import DRUMS
from midifactory.music.score import bar_starts, cut, note_arrays, ticks_per_bar


def bar_lines(score: Score) -> np.ndarray:
    """Ticks of the lines of a Score's bars (B + 1,): where each begins, and where the last one ends."""
    starts = bar_starts(score)
    if not len(starts):
        return np.array([0, ticks_per_bar(signature_at(score, 0), score.ticks_per_quarter)])
    signature = signature_at(score, int(starts[-1]))
    return np.append(starts, starts[-1] + ticks_per_bar(signature, score.ticks_per_quarter))


def line_of_bar(score: Score, bar: int | None, key: str, file: str, past_the_end: bool = False) -> int:
    """The tick at which a bar, counted from 1, begins; of None the line after the last bar.

    past_the_end: whether the bar after the last one is one, too. Raises UserError, naming the setting `key`, for a bar
    that the file does not have.
    """
    lines = bar_lines(score)
    last = len(lines) - 1 + past_the_end
    if bar is None:
        return int(lines[-1])
    if not 1 <= bar <= last:
        raise UserError(f"{key}={bar}: {file} has {len(lines) - 1} bars; give 1 to {last}")
    return int(lines[bar - 1])


def signature_at(score: Score, tick: int) -> TimeSignature:
    """The time signature in force at a tick; 4/4 before the first."""
    before = [signature for signature in score.time_signatures if signature.time <= tick]
    return max(before, key=lambda signature: signature.time, default=TimeSignature(0, 4, 4))


def span(score: Score, begin: int, end: int) -> Score:
    """What begins from tick `begin` on and before `end`, moved to 0, under the tempo, metre and key in force there.

    Notes that last over the end are shortened; those that began before are left out.
    """
    part = cut(score, end)
    for name in ("tempos", "time_signatures", "key_signatures"):
        events = sorted(getattr(part, name), key=lambda event: event.time)
        first = max((index for index, event in enumerate(events) if event.time <= begin), default=0)
        for event in events[first:]:
            event.time = max(0, event.time - begin)
        setattr(part, name, type(getattr(part, name))(events[first:]))
    _move(part, ("markers",), begin)
    for track in part.tracks:
        _move(track, ("notes", "controls", "pitch_bends", "pedals", "lyrics"), begin)
    return part


def _move(holder: Any, names: Sequence[str], begin: int) -> None:
    """Leave out the events before `begin` and move the others back by it."""
    for name in names:
        kept = [event for event in getattr(holder, name) if event.time >= begin]
        for event in kept:
            event.time -= begin
        setattr(holder, name, type(getattr(holder, name))(kept))


def notes_after(score: Score, tick: int, ticks_per_quarter: int, begin: int) -> dict[str, np.ndarray]:
    """The notes that begin at or after `tick`, as note_arrays has them, in other ticks: `tick` becomes `begin`."""
    notes = note_arrays(score)
    late = notes["onset"] >= tick
    onset, duration = notes["onset"][late] - tick, notes["duration"][late]
    scale = ticks_per_quarter / score.ticks_per_quarter
    first = np.rint(onset * scale).astype(np.int64)
    last = np.maximum(np.rint((onset + duration) * scale).astype(np.int64), first + 1)
    return {**{key: values[late] for key, values in notes.items()}, "onset": first + begin, "duration": last - first}


def joined(
    score: Score,
    notes: Mapping[str, np.ndarray],
    begin: int,
    end: int | None = None,
    owners: Mapping[int, int] | None = None,
) -> Score:
    """A Score whose notes from tick `begin` on and before `end` are those given, as note_arrays has them.

    Every event before `begin` stays as it is, but that notes which last over it end there. end: None for all that
    follows, which then goes with all its events; else only notes between the two go. A note goes to the track of its
    program (of several, to the one whose notes lie nearest in pitch), or to what `owners` says (program -> track);
    without one to a new track, named after its instrument.
    """
    made = cut(score, begin) if end is None else score.copy()
    centres = _centres(score)
    for track in made.tracks:
        if end is not None:
            track.notes = type(track.notes)([note for note in track.notes if not begin <= note.time < end])
        for note in track.notes:
            if note.time < begin < note.time + note.duration:
                note.duration = begin - note.time
    rows = zip(*(notes[key].tolist() for key in ("program", "onset", "duration", "pitch", "velocity")), strict=True)
    added: dict[int, list[Note]] = {}
    for program, onset, duration, pitch, velocity in rows:
        if owners is not None and program in owners:
            place = owners[program]
        else:
            place = _track_for(made, centres, program, pitch)
        added.setdefault(place, []).append(Note(onset, duration, pitch, velocity))
    for index, new in added.items():
        track = made.tracks[index]
        # In Python, whose sort leaves what begins together in its order.
        track.notes = type(track.notes)(sorted([*track.notes, *new], key=lambda note: note.time))
    return made


def _centres(score: Score) -> dict[int, float]:
    """The mean pitch of each track that has notes, by its index."""
    return {
        index: float(track.notes.numpy()["pitch"].mean())
        for index, track in enumerate(score.tracks)
        if len(track.notes)
    }


def _track_for(score: Score, centres: Mapping[int, float], program: int, pitch: int) -> int:
    """The index of the track that takes a note; a new one where no track has its program."""
    fitting = [index for index, track in enumerate(score.tracks) if program_of(track) == program]
    if not fitting:
        score.tracks.append(Track(instrument_name(program), max(0, program), program == DRUMS))
        return len(score.tracks) - 1
    return min(fitting, key=lambda index: (index not in centres, abs(centres.get(index, pitch) - pitch)))


def program_of(track: Track) -> int:
    """The program of a track, -1 for drums."""
    return DRUMS if track.is_drum else int(track.program)


def instrument_name(program: int) -> str:
    """The General MIDI name of a program, "Drums" for -1."""
    return "Drums" if program == DRUMS else pretty_midi.program_to_instrument_name(program)
