"""Sampling against plain numpy that follows the papers word by word."""

import numpy as np
import pytest
import torch

from midifactory.errors import UserError
from midifactory.generation.sampling import Sampling, draw, sample, top_k, top_p

VOCABULARY = 23


def softmax(logits):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def naive_probabilities(logits, temperature, k, p):
    """The distribution over all ids of one row, float64, by loops."""
    logits = logits.astype(np.float64) / temperature
    order = sorted(range(len(logits)), key=lambda i: -logits[i])
    kept = order[:k] if k else order
    masses = softmax(logits[kept])
    nucleus, total = [], 0.0
    for index, mass in zip(kept, masses, strict=True):
        nucleus.append(index)
        total += mass
        if total >= p:
            break
    probabilities = np.zeros(len(logits))
    probabilities[nucleus] = softmax(logits[nucleus])
    return probabilities


def rows(count=4):
    return np.random.default_rng(1).normal(0, 2, (count, VOCABULARY)).astype(np.float32)


@pytest.mark.parametrize("k", [0, 1, 5, VOCABULARY, 1000])
def test_top_k_keeps_the_greatest_logits(k):
    logits = rows()
    values, ids = top_k(torch.from_numpy(logits), k)
    expected = np.argsort(-logits, axis=1)[:, : k or None]
    np.testing.assert_array_equal(ids.numpy(), expected)
    np.testing.assert_array_equal(values.numpy(), np.take_along_axis(logits, expected, 1))


@pytest.mark.parametrize("p", [1e-6, 0.3, 0.9, 0.999, 1.0])
def test_top_p_keeps_the_shortest_prefix_with_mass_p(p):
    falling = -np.sort(-rows(), axis=1)
    kept = top_p(torch.from_numpy(falling), p).isfinite().numpy()
    for row, keeps in zip(falling, kept, strict=True):
        mass = np.cumsum(softmax(row.astype(np.float64)))
        count = VOCABULARY if p == 1 else int(np.argmax(mass >= p)) + 1
        np.testing.assert_array_equal(keeps, np.arange(VOCABULARY) < count)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize(("k", "p"), [(0, 1.0), (7, 1.0), (0, 0.8), (7, 0.8)])
def test_the_share_of_uniforms_that_yield_an_id_is_its_probability(temperature, k, p):
    """Evenly spaced uniforms instead of random ones: shares are then exact to one step at each edge."""
    count = 20_000
    uniforms = (torch.arange(count) + 0.5) / count
    for row in rows(2):
        ids = sample(torch.from_numpy(row).expand(count, -1), Sampling(temperature, k, p), uniforms)
        shares = np.bincount(ids.numpy(), minlength=VOCABULARY) / count
        np.testing.assert_allclose(shares, naive_probabilities(row, temperature, k, p), atol=2.5 / count)


def test_frequencies_of_random_draws_match_the_distribution():
    count, row = 40_000, -np.sort(-rows(1)[0])
    uniforms = torch.from_numpy(np.random.default_rng(5).random(count, dtype=np.float32))
    observed = np.bincount(draw(torch.from_numpy(row).expand(count, -1), uniforms).numpy(), minlength=VOCABULARY)
    expected = softmax(row.astype(np.float64)) * count
    chi_square = ((observed - expected) ** 2 / expected).sum()
    assert chi_square < 48.3  # the 99.9th percentile at 22 degrees of freedom


@pytest.mark.parametrize("temperature", [1e-40, 1e-3, 0.95, 100.0])
@pytest.mark.parametrize(("k", "p"), [(0, 1.0), (5, 1.0), (0, 0.9), (3, 0.5)])
def test_a_forbidden_token_is_never_drawn(temperature, k, p):
    generator = np.random.default_rng(2)
    logits = generator.normal(-4, 3, (200, VOCABULARY)).astype(np.float32)
    forbidden = generator.random(logits.shape) < 0.8
    forbidden[np.arange(200), generator.integers(0, VOCABULARY, 200)] = False
    logits[forbidden] = -np.inf
    for uniform in (0.0, 0.5, 0.999999, 1.0):  # 1.0: what float32 makes of the greatest float64 below it
        ids = sample(torch.from_numpy(logits), Sampling(temperature, k, p), torch.full((200,), uniform)).numpy()
        assert not forbidden[np.arange(200), ids].any()


def test_a_low_temperature_and_top_k_of_one_are_greedy():
    logits, uniforms = torch.from_numpy(rows(50)), torch.linspace(0, 0.999999, 50)
    for sampling in (Sampling(1e-40), Sampling(1e-4), Sampling(1.5, top_k=1), Sampling(1.0, 0, 1e-9)):
        assert torch.equal(sample(logits, sampling, uniforms), logits.argmax(-1)), sampling


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"temperature": 0}, "temperature=0"),
        ({"temperature": -1.5}, "temperature=-1.5"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": float("inf")}, "temperature=inf"),
        ({"top_k": -1}, "top_k=-1"),
        ({"top_p": 0}, "top_p=0"),
        ({"top_p": 1.5}, "top_p=1.5"),
        ({"top_p": float("nan")}, "top_p=nan"),
    ],
)
def test_values_outside_the_limits_are_named(keywords, message):
    with pytest.raises(UserError, match=message):
        Sampling(**keywords)
