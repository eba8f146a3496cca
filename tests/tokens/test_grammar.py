"""The law against real music: what an encoder writes must be allowed, with byte pairs too."""

import numpy as np
import pytest
from strolls import KINDS, grammar_of, notes_of

from midifactory.music.score import bar_starts
from midifactory.tokens.walk import Walk
from schemes import SCORES

every_kind = pytest.mark.parametrize(("name", "pairs"), KINDS)


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


@every_kind
def test_a_walk_may_go_over_ids_that_are_not_lawful(name, pairs):
    """A prompt is what it is: whatever stands in it, the row can go on after it."""
    grammar, generator = grammar_of(name, pairs), np.random.default_rng(0)
    ids = generator.integers(3, grammar.tokenizer.vocab_size, 300).tolist()
    walk = Walk(grammar)
    for id_ in ids:
        walk.step(id_)
        assert walk.allowed().any()
