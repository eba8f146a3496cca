"""Chord symbols and keys against pitch classes written out by hand."""

import pytest

from midifactory.errors import UserError
from midifactory.music.theory import parse_chord, parse_chords, parse_key, pitch_class, voice


@pytest.mark.parametrize(
    ("name", "expected"),
    [("C", 0), ("B#", 0), ("Cb", 11), ("F#", 6), ("Gb", 6), ("e", 4), ("A##", 11), ("Bbb", 9), ("E♭", 3), ("C♯", 1)],
)
def test_pitch_classes(name, expected):
    assert pitch_class(name) == expected


@pytest.mark.parametrize(
    ("symbol", "classes", "bass"),
    [
        ("C", {0, 4, 7}, 0),
        ("Am", {9, 0, 4}, 9),
        ("F#m", {6, 9, 1}, 6),
        ("Bb7", {10, 2, 5, 8}, 10),
        ("D/F#", {2, 6, 9}, 6),
        ("Bdim", {11, 2, 5}, 11),
        ("Ebmaj7", {3, 7, 10, 2}, 3),
        ("Gsus4", {7, 0, 2}, 7),
        ("C#m7b5", {1, 4, 7, 11}, 1),
        ("Am/G", {9, 0, 4}, 7),
        ("Cadd9", {0, 4, 7, 2}, 0),
        ("b", {11, 3, 6}, 11),
        ("bb", {10, 2, 5}, 10),
    ],
)
def test_chord_symbols(symbol, classes, bass):
    chord = parse_chord(symbol)
    assert set(chord.pitch_classes) == classes
    assert chord.bass == bass
    assert chord.pitch_classes[0] == chord.root


@pytest.mark.parametrize("text", ["C G Am F", "C, G, Am, F", "C | G | Am | F", "|C|G|Am|F|", "C - G - Am - F"])
def test_chords_are_parted_in_any_usual_way(text):
    assert [chord.name for chord in parse_chords(text)] == ["C", "G", "Am", "F"]


@pytest.mark.parametrize("text", ["H", "", "m", "5", "C/", "C/x", "Cmaj7/H"])
def test_what_is_no_chord_is_an_error_with_the_text(text):
    with pytest.raises(UserError) as error:
        parse_chord(text)
    assert repr(text) in str(error.value)


def test_an_unknown_quality_is_an_error_with_the_nearest_one():
    with pytest.raises(UserError, match=r"Cmajj7.*nearest: Cmaj7"):
        parse_chord("Cmajj7")


@pytest.mark.parametrize("text", ["", "  ", "| |", "-"])
def test_no_chords_are_an_error(text):
    with pytest.raises(UserError, match="at least one chord"):
        parse_chords(text)


@pytest.mark.parametrize(
    ("text", "name", "tonic", "minor"),
    [
        ("C", "C major", 0, False),
        ("F# minor", "F# minor", 6, True),
        ("Bbm", "Bb minor", 10, True),
        ("eb major", "Eb major", 3, False),
        ("A min", "A minor", 9, True),
        ("G maj", "G major", 7, False),
        ("d:minor", "D minor", 2, True),
        ("D-minor", "D minor", 2, True),
        ("AM", "A major", 9, False),
        ("b minor", "B minor", 11, True),
    ],
)
def test_keys(text, name, tonic, minor):
    key = parse_key(text)
    assert (key.name, key.tonic, key.minor) == (name, tonic, minor)


def test_scales_hold_the_notes_of_their_keys():
    assert set(parse_key("D").scale) == {2, 4, 6, 7, 9, 11, 1}
    assert set(parse_key("A minor").scale) == {9, 11, 0, 2, 4, 5, 7, 6, 8}  # F# and G# as melodies raise them
    assert set(parse_key("Bb").triad.pitch_classes) == {10, 2, 5}
    assert set(parse_key("Bbm").triad.pitch_classes) == {10, 1, 5}


@pytest.mark.parametrize("text", ["", "H", "C dorian", "C##", "minor", "Cmm"])
def test_what_is_no_key_is_an_error_with_the_text(text):
    with pytest.raises(UserError) as error:
        parse_key(text)
    assert repr(text) in str(error.value)


CHOIR = [(40, 50, 60), (48, 57, 67), (55, 64, 74), (60, 70, 81)]


@pytest.mark.parametrize("symbol", ["C", "F#m", "Bb7", "D/F#", "Bdim", "Ebmaj7", "Am/G"])
def test_four_voices_sing_the_chord_in_range_and_in_order(symbol):
    chord = parse_chord(symbol)
    pitches = voice(chord, CHOIR)
    assert pitches[0] % 12 == chord.bass
    assert all(low <= pitch <= high for pitch, (low, _, high) in zip(pitches, CHOIR, strict=True))
    assert all(pitch % 12 in {*chord.pitch_classes, chord.bass} for pitch in pitches)
    assert pitches == sorted(set(pitches))
    if chord.bass == chord.root:
        assert {pitch % 12 for pitch in pitches} == set(chord.pitch_classes)


def test_one_voice_sings_the_bass_nearest_to_its_middle():
    assert voice(parse_chord("C"), [(48, 61, 72)]) == [60]
    assert voice(parse_chord("C/E"), [(48, 61, 72)]) == [64]


@pytest.mark.parametrize(
    ("key", "numerals", "symbols"),
    [
        ("C", "I ii iii IV V vi vii°", "C Dm Em F G Am Bdim"),
        ("D", "I V vi IV", "D A Bm G"),
        ("A minor", "i ii° III iv v VI VII", "Am Bdim C Dm Em F G"),
        ("A minor", "V vii° viiø7 i", "E G#dim G#m7b5 Am"),
        ("Eb", "ii7 V7 Imaj7 bVII", "Fm7 Bb7 Ebmaj7 Db"),
        ("C minor", "bVI bVII #iv°", "Ab Bb F#dim"),
        ("G", "V/V V7/vi vii°7/V", "A B7 C#dim7"),
        ("C", "I6 I64 V65 V43 V42 ii65", "C/E C/G G7/B G7/D G7/F Dm7/F"),
        ("F", "Isus4 IVadd9 i", "Fsus4 Bbadd9 Fm"),
        ("C", "iii, IV | V", "Em F G"),
    ],
)
def test_roman_numerals_are_the_chords_of_the_key(key, numerals, symbols):
    found, expected = parse_chords(numerals, parse_key(key)), parse_chords(symbols)
    assert [(chord.root, chord.bass, set(chord.pitch_classes)) for chord in found] == [
        (chord.root, chord.bass, set(chord.pitch_classes)) for chord in expected
    ]


def test_numerals_without_a_key_are_those_of_c_major_and_symbols_have_none():
    assert [chord.root for chord in parse_chords("I V")] == [0, 7]
    assert parse_chords("C bb", parse_key("D")) == parse_chords("C bb")


@pytest.mark.parametrize(
    ("text", "parts"),
    [("Vi", ["'Vi'", "upper or in lower case"]), ("IVmajj7", ["'IVmajj7'", "nearest: IVmaj7"]), ("V/C", ["V/V", "V6"])],
)
def test_numerals_that_are_none_are_refused(text, parts):
    with pytest.raises(UserError) as caught:
        parse_chords(text, parse_key("C"))
    assert all(part in str(caught.value) for part in parts), caught.value
