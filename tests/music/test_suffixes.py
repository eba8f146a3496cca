"""Suffix arrays against naive searches."""

import numpy as np
import pytest

from midifactory.music.suffixes import all_longest_prefixes, longest_prefixes, prefix_ranges, suffix_order


def random_codes(generator, alphabet, count):
    """`count` codes below `alphabet` with ends (= alphabet) among them and at last."""
    codes = generator.integers(0, alphabet, count)
    codes[generator.random(count) < 0.1] = alphabet
    codes[-1] = alphabet
    return codes


def common(query, codes, start, place):
    """How many codes are equal from there on."""
    length = 0
    while (
        start + length < len(query) and place + length < len(codes) and query[start + length] == codes[place + length]
    ):
        length += 1
    return length


@pytest.fixture(params=range(40))
def case(request):
    """(codes, alphabet, query): small alphabets repeat much."""
    generator = np.random.default_rng(request.param)
    alphabet = int(generator.integers(1, 5))
    codes = random_codes(generator, alphabet, int(generator.integers(1, 80)))
    query = generator.integers(0, alphabet + 1, int(generator.integers(1, 200)))
    query[query == alphabet] = alphabet + 1
    if len(codes) > 20:  # a long copy
        first = codes[:20][codes[:20] < alphabet]
        query = np.concatenate([query, np.tile(first, 3), query])
    return codes, alphabet, np.append(query, alphabet + 1)


def test_order_is_that_of_all_suffixes(case):
    codes, alphabet, _ = case
    told_apart = codes.copy()
    ends = codes == alphabet
    told_apart[ends] = alphabet + np.arange(ends.sum())
    naive = sorted(range(len(codes)), key=lambda place: tuple(told_apart[place:]))
    assert suffix_order(codes, alphabet).tolist() == naive


@pytest.mark.parametrize("search", [longest_prefixes, all_longest_prefixes])
def test_longest_prefixes_are_found_where_they_stand(case, search):
    codes, alphabet, query = case
    order, count = suffix_order(codes, alphabet), len(query)
    bounds = np.zeros(count, dtype=np.int64), np.full(count, len(codes))
    starts = (np.arange(count),) if search is longest_prefixes else ()
    lengths, places = search(codes, order, query, *starts, *bounds)
    for start in range(count):
        assert lengths[start] == max(common(query, codes, start, place) for place in range(len(codes)))
        assert common(query, codes, start, places[start]) == lengths[start]


def test_no_place_to_search_in(case):
    codes, alphabet, query = case
    nothing = np.zeros(len(query), dtype=np.int64)
    found = all_longest_prefixes(codes, suffix_order(codes, alphabet), query, nothing, nothing)
    assert set(found.lengths) == {-1}


@pytest.mark.parametrize("width", [1, 2, 5])
def test_prefix_ranges_hold_all_places_of_a_window(case, width):
    codes, alphabet, _ = case
    order = suffix_order(codes, alphabet)
    windows = np.random.default_rng(width).integers(0, alphabet, (6, width))
    if len(codes) > width and (codes[:width] < alphabet).all():
        windows[0] = codes[:width]
    low, high = prefix_ranges(codes, order, windows)
    for window, first, last in zip(windows, low, high, strict=True):
        naive = {place for place in range(len(codes)) if codes[place : place + width].tolist() == window.tolist()}
        assert set(order[first:last].tolist()) == naive
