"""The chord model gives every chord a share, and what the corpus does a larger one."""

import math

import numpy as np
import pytest

from midifactory.evaluation.harmony_model import ChordModel

TONIC, FOURTH, FIFTH, MINOR = (
    sum(1 << each for each in chord) for chord in ((0, 4, 7), (5, 9, 0), (7, 11, 2), (9, 0, 4))
)


def test_probabilities_sum_to_one_after_anything():
    model = ChordModel([(TONIC, FOURTH, FIFTH, TONIC), (TONIC, MINOR, FIFTH)])
    assert len(model.chords) == 88, "eight qualities on twelve roots, and four augmented triads"
    for before in ((), (TONIC,), (TONIC, FOURTH), (FIFTH, MINOR), (FOURTH, TONIC, MINOR)):
        assert sum(model.probability(chord, before) for chord in model.chords) == pytest.approx(1)
        assert all(model.probability(chord, before) > 0 for chord in model.chords)


def test_bigrams_by_hand():
    """After the tonic: once the fourth and once the minor chord, of two kinds; before that shares of all chords."""
    model = ChordModel([(TONIC, FOURTH), (TONIC, MINOR)], order=2)
    alone = (1 + 3 / 88) / 7  # one of 4 chords, 3 kinds of them
    assert model.probability(FOURTH, (TONIC,)) == pytest.approx((1 + 2 * alone) / 4)
    assert model.probability(FIFTH, (TONIC,)) == pytest.approx(2 * (3 / 88 / 7) / 4)
    assert model.probability(FIFTH, (FIFTH,)) == pytest.approx(3 / 88 / 7), "nothing is known of what follows it"
    assert ChordModel([]).probability(TONIC) == 1 / 88


def test_what_the_corpus_does_perplexes_least():
    usual = (TONIC, FOURTH, FIFTH, TONIC, MINOR, FIFTH, TONIC)
    model = ChordModel([usual] * 10)
    chance = np.random.default_rng(0).permutation(sorted(model.chords))[:7].tolist()
    assert 1 < model.perplexity(usual) < 1.5 < model.perplexity((TONIC, FIFTH, MINOR)) < model.perplexity(chance)
    assert model.perplexity(chance) > 100
    assert math.isnan(model.perplexity(()))
    assert ChordModel([]).perplexity(usual) == pytest.approx(88)
