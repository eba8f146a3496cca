"""Where a model ends a piece before the length asked for."""

import pytest

from midifactory.errors import UserError
from midifactory.generation.guide import Length, MusicGuide
from midifactory.tokens.grid_walk import walk_maker
from midifactory.tokens.walk import Controls


def guide_after_two_bars(tokenizer, score_from, length):
    """A guide whose row has gone over two bars of quarter notes."""
    walk = walk_maker(tokenizer, Controls())()
    for token in tokenizer.encode(score_from([(0, [(beat, 1, 60 + beat, 80) for beat in range(8)])])).ids[:-1]:
        walk.step(int(token))
    return MusicGuide(walk, length)


def test_a_piece_ends_where_the_model_says_only_if_it_may(tokenizer, score_from):
    bar = int(tokenizer.starting_with("Bar")[0])
    going_on = guide_after_two_bars(tokenizer, score_from, Length(bars=8))
    assert going_on.allowed()[tokenizer.eos_id]
    assert going_on.take(tokenizer.eos_id) == bar, "a new bar, as after any phrase"
    ending = guide_after_two_bars(tokenizer, score_from, Length(bars=8, or_end=True))
    assert ending.allowed()[tokenizer.eos_id]
    assert ending.take(tokenizer.eos_id) is None


def test_a_piece_that_may_end_still_has_one_longest_length(tokenizer, score_from):
    with pytest.raises(UserError, match="exactly one of"):
        Length(or_end=True)
    guide = guide_after_two_bars(tokenizer, score_from, Length(bars=2, or_end=True))
    assert guide.take(int(tokenizer.starting_with("Bar")[0])) is None
