"""New notes put into a Score, all else of it left as it is, to the tick."""

from collections.abc import Mapping, Sequence

from symusic import Note, Score, Track


def without(score: Score, tracks: Sequence[int], start_tick: int, end_tick: int) -> Score:
    """A copy without the notes of these tracks that begin at or after `start_tick` and before `end_tick`."""
    part = score.copy()
    for index in tracks:
        track = part.tracks[index]
        track.notes = type(track.notes)([note for note in track.notes if not start_tick <= note.time < end_tick])
    return part


def splice(
    score: Score,
    tracks: Sequence[int],
    start_tick: int,
    end_tick: int,
    notes: Mapping[int, Sequence[Note]],
    added: Sequence[Track] = (),
) -> Score:
    """A copy in whose `tracks` the notes that begin from `start_tick` up to, not including, `end_tick` are `notes`.

    notes: of each track, by its index, in the Score's ticks. added: further tracks, behind the others. Every other
    event is where it was and in the order in which it was: notes, also those that ring into the region, tempos, metres,
    keys, pedals, controls, lyrics, markers and names.
    """
    part = without(score, tracks, start_tick, end_tick)
    for index in tracks:
        track = part.tracks[index]
        kept = list(track.notes)
        place = next((place for place, note in enumerate(kept) if note.time >= end_tick), len(kept))
        new = sorted(notes.get(index, ()), key=lambda note: (note.time, note.pitch))
        track.notes = type(track.notes)([*kept[:place], *new, *kept[place:]])
    for track in added:
        part.tracks.append(track)
    return part
