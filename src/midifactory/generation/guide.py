"""Guides one row of the engine through music: the grammar, the length asked for, forced notes, and what is wished."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from symusic import Score

from midifactory.errors import UserError
from midifactory.generation.copies import CopyGuard
from midifactory.generation.styles import ForcedNote
from midifactory.music.score import bar_starts, note_arrays, seconds_at
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.tokens.walker import Struck, Walker

# Without a grammar a row is heard anew after so many tokens, to see whether it is long enough.
_LISTEN_EVERY = 32
# Such a row is given up where so many tokens bring no later onset: nothing else stops a model that stays in one place.
_PATIENCE = 1024


@dataclass(frozen=True)
class Length:
    """How much to compose after the prompt; exactly one of the three is set. Raises UserError otherwise.

    or_end: the model may end a piece before that, where it would.
    """

    bars: int | None = None
    seconds: float | None = None
    tokens: int | None = None
    or_end: bool = False

    def __post_init__(self) -> None:
        lengths = {"bars": self.bars, "seconds": self.seconds, "tokens": self.tokens}
        given = {name: value for name, value in lengths.items() if value is not None}
        if len(given) != 1:
            raise UserError(f"length is given as {given or 'nothing'}; set exactly one of bars, seconds, tokens")
        name, value = next(iter(given.items()))
        if value <= 0:
            raise UserError(f"{name}={value}: it must be above 0")

    def refuse_unless_counted(self, tokenizer: Tokenizer) -> None:
        """Raise UserError for bars or seconds of a tokenizer whose time begins anew with every track."""
        if not tokenizer.monotonic and self.tokens is None:
            name, value = ("bars", self.bars) if self.bars is not None else ("seconds", self.seconds)
            raise UserError(
                f"{name}={value}: {tokenizer.scheme} writes one track after the other, so only tokens can be counted; "
                "set tokens=1024"
            )


class Wish(Protocol):
    """What is wished of a row beside the law: see generation/steering.py."""

    def bias(self, walk: Walker) -> np.ndarray | None:
        """(V,) float added to the logits of the next id; None for nothing."""


class MusicGuide:
    """Implements engine.Guide for a row whose prompt `walk` has gone over; every id it takes is lawful music.

    opening: ids to be taken before anything is sampled. downbeats: bar index -> notes to be taken as soon as that bar
    is open, but for those that sound already. The length counts from `bars_before` and
    `seconds_before`. The row ends where the music would pass the length; where the model ends a piece earlier, a new
    bar begins, as after any phrase, unless `length.or_end`. copies: keeps the row from copying; it has gone over the
    prompt as well, and is used up. `finished`: the notes that have become whole, which the reader may empty.
    """

    def __init__(
        self,
        walk: Walker,
        length: Length,
        opening: Sequence[int] = (),
        downbeats: Callable[[int], Sequence[ForcedNote]] | None = None,
        wish: Wish | None = None,
        bars_before: int = 0,
        seconds_before: float = 0.0,
        copies: CopyGuard | None = None,
    ):
        length.refuse_unless_counted(walk.tokenizer)
        self.walk, self._copies = walk, copies
        self.opens_bar = False
        self._queue = deque(opening)
        self._downbeats, self._wish = downbeats, wish
        self._greeted = 0  # the last bar whose downbeat has come; an opening has its own
        self.end_bar = bars_before + length.bars if length.bars is not None else None
        walk.end_bar = self.end_bar
        walk.keeps_bar_lines = downbeats is not None
        self.seconds = length.seconds
        self.end_seconds = seconds_before + length.seconds if length.seconds is not None else None
        self._tokens_left, self._or_end = length.tokens, length.or_end
        if not opening:
            self._greet()

    @property
    def finished(self) -> list[Struck]:
        """Whole notes, in the order in which they became so."""
        return self.walk.finished

    def forced(self) -> int | None:
        """The next id of the queue."""
        return self._queue[0] if self._queue else None

    def allowed(self) -> np.ndarray | None:
        """The lawful ids, less those by which the music would fall short of the bars asked."""
        if self._queue:
            return None
        if self.end_seconds is not None:
            self.walk.end_tick = self.walk.tick_at(self.end_seconds)
        allowed = self.walk.allowed()
        return allowed if self._copies is None else self._copies.allowed(self.walk, allowed)

    def bias(self) -> np.ndarray | None:
        """What is wished."""
        return None if self._queue or self._wish is None else self._wish.bias(self.walk)

    def take(self, token: int) -> int | None:
        """Take `token`, or end the row where it would pass the length."""
        walk = self.walk
        if token == walk.tokenizer.eos_id:
            if self._or_end or walk.bar_id is None or not walk.allowed()[walk.bar_id]:
                return None
            token = walk.bar_id
        if self._passes(token):
            return None
        if self._queue:
            self._queue.popleft()
        tick = walk.tick
        walk.step(token)
        if self._copies is not None:
            self._copies.follow(walk, tick)
        self.opens_bar = walk.opened_bar
        self._greet()
        return token

    def _greet(self) -> None:
        walk = self.walk
        if self._downbeats is not None and not self._queue and walk.bar > self._greeted and walk.at_downbeat:
            self._greeted = walk.bar
            self._queue.extend(self._struck(self._downbeats(walk.bar)))

    def _struck(self, notes: Sequence[ForcedNote]) -> Iterator[int]:
        """The ids of the notes, one after the other."""
        ahead = self.walk.copy()
        for note in notes:
            if ahead.sounds(note.program, note.pitch):
                continue
            ids = note.ids if ahead.follows(note.ids[0]) else (*note.lead, *note.ids)
            for id_ in ids:
                ahead.step(id_)
            yield from ids

    def _passes(self, token: int) -> bool:
        if self._tokens_left is not None and not self._queue:
            self._tokens_left -= 1
            return self._tokens_left < 0
        if self.end_bar is None and self.end_seconds is None:
            return False
        bar, tick = self.walk.after(token)
        if self.end_bar is not None and bar >= self.end_bar:
            return True
        return self.end_seconds is not None and self.walk.seconds_at(tick) >= self.end_seconds


class FreeGuide:
    """Implements engine.Guide for any tokenizer: no grammar, only the length.

    hear: model ids to the Score that they are; prompt: the row's first ids. The row goes on until a note begins at or
    after the length asked for, counted from `bars_before` and `seconds_before` (the finished Score is to be cut
    there), or for exactly `length.tokens` ids. No special token comes, nor EOS before that, except in a tokenizer
    whose time begins anew (MMM): there EOS ends the row, and a length in bars or seconds is a UserError.
    """

    opens_bar = False

    def __init__(
        self,
        tokenizer: Tokenizer,
        hear: Callable[[Sequence[int]], Score],
        prompt: Sequence[int],
        length: Length,
        bias: np.ndarray | None = None,
        bars_before: int = 0,
        seconds_before: float = 0.0,
    ):
        length.refuse_unless_counted(tokenizer)
        self._hear, self._row, self._bias = hear, list(prompt), bias
        self._eos = tokenizer.eos_id
        self._allowed = np.ones(tokenizer.vocab_size, dtype=bool)
        self._allowed[tokenizer.special_ids] = False
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
