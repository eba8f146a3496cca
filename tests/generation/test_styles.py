"""Every style with a model that knows nothing: what the score must hold, it holds whatever the model proposes."""

import numpy as np
import pytest
from symusic import Score

from midifactory.errors import UserError
from midifactory.generation.guide import Length
from midifactory.generation.pieces import compose, opening_of_style
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Arpeggio, Chords, Free, Melody, chord_voices
from midifactory.generation.wishes import parse_wishes
from midifactory.music.score import Limits, bar_count, bar_starts, duration_seconds, load_score, note_arrays, save_score

# Written out by hand: pitch classes from the root up.
CHORDS = {
    "C": {0, 4, 7},
    "F#m": {6, 9, 1},
    "Bb7": {10, 2, 5, 8},
    "Gmaj7": {7, 11, 2, 6},
    "Bdim": {11, 2, 5},
    "D/F#": {2, 6, 9},
}
STYLES = {"free": Free, "chords": Chords, "melody": Melody, "arpeggio": Arpeggio}


@pytest.fixture
def composed(untrained, tmp_path):
    """A function that composes with the untrained model and returns the Scores as read back from their files."""

    def make(style, profile, length=None, temperature=1.0, samples=2, seed=0, strength=3.0, **wishes) -> list[Score]:
        asked = parse_wishes(profile, *(wishes.get(name) for name in ("key", "tempo_bpm", "metre", "chords")))
        opening = opening_of_style(style, asked, untrained.tokenizer)
        length = length or Length(bars=4)
        pieces = compose(untrained, opening, asked, length, Sampling(temperature), samples, seed, strength)
        scores = []
        for number, piece in enumerate(pieces):
            save_score(piece.score, tmp_path / f"{number}.mid")
            # An untrained model may play all 128 programs and the drums: one more than a corpus' file may.
            scores.append(load_score(tmp_path / f"{number}.mid", Limits(max_tracks=129)))
        return scores

    return make


def struck(score: Score, bar: int) -> set[int]:
    """Pitch classes of the notes that begin on the downbeat of a bar, counted from 0, or sound on over it."""
    notes, start = note_arrays(score), bar_starts(score)[bar]
    heard = (notes["onset"] <= start) & (notes["onset"] + notes["duration"] > start)
    return {int(pitch) % 12 for pitch in notes["pitch"][heard]}


def sounding(score: Score, bar: int) -> set[int]:
    """Pitch classes of the notes that sound at any time in a bar."""
    notes, starts = note_arrays(score), [*bar_starts(score), np.inf]
    heard = (notes["onset"] < starts[bar + 1]) & (notes["onset"] + notes["duration"] > starts[bar])
    return {int(pitch) % 12 for pitch in notes["pitch"][heard]}


@pytest.mark.parametrize("metre", ["3/4", "4/4"])
@pytest.mark.parametrize("names", [("C", "F#m", "Bb7"), ("Gmaj7", "D/F#", "Bdim")])
def test_every_bar_begins_with_its_chord_and_the_first_holds_nothing_else(composed, profile, metre, names):
    for score in composed(Chords(), profile, Length(bars=5), metre=metre, chords=" ".join(names)):
        assert sounding(score, 0) == CHORDS[names[0]]
        for bar in range(5):
            assert struck(score, bar) >= CHORDS[names[bar % 3]], bar
        notes = note_arrays(score)
        assert min(notes["pitch"][notes["onset"] == 0]) % 12 == {"C": 0, "Gmaj7": 7}[names[0]]


def test_chords_are_spread_over_the_voices_of_a_corpus(composed, profile):
    (score,) = composed(Chords(), profile, Length(bars=2), samples=1, chords="Am F")
    notes, start = note_arrays(score), bar_starts(score)[0]
    programs = notes["program"][notes["onset"] == start]
    expected = [program for program, _ in chord_voices(profile)]
    assert sorted(programs) == sorted(expected)
    assert set(programs) == {row["program"] for row in profile["programs"]}


@pytest.mark.parametrize("metre", ["3/4", "4/4"])
def test_a_melody_is_one_voice_that_never_stops_for_a_bar(composed, profile, metre):
    for score in composed(Melody(), profile, Length(bars=8), temperature=2, samples=4, metre=metre, key="D minor"):
        notes = note_arrays(score)
        assert len(set(notes["program"])) == 1
        assert set(notes["program"]) == {max(profile["programs"], key=lambda row: row["middle"])["program"]}
        assert (notes["onset"][1:] >= (notes["onset"] + notes["duration"])[:-1]).all()
        assert bar_count(score) == 8
        assert all(sounding(score, bar) for bar in range(8))
        degrees = [2, 4, 5, 9][: int(metre[0])]  # D E F A
        assert [int(pitch) % 12 for pitch in notes["pitch"][: len(degrees)]] == degrees


def test_a_melody_takes_the_program_and_the_degrees_asked(composed, piano):
    (score,) = composed(Melody(program=40, degrees=[5, 3]), piano, samples=1, key="G")
    notes = note_arrays(score)
    assert set(notes["program"]) == {40}
    assert [int(pitch) % 12 for pitch in notes["pitch"][:4]] == [2, 11, 2, 11]


