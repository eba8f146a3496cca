"""Bass, drums, harmonised degrees and bands, with a model that knows nothing."""

from dataclasses import replace

import mido
import pytest
from symusic import Score

from generation.conftest import PROFILES
from midifactory.errors import UserError
from midifactory.generation.guide import Length
from midifactory.generation.pieces import compose, opening_of_style
from midifactory.generation.rhythm_section import Bass, Drums
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Chords, Free, Harmonise, Melody
from midifactory.generation.wishes import parse_wishes
from midifactory.music.score import bar_starts, note_arrays, save_score


def composed(untrained, style, bars=3, samples=2, programs=None, corpus="piano", seed=0, **wishes) -> list[Score]:
    asked = parse_wishes(PROFILES[corpus], *(wishes.get(name) for name in ("key", "tempo_bpm", "metre", "chords")))
    asked = replace(asked, programs=programs)
    opening = opening_of_style(style, asked, untrained.tokenizer)
    pieces = compose(untrained, opening, asked, Length(bars=bars), Sampling(), samples, seed)
    return [piece.score for piece in pieces]


def at(score: Score, bar: int, beat: int = 0) -> list[tuple[int, int]]:
    """(program, pitch) of the notes that begin on a beat, sorted."""
    notes, tick = note_arrays(score), int(bar_starts(score)[bar]) + beat * score.ticks_per_quarter
    here = notes["onset"] == tick
    return sorted(zip(notes["program"][here].tolist(), notes["pitch"][here].tolist(), strict=True))


@pytest.mark.parametrize(
    ("key", "chords", "roots"),
    [
        (None, None, [0, 7, 9, 5]),
        ("D", None, [2, 9, 11, 7]),
        ("A minor", None, [9, 7, 5, 4]),
        ("D", "I V6 bVII", [2, 1, 0, 2]),
        (None, "F#m Bb", [6, 10, 6, 10]),
    ],
)
def test_a_bass_line_is_one_voice_on_the_bass_notes_of_its_chords(untrained, key, chords, roots):
    for score in composed(untrained, Bass(), bars=4, key=key, chords=chords):
        notes = note_arrays(score)
        assert len(set(notes["program"].tolist())) == 1
        assert [at(score, bar)[0][1] % 12 for bar in range(4)] == roots
        ends = notes["onset"] + notes["duration"]
        assert (notes["onset"][1:] >= ends[:-1]).all()
        starts = bar_starts(score)
        assert not any((notes["onset"] < line).any() and (ends[notes["onset"] < line] > line).any() for line in starts)


def test_a_bass_line_is_on_a_bass_where_one_is_asked(untrained):
    (score,) = composed(untrained, Bass(), samples=1, programs=(33,))
    assert set(note_arrays(score)["program"].tolist()) == {33}
    (score,) = composed(untrained, Bass(), samples=1, corpus="four_voices")
    assert set(note_arrays(score)["program"].tolist()) == {70}  # the lowest of the corpus


@pytest.mark.parametrize(("metre", "strong"), [("4/4", [0, 2]), ("3/4", [0])])
def test_drums_are_on_channel_ten_alone(untrained, tmp_path, metre, strong):
    (score,) = composed(untrained, Drums(), samples=1, metre=metre)
    assert set(note_arrays(score)["program"].tolist()) == {-1}
    beats = int(metre[0])
    assert [beat for beat in range(beats) if (-1, 36) in at(score, 0, beat)] == strong
    assert [beat for beat in range(beats) if (-1, 38) in at(score, 0, beat)] == [
        b for b in range(beats) if b not in strong
    ]
    save_score(score, tmp_path / "drums.mid")
    messages = [m for track in mido.MidiFile(tmp_path / "drums.mid").tracks for m in track if m.type == "note_on"]
    assert {message.channel for message in messages} == {9}


@pytest.mark.parametrize("corpus", list(PROFILES))
@pytest.mark.parametrize(
    ("key", "chords", "melody", "classes"),
    [
        ("D", None, [2, 4, 6, 7, 9], [{2, 6, 9}, {9, 1, 4}, {2, 6, 9}, {7, 11, 2}, {2, 6, 9}]),
        ("A minor", None, [9, 11, 0, 2, 4], [{9, 0, 4}, {4, 8, 11}, {9, 0, 4}, {2, 5, 9}, {9, 0, 4}]),
        (None, "C G F", [0, 2, 4, 5, 7], [{0, 4, 7}, {7, 11, 2}, {5, 9, 0}, {0, 4, 7}, {7, 11, 2}]),
    ],
)
def test_every_degree_has_its_chord_below(untrained, corpus, key, chords, melody, classes):
    (score,) = composed(untrained, Harmonise(degrees=(1, 2, 3, 4, 5)), 2, 1, corpus=corpus, key=key, chords=chords)
    for beat in range(4):
        struck = at(score, 0, beat)
        assert {pitch % 12 for _, pitch in struck} == classes[beat] | {melody[beat]}
        assert max(pitch for _, pitch in struck) % 12 == melody[beat]
    notes, line = note_arrays(score), bar_starts(score)[1]
    sounding = notes["pitch"][(notes["onset"] <= line) & (notes["onset"] + notes["duration"] > line)]
    assert {int(pitch) % 12 for pitch in sounding} >= classes[4] | {melody[4]}  # and the model may add to it


@pytest.mark.parametrize("bars", [1, 4])
@pytest.mark.parametrize("programs", [(0, 33, -1), (73, 40, 60, 32, -1)])
def test_every_instrument_that_is_asked_plays_on_a_track_of_its_own(untrained, tmp_path, programs, bars):
    for number, score in enumerate(composed(untrained, Free(), bars, 3, programs, seed=bars)):
        save_score(score, tmp_path / f"{number}.mid")
        found = {}
        for track in mido.MidiFile(tmp_path / f"{number}.mid").tracks:
            notes = [message for message in track if message.type == "note_on" and message.velocity]
            if notes:
                (change,) = [message for message in track if message.type == "program_change"]
                (channel,) = {message.channel for message in notes}
                assert (channel == 9) == (track.name == "Drums")
                found[-1 if channel == 9 else change.program] = track.name
        assert set(found) == set(programs)
        assert all(found.values())
        assert found.get(33, "Electric Bass (finger)") == "Electric Bass (finger)"


def test_a_style_plays_on_the_instruments_that_are_asked(untrained):
    (score,) = composed(untrained, Chords(), 2, 1, (0, 33, -1), chords="C")
    assert [program for program, _ in at(score, 0)] == [0, 0, 0, 33]
    assert min(at(score, 0), key=lambda row: row[1]) == at(score, 0)[-1]
    (score,) = composed(untrained, Melody(), 2, 1, (40,))
    assert set(note_arrays(score)["program"].tolist()) == {40}
    with pytest.raises(UserError, match="style=drums"):
        composed(untrained, Chords(), 2, 1, (-1,))
    with pytest.raises(UserError, match=r"style.degrees=\[9\]"):
        composed(untrained, Harmonise(degrees=[9]))
