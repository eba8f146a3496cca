"""Other instruments for scores written by hand, and the written files as mido reads them."""

import mido
import pytest
from symusic import ControlChange, Note, Score, Tempo, Track

from midifactory.errors import UserError
from midifactory.music.orchestrate import chosen_tracks, describe_tracks, reorchestrated, revoiced
from midifactory.music.ranges import playable_range
from midifactory.music.score import save_score


@pytest.fixture
def quartet() -> Score:
    """Three chords of four voices, of which the last is held while the top moves on, and drums."""
    score = Score(480)
    score.tempos.append(Tempo(0, 80))
    voices = {"Soprano": (72, 74, 76), "Alto": (67, 67, 67), "Tenor": (64, 65, 60), "Bass": (48, 43, 36)}
    for name, pitches in voices.items():
        track = Track(name, 52)
        track.notes.extend([Note(480 * beat, 480, pitch, 80 + beat) for beat, pitch in enumerate(pitches)])
        score.tracks.append(track)
    for track in score.tracks:
        track.notes[2].duration = 960
    score.tracks[0].notes[2].duration = 480
    score.tracks[0].notes.append(Note(1440, 480, 77, 90))
    score.tracks[0].controls.append(ControlChange(0, 7, 100))
    score.tracks.append(Track("kit", 0, True))
    score.tracks[4].notes.append(Note(0, 100, 36, 100))
    return score


def rows(track: Track) -> list[tuple[int, int, int, int]]:
    return [(note.time, note.duration, note.pitch, note.velocity) for note in track.notes]


def test_the_written_file_has_the_programs_and_every_note(quartet, tmp_path):
    made, moved = reorchestrated(quartet, [0, 1, 2, 3], [40, 41, 42, 43])
    assert moved == 0
    save_score(made, tmp_path / "strings.mid")
    tracks = mido.MidiFile(tmp_path / "strings.mid").tracks
    programs = [[m.program for m in track if m.type == "program_change"] for track in tracks]
    assert programs == [[40], [41], [42], [43], [0]]
    assert [track.name for track in tracks] == ["Violin", "Viola", "Cello", "Contrabass", "kit"]
    assert {m.channel for m in tracks[4] if m.type == "note_on"} == {9}
    for old, new in zip(quartet.tracks, made.tracks, strict=True):
        assert rows(old) == rows(new)
        assert old.controls == new.controls
    assert made.tempos == quartet.tempos


def test_a_track_moves_by_octaves_into_the_range(quartet):
    made, moved = reorchestrated(quartet, [3], [73])  # the bass on a flute: from 60 up
    assert [note.pitch for note in made.tracks[3].notes] == [72, 67, 60]
    assert moved == 3
    low, high = playable_range(73)
    wide = Score(480)
    wide.tracks.append(Track("", 0))
    wide.tracks[0].notes.extend([Note(0, 1, pitch, 80) for pitch in (30, 62, 70, 90, 107)])
    made, moved = reorchestrated(wide, [0], [73])
    pitches = [note.pitch for note in made.tracks[0].notes]
    assert all(low <= pitch <= high for pitch in pitches)
    assert [pitch % 12 for pitch in pitches] == [6, 2, 10, 6, 11]
    assert pitches[1:4] == [62, 70, 90]  # what can be played is left
    assert moved == 2


def test_revoiced_the_top_is_on_the_highest_and_the_bass_on_the_lowest(quartet):
    made, _ = revoiced(quartet, [0, 1, 2, 3], [73, 60, 42])  # flute, horn, cello
    assert [(track.name, track.program) for track in made.tracks] == [
        *(("Flute", 73), ("French Horn", 60), ("Cello", 42), ("kit", 0)),
    ]
    flute, horn, cello, kit = made.tracks
    assert [note.pitch for note in flute.notes] == [72, 74, 76, 77]  # the last one over held voices
    assert [note.pitch for note in cello.notes] == [48, 43, 36]
    assert sorted(note.pitch for note in horn.notes) == [60, 64, 65, 67, 67, 67]
    before = sorted((n.time, n.duration, n.pitch, n.velocity) for t in quartet.tracks[:4] for n in t.notes)
    assert sorted(row for track in (flute, horn, cello) for row in rows(track)) == before
    assert rows(kit) == rows(quartet.tracks[4])


def test_tracks_are_named_by_number_or_name(quartet):
    assert chosen_tracks(quartet, None) == [0, 1, 2, 3]
    assert chosen_tracks(quartet, [4, "soprano"]) == [3, 0]
    assert describe_tracks(quartet).startswith("1 Soprano (Choir Aahs, 72-77), 2 Alto")


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda score: chosen_tracks(score, ["Flute"]), ["'Flute'", "1 Soprano", "4 Bass"]),
        (lambda score: chosen_tracks(score, [5]), ["5", "4 Bass"]),
        (lambda score: chosen_tracks(score, [0]), ["there is no 0"]),
        (lambda score: reorchestrated(score, [0, 1, 2, 3], [40, 41]), ["2 for 4 tracks", "1 Soprano", "revoice=true"]),
        (lambda score: reorchestrated(score, [0], [-1]), ["drums", "instruments with pitches"]),
        (lambda score: revoiced(score, [0], [-1, 40]), ["drums"]),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(quartet, call, parts):
    with pytest.raises(UserError) as caught:
        call(quartet)
    assert all(part in str(caught.value) for part in parts), caught.value
    assert "\n" not in str(caught.value)


def test_every_range_lies_within_midi():
    for program in range(128):
        low, high = playable_range(program)
        assert 0 <= low < low + 12 <= high <= 127
