"""Bars taken out and put in, against scores written by hand, event by event."""

import mido
import numpy as np
import pytest
from symusic import ControlChange, KeySignature, Note, Score, Tempo, TextMeta, TimeSignature, Track

from midifactory.errors import UserError
from midifactory.music.joining import bar_lines, joined, line_of_bar, notes_after, span
from midifactory.music.score import note_arrays, save_score

BAR = 96 * 3


@pytest.fixture
def waltz() -> Score:
    """Four bars of 3/4 at 96 ticks: two hands of one program, a bass, and drums; faster from bar 3 on."""
    score = Score(96)
    score.tempos.extend([Tempo(0, 90), Tempo(2 * BAR, 120)])
    score.time_signatures.append(TimeSignature(0, 3, 4))
    score.key_signatures.append(KeySignature(0, 2, 0))
    score.markers.extend([TextMeta(0, "A"), TextMeta(2 * BAR, "B")])
    right, left, bass, drums = Track("right", 0), Track("left", 0), Track("bass", 32), Track("kit", 0, True)
    for bar in range(4):
        for beat in range(3):
            right.notes.append(Note(bar * BAR + beat * 96, 90, 72 + beat, 80 + bar))
            drums.notes.append(Note(bar * BAR + beat * 96, 40, 36 if beat == 0 else 42, 100))
        left.notes.append(Note(bar * BAR, BAR, 50, 60))
        bass.notes.append(Note(bar * BAR + 48, BAR, 33, 70))  # over every bar line
    right.controls.extend([ControlChange(bar * BAR, 64, 127) for bar in range(4)])
    score.tracks.extend([right, left, bass, drums])
    return score


def events(path) -> list[list[tuple]]:
    """The messages of each track with their absolute ticks, as mido reads them."""
    found = []
    for track in mido.MidiFile(path).tracks:
        now, rows = 0, []
        for message in track:
            now += message.time
            if message.type != "end_of_track":
                rows.append((now, *(str(part) for part in message.copy(time=0).dict().values())))
        found.append(rows)
    return found


def test_lines_are_those_of_the_bars_and_the_end_of_the_last(waltz):
    assert bar_lines(waltz).tolist() == [0, BAR, 2 * BAR, 3 * BAR, 4 * BAR, 5 * BAR]  # the last bass note rings on
    assert bar_lines(Score(480)).tolist() == [0, 1920]
    assert line_of_bar(waltz, None, "from_bar", "waltz.mid") == 5 * BAR
    assert line_of_bar(waltz, 3, "from_bar", "waltz.mid") == 2 * BAR
    assert line_of_bar(waltz, 6, "from_bar", "waltz.mid", past_the_end=True) == 5 * BAR
    with pytest.raises(UserError, match=r"^from_bar=6: waltz.mid has 5 bars; give 1 to 5$"):
        line_of_bar(waltz, 6, "from_bar", "waltz.mid")


def test_a_span_has_the_tempo_the_metre_and_the_notes_of_its_bars(waltz):
    part = span(waltz, 2 * BAR, 3 * BAR)
    assert [(tempo.time, round(tempo.qpm)) for tempo in part.tempos] == [(0, 120)]
    assert [(item.time, item.numerator) for item in part.time_signatures] == [(0, 3)]
    assert [(item.time, item.text) for item in part.markers] == [(0, "B")]
    assert [(note.time, note.duration, note.pitch) for note in part.tracks[0].notes] == [
        *((0, 90, 72), (96, 90, 73), (192, 90, 74)),
    ]
    assert [(note.time, note.duration) for note in part.tracks[2].notes] == [(48, BAR - 48)]  # cut at the end
    assert [control.time for control in part.tracks[0].controls] == [0]
    assert note_arrays(span(waltz, 0, 5 * BAR))["onset"].tolist() == note_arrays(waltz)["onset"].tolist()


def test_notes_move_to_other_ticks():
    score = Score(480)
    score.tracks.append(Track("", 5))
    score.tracks[0].notes.extend([Note(0, 480, 60, 80), Note(960, 240, 61, 80), Note(1200, 1, 62, 80)])
    notes = notes_after(score, 960, 96, 1000)
    assert list(zip(notes["onset"], notes["duration"], notes["pitch"], notes["program"], strict=True)) == [
        (1000, 48, 61, 5),
        (1048, 1, 62, 5),  # no note becomes nothing
    ]


def new_notes(*rows: tuple[int, int, int, int]) -> dict[str, np.ndarray]:
    """program, onset, duration, pitch of each."""
    columns = np.array(rows, dtype=np.int64).T
    notes = dict(zip(("program", "onset", "duration", "pitch"), columns, strict=True))
    return {**notes, "velocity": np.full(len(rows), 99)}


def test_what_stands_before_is_the_same_in_the_written_file(waltz, tmp_path):
    made = joined(waltz, new_notes((0, 3 * BAR, 48, 76), (0, 3 * BAR, 96, 48), (40, 3 * BAR, 96, 60)), 3 * BAR)
    save_score(waltz, tmp_path / "before.mid")
    save_score(made, tmp_path / "after.mid")
    before, after = events(tmp_path / "before.mid"), events(tmp_path / "after.mid")
    line = 3 * BAR
    for old, new in zip(before, after, strict=False):
        # What sounded over the line ends at it; all else before it is there, and no more.
        assert [row for row in new if row[0] < line] == [row for row in old if row[0] < line]
    assert sorted(made.tracks[2].notes[-1].end for _ in (0,)) == [line]
    assert len(after) == len(before) + 1
    assert [note.pitch for note in made.tracks[0].notes if note.time >= line] == [76]  # the right hand's
    assert [note.pitch for note in made.tracks[1].notes if note.time >= line] == [48]  # the left hand's
    assert (made.tracks[4].name, made.tracks[4].program) == ("Violin", 40)
    assert [control.time for control in made.tracks[0].controls] == [0, BAR, 2 * BAR]


def test_a_span_in_the_middle_is_replaced_and_nothing_else(waltz):
    made = joined(waltz, new_notes((-1, BAR, 40, 38), (32, BAR, 48, 40)), BAR, 2 * BAR)
    for old, new in zip(waltz.tracks, made.tracks, strict=True):
        assert [note for note in new.notes if note.time >= 2 * BAR] == [n for n in old.notes if n.time >= 2 * BAR]
        assert new.controls == old.controls
    assert made.tempos == waltz.tempos
    assert made.markers == waltz.markers
    assert [note.pitch for note in made.tracks[3].notes if BAR <= note.time < 2 * BAR] == [38]
    assert [note.pitch for note in made.tracks[2].notes if BAR <= note.time < 2 * BAR] == [40]
    assert not [note for note in made.tracks[0].notes if BAR <= note.time < 2 * BAR]
    assert made.tracks[2].notes[0].end == BAR  # rang into the span
