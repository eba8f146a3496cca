"""The range of pitches on tokenizers with a grammar and without: nothing outside it is sampled or written first."""

import pytest
import torch

from generation.conftest import PROFILES, Untrained
from generation.test_schemes import ALL, untrained_of
from midifactory.errors import UserError
from midifactory.generation.guide import Length
from midifactory.generation.pieces import compose, opening_of_style
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Arpeggio, Chords, Free, Melody
from midifactory.generation.wishes import bind_range, parse_wishes
from midifactory.models.transformer import Transformer
from midifactory.music.score import note_arrays
from schemes import tokenizer_of

PROFILE = {
    "tempo_bpm": 100.0,
    "metre": "4/4",
    "velocity": 70,
    "programs": [],
    "tessitura": {"lowest": 50, "highest": 70, "programs": [{"program": 0, "lowest": 55, "highest": 60}]},
}


def composed(model, asked, profile=PROFILE, key=None, style=None, length=None, chords=None):
    wishes = bind_range(parse_wishes(profile, key, None, None, chords), asked, model.tokenizer)
    opening = opening_of_style(style or Free(), wishes, model.tokenizer)
    return compose(model, opening, wishes, length or Length(tokens=400), Sampling())[0]


def pitches(*arguments):
    score = composed(*arguments).score
    return [(track.program, note.pitch) for track in score.tracks if not track.is_drum for note in track.notes]


def said(model, *arguments):
    """The pitches in a row's tokens: few of what an untrained model says without a grammar decodes to a note."""
    ids = model.tokenizer.to_base_ids(list(composed(model, *arguments).ids))
    names = [model.tokenizer.tokens[i] for i in ids]
    return [int(name.partition("_")[2]) for name in names if name.startswith(("Pitch_", "NoteOn_"))]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("key", [None, "C"])
def test_without_a_grammar_too_the_range_holds(name, key):
    model = untrained_of(name)
    found = said(model, None, PROFILE, key)
    assert found
    assert all(50 <= pitch <= 70 for pitch in found)
    found = said(model, [80, 100], PROFILE, key)
    assert found
    assert all(80 <= pitch <= 100 for pitch in found)
    old = {name: value for name, value in PROFILE.items() if name != "tessitura"}
    assert not all(50 <= pitch <= 70 for pitch in said(model, None, old, key))


def test_each_program_has_its_own_range(untrained):
    found = pitches(untrained, None)
    assert found
    assert all(50 <= pitch <= 70 for _, pitch in found)
    assert all(55 <= pitch <= 60 for program, pitch in found if program == 0)
    assert all(100 <= pitch <= 104 for _, pitch in pitches(untrained, [100, 104]))


@pytest.mark.parametrize("asked", [[60], [70, 60], [-1, 60], [0, 128], [0, 10]])
def test_a_range_that_is_none_is_refused(untrained, asked):
    with pytest.raises(UserError, match="pitch_range="):
        pitches(untrained, asked)


def tessitura_of(low, high):
    return {"lowest": low, "highest": high, "programs": []}


@pytest.mark.parametrize("style", [Chords, Arpeggio, Melody])
@pytest.mark.parametrize("corpus", list(PROFILES))
@pytest.mark.parametrize("bounds", [(60, 71), (40, 55), (97, 127)])
@pytest.mark.parametrize("asked", [True, False])
def test_a_style_keeps_to_an_octave_too(untrained, style, corpus, bounds, asked):
    profile = PROFILES[corpus] | {"tessitura": tessitura_of(*((0, 127) if asked else bounds))}
    for key, names in (("C", "C F#m Bb7"), ("Eb minor", "Gmaj7 D/F# Bdim")):
        chords = names if style is Chords else None
        arguments = (untrained, list(bounds) if asked else None, profile, key, style(), Length(bars=2), chords)
        found = [pitch for program, pitch in pitches(*arguments) if program >= 0]
        assert len(found) > 3
        assert all(bounds[0] <= pitch <= bounds[1] for pitch in found), found


@pytest.mark.parametrize("corpus", list(PROFILES))
@pytest.mark.parametrize("asked", [[60, 71], [72, 84], [97, 127], [60, 60], [106, 108]])
@pytest.mark.parametrize(("chord", "classes"), [("F#m", {6, 9, 1}), ("Bb7", {10, 2, 5, 8}), ("Bdim", {11, 2, 5})])
def test_in_any_range_the_first_bar_sounds_the_whole_chord(untrained, corpus, asked, chord, classes):
    score = composed(untrained, asked, PROFILES[corpus], None, Chords(), Length(bars=1), chord).score
    notes = note_arrays(score)
    first = notes["pitch"][notes["onset"] < 1920]
    assert {int(pitch) % 12 for pitch in first} == classes
    assert max(first) - min(first) <= max(11, asked[1] - asked[0])  # below an octave the chord wins, close by
    assert min(first) <= asked[1]
    assert max(first) >= asked[0]


def test_a_style_keeps_to_the_range_of_its_program(untrained):
    profile = PROFILES["piano"] | {
        "tessitura": tessitura_of(21, 108) | {"programs": [{"program": 40, "lowest": 76, "highest": 90}]}
    }
    for style in (Arpeggio(40), Melody(40)):
        found = pitches(untrained, None, profile, "C", style, Length(bars=2))
        assert {program for program, _ in found} == {40}
        assert all(76 <= pitch <= 90 for _, pitch in found)


def test_a_range_that_does_not_bind_changes_nothing(untrained):
    for corpus in PROFILES.values():
        for style in (Chords(), Arpeggio(), Melody()):
            old, wide = (
                composed(untrained, asked, corpus, "D", style, Length(bars=3)).ids for asked in (None, [0, 127])
            )
            assert old == wide


def test_pitch_intervals_have_no_grammar_and_keep_the_range():
    tokenizer = tokenizer_of("remi_plus", "tokenizer.use_pitch_intervals=true")
    assert not tokenizer.has_grammar
    torch.manual_seed(0)
    network = Transformer(tokenizer.vocab_size, d_model=16, heads=2, layers=1, context=192).eval()
    model = Untrained(network, tokenizer, 192)
    found = [tokenizer.tokens[i] for i in composed(model, [60, 72]).ids]
    assert any(name.startswith("Pitch_") for name in found)
    assert not any(name.startswith("PitchInterval") for name in found)
    old = {name: value for name, value in PROFILE.items() if name != "tessitura"}
    assert any(tokenizer.types[i].startswith("PitchInterval") for i in composed(model, None, old).ids)
    with pytest.raises(UserError, match=r"PitchInterval.*no grammar"):
        composed(model, None, old, style=Melody())
