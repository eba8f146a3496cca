"""Other instruments for the notes of a Score: programs changed, or the notes given to voices anew.

Legend: K instruments.
"""

from collections.abc import Sequence

import numpy as np
from symusic import Note, Score, Track

from midifactory.errors import UserError
from midifactory.music.instruments import DRUMS
from midifactory.music.joining import instrument_name
from midifactory.music.ranges import playable_range

_OCTAVE = 12


def pitched_tracks(score: Score) -> list[int]:
    """The indices of the tracks that have notes, those of drums aside."""
    return [index for index, track in enumerate(score.tracks) if len(track.notes) and not track.is_drum]


def describe_tracks(score: Score) -> str:
    """The pitched tracks in words, numbered from 1: "1 Soprano (Violin, 60-79), 2 ..."."""
    words = []
    for number, index in enumerate(pitched_tracks(score), start=1):
        track = score.tracks[index]
        pitches = track.notes.numpy()["pitch"]
        name = f"{track.name.strip()} " if track.name.strip() else ""
        words.append(f"{number} {name}({instrument_name(track.program)}, {pitches.min()}-{pitches.max()})")
    return ", ".join(words)


def chosen_tracks(score: Score, asked: Sequence[int | str] | None) -> list[int]:
    """Indices of the pitched tracks that are meant, by number or name; all for None.

    Raises UserError for one that is not there, listing those that are.
    """
    there = pitched_tracks(score)
    if asked is None:
        return there
    found = []
    for item in asked:
        if isinstance(item, int):
            fitting = there[item - 1 : item] if item >= 1 else []
        else:
            names = {index: score.tracks[index].name.strip().lower() for index in there}
            fitting = [index for index in there if names[index] == item.strip().lower()]
        if not fitting:
            raise UserError(f"tracks: there is no {item!r}; the file has {describe_tracks(score)}")
        found += fitting
    return list(dict.fromkeys(found))


def reorchestrated(score: Score, tracks: Sequence[int], programs: Sequence[int]) -> tuple[Score, int]:
    """The Score with `tracks` (indices) played by `programs`, one for each or one for all; and how many notes moved.

    A track whose notes are out of its instrument's range moves by the octaves that bring most of them into it; what is
    still outside moves by itself. Onsets, durations, velocities and all other events stay. Raises UserError for another
    number of programs, and for drums.
    """
    if DRUMS in programs:
        raise UserError("instruments: drums have no pitches to play these notes on; give instruments with pitches")
    if len(programs) not in (1, len(tracks)):
        raise UserError(
            f"instruments: {len(programs)} for {len(tracks)} tracks: {describe_tracks(score)}; give one for each in "
            "their order, one for all, or revoice=true"
        )
    made, moved = score.copy(), 0
    for place, index in enumerate(tracks):
        track, program = made.tracks[index], programs[place if len(programs) > 1 else 0]
        moved += _bring_into(track, program)
        track.program, track.name = program, instrument_name(program)
    return made, moved


def revoiced(score: Score, tracks: Sequence[int], programs: Sequence[int]) -> tuple[Score, int]:
    """The notes of `tracks` given to K instruments anew, a track for each; and how many notes moved by octaves.

    programs: from the highest voice down. Of what sounds the highest note goes to the first, the lowest to the last,
    those between to the others from above; where fewer sound than there are instruments, the middle ones rest. A note
    alone goes to the one that played nearest to it last. Every note stays, with onset, duration and velocity; the
    tracks' other events (pedals, bends) are left out.
    """
    if DRUMS in programs:
        raise UserError("instruments: drums have no pitches to play these notes on; give instruments with pitches")
    count = len(programs)
    notes = sorted((note for index in tracks for note in score.tracks[index].notes), key=lambda n: (n.time, -n.pitch))
    voices: list[list[Note]] = [[] for _ in programs]
    last = [float(np.mean(playable_range(program))) for program in programs]
    sounding: list[Note] = []
    for place, note in enumerate(notes):
        if not place or note.time != notes[place - 1].time:
            sounding = [other for other in sounding if other.time + other.duration > note.time]
            sounding += [other for other in notes[place:] if other.time == note.time]
            sounding.sort(key=lambda other: -other.pitch)
        rank, many = next(i for i, other in enumerate(sounding) if other is note), len(sounding)
        if many == 1:
            voice = min(range(count), key=lambda k: abs(last[k] - note.pitch))
        elif rank == 0:
            voice = 0
        elif rank == many - 1:
            voice = count - 1
        else:
            voice = min(count - 1, 1 + (rank - 1) * max(1, count - 2) // max(1, many - 2)) if count > 2 else count - 1
        last[voice] = note.pitch
        voices[voice].append(note)
    made, moved = score.copy(), 0
    fresh = []
    for program, voice_notes in zip(programs, voices, strict=True):
        track = Track(instrument_name(program), program, False)
        track.notes.extend([Note(n.time, n.duration, n.pitch, n.velocity) for n in voice_notes])
        moved += _bring_into(track, program)
        fresh.append(track)
    kept = [track for index, track in enumerate(made.tracks) if index not in set(tracks)]
    made.tracks = type(made.tracks)([*fresh, *kept])
    return made, moved


def _bring_into(track: Track, program: int) -> int:
    """Move a track's notes by octaves into the range of a program; returns how many moved."""
    low, high = playable_range(program)
    pitches = track.notes.numpy()["pitch"].astype(np.int64)
    if not len(pitches):
        return 0
    shifts = sorted(range(-8 * _OCTAVE, 9 * _OCTAVE, _OCTAVE), key=abs)
    inside = [int(((pitches + shift >= low) & (pitches + shift <= high)).sum()) for shift in shifts]
    shift = shifts[int(np.argmax(inside))]  # of equally good ones the smallest
    moved = 0
    for note in track.notes:
        pitch = note.pitch + shift
        while pitch < low:
            pitch += _OCTAVE
        while pitch > high:
            pitch -= _OCTAVE
        moved += pitch != note.pitch
        note.pitch = pitch
    return moved
