"""How a corpus goes from chord to chord: a small n-gram model, under which other music is more or less likely.

Legend: V chords, S pieces.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from midifactory.music.harmony import chord_classes

_BEGIN = 0  # no chord: a chord has one bit at least


class ChordModel:
    """Trigrams of chord changes in a common key, interpolated with shorter ones (Witten & Bell 1991).

    A chord is a number of 12 bits, its pitch classes as if the tonic were C (metrics.chord_changes). After a context
    that was seen c times with t different chords behind it, the model trusts the context with the weight c / (c + t)
    and the next shorter one with the rest; the shortest one of all holds every chord that can be recognised equally
    likely, so that nothing is impossible.
    """

    def __init__(self, pieces: Iterable[Sequence[int]], order: int = 3):
        if order < 1:
            raise ValueError(f"order={order}: must be at least 1")
        self.order = order
        self.chords = frozenset(sum(1 << each for each in classes) for classes in chord_classes())
        self._follows: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for piece in pieces:
            told = (_BEGIN,) * (order - 1) + tuple(piece)
            for place in range(order - 1, len(told)):
                for length in range(order):
                    self._follows[told[place - length : place]][told[place]] += 1

    def probability(self, chord: int, before: Sequence[int] = ()) -> float:
        """Of a chord after those `before` it in the piece."""
        told = ((_BEGIN,) * (self.order - 1) + tuple(before))[-(self.order - 1) :] if self.order > 1 else ()
        found = 1 / len(self.chords)
        for length in range(self.order):
            follows = self._follows.get(told[len(told) - length :])
            if not follows:
                break
            count, kinds = follows.total(), len(follows)
            found = (follows[chord] + kinds * found) / (count + kinds)
        return found

    def perplexity(self, piece: Sequence[int]) -> float:
        """exp of the mean nats of a piece's chords; nan without any."""
        nats = [-math.log(self.probability(chord, piece[:place])) for place, chord in enumerate(piece)]
        return math.exp(sum(nats) / len(nats)) if nats else math.nan
