"""Guides one row of the engine through music: the grammar, the length asked for, forced notes, and a key."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from midifactory.errors import UserError
from midifactory.tokens.grammar import Controls, Grammar, Walk


@dataclass(frozen=True)
class Length:
    """How much to compose after the prompt; exactly one of the three is set. Raises UserError otherwise."""

    bars: int | None = None
    seconds: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            raise UserError(f"length is given as {given or 'nothing'}; set exactly one of bars, seconds, tokens")
        name, value = next(iter(given.items()))
        if value <= 0:
            raise UserError(f"{name}={value}: it must be above 0")


class MusicGuide:
    """Implements engine.Guide for a REMI stream that starts with `prompt`.

    opening: tokens to be taken before anything is sampled. downbeats: bar index -> tokens to be taken as soon as
    that bar is open. scale_bias: (V,) added to the logits. The length counts from `bars_before` and
    `seconds_before`. The row ends where the music would pass the length; where the model ends a piece earlier, a new
    bar begins, as after any phrase.
    """

    def __init__(
        self,
        grammar: Grammar,
        prompt: Sequence[int],
        length: Length,
        controls: Controls,
        opening: Sequence[int] = (),
        downbeats: Callable[[int], Sequence[int]] | None = None,
        scale_bias: np.ndarray | None = None,
        bars_before: int = 0,
        seconds_before: float = 0.0,
    ):
        self.walk = Walk(grammar, controls)
        for token in prompt:
            self.walk.step(token)
        self._eos = grammar.tokenizer.eos_id
        self._types = grammar.tokenizer.types
        self._bar = int(grammar.of_type["Bar"][0])
        self._rests = grammar.of_type.get("Rest", np.zeros(0, int))
        self._opens_bar = "TimeSig" if "TimeSig" in grammar.of_type else "Bar"
        self._queue = deque(opening)
        self._downbeats, self._bias = downbeats, scale_bias
        self.end_bar = bars_before + length.bars if length.bars is not None else None
        self.seconds = length.seconds
        self._end_seconds = seconds_before + length.seconds if length.seconds is not None else None
        self._tokens_left = length.tokens

    def forced(self) -> int | None:
        """The next token of the queue."""
        return self._queue[0] if self._queue else None

    def allowed(self) -> np.ndarray | None:
        """The lawful tokens, less those by which the music would fall short of the bars asked."""
        if self._queue:
            return None
        lawful = self.walk.allowed()
        if self.end_bar is None:
            return lawful
        mask = lawful.copy()
        mask[[token for token in self._rests if mask[token] and self.walk.after(int(token))[0] >= self.end_bar]] = False
        if self.walk.bar == self.end_bar - 1 and not self.walk.bar_sounds:
            mask[[self._bar, self._eos]] = False
        return mask if mask.any() else lawful

    def bias(self) -> np.ndarray | None:
        """The key's preference."""
        return None if self._queue else self._bias

    def take(self, token: int) -> int | None:
        """Take `token`, or end the row where it would pass the length."""
        if token == self._eos:
            token = self._bar
        if self._passes(token):
            return None
        if self._queue:
            self._queue.popleft()
        self.walk.step(token)
        if self._types[token] == self._opens_bar and not self._queue and self._downbeats is not None:
            self._queue.extend(self._downbeats(self.walk.bar))
        return token

    def _passes(self, token: int) -> bool:
        if self._tokens_left is not None and not self._queue:
            self._tokens_left -= 1
            return self._tokens_left < 0
        bar, tick = self.walk.after(token)
        if self.end_bar is not None and bar >= self.end_bar:
            return True
        return self._end_seconds is not None and self.walk.seconds_at(tick) >= self._end_seconds
