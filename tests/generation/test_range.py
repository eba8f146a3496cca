"""The range of pitches on tokenizers with a grammar and without: nothing outside it is sampled."""

import pytest

from generation.test_schemes import ALL, untrained_of
from midifactory.errors import UserError
from midifactory.generation.guide import Length
from midifactory.generation.pieces import compose, opening_of_style
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Free, bind_range, parse_wishes

PROFILE = {
    "tempo_bpm": 100.0,
    "metre": "4/4",
    "velocity": 70,
    "programs": [],
    "tessitura": {"lowest": 50, "highest": 70, "programs": [{"program": 0, "lowest": 55, "highest": 60}]},
}


def composed(model, asked, profile=PROFILE, key=None):
    wishes = parse_wishes(profile, key, None, None, None)
    opening = opening_of_style(Free(), wishes, model.tokenizer)
    bind_range(opening, profile, asked, model.tokenizer)
    return compose(model, opening, wishes, Length(tokens=400), Sampling())[0]


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
