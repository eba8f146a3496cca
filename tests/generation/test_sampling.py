"""Sampling against plain numpy that follows the papers word by word, and against a full sort of every row alone."""

import numpy as np
import pytest
import torch

from midifactory.errors import UserError
from midifactory.generation import sampling as module
from midifactory.generation.sampling import Sampling, Settings, draw, min_p, sample, top_k, top_p, typical

VOCABULARY = 23


def softmax(logits):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def naive_probabilities(logits, temperature=1.0, k=0, p=1.0, least=0.0, typical_p=1.0):
    """The distribution over all ids of one row, float64, by loops."""
    logits = logits.astype(np.float64) / temperature
    order = sorted(range(len(logits)), key=lambda i: -logits[i])
    kept = order[:k] if k else order
    kept = prefix_of_mass(kept, softmax(logits[kept]), p)
    masses = softmax(logits[kept])
    kept = [index for index, mass in zip(kept, masses, strict=True) if mass >= least * masses.max()]
    masses = softmax(logits[kept])
    entropy = -sum(mass * np.log(mass) for mass in masses if mass > 0)
    surprise = sorted(range(len(kept)), key=lambda i: abs(-np.log(masses[i]) - entropy))
    kept = prefix_of_mass([kept[i] for i in surprise], masses[surprise], typical_p)
    probabilities = np.zeros(len(logits))
    probabilities[kept] = softmax(logits[kept])
    return probabilities


def prefix_of_mass(indices, masses, p):
    kept, total = [], 0.0
    for index, mass in zip(indices, masses, strict=True):
        kept.append(index)
        total += mass
        if total >= p and p < 1:
            break
    return kept


def sorted_sample(logits, temperature, k, p, uniforms):
    """Every candidate put in order: the definition of which id a uniform stands for. logits (B, V)."""
    size = logits.shape[-1]
    values, ids = torch.topk(logits.float(), min(k, size) if k else size, dim=-1)
    values = (values - values[:, :1]) / temperature
    if p < 1:
        probabilities = values.softmax(-1)
        values = values.masked_fill(probabilities.cumsum(-1) - probabilities >= p, -torch.inf)
    cumulative = values.softmax(-1).cumsum(-1)
    chosen = torch.searchsorted(cumulative, uniforms[:, None] * cumulative[:, -1:], right=True)[:, 0]
    chosen = torch.minimum(chosen, (values > -torch.inf).sum(-1) - 1)
    return ids.gather(-1, chosen[:, None])[:, 0]


def rows(count=4):
    return np.random.default_rng(1).normal(0, 2, (count, VOCABULARY)).astype(np.float32)


def alike(sampling, count):
    return Settings([sampling] * count)


@pytest.mark.parametrize("k", [0, 1, 5, VOCABULARY, 1000])
def test_top_k_keeps_the_greatest_logits(k):
    logits = rows()
    values, ids = top_k(torch.from_numpy(logits), k)
    expected = np.argsort(-logits, axis=1)[:, : k or None]
    np.testing.assert_array_equal(ids.numpy(), expected)
    np.testing.assert_array_equal(values.numpy(), np.take_along_axis(logits, expected, 1))


def test_top_p_keeps_the_shortest_prefix_with_mass_p_of_each_row():
    falling, shares = -np.sort(-rows(5), axis=1), [1e-6, 0.3, 0.9, 0.999, np.inf]
    kept = top_p(torch.from_numpy(falling), torch.tensor(shares)[:, None]).isfinite().numpy()
    for row, p, keeps in zip(falling, shares, kept, strict=True):
        mass = np.cumsum(softmax(row.astype(np.float64)))
        count = VOCABULARY if p == np.inf else int(np.argmax(mass >= p)) + 1
        np.testing.assert_array_equal(keeps, np.arange(VOCABULARY) < count)


def test_min_p_keeps_what_has_that_share_of_the_greatest_probability_in_each_row():
    falling, shares = -np.sort(-rows(5), axis=1), np.array([0.0, 0.01, 0.2, 0.7, 1.0])
    falling -= falling[:, :1]
    with np.errstate(divide="ignore"):
        least = torch.from_numpy(np.log(shares).astype(np.float32))[:, None]
    kept = min_p(torch.from_numpy(falling), least).isfinite().numpy()
    for row, share, keeps in zip(falling, shares, kept, strict=True):
        masses = softmax(row.astype(np.float64))
        np.testing.assert_array_equal(keeps, masses >= share * masses.max())
    assert kept.sum(1)[[0, -1]].tolist() == [VOCABULARY, 1]


