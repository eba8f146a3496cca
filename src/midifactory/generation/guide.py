"""Guides one row of the engine through music: the grammar, the length asked for, forced notes, and a key."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from symusic import Score

from midifactory.errors import UserError
from midifactory.music.score import bar_starts, note_arrays, seconds_at
from midifactory.tokens.grammar import Controls, Grammar, Walk
from midifactory.tokens.tokenizer import Tokenizer

# Without a grammar a row is heard anew after so many tokens, to see whether it is long enough ...
_LISTEN_EVERY = 32
# ... and given up where so many bring no later onset: nothing else stops a model that repeats itself in one place.
_PATIENCE = 1024


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
        if "TimeSig" not in grammar.of_type:
            controls = replace(controls, metre=None)  # its only metre is 4/4
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


class FreeGuide:
    """Implements engine.Guide for any tokenizer: no grammar, only the length.

    hear: model ids to the Score that they are; prompt: the row's first ids. The row goes on until a note begins at or
    after the length asked for, counted from `bars_before` and `seconds_before` (the finished Score is to be cut
    there), or for exactly `length.tokens` ids. PAD and BOS never come, nor EOS before that, except in a tokenizer
    whose time begins anew (MMM): there EOS ends the row, and a length in bars or seconds is a UserError.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        hear: Callable[[Sequence[int]], Score],
        prompt: Sequence[int],
        length: Length,
        scale_bias: np.ndarray | None = None,
        bars_before: int = 0,
        seconds_before: float = 0.0,
    ):
        if not tokenizer.monotonic and length.tokens is None:
            name, value = ("bars", length.bars) if length.bars is not None else ("seconds", length.seconds)
            raise UserError(
                f"{name}={value}: {tokenizer.scheme} writes one track after the other, so only tokens can be counted; "
                "set tokens=1024"
            )
        self._hear, self._row, self._bias = hear, list(prompt), scale_bias
        self._eos = tokenizer.eos_id
        self._allowed = np.ones(tokenizer.vocab_size, dtype=bool)
        self._allowed[[tokenizer.pad_id, tokenizer.bos_id]] = False
        self._allowed[tokenizer.eos_id] = not tokenizer.monotonic
        self.end_bar = bars_before + length.bars if length.bars is not None else None
        self.seconds = length.seconds
        self._end_seconds = seconds_before + length.seconds if length.seconds is not None else None
        self._tokens_left = length.tokens
        self._taken, self._last_onset, self._onset_at = 0, -1, 0

    def forced(self) -> int | None:
        """Nothing."""
        return None

    def allowed(self) -> np.ndarray | None:
        """All but special tokens."""
        return self._allowed

    def bias(self) -> np.ndarray | None:
        """The key's preference."""
        return self._bias

    def take(self, token: int) -> int | None:
        """Take `token`, or end the row where it is long enough."""
        if token == self._eos:
            return None
        if self._tokens_left is not None:
            self._tokens_left -= 1
            return token if self._tokens_left >= 0 else None
        if self._taken and self._taken % _LISTEN_EVERY == 0 and self._is_long_enough():
            return None
        self._taken += 1
        self._row.append(token)
        return token

    def _is_long_enough(self) -> bool:
        score = self._hear(self._row)
        onset = int(note_arrays(score)["onset"].max(initial=-1))
        if onset > self._last_onset:
            self._last_onset, self._onset_at = onset, self._taken
        if self.end_bar is not None:
            reached = len(bar_starts(score, onset + 1)) > self.end_bar
        else:
            assert self._end_seconds is not None
            reached = float(seconds_at(score, np.array(onset))) >= self._end_seconds
        return reached or self._taken - self._onset_at >= _PATIENCE
