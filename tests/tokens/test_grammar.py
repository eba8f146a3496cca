"""The law against real music: what an encoder writes must be allowed, with byte pairs too."""

import numpy as np
import pytest
from strolls import KINDS, Stroll, grammar_of, groups_of, notes_of

from midifactory.errors import UserError
from midifactory.music.score import bar_starts, seconds_at
from midifactory.tokens.grammar import Grammar
from midifactory.tokens.grid_walk import walk_maker
from midifactory.tokens.walk import Controls, Walk
from schemes import SCORES, tokenizer_of

every_kind = pytest.mark.parametrize(("name", "pairs"), KINDS)


def custom(name, settings):
    return tokenizer_of(name, *(f"++tokenizer.{setting}" for setting in settings))


@every_kind
@pytest.mark.parametrize("score", SCORES)
def test_real_music_is_lawful(name, pairs, score):
    """A model that learns from real music must be allowed to say what it learned."""
    grammar = grammar_of(name, pairs)
    tokenizer, walk = grammar.tokenizer, Walk(grammar)
    ids = tokenizer.to_model_ids(tokenizer.encode(SCORES[score]()).ids).tolist()
    for index, id_ in enumerate(ids[1:-1], start=1):
        before = [tokenizer.tokens[i] for i in tokenizer.to_base_ids(ids[max(0, index - 6) : index + 1])]
        assert walk.allowed()[id_], f"the end of {before}"
        walk.step(id_)
    assert walk.allowed()[tokenizer.eos_id] == (name in {"remi", "remi_plus", "per_tok", "mmm"})
    told = sorted((n.program, n.onset_ticks, n.pitch, n.duration_ticks, n.velocity) for n in walk.finished)
    assert told == notes_of(tokenizer, ids)


@pytest.mark.parametrize("name", ["remi_plus", "tsd", "midi_like"])
@pytest.mark.parametrize("score", SCORES)
def test_the_walk_over_real_music_has_the_scores_bars(name, score):
    grammar, score = grammar_of(name), SCORES[score]()
    walk, onsets, bars = Walk(grammar), [], []
    for token in grammar.tokenizer.encode(score).ids[1:]:
        walk.step(int(token))
        if grammar.tokenizer.types[token] == "Velocity":
            onsets.append(walk.tick * 480 // walk.ticks_per_quarter)
            bars.append(walk.bar)
    assert onsets == sorted(note.time for track in score.tracks for note in track.notes)
    assert bars == (np.searchsorted(bar_starts(score), onsets, side="right") - 1).tolist()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("remi_plus", ["use_velocities=false", "use_rests=false", "use_chords=false"]),
        ("remi_plus", ["programs=[0,40]", "num_tempos=5"]),
        ("remi_plus", ["time_signature_range={2:[2,3],16:[5]}", "beat_res={0-4:8}", "beat_res_rest={0-1:8}"]),
        ("remi", ["use_pitchdrum_tokens=false", "remove_duplicated_notes=false"]),
        ("tsd", ["use_rests=false", "use_tempos=false", "use_time_signatures=false", "use_velocities=false"]),
        ("midi_like", ["use_velocities=false", "use_chords=false", "num_tempos=5"]),
        ("structured", ["use_velocities=false", "programs=[-1]"]),
        (
            "per_tok",
            ["additional_params.use_position_toks=true"],
        ),
        ("per_tok", ["additional_params.use_microtiming=false", "use_velocities=false"]),
        ("mmm", ["use_rests=false", "use_velocities=false", "use_pitchdrum_tokens=false"]),
    ],
)
def test_other_settings_are_lawful_too(name, settings):
    tokenizer = custom(name, settings)
    row = Stroll(Grammar(tokenizer), steps=250)
    assert row.told() == row.notes
    assert sum(groups_of(tokenizer, row.ids).values()) == len(row.notes) > 10
    assert notes_of(tokenizer, tokenizer.encode(tokenizer.decode(row.ids)).ids) == row.notes
    _, _, ticks, _, seconds = map(np.array, zip(*row.at_notes, strict=True))
    if tokenizer.monotonic:
        np.testing.assert_allclose(seconds, seconds_at(tokenizer.decode(row.ids), ticks), rtol=1e-5)
    for make in SCORES.values():
        try:
            ids = tokenizer.encode(make()).ids
        except UserError:  # no note of it in these programs
            continue
        walk = Walk(row.grammar, row.walk.bounds)
        for id_ in ids[1:-1]:
            assert walk.allowed()[id_]
            walk.step(int(id_))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["use_note_duration_programs=[0,1]", "use_rests=false"], "notes of some of its programs have no length"),
        (["program_changes=true"], "program_changes leaves out the program of most notes"),
        (["additional_params={use_bar_end_tokens:true}"], "its Bar tokens have numbers or ends"),
        (["use_pitch_intervals=true"], "its tokens of type PitchInterval"),
        (["use_sustain_pedals=true"], "its tokens of type Pedal"),
    ],
)
def test_settings_without_a_grammar_are_refused(settings, reason):
    tokenizer = custom("remi_plus", settings)
    assert tokenizer.without_grammar.startswith(reason)
    assert not tokenizer.has_grammar
    with pytest.raises(UserError, match=f"{reason}.*set grammar=false"):
        walk_maker(tokenizer, Controls())
    with pytest.raises(ValueError, match=reason):
        Grammar(tokenizer)


@every_kind
def test_a_walk_may_go_over_ids_that_are_not_lawful(name, pairs):
    """A prompt is what it is: whatever stands in it, the row can go on after it."""
    grammar, generator = grammar_of(name, pairs), np.random.default_rng(0)
    ids = generator.integers(3, grammar.tokenizer.vocab_size, 300).tolist()
    walk = Walk(grammar)
    for id_ in ids:
        walk.step(id_)
        assert walk.allowed().any()
