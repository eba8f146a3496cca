"""N-grams of token ids with interpolated, modified Kneser-Ney smoothing: the baseline that knows the last few tokens.

Kneser & Ney 1995 for the counts of lower orders (in how many contexts a gram stands, not how often); Chen & Goodman
1999 for the interpolated form and the three discounts of each order. Where an order has too few grams to estimate its
discounts, those of KenLM's fallback are taken (Heafield et al. 2013): 0.5, 1 and 1.5. Below the unigrams lies the
uniform distribution over the vocabulary, so that every token has a probability.

No gram is a Python object: each is a number in a sorted array, the rank of its last m - 1 tokens times the vocabulary
plus the token before these, so that 25 million tokens take sorts of that length and no more.

Legend: P foretold positions, N tokens of a piece with BOS, V vocabulary, m order of a gram, G grams of an order.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

ORDER = 5
_FALLBACK = np.array([0.0, 0.5, 1.0, 1.5])


@dataclass(frozen=True, eq=False)
class _Order:
    """Grams of m tokens, and their contexts of m - 1 tokens (C of these).

    grams, contexts: sorted keys. discounted: (G,) a gram's count less its discount, over its context's sum. backoff:
    (C,) what is left of a context for the order below.
    """

    grams: np.ndarray
    discounted: np.ndarray
    contexts: np.ndarray
    backoff: np.ndarray


class NGram:
    """An n-gram model of model ids, trained at once from pieces of ids (N,), BOS first.

    Before a piece's BOS stand further ones, so that each of its tokens has a context of full length. `size` is the
    number of different grams of all orders. Raises ValueError for an order below 1, no piece with a token to foretell,
    and ids beyond the vocabulary.
    """

    def __init__(self, pieces: Iterable[np.ndarray], vocab_size: int, order: int = ORDER):
        if order < 1:
            raise ValueError(f"order={order}: must be at least 1")
        self.order, self.vocab_size = order, vocab_size
        ids, foretold = self._joined(list(pieces))
        if not len(foretold):
            raise ValueError("an n-gram model needs at least one piece with a token after its first")
        if int(ids.max()) >= vocab_size or int(ids.min()) < 0:
            raise ValueError(f"ids reach from {ids.min()} to {ids.max()}, the vocabulary has {vocab_size}")
        gram_ranks, context_ranks = np.zeros(len(foretold), np.int64), np.zeros(len(foretold), np.int64)
        keys, of_gram, own_context, contexts = [], [], [], []
        for m in range(1, order + 1):  # a gram: its last m - 1 tokens, and one more before them
            if m > 1:
                found, context_ranks, _ = _ranked(context_ranks * vocab_size + ids[foretold - m + 1])
            else:
                found = np.zeros(1, np.int64)
            grams, gram_ranks, example = _ranked(gram_ranks * vocab_size + ids[foretold - m + 1])
            keys.append(grams)
            contexts.append(found)
            own_context.append(context_ranks[example])  # (G,) the rank of each gram's context
            of_gram.append(np.bincount(gram_ranks) if m == order else None)
        self._orders = []
        for m in range(1, order + 1):
            counts = of_gram[m - 1]
            if counts is None:  # in how many longer grams it is the end, each counted once
                counts = np.bincount(keys[m] // vocab_size, minlength=len(keys[m - 1]))
            self._orders.append(_smoothed(keys[m - 1], counts, own_context[m - 1], contexts[m - 1]))
        self.size = sum(map(len, keys))

    def nats(self, ids: np.ndarray) -> np.ndarray:
        """Nats of ids[1:] given what stands before each, (N - 1,) for ids (N,) with BOS first."""
        return self.nats_of([ids])[0]

    def nats_of(self, pieces: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The same for many pieces, looked up together."""
        ids, foretold = self._joined(pieces)
        targets = ids[foretold]
        nats = -np.log(self._probabilities(lambda back: ids[foretold - back], targets))
        return np.split(nats, np.cumsum([max(0, len(piece) - 1) for piece in pieces])[:-1])

    def probabilities(self, context: Sequence[int]) -> np.ndarray:
        """(V,) of each token after `context`, of which the last order - 1 count; BOS stands before a shorter one."""
        before = np.asarray(context, dtype=np.int64)
        if len(before) < self.order - 1:
            before = np.concatenate([np.full(self.order - 1 - len(before), before[0]), before])
        targets = np.arange(self.vocab_size)
        return self._probabilities(lambda back: targets if back == 0 else np.full_like(targets, before[-back]), targets)

    def _probabilities(self, token_back: Callable[[int], np.ndarray], targets: np.ndarray) -> np.ndarray:
        """(P,) of `targets` (P,). token_back(k): the tokens k places before them (P,), 0 the targets themselves."""
        p = np.full(len(targets), 1 / self.vocab_size)
        gram = context = np.zeros(len(targets), np.int64)
        for m, order in enumerate(self._orders, 1):
            before = token_back(m - 1)
            gram = _find(order.grams, gram, before, self.vocab_size)
            context = _find(order.contexts, context, before, self.vocab_size) if m > 1 else context
            seen = context >= 0
            # Of an unseen context all is left for the order below.
            p = np.where(seen, order.backoff[context], 1.0) * p
            p += np.where(gram >= 0, order.discounted[gram], 0.0)
        return p

    def _joined(self, pieces: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """All pieces one after another, each with order - 1 times its BOS; and where a token is foretold, (P,)."""
        parts, places, begin = [], [], 0
        for piece in pieces:
            if len(piece) < 2:
                continue
            pad = max(0, self.order - 2)
            parts += [np.full(pad, piece[0], dtype=np.int64), np.asarray(piece, dtype=np.int64)]
            places.append(np.arange(begin + pad + 1, begin + pad + len(piece)))
            begin += pad + len(piece)
        none = np.zeros(0, np.int64)
        return (np.concatenate(parts), np.concatenate(places)) if parts else (none, none)


def _ranked(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted different keys (G,), the rank of each key among them (P,), and one place of each (G,)."""
    order = np.argsort(keys)
    ordered = keys[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    ranks = np.empty(len(keys), np.int64)
    ranks[order] = np.cumsum(first) - 1
    return ordered[first], ranks, order[first]


def _find(keys: np.ndarray, ranks: np.ndarray, tokens: np.ndarray, vocab_size: int) -> np.ndarray:
    """Where the grams of `tokens` before those of `ranks` stand in `keys`, (P,); -1 where they do not."""
    wanted = ranks * vocab_size + tokens
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where((ranks >= 0) & (keys[place] == wanted), place, -1)


def _smoothed(grams: np.ndarray, counts: np.ndarray, own_context: np.ndarray, contexts: np.ndarray) -> _Order:
    """Counts (G,) with each gram's context (G,) as what the interpolated form needs of an order."""
    discounts = discounts_of(counts)[np.minimum(counts, 3)]  # (G,)
    sums = np.bincount(own_context, counts, len(contexts))  # (C,)
    taken = np.bincount(own_context, discounts, len(contexts))
    return _Order(grams, (counts - discounts) / sums[own_context], contexts, taken / sums)


def discounts_of(counts: np.ndarray) -> np.ndarray:
    """(4,): what is taken from a count of 0, 1, 2, and 3 or more (Chen & Goodman 1999, eq. 17)."""
    one, two, three, four = (int((counts == number).sum()) for number in (1, 2, 3, 4))
    if not (one and two and three):
        return _FALLBACK
    y = one / (one + 2 * two)
    found = np.array([0.0, 1 - 2 * y * two / one, 2 - 3 * y * three / two, 3 - 4 * y * four / three])
    return found if (found[1:] > 0).all() and (found <= [0, 1, 2, 3]).all() else _FALLBACK
