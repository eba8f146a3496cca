"""Notes are put into a Score, and nothing else of it moves by a tick."""

import pytest
from symusic import ControlChange, KeySignature, Note, Pedal, PitchBend, Score, Tempo, TextMeta, TimeSignature, Track

from midifactory.music.splice import splice, without

TICKS = 96


def full_score() -> Score:
    """Two tracks of one program, a bass and drums, with all that MIDI knows beside notes."""
    score = Score(TICKS)
    for tick, bpm in ((0, 90), (384, 120.5), (500, 60)):
        score.tempos.append(Tempo(tick, bpm))
    for tick, numerator in ((0, 4), (768, 3)):
        score.time_signatures.append(TimeSignature(tick, numerator, 4))
    score.key_signatures.append(KeySignature(0, -3, 1))
    score.markers.append(TextMeta(400, "chorus"))
    for name, program, drums, base in (
        ("Right", 0, False, 72),
        ("Left", 0, False, 48),
        ("Bass", 33, False, 36),
        ("Kit", 0, True, 38),
    ):
        track = Track(name, program, drums)
        for beat in range(11):
            track.notes.append(Note(96 * beat, 100, base + beat % 3, 60 + beat))
        track.notes.append(Note(380, 400, base + 9, 77))  # rings into the third and fourth quarter of bars
        track.pedals.append(Pedal(300, 200))
        track.controls.append(ControlChange(410, 7, 99))
        track.pitch_bends.append(PitchBend(420, 512))
        track.lyrics.append(TextMeta(430, "la"))
        score.tracks.append(track)
    return score


def events(score: Score, skip: tuple[int, range] | None = None) -> list:
    """All that is in a Score; of the track `skip` names without the notes that begin in its ticks."""
    found: list = [score.ticks_per_quarter]
    for name in ("tempos", "time_signatures", "key_signatures", "markers"):
        found.append([repr(item) for item in getattr(score, name)])
    for index, track in enumerate(score.tracks):
        notes = [
            (note.time, note.duration, note.pitch, note.velocity)
            for note in track.notes
            if skip is None or index != skip[0] or note.time not in skip[1]
        ]
        others = [[repr(i) for i in getattr(track, n)] for n in ("pedals", "controls", "pitch_bends", "lyrics")]
        found.append((track.name, track.program, track.is_drum, notes, others))
    return found


@pytest.mark.parametrize("index", range(4))
def test_every_event_outside_is_identical(index):
    score, region = full_score(), range(384, 768)
    before = events(score)
    new = [Note(400, 50, 61, 90), Note(384, 20, 60, 91)]
    spliced = splice(score, [index], region.start, region.stop, {index: new})
    assert events(score) == before, "the source is not touched"
    assert events(spliced, (index, region)) == events(score, (index, region))
    inside = [note for note in spliced.tracks[index].notes if note.time in region]
    assert [(note.time, note.duration, note.pitch) for note in inside] == [(384, 20, 60), (400, 50, 61)]
    # And so it is when it was written and read again.
    assert events(Score.from_midi(spliced.dumps_midi()), (index, region))[0] == TICKS
    read = Score.from_midi(spliced.dumps_midi())
    assert [repr(tempo) for tempo in read.tempos] == [repr(t) for t in Score.from_midi(score.dumps_midi()).tempos]


def test_the_order_of_other_notes_stays_even_where_it_is_not_by_time():
    score = full_score()
    notes = list(score.tracks[0].notes)
    score.tracks[0].notes = type(score.tracks[0].notes)(notes[::-1])
    spliced = splice(score, [0], 384, 768, {0: [Note(500, 5, 90, 1)]})
    kept = [note.time for note in spliced.tracks[0].notes if not 384 <= note.time < 768]
    assert kept == [note.time for note in notes[::-1] if not 384 <= note.time < 768]


def test_without_takes_what_begins_in_the_region_and_nothing_else():
    score = full_score()
    left = without(score, [1, 2], 384, 768)
    assert [len(track.notes) for track in score.tracks] == [12] * 4
    assert [len(track.notes) for track in left.tracks] == [12, 8, 8, 12]
    assert any(note.time == 380 for note in left.tracks[1].notes)


def test_added_tracks_come_last():
    score, track = full_score(), Track("Viola", 41, False)
    track.notes.append(Note(0, 10, 60, 60))
    spliced = splice(score, [], 0, 10_000, {}, [track])
    assert events(spliced)[:-1] == events(score)
    assert spliced.tracks[4].name == "Viola"
