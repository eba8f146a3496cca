"""Intervals against loops by hand, and against what is known of a mean."""

import numpy as np
import pytest

from midifactory.evaluation.bootstrap import DRAWS, Interval, interval_of, interval_of_difference, interval_of_mean

RANDOM = np.random.default_rng(1)
NATS, NOTES = RANDOM.uniform(50, 90, 12), RANDOM.integers(20, 60, 12)


def test_a_ratio_equals_a_loop_over_drawn_pieces():
    generator, drawn = np.random.default_rng(3), []
    for _ in range(DRAWS):
        rows = [int(generator.integers(0, 12)) for _ in range(12)]
        drawn.append(sum(NATS[row] for row in rows) / sum(NOTES[row] for row in rows))
    found = interval_of(NATS, NOTES, seed=3)
    assert found.value == pytest.approx(NATS.sum() / NOTES.sum())
    low, high = np.percentile(drawn, (2.5, 97.5))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03)  # other draws of the same law
    assert found == interval_of(NATS, NOTES, seed=3)
    assert found != interval_of(NATS, NOTES, seed=4)


def test_a_mean_has_the_width_that_statistics_gives():
    values = RANDOM.normal(5, 2, 400)
    found = interval_of_mean(values)
    error = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.05)


def test_pairing_takes_out_what_is_hard_for_both():
    """One model is better by 1 nat a note in every piece, though pieces differ by far more."""
    mine, theirs = NATS.copy(), NATS + NOTES
    found = interval_of_difference(mine, NOTES, theirs, NOTES)
    assert (found.value, found.low, found.high) == pytest.approx((-1, -1, -1))
    alone = interval_of(mine, NOTES)
    assert alone.high - alone.low > 0.2


def test_many_pieces_are_drawn_in_parts(monkeypatch):
    whole = interval_of(NATS, NOTES)
    monkeypatch.setattr("midifactory.evaluation.bootstrap._MOST_AT_ONCE", 100)
    assert interval_of(NATS, NOTES) == whole


def test_what_has_no_interval():
    assert interval_of([3.0], [2]) == Interval(1.5)
    assert interval_of([], []) == Interval(None)
    assert interval_of([1.0, 2.0], [0, 0]) == Interval(None)
    assert interval_of([0.0, 6.0], [0, 3]).value == 2
    assert Interval(None).text() == "-"
    assert Interval(1.5).text() == "1.500"
    assert Interval(1.5, 1, 2).text(1) == "1.5 (1.0 to 2.0)"
    with pytest.raises(ValueError, match="2 numerators have 1"):
        interval_of([1.0, 2.0], [1])
    with pytest.raises(ValueError, match="cannot be paired"):
        interval_of_difference([1.0], [1], [1.0, 2.0], [1, 1])
