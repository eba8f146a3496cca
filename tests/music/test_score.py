"""Ticks, bars and seconds; pretty_midi is the independent oracle of time."""

import io
import os
import pickle
import struct

import numpy as np
import pretty_midi
import pytest
from symusic import ControlChange, Note, Score, Tempo, TimeSignature, Track

from midifactory.music import score as scores


def make_score(notes, ticks_per_quarter=480, **events):
    """A one-track score of (onset, duration, pitch) in ticks."""
    score = Score(ticks_per_quarter)
    track = Track("piano", 0, False)
    for onset, duration, pitch in notes:
        track.notes.append(Note(onset, duration, pitch, 64))
    score.tracks.append(track)
    for name, items in events.items():
        getattr(score, name).extend(items)
    return score


def test_bar_starts_through_changing_metre():
    # Two bars of 3/4, two of 6/8, then 4/4: all bars of 1440 ticks but the last.
    signatures = [TimeSignature(0, 3, 4), TimeSignature(2880, 6, 8), TimeSignature(5760, 4, 4)]
    score = make_score([(0, 480, 60), (7680, 1, 60)], time_signatures=signatures)
    assert scores.bar_starts(score).tolist() == [0, 1440, 2880, 4320, 5760, 7680]
    assert scores.bar_count(score) == 6


def test_a_metre_change_inside_a_bar_starts_a_bar():
    score = make_score([(0, 6000, 60)], time_signatures=[TimeSignature(1000, 2, 4)])
    assert scores.bar_starts(score).tolist() == [0, 1000, 1960, 2920, 3880, 4840, 5800]


def test_bars_and_seconds_end_with_the_last_note():
    score = make_score([(0, 1920, 60)], tempos=[Tempo(0, 60), Tempo(19200, 90)])
    score.tracks[0].controls.append(ControlChange(9600, 64, 0))
    assert scores.bar_count(score) == 1
    assert scores.duration_seconds(score) == pytest.approx(4.0)


def test_seconds_agree_with_pretty_midi_through_tempo_changes():
    tempos = [Tempo(0, 100), Tempo(700, 33.5), Tempo(1500, 240), Tempo(9000, 61)]
    score = make_score([(0, 12_000, 60)], tempos=tempos)
    oracle = pretty_midi.PrettyMIDI(io.BytesIO(score.dumps_midi()))
    ticks = np.array([0, 1, 699, 700, 701, 1500, 5000, 9000, 11_999])
    # MIDI stores whole microseconds a quarter, hence the tolerance.
    assert scores.seconds_at(score, ticks) == pytest.approx(
        [oracle.tick_to_time(int(tick)) for tick in ticks], rel=1e-5
    )
    assert scores.duration_seconds(score) == pytest.approx(oracle.get_end_time(), rel=1e-5)


def test_seconds_before_the_first_tempo_run_at_120():
    score = make_score([(0, 960, 60)], tempos=[Tempo(480, 60)])
    assert scores.seconds_at(score, np.array([480, 960])).tolist() == [0.5, 1.5]


def test_cut_shortens_and_drops_without_touching_the_original():
    score = make_score([(0, 1000, 60), (400, 200, 62), (500, 10, 64)], tempos=[Tempo(0, 100), Tempo(500, 50)])
    before = score.copy()
    part = scores.cut(score, 500)
    assert [(note.time, note.duration) for note in part.tracks[0].notes] == [(0, 500), (400, 100)]
    assert len(part.tempos) == 1
    assert score == before


def test_first_bars_keeps_whole_bars():
    score = make_score([(beat * 480, 480, 60) for beat in range(12)], time_signatures=[TimeSignature(0, 3, 4)])
    part = scores.first_bars(score, 2)
    assert scores.bar_count(part) == 2
    assert part.note_num() == 6
    assert scores.first_bars(score, 99) == score


@pytest.mark.parametrize("count", range(8))
def test_first_notes_are_the_first_of_the_sorted_arrays(count):
    score = make_score([(0, 10, 64), (0, 10, 60), (0, 10, 60), (480, 900, 62), (960, 10, 65)])
    second = Track("bass", 32, False)
    second.notes.extend([Note(0, 5, 40, 64), Note(480, 5, 41, 64)])
    score.tracks.append(second)
    whole, part = scores.note_arrays(score), scores.note_arrays(scores.first_notes(score, count))
    for key in whole:
        assert part[key].tolist() == whole[key][:count].tolist()
    assert score.note_num() == 7


def test_save_and_load_keep_the_notes(tmp_path):
    score = make_score([(0, 480, 60), (480, 240, 67)])
    scores.save_score(score, tmp_path / "deep" / "a.mid")
    loaded = scores.note_arrays(scores.load_score(tmp_path / "deep" / "a.mid"))
    assert {key: values.tolist() for key, values in loaded.items()} == {
        key: values.tolist() for key, values in scores.note_arrays(score).items()
    }


def huge_delta_time() -> bytes:
    """One note that lasts 2^28 - 1 ticks of 1/96 quarter: two and a half weeks."""
    events = b"\x00\x90\x3c\x40" + b"\xff\xff\xff\x7f\x80\x3c\x00" + b"\x00\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96) + b"MTrk" + struct.pack(">I", len(events)) + events


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a valid MIDI file"),
        (b"these are words, not music\n" * 20, "not a valid MIDI file"),
        (b"MThd\x00\x00\x00\x06\x00", "truncated: the header"),
        (make_score([]).dumps_midi(), "no notes"),
        (
            make_score([(0, 480, 60)]).dumps_midi()[:12] + b"\x00\x00" + make_score([(0, 480, 60)]).dumps_midi()[14:],
            "0 ticks",
        ),
        (huge_delta_time(), "hours long, more than 2"),
    ],
    ids=["zero bytes", "text", "truncated header", "no notes", "zero ticks a quarter", "huge delta time"],
)
def test_unusable_files_are_refused_with_their_reason(tmp_path, data, reason):
    path = tmp_path / "bad.mid"
    path.write_bytes(data)
    with pytest.raises(scores.UnreadableMidi, match=reason):
        scores.load_score(path)


def test_a_missing_file_and_a_named_pipe_are_refused(tmp_path):
    with pytest.raises(scores.UnreadableMidi, match="cannot be opened"):
        scores.load_score(tmp_path / "missing.mid")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.mid")
        with pytest.raises(scores.UnreadableMidi, match="not a regular file"):
            scores.load_score(tmp_path / "pipe.mid")


def test_a_refusal_keeps_its_kind_between_processes():
    error = pickle.loads(pickle.dumps(scores.UnreadableMidi("3 notes, more than 2", "too_many_notes")))
    assert (str(error), error.kind) == ("3 notes, more than 2", "too_many_notes")


def test_limits_hold_for_a_file_that_is_loaded(tmp_path):
    scores.save_score(make_score([(0, 480, 60), (480, 240, 67)]), tmp_path / "a.mid")
    with pytest.raises(scores.UnreadableMidi, match="2 notes, more than 1") as error:
        scores.load_score(tmp_path / "a.mid", scores.Limits(max_notes=1))
    assert error.value.kind == "too_many_notes"
