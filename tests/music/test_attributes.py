"""Attributes of hand-made scores whose values can be counted, and the statistics that measure the same."""

import pytest
from symusic import Score

from midifactory.music.attributes import NAMES, TRANSPOSED, UNITS, attributes_of, key_name, programs_text, transposed
from midifactory.music.statistics import MAJOR_KEYS, MINOR_KEYS, piece_statistics

DRUMS = -1


def test_every_value_of_a_score_that_can_be_counted(score_from):
    """Silence of two bars, then a bar and a half of quarter notes with a held bass and two drum strokes."""
    tune = [(6 + beat, 1, pitch, 80) for beat, pitch in enumerate((60, 62, 64, 65, 67))]
    score = score_from(
        [(0, tune), (33, [(6, 5, 36, 80)]), (DRUMS, [(6, 0.25, 38, 90), (8, 0.25, 38, 90)])],
        tempos=((0, 90), (6, 120), (9, 60)),
        metres=((0, 3, 4),),
    )
    values = attributes_of(score)
    assert tuple(values) == NAMES
    assert values["density"] == 8 / 5
    assert values["polyphony"] == pytest.approx((5 + 5 + 0.5) / 5)
    assert values["mean_pitch"] == pytest.approx((60 + 62 + 64 + 65 + 67 + 36) / 6), "without drums"
    assert values["note_length"] == pytest.approx(10 / 6), "without drums"
    assert values["tempo_bpm"] == pytest.approx(120)
    assert values["seconds"] == pytest.approx(3 * 0.5 + 2 * 1.0)
    assert values["bars"] == 2, "from the bar of the first onset to that of the last"
    assert (values["metre"], values["key"], values["programs"]) == ("3/4", "C major", "[-1,0,33]")


def test_drums_alone_have_no_pitch_no_length_and_no_key(score_from):
    values = attributes_of(score_from([(DRUMS, [(beat, 0.25, 36, 80) for beat in range(8)])]))
    assert [name for name, value in values.items() if value is None] == ["mean_pitch", "note_length", "key"]
    assert values["programs"] == "[-1]"


def test_a_score_without_notes_has_none():
    assert attributes_of(Score(480)) == dict.fromkeys(NAMES)


def test_what_statistics_measure_too_is_the_same(hand_score):
    """Of scores without silence at their start."""
    values, statistics = attributes_of(hand_score), piece_statistics(hand_score)
    if min(note.time for track in hand_score.tracks for note in track.notes):
        return
    drums = any(track.is_drum for track in hand_score.tracks)
    pairs = {"density": "notes_per_beat", "polyphony": "polyphony_mean", "seconds": "duration_seconds"}
    pairs |= {"mean_pitch": "pitch_mean", "tempo_bpm": "tempo_bpm"}
    if not drums:
        pairs |= {"note_length": "duration_mean_beats"}
    for name, statistic in pairs.items():
        assert values[name] == pytest.approx(statistics[statistic]), name


@pytest.mark.parametrize("semitones", [-12, -5, -1, 1, 6, 11])
def test_a_transposed_score_has_the_transposed_attributes(score_from, semitones):
    scale = [(index / 2, 0.5, 60 + step, 80) for index, step in enumerate((0, 2, 3, 5, 7, 8, 11, 12, 7, 3, 0))]
    higher = [(onset, length, pitch + semitones, velocity) for onset, length, pitch, velocity in scale]
    before, after = attributes_of(score_from([(0, scale)])), attributes_of(score_from([(0, higher)]))
    moved = transposed(before, semitones)
    assert set(moved) == set(TRANSPOSED)
    assert moved["key"] == after["key"]
    assert moved["mean_pitch"] == pytest.approx(after["mean_pitch"])
    assert {name: value for name, value in before.items() if name not in TRANSPOSED} == {
        name: value for name, value in after.items() if name not in TRANSPOSED
    }


def test_what_has_no_pitch_cannot_be_transposed():
    assert transposed({"mean_pitch": None, "key": None}, 3) == {}
    assert transposed({}, 3) == {}


def test_every_key_has_one_name():
    for mode, names in (("major", MAJOR_KEYS), ("minor", MINOR_KEYS)):
        for name in names:
            assert key_name(f"{name} {mode}") == f"{name} {mode}"
    assert [key_name(text) for text in ("c# major", "Gb", "dbm", "A# minor", "Am")] == [
        *("Db major", "F# major", "C# minor", "Bb minor", "A minor")
    ]
    assert key_name("H moll") is None


def test_sets_of_programs_have_one_text():
    assert programs_text([33, -1, 0, 0]) == programs_text({0, -1, 33}) == "[-1,0,33]"
    assert set(UNITS) < set(NAMES)
