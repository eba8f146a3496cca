"""Shares and their intervals."""

import math

import pytest

from midifactory.evaluation.proportions import wilson_interval


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (3, 10), (10, 10), (57, 100), (5, 1000)])
def test_the_ends_are_where_the_score_test_begins_to_refuse(successes, trials):
    """Wilson's interval is what solves |share - p| = 1.96 sqrt(p (1 - p) / n) for p."""
    share = successes / trials
    for end in wilson_interval(successes, trials):
        assert abs(share - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / trials), abs=1e-6)
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= share <= high <= 1
    mirrored = wilson_interval(trials - successes, trials)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high))


def test_no_trials_have_no_share():
    for successes, trials in ((0, 0), (2, 1), (-1, 3)):
        with pytest.raises(ValueError, match="no share"):
            wilson_interval(successes, trials)