@pytest.mark.parametrize(("key", "triad"), [("Eb", [3, 7, 10]), ("F# minor", [6, 9, 1]), (None, [0, 4, 7])])
@pytest.mark.parametrize(("metre", "eighths"), [("3/4", 6), ("4/4", 8), ("6/8", 6)])
def test_an_arpeggio_begins_with_the_broken_tonic_triad(composed, profile, key, triad, metre, eighths):
    (score,) = composed(Arpeggio(), profile, Length(bars=2), samples=1, key=key, metre=metre)
    notes, starts = note_arrays(score), bar_starts(score)
    first = notes["pitch"][notes["onset"] < starts[1]]
    assert len(first) == eighths
    assert [int(pitch) % 12 for pitch in first[:4]] == [*triad, triad[0]]
    assert (np.diff(first[:4]) > 0).all()
    assert sounding(score, 0) == set(triad)
    assert len(set(notes["program"])) == 1


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("tempo_bpm", "metre"), [(97.3, "3/4"), (240, "6/8"), (41, "5/4")])
def test_tempo_and_metre_are_those_asked(composed, piano, style, tempo_bpm, metre):
    for score in composed(STYLES[style](), piano, Length(bars=3), tempo_bpm=tempo_bpm, metre=metre):
        # A MIDI file holds whole microseconds per quarter note.
        assert [round(60e6 / tempo.qpm) for tempo in score.tempos] == [round(60e6 / tempo_bpm)]
        signatures = [f"{signature.numerator}/{signature.denominator}" for signature in score.time_signatures]
        assert signatures == [metre]
        assert score.time_signatures[0].time == score.tempos[0].time == 0


def test_a_key_holds_back_the_pitches_outside_it(composed, piano):
    def foreign_share(**wishes) -> float:
        pieces = composed(Free(), piano, Length(tokens=300), samples=4, metre="4/4", **wishes)
        notes = [note_arrays(score) for score in pieces]
        pitches = np.concatenate([part["pitch"][part["program"] >= 0] for part in notes])
        assert len(pitches) > 60
        return float(np.isin(pitches % 12, (1, 3, 6, 8, 10)).mean())

    free, held, forbidden = foreign_share(), foreign_share(key="C"), foreign_share(key="C", strength=50.0)
    assert free > 0.3  # 5 of 12 for a model without preferences
    assert held < free / 3
    assert forbidden == 0


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_eight_bars_asked_are_eight_bars(composed, profile, style, temperature):
    scores = composed(STYLES[style](), profile, Length(bars=8), temperature, samples=3, seed=3)
    assert [bar_count(score) for score in scores] == [8] * 3


@pytest.mark.parametrize("style", STYLES)
def test_seconds_are_not_exceeded(composed, piano, style):
    scores = composed(STYLES[style](), piano, Length(seconds=11.5), samples=3, tempo_bpm=130)
    seconds = [duration_seconds(score) for score in scores]
    assert max(seconds) <= 11.5 + 1e-3
    assert max(seconds) > 6  # and the time is used


def test_a_length_in_tokens_counts_what_the_model_adds(untrained, piano):
    wishes = parse_wishes(piano, None, None, None, None)
    for style in (Free(), Chords(), Melody()):
        opening = opening_of_style(style, wishes, untrained.tokenizer)
        for piece in compose(untrained, opening, wishes, Length(tokens=50), Sampling(), 2):
            forced = len(opening.prompt) + len(opening.closing)
            assert list(piece.ids[:forced]) == [*opening.prompt, *opening.closing]
            added = len(piece.ids) - forced
            # Chords on later downbeats are forced too; without them exactly what was asked.
            assert added >= 50 if isinstance(style, Chords) else added == 50


@pytest.mark.parametrize(
    ("style", "wishes", "parts"),
    [
        (Chords(), {"chords": "C G H7x"}, ["'H7x'", "A-G"]),
        (Chords(), {"chords": "C Gmaj8"}, ["'Gmaj8'", "'maj8'", "nearest: Gmaj"]),
        (Chords("Cmin8"), {}, ["'Cmin8'", "nearest: Cmin"]),
        (Chords(), {"chords": " , "}, ["chords is empty"]),
        (Free(), {"key": "H minor"}, ["key='H minor'", "such as C"]),
        (Free(), {"metre": "4/5"}, ["metre=4/5", "nearest: 4/4", "3/4"]),
        (Melody(), {"metre": "waltz"}, ["metre=waltz", "metre=3/4"]),
        (Free(), {"tempo_bpm": 5}, ["tempo_bpm=5", "20 and 400"]),
        (Melody(), {"chords": "C G"}, ["chords='C G'", "style=melody", "style=chords"]),
        (Melody(degrees=[1, 8]), {}, ["degrees=[1, 8]", "1 to 7"]),
        (Arpeggio(program=200), {}, ["program=200", "127"]),
        (Melody(program=-2), {}, ["program=-2", "127"]),
    ],
)
def test_wishes_that_cannot_be_met_are_named_with_the_way_out(composed, piano, style, wishes, parts):
    with pytest.raises(UserError) as caught:
        composed(style, piano, **wishes)
    assert all(part in str(caught.value) for part in parts), caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("length", "part"),
    [({}, "nothing"), ({"bars": 4, "tokens": 9}, "bars"), ({"bars": 0}, "bars=0"), ({"seconds": -1}, "seconds=-1")],
)
def test_a_length_is_one_positive_number(length, part):
    with pytest.raises(UserError, match=part):
        Length(**length)
