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
    that bar is open. scale_bias: (V,) added to the logits. The row ends where the music would pass the length; a
    model that wants to end earlier is not asked.
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
    ):
        self.walk = Walk(grammar, controls)
        for token in prompt:
            self.walk.step(token)
        self._eos = grammar.tokenizer.eos_id
        self._types = grammar.tokenizer.types
        self._opens_bar = "TimeSig" if "TimeSig" in grammar.of_type else "Bar"
        self._queue = deque(opening)
        self._downbeats, self._bias = downbeats, scale_bias
        opened = Walk(grammar, controls)
        for token in [*prompt, *opening]:
            opened.step(token)
        # A prompt that is closed by an opened bar counts up to that bar's line; any other up to its last onset.
        closed = opened.type in {"Bar", "TimeSig"}
        first_bar = opened.bar if closed or opened.bar < 0 else opened.bar + (opened.notes > 0)
        self.end_bar = max(0, first_bar) + length.bars if length.bars is not None else None
        start = opened.seconds_at(opened.tick)
        self._end_seconds = start + length.seconds if length.seconds is not None else None
        self._tokens_left = length.tokens

    def forced(self) -> int | None:
        """The next token of the queue."""
        return self._queue[0] if self._queue else None

    def allowed(self) -> np.ndarray | None:
        """The lawful tokens; EOS only in the last bar."""
        if self._queue:
            return None
        mask = self.walk.allowed()
        mask[self._eos] &= self.end_bar is not None and self.walk.bar >= self.end_bar - 1
        if not mask.any():
            mask[self.walk.grammar.of_type["Bar"]] = True
        return mask

    def bias(self) -> np.ndarray | None:
        """The key's preference."""
        return None if self._queue else self._bias

    def accept(self, token: int) -> bool:
        """Take `token`, or end the row where it would pass the length."""
        if token == self._eos or self._passes(token):
            return False
        if self._queue:
            self._queue.popleft()
        self.walk.step(token)
        if self._types[token] == self._opens_bar and not self._queue and self._downbeats is not None:
            self._queue.extend(self._downbeats(self.walk.bar))
        return True

    def _passes(self, token: int) -> bool:
        if self._tokens_left is not None and not self._queue:
            self._tokens_left -= 1
            return self._tokens_left < 0
        bar, tick = self.walk.after(token)
        if self.end_bar is not None and bar >= self.end_bar:
            return True
        return self._end_seconds is not None and self.walk.seconds_at(tick) >= self._end_seconds
