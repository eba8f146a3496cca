"""Rank correlation against counting pairs of ranks by hand; a model that always or never obeys."""

import math

import numpy as np
import pytest

from midifactory.evaluation.obedience import obeyed_numbers, obeyed_words, spearman, table_lines


def naive_spearman(first, second):
    """Pearson's correlation of the ranks, each the mean place among all that are less or equal."""

    def rank(values, value):
        less, same = sum(other < value for other in values), sum(other == value for other in values)
        return less + (same + 1) / 2

    ranks = [[rank(values, value) for value in values] for values in (first, second)]
    return float(np.corrcoef(ranks)[0, 1])


@pytest.mark.parametrize("different", [3, 10, 1000])
def test_spearman_is_the_correlation_of_mean_ranks(different):
    generator = np.random.default_rng(different)
    for _ in range(20):
        first = generator.integers(0, different, 30).astype(float)
        second = first * generator.integers(-1, 2) + generator.normal(size=30).round(1)
        assert spearman(first, second) == pytest.approx(naive_spearman(first.tolist(), second.tolist()))


def test_spearman_as_scipy_has_it():
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 20, 200), generator.integers(0, 20, 200)
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)


def test_a_model_that_always_obeys_has_1_and_one_that_does_the_opposite_minus_1():
    asked = np.linspace(1, 9, 200).tolist()
    always = obeyed_numbers(asked, asked)
    assert (always["spearman"], always["low"], always["high"]) == pytest.approx((1, 1, 1))
    assert always["median_difference"] == 0
    assert obeyed_numbers(asked, [value**3 for value in asked])["spearman"] == pytest.approx(1), (
        "the order alone counts"
    )
    assert obeyed_numbers(asked, [-value for value in asked])["spearman"] == pytest.approx(-1)
    words = ["a", "b", "c", "d"] * 50
    assert obeyed_words(words, words) == {"pieces": 200, "without": 0, "exact": 1.0, "guessing": 0.25}


def test_a_model_that_never_listens_has_an_interval_around_0_and_what_guessing_reaches():
    generator = np.random.default_rng(4)
    asked = np.linspace(1, 9, 200).tolist()
    never = obeyed_numbers(asked, generator.permutation(asked).tolist())
    assert never["low"] < 0 < never["high"]
    assert -0.2 < never["spearman"] < 0.2
    assert math.isnan(obeyed_numbers(asked, [5.0] * 200)["spearman"])
    words = ["a", "b", "c", "d"] * 50
    deaf = obeyed_words(words, ["a"] * 200)
    assert deaf["exact"] == deaf["guessing"] == 0.25
    assert obeyed_words(words, ["e"] * 200)["exact"] == 0


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    generator, truth, held = np.random.default_rng(2), 0.6, 0
    pearson = 2 * math.sin(math.pi * truth / 6)  # of a bivariate normal with that Spearman
    for seed in range(20):
        first = generator.normal(size=60)
        second = pearson * first + math.sqrt(1 - pearson**2) * generator.normal(size=60)
        found = obeyed_numbers(first.tolist(), second.tolist(), seed)
        held += found["low"] <= truth <= found["high"]
    assert held >= 16


def test_the_same_seed_gives_the_same_interval_and_music_without_is_counted():
    asked, measured = [1.0, 2.0, 3.0, 4.0, 5.0], [1.0, None, 2.0, 5.0, 4.0]
    first = obeyed_numbers(asked, measured, 3)
    assert first == obeyed_numbers(asked, measured, 3)
    assert (first["pieces"], first["without"]) == (4, 1)
    nothing = obeyed_numbers(asked, [None] * 5)
    assert nothing["without"] == 5
    assert math.isnan(nothing["spearman"])
    assert obeyed_words(["a", "b"], ["a", None]) == {"pieces": 2, "without": 1, "exact": 0.5, "guessing": 0.5}


def test_the_table_has_a_line_for_each():
    rows = {
        "density": {"unit": "notes a beat", **obeyed_numbers([1.0, 2.0, 3.0], [1.0, 3.0, None])},
        "key": {"unit": "", **obeyed_words(["C major"], ["C major"])},
    }
    head, density, without, key = table_lines(rows)
    assert head.split() == ["attribute", "pieces", "obeyed"]
    assert density.startswith("density           2  Spearman 1.00 (")
    assert density.endswith("median off by 0.5 notes a beat")
    assert without.split() == ["1", "pieces", "had", "none"]
    assert key.endswith("exactly 100% (guessing 100%)")
