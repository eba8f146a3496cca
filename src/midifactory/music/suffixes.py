"""All suffixes of a long sequence in their order, and what of another sequence stands in it.

A suffix array (Manber and Myers 1990): every place of the sequence, ordered by what follows from there. Whatever stands
anywhere in the sequence begins a run of neighbours in that order, so that it is found by halving.

Legend: N places of the sequence, M of the query, K starts, W the width of windows.
"""

from typing import NamedTuple

import numpy as np

# So many codes are compared at once, and twice as many each time that these are equal.
_CODES_AT_ONCE, _MOST_AT_ONCE = 8, 1024
# Of a query's places every so-manieth is looked up first; those between need it only where their ends differ. A short
# query is looked up whole: what a call costs is more than what its few places do.
_FIRST_STRIDE, _SHORT = 64, 512


class Found(NamedTuple):
    """lengths: of the longest prefix of each query suffix that stands anywhere, -1 without any place; places: (K,)."""

    lengths: np.ndarray
    places: np.ndarray


def suffix_order(codes: np.ndarray, end: int) -> np.ndarray:
    """codes (N,) -> the places (N,) in the order of their suffixes. The last code is `end`, the greatest of all.

    Each `end` counts as another code, rising from left to right, so suffixes differ at the next one at the latest. By
    prefix doubling (Karp, Miller and Rosenberg 1972), of the places alone that still tie (Larsson and Sadakane 2007):
    N log N for each doubling up to the longest repeat.
    """
    count = len(codes)
    ends = codes == end
    first = np.where(ends, end + np.cumsum(ends) - 1, codes.astype(np.int64))
    todo = np.argsort(first)  # in what order places tie does not matter, all ties are broken later
    order = todo.copy()
    slots, rank = np.arange(count), np.empty(count, dtype=np.int64)
    keys, width = first[todo], 1
    while len(todo):
        begins = np.ones(len(todo), dtype=bool)
        begins[1:] = keys[1:] != keys[:-1]
        heads = np.flatnonzero(begins)
        sizes = np.diff(heads, append=len(todo))
        rank[todo] = np.repeat(slots[heads], sizes)
        tied = np.repeat(sizes > 1, sizes)
        todo, slots = todo[tied], slots[tied]
        if not len(todo):
            break
        keys = rank[todo] * count + rank[todo + width]  # no `end` stands in what ties, so this place is there
        by = np.argsort(keys)
        todo, keys = todo[by], keys[by]
        order[slots] = todo
        width *= 2
    return order


def _compare(
    codes: np.ndarray, places: np.ndarray, query: np.ndarray, starts: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How much of each query suffix stands at a place, the first `known` codes as given, and whether it is greater."""
    lengths, greater = known.copy(), np.zeros(len(places), dtype=bool)
    todo, size = np.arange(len(places)), _CODES_AT_ONCE
    while len(todo):
        ahead = lengths[todo, None] + np.arange(size)  # (K, size)
        theirs = codes[np.minimum(places[todo, None] + ahead, len(codes) - 1)]
        mine = query[np.minimum(starts[todo, None] + ahead, len(query) - 1)]
        differs = mine != theirs
        first = differs.argmax(1)
        row = np.arange(len(todo))
        done = differs[row, first]
        lengths[todo] += np.where(done, first, size)
        greater[todo] = mine[row, first] > theirs[row, first]
        todo, size = todo[~done], min(2 * size, _MOST_AT_ONCE)
    return lengths, greater


def longest_prefixes(
    codes: np.ndarray, order: np.ndarray, query: np.ndarray, starts: np.ndarray, low: np.ndarray, high: np.ndarray
) -> Found:
    """For each suffix of `query` (M,) from `starts` (K,) its longest prefix among the suffixes order[low:high].

    The query's last code, and no other of it, is greater than all of `codes`, whose own `end` it does not have.
    """
    low, high = low - 1, high.copy()
    left, right = np.zeros_like(starts), np.zeros_like(starts)  # how much is equal at both bounds
    lengths, places = np.full(len(starts), -1), np.full(len(starts), -1)
    while len(open_ := np.flatnonzero(high - low > 1)):
        middle = (low[open_] + high[open_]) // 2
        place = order[middle].astype(np.int64)
        known = np.minimum(left[open_], right[open_])
        equal, greater = _compare(codes, place, query, starts[open_], known)
        up, down = open_[greater], open_[~greater]
        low[up], left[up] = middle[greater], equal[greater]
        high[down], right[down] = middle[~greater], equal[~greater]
        better = equal > lengths[open_]
        lengths[open_[better]], places[open_[better]] = equal[better], place[better]
    return Found(lengths, places)


def all_longest_prefixes(
    codes: np.ndarray, order: np.ndarray, query: np.ndarray, low: np.ndarray, high: np.ndarray
) -> Found:
    """`longest_prefixes` of every suffix of the query, order[low[k]:high[k]] being searched for that from k on.

    Where one goes on to some place, a later one goes on to it at least; so between two that end together none is
    searched: a whole piece that stands there costs a few searches. lengths may be less than the longest in places
    that lie within such a match, never where one begins.
    """
    count = len(query)
    ends, places = np.zeros(count, dtype=np.int64), np.full(count, -1)
    stride = _FIRST_STRIDE if count > _SHORT else 1
    begin = np.arange(0, count, stride)
    while True:
        found = longest_prefixes(codes, order, query, begin, low[begin], high[begin])
        ends[begin], places[begin] = begin + found.lengths, found.places
        stride //= 2
        if not stride:
            return Found(ends - np.arange(count), places)
        between = np.arange(stride, count, 2 * stride)
        before, after = between - stride, between + stride
        same = ends[before] == np.where(after < count, ends[np.minimum(after, count - 1)], count - 1)
        same &= ends[before] > between
        inside = between[same]
        ends[inside], places[inside] = ends[before[same]], places[before[same]] + stride
        begin = between[~same]


def prefix_ranges(codes: np.ndarray, order: np.ndarray, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """windows (K, W) -> for each the bounds (K,) of the run of `order` whose suffixes begin with it."""
    count, width = windows.shape
    query = np.concatenate([windows, np.full((count, 1), np.iinfo(np.int64).max)], 1).ravel()
    starts = np.arange(count) * (width + 1)
    bounds = []
    for past_equals in (False, True):
        low, high = np.full(count, -1), np.full(count, len(order))
        while len(open_ := np.flatnonzero(high - low > 1)):
            middle = (low[open_] + high[open_]) // 2
            place = order[middle].astype(np.int64)
            equal, greater = _compare(codes, place, query, starts[open_], np.zeros_like(open_))
            up = np.where(equal >= width, past_equals, greater)
            low[open_[up]], high[open_[~up]] = middle[up], middle[~up]
        bounds.append(high)
    return bounds[0], bounds[1]
