"""N-grams against a naive implementation with dictionaries, and against what every distribution must be."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from midifactory.evaluation.ngram import NGram, discounts_of

VOCAB = 7
RANDOM = np.random.default_rng(0)


def walk(length: int) -> np.ndarray:
    """BOS 1, then a walk whose steps depend on the last two ids, so that longer grams are worth knowing."""
    ids = [1, 2]
    while len(ids) < length:
        ids.append(2 + int((ids[-1] + ids[-2] + (RANDOM.random() < 0.3)) % (VOCAB - 2)))
    return np.array(ids)


PIECES = [walk(length) for length in (40, 7, 2, 90, 15)]
HELD_OUT = [walk(30), np.array([1, 6, 6, 6, 0, 0]), walk(5)]


class Naive:
    """Chen & Goodman's interpolated modified Kneser-Ney (1999), gram by gram."""

    def __init__(self, pieces, vocab, order):
        self.vocab, self.order = vocab, order
        self.counts = {m: Counter() for m in range(1, order + 1)}
        for piece in pieces:
            padded = [piece[0]] * (order - 2) + list(piece)
            for end in range(len(padded) - len(piece) + 1, len(padded)):
                self.counts[order][tuple(padded[end - order + 1 : end + 1])] += 1
        for m in range(order - 1, 0, -1):
            for gram in self.counts[m + 1]:
                self.counts[m][gram[1:]] += 1
        self.discounts = {m: discounts_of(np.array(list(found.values()))) for m, found in self.counts.items()}
        self.followers = {m: defaultdict(list) for m in self.counts}
        for m, found in self.counts.items():
            for gram, count in found.items():
                self.followers[m][gram[:-1]].append(count)

    def probability(self, gram):
        """Of the last token after the others, of which the last order - 1 count."""
        gram = tuple(gram[-self.order :])
        if not gram:
            return 1 / self.vocab
        m, followers = len(gram), self.followers[len(gram)][gram[:-1]]
        lower = self.probability(gram[1:])
        if not followers:
            return lower
        discount = lambda count: self.discounts[m][min(count, 3)]  # noqa: E731
        count, total = self.counts[m][gram], sum(followers)
        own = (count - discount(count)) / total if count else 0.0
        return own + sum(map(discount, followers)) / total * lower


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_equals_dictionaries(order):
    model, naive = NGram(PIECES, VOCAB, order), Naive(PIECES, VOCAB, order)
    assert model.size == sum(map(len, naive.counts.values()))
    for ids, nats in zip(HELD_OUT, model.nats_of(HELD_OUT), strict=True):
        padded = [ids[0]] * max(0, order - 2) + ids.tolist()
        shift = len(padded) - len(ids)
        ends = range(shift + 2, len(padded) + 1)
        expected = [-np.log(naive.probability(padded[max(0, end - order) : end])) for end in ends]
        assert nats == pytest.approx(expected)
        assert model.nats(ids) == pytest.approx(expected)


@pytest.mark.parametrize("context", [[1], [1, 2], [2, 3, 4, 5], [6, 6, 6, 6], [0, 0], [1, 2, 5, 0, 3, 3]])
def test_probabilities_add_up_to_one(context):
    """After contexts that training has seen, has seen in part, and has never seen."""
    probabilities = NGram(PIECES, VOCAB).probabilities(context)
    assert probabilities.sum() == pytest.approx(1)
    assert (probabilities > 0).all()


def test_what_was_seen_before_is_likelier():
    seen = NGram(PIECES, VOCAB).nats(PIECES[3]).mean()
    assert seen < NGram(PIECES[:3], VOCAB).nats(PIECES[3]).mean() < np.log(VOCAB) + 0.5


def test_ids_of_any_size_are_told_apart():
    """Keys of five ids of this vocabulary would not fit 64 bits if they were packed one beside the other."""
    vocab = 60_000
    model = NGram([np.array([1, 59_999, 3, 59_998, 7, 59_999])], vocab)
    assert model.probabilities([59_999]).sum() == pytest.approx(1)
    nats = model.nats(np.array([1, 59_999, 3, 59_998, 7, 59_999]))
    assert nats.max() < 2 < model.nats(np.array([1, 59_997])).item()


def test_discounts_by_hand():
    """n1 = 4, n2 = 2, n3 = 1, n4 = 1: Y = 4 / 8; D = 1 - 2 Y 2/4, 2 - 3 Y 1/2, 3 - 4 Y 1/1."""
    counts = np.array([1, 1, 1, 1, 2, 2, 3, 4, 9])
    assert discounts_of(counts) == pytest.approx([0, 0.5, 1.25, 1.0])
    assert discounts_of(np.array([5, 6])) == pytest.approx([0, 0.5, 1, 1.5])  # too few for an estimate


@pytest.mark.parametrize(
    ("pieces", "order", "said"),
    [([], 5, "at least one piece"), ([np.array([1])], 5, "at least one piece"), ([np.array([1, 7])], 5, "vocabulary"),
     (PIECES, 0, "order=0")],
)  # fmt: skip
def test_what_cannot_be_learnt_is_refused(pieces, order, said):
    with pytest.raises(ValueError, match=said):
        NGram(pieces, VOCAB, order)