def test_typical_keeps_what_is_nearest_to_the_entropy_in_each_row():
    shares = [1e-9, 0.2, 0.6, 0.95, np.inf]
    falling = -np.sort(-rows(5), axis=1)
    kept = typical(torch.from_numpy(falling), torch.tensor(shares)[:, None]).isfinite().numpy()
    for row, p, keeps in zip(falling, shares, kept, strict=True):
        np.testing.assert_array_equal(keeps, naive_probabilities(row, typical_p=p) > 0)
    assert kept.sum(1)[[0, -1]].tolist() == [1, VOCABULARY]
    assert not kept[:3, 0].all()  # the likeliest token is not typical everywhere


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"top_k": 7},
        {"top_p": 0.8},
        {"top_k": 7, "top_p": 0.8},
        {"min_p": 0.1},
        {"typical_p": 0.6},
        {"top_k": 9, "top_p": 0.95, "min_p": 0.05, "typical_p": 0.8},
    ],
)
def test_the_share_of_uniforms_that_yield_an_id_is_its_probability(temperature, limits):
    """Evenly spaced uniforms instead of random ones: shares are then exact to one step at each edge."""
    count = 20_000
    uniforms = (torch.arange(count) + 0.5) / count
    for row in rows(2):
        ids = sample(torch.from_numpy(row).expand(count, -1), alike(Sampling(temperature, **limits), count), uniforms)
        shares = np.bincount(ids.numpy(), minlength=VOCABULARY) / count
        expected = naive_probabilities(row, temperature, *(limits.get(name, off) for name, off in OFF.items()))
        np.testing.assert_allclose(shares, expected, atol=2.5 / count)


OFF = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0}


def test_frequencies_of_random_draws_match_the_distribution():
    count, row = 40_000, -np.sort(-rows(1)[0])
    uniforms = torch.from_numpy(np.random.default_rng(5).random(count, dtype=np.float32))
    observed = np.bincount(draw(torch.from_numpy(row).expand(count, -1), uniforms).numpy(), minlength=VOCABULARY)
    expected = softmax(row.astype(np.float64)) * count
    chi_square = ((observed - expected) ** 2 / expected).sum()
    assert chi_square < 48.3  # the 99.9th percentile at 22 degrees of freedom


