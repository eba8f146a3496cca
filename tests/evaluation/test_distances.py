"""Distances against SciPy and naive sums; sets of one kind, and of two; the Frechet distance by its formula."""

import math

import numpy as np
import pytest

from midifactory.evaluation.distances import (
    compared,
    frechet_distance,
    mean_curve_error,
    pairwise_distances,
    shared_ngrams,
    total_variation,
    wasserstein_of_bins,
    wasserstein_of_values,
)


def histograms(generator, pieces, bins):
    rows = generator.random((pieces, bins))
    return rows / rows.sum(1, keepdims=True)


@pytest.mark.parametrize("seed", range(3))
def test_the_earth_movers_distance_is_scipys(seed):
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(seed)
    one, other = histograms(generator, 5, 20), histograms(generator, 7, 20)
    expected = stats.wasserstein_distance(np.arange(20), np.arange(20), one.mean(0), other.mean(0))
    assert wasserstein_of_bins(one, other) == pytest.approx(expected)
    a, b = generator.normal(size=(9, 1)), generator.normal(1, 2, size=(9, 1))
    assert wasserstein_of_values(a, b) == pytest.approx(stats.wasserstein_distance(a[:, 0], b[:, 0]))


def test_total_variation_and_curves_by_hand():
    assert total_variation(np.eye(3)[:1], np.eye(3)[1:2]) == 1
    assert total_variation(np.array([[0.5, 0.5, 0]]), np.array([[0.5, 0, 0.5]])) == 0.5
    one, other = np.array([[1, 0.5, np.nan], [0, np.nan, np.nan]]), np.array([[0.25, 0.25, 0.25]])
    assert mean_curve_error(one, other) == pytest.approx((0.25 + 0.25) / 2), "where both have something"
    assert math.isnan(mean_curve_error(one[:, 2:], other[:, 2:]))


@pytest.mark.parametrize("count", [3, 40])
def test_the_frechet_distance_is_its_formula(count):
    linalg = pytest.importorskip("scipy.linalg")
    generator = np.random.default_rng(count)
    one, other = generator.normal(size=(count, 6)), generator.normal(0.5, 2, size=(count + 5, 6))
    first, second = np.cov(one.T), np.cov(other.T)
    # The eigenvalues of a product of covariances are real and not negative, also where SciPy's root has none.
    roots = np.sqrt(np.maximum(linalg.eigvals(first @ second).real, 0)).sum()
    expected = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(first + second) - 2 * roots
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(one, one[::-1]) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(one, one + 1) == pytest.approx(6)


def test_samples_of_the_same_kind_are_as_near_as_halves_and_others_are_not():
    generator = np.random.default_rng(0)
    corpus = generator.normal(size=(60, 1))
    same = compared(generator.normal(size=(40, 1)), corpus, wasserstein_of_values)
    assert same.pieces == 30
    assert same.distance.value > 0
    assert same.distance.low <= same.ceiling.value <= same.distance.high
    other = compared(generator.normal(2, size=(40, 1)), corpus, wasserstein_of_values)
    assert other.distance.low > other.ceiling.high
    assert other.distance.value == pytest.approx(2, abs=0.5)
    assert other.ceiling.value == same.ceiling.value


def test_the_interval_widens_with_fewer_pieces_and_a_seed_repeats_itself():
    generator = np.random.default_rng(1)
    corpus, samples = generator.normal(size=(200, 1)), generator.normal(1, size=(100, 1))
    many, few = compared(samples, corpus, wasserstein_of_values), compared(samples[:10], corpus, wasserstein_of_values)
    assert few.pieces == 10
    assert few.distance.high - few.distance.low > many.distance.high - many.distance.low
    assert compared(samples, corpus, wasserstein_of_values) == many
    assert compared(samples, corpus, wasserstein_of_values, 1) != many


def test_pieces_that_have_no_figure_do_not_count():
    corpus = np.array([[1.0], [np.nan], [2.0], [3.0], [4.0]])
    assert compared(np.full((3, 1), np.nan), corpus, wasserstein_of_values).distance.value is None
    assert compared(np.array([[1.0], [np.nan]]), corpus, wasserstein_of_values).pieces == 1
    assert compared(corpus, corpus[:1], wasserstein_of_values).ceiling.value is None


def test_diversity_by_naive_loops():
    generator = np.random.default_rng(2)
    kinds = [histograms(generator, 5, 7), histograms(generator, 5, 3)]
    kinds[1][2] = np.nan
    expected = []
    for piece in range(5):
        apart = []
        for other in set(range(5)) - {piece}:
            both = [np.abs(rows[piece] - rows[other]).sum() / 2 for rows in kinds]
            apart.append(np.mean([value for value in both if not math.isnan(value)]))
        expected.append(np.mean(apart))
    np.testing.assert_allclose(pairwise_distances(kinds), expected)
    assert np.isnan(pairwise_distances([kinds[0][:1]])).all()
    pieces = [generator.integers(0, 3, (20, 2)) for _ in range(4)] + [np.zeros((0, 2), np.int64), np.full((3, 2), 9)]
    for index, share in enumerate(shared_ngrams(pieces)):
        others = {tuple(row) for place, rows in enumerate(pieces) if place != index for row in rows.tolist()}
        rows = pieces[index].tolist()
        assert share == pytest.approx(np.mean([tuple(row) in others for row in rows]) if rows else np.nan, nan_ok=True)
    assert np.isnan(shared_ngrams([np.zeros((0, 2), np.int64)])).all()