@pytest.mark.parametrize("size", [5, 100, 400, 5000])
@pytest.mark.parametrize("spread", [0.01, 1.0, 4.0])
@pytest.mark.parametrize(("k", "p"), [(0, 1.0), (0, 0.97), (0, 0.5), (0, 1e-9), (50, 1.0), (50, 0.95), (1, 1.0)])
def test_the_id_of_a_uniform_is_that_of_a_full_sort(size, spread, k, p):
    """Whatever shortcut is taken: old seeds keep their music."""
    generator = np.random.default_rng(size)
    for count in (1, 16):
        for temperature in (0.7, 1.0):
            logits = torch.from_numpy(generator.normal(0, spread, (count, size)).astype(np.float32))
            logits[:, 1 : size // 3][torch.from_numpy(generator.random((count, size // 3 - 1)) < 0.5)] = -torch.inf
            uniforms = torch.from_numpy(generator.random(count).astype(np.float32))
            ids = sample(logits, alike(Sampling(temperature, k, p), count), uniforms)
            expected = sorted_sample(logits, temperature, k, p, uniforms)
            assert torch.equal(ids, expected)


def test_the_shortcut_is_taken_and_is_right_at_every_uniform(monkeypatch):
    """Uniforms at the edges between ids too, where another order of summation would decide otherwise."""
    looked, whole = [], module._among_all
    monkeypatch.setattr(module, "_among_all", lambda logits, *rest: looked.append(len(logits)) or whole(logits, *rest))
    count, size = 2000, 600
    logits = torch.from_numpy(np.random.default_rng(3).normal(0, 3, size).astype(np.float32))
    edges = logits.sort(descending=True).values.softmax(-1).cumsum(-1)[:count]
    uniforms = torch.cat((edges, torch.from_numpy(np.random.default_rng(4).random(count - size, dtype=np.float32))))
    expanded = logits.expand(count, -1)
    for p in (1.0, 0.9, float(edges[40])):
        looked.clear()
        ids = sample(expanded, alike(Sampling(1.0, 0, p), count), uniforms.clamp(max=1 - 1e-7))
        assert torch.equal(ids, sorted_sample(expanded, 1.0, 0, p, uniforms.clamp(max=1 - 1e-7)))
        # The edges are in doubt, a few of the others too; all are where top-p ends at an edge.
        assert sum(looked) == count if p == float(edges[40]) else sum(looked) < 0.6 * count


def many_samplings():
    """Settings of all kinds, some of them the same."""
    return [
        Sampling(),
        Sampling(0.0),
        Sampling(0.8, 5),
        Sampling(1.2, 0, 0.9),
        Sampling(1.0, 40, 0.95),
        Sampling(min_p=0.1),
        Sampling(1.5, 0, 0.97, 0.02),
        Sampling(typical_p=0.7),
        Sampling(0.8, 5, 1.0, 0.3, 0.5),
        Sampling(top_k=1),
        Sampling(1.2, 0, 0.9, 0.01, 0.8),
        Sampling(0.9, 500),
    ]


@pytest.mark.parametrize("spread", [0.3, 3.0])
@pytest.mark.parametrize("size", [VOCABULARY, 700])
def test_a_row_among_others_of_other_settings_is_the_row_alone(size, spread):
    generator, samplings = np.random.default_rng(size), many_samplings() * 2
    types = [torch.linspace(0.5, 2.0, size) if index % 5 == 2 else None for index in range(len(samplings))]
    for _ in range(20):
        logits = torch.from_numpy(generator.normal(0, spread, (len(samplings), size)).astype(np.float32))
        logits = (logits * 8).round() / 8  # equal ones too
        logits[:, 3:9] = -torch.inf
        uniforms = torch.from_numpy(generator.random(len(samplings)).astype(np.float32))
        together = sample(logits, Settings(samplings, temperatures=types), uniforms)
        alone = [
            sample(logits[row : row + 1], Settings([sampling], temperatures=[types[row]]), uniforms[row : row + 1])
            for row, sampling in enumerate(samplings)
        ]
        assert torch.equal(together, torch.cat(alone))


def test_temperatures_of_ids_divide_their_distance_from_the_greatest_logit():
    count, row = 20_000, rows(1)[0]
    own = np.linspace(0.4, 3.0, VOCABULARY).astype(np.float32)
    uniforms = (torch.arange(count) + 0.5) / count
    sampling = Sampling(1.5, top_p=0.9)
    settings = Settings([sampling] * count, temperatures=[torch.from_numpy(own)] * count)
    ids = sample(torch.from_numpy(row).expand(count, -1), settings, uniforms)
    expected = naive_probabilities((row - row.max()) / own, 1.5, p=0.9)
    np.testing.assert_allclose(np.bincount(ids, minlength=VOCABULARY) / count, expected, atol=2.5 / count)
    # The same everywhere, they are one more temperature.
    even = Settings([Sampling(1.5)] * count, temperatures=[torch.full((VOCABULARY,), 2.0)] * count)
    ids = sample(torch.from_numpy(row).expand(count, -1), even, uniforms)
    assert torch.equal(ids, sample(torch.from_numpy(row).expand(count, -1), alike(Sampling(3.0), count), uniforms))


@pytest.mark.parametrize("temperature", [0.0, 1e-40, 1e-3, 0.95, 100.0])
@pytest.mark.parametrize("limits", [{}, {"top_k": 5}, {"top_p": 0.9}, {"top_k": 3, "top_p": 0.5}, {"typical_p": 0.5}])
@pytest.mark.parametrize("size", [VOCABULARY, 300])
def test_a_forbidden_token_is_never_drawn(temperature, limits, size):
    generator = np.random.default_rng(2)
    logits = generator.normal(-4, 3, (200, size)).astype(np.float32)
    forbidden = generator.random(logits.shape) < 0.8
    forbidden[np.arange(200), generator.integers(0, size, 200)] = False
    logits[forbidden] = -np.inf
    for uniform in (0.0, 0.5, 0.999999, 1.0):  # 1.0: what float32 makes of the greatest float64 below it
        settings = alike(Sampling(temperature, **limits), 200)
        ids = sample(torch.from_numpy(logits), settings, torch.full((200,), uniform)).numpy()
        assert not forbidden[np.arange(200), ids].any()


def test_a_low_temperature_and_top_k_of_one_are_greedy():
    logits, uniforms = torch.from_numpy(rows(50)), torch.linspace(0, 0.999999, 50)
    for sampling in (
        Sampling(0),
        Sampling(1e-40),
        Sampling(1e-60),
        Sampling(1e-4),
        Sampling(1.5, top_k=1),
        Sampling(1.0, 0, 1e-9),
        Sampling(min_p=1.0),
    ):
        assert torch.equal(sample(logits, alike(sampling, 50), uniforms), logits.argmax(-1)), sampling


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"temperature": -1.5}, "temperature=-1.5"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": float("inf")}, "temperature=inf"),
        ({"top_k": -1}, "top_k=-1"),
        ({"top_p": 0}, "top_p=0"),
        ({"top_p": 1.5}, "top_p=1.5"),
        ({"top_p": float("nan")}, "top_p=nan"),
        ({"min_p": -0.1}, "min_p=-0.1"),
        ({"min_p": 1.1}, "min_p=1.1"),
        ({"min_p": float("nan")}, "min_p=nan"),
        ({"typical_p": 0}, "typical_p=0"),
        ({"typical_p": 1.01}, "typical_p=1.01"),
        ({"temperature_per_type": {"Pitch": 0.9, "Bar": 0.0}}, r"temperature_per_type\.Bar=0.0"),
        ({"temperature_per_type": {"Pitch": float("nan")}}, r"temperature_per_type\.Pitch=nan"),
    ],
)
def test_values_outside_the_limits_are_named(keywords, message):
    with pytest.raises(UserError, match=message):
        Sampling(**keywords)
