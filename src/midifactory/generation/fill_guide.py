"""Guides one row of the engine through the bars that it fills: lawful music, in these bars, on these instruments.

Legend: V model ids, N notes within ids, S slots, P pitches, T ticks.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from midifactory.tokens.grammar import PITCHES, RESTS, Grammar
from midifactory.tokens.walk import Walk


class Sounding(NamedTuple):
    """A note outside what is filled, that sounds there. Ticks of the walk, from the first bar that is filled."""

    program: int
    pitch: int
    start_tick: int
    end_tick: int


class FillTables:
    """What all rows of one grammar share: for each model id how it opens bars, what metre it tells, what it strikes.

    allowed: (V,) bool of ids that may stand in a span at all: not rests, of which rearranged rows have none, not the
    end of a piece, and no id that passes over a bar.
    """

    def __init__(self, grammar: Grammar, fill_end: int):
        size = grammar.tokenizer.vocab_size
        self.grammar, self.fill_end = grammar, fill_end
        self.opens = np.zeros(size, dtype=bool)
        self.opens[grammar.movers] = grammar.opens
        self.metre = np.full(size, -1)
        self.metre[grammar.movers] = grammar.metre
        self.allowed = np.ones(size, dtype=bool)
        self.allowed[grammar.movers] = (grammar.kind != RESTS) & (grammar.bars <= 1)
        self.allowed[grammar.tokenizer.eos_id] = False
        self.strikes = np.bincount(grammar.note_id, minlength=size)


class Busy:
    """When which pitches of which programs sound outside: (K, T) bool for the K pairs that do at all."""

    def __init__(self, grammar: Grammar, notes: Iterable[Sounding], ticks: int):
        found = [
            note for note in notes if note.end_tick > 0 and note.start_tick < ticks and note.program in grammar.slots
        ]
        keys = sorted({grammar.slots[note.program] * PITCHES + note.pitch for note in found})
        self._row = np.full((1 + len(grammar.slots)) * PITCHES, len(keys))
        self._row[keys] = np.arange(len(keys))
        self._sounds = np.zeros((len(keys) + 1, ticks + 1), dtype=bool)
        for note in found:
            row = self._row[grammar.slots[note.program] * PITCHES + note.pitch]
            self._sounds[row, max(0, note.start_tick) : note.end_tick] = True
        self.any = bool(keys)

    def at(self, keys: np.ndarray, ticks: np.ndarray) -> np.ndarray:
        """Whether pairs of slot and pitch, slot * P + pitch, sound at ticks (N,)."""
        return self._sounds[self._row[keys], np.clip(ticks, 0, self._sounds.shape[1] - 1)]


class FillGuide:
    """Implements engine.Guide for a row that fills bars of these `metres`, as Places numbers them, from its next id on.

    busy: what sounds there already: no such pitch is struck while it does. sounds: in which bars a note has to begin,
    if any can. closes: whether these bars are the whole gap that the row's prompt tells of, so that the model says
    itself that it is done; else the row ends where a bar after them would begin. most_tokens: of a bar; when there have
    been as many, the next bar begins as soon as it may.

    Where outside notes leave the model no lawful way on, the row ends: the rest of the bars is silent.
    """

    opens_bar = False

    def __init__(
        self,
        walk: Walk,
        tables: FillTables,
        metres: Sequence[int],
        busy: Busy,
        sounds: Sequence[bool],
        closes: bool = True,
        most_tokens: int = 1024,
    ):
        self.walk, self._tables, self._metres, self._busy = walk, tables, list(metres), busy
        self._sounds, self._closes, self._most_tokens = list(sounds), closes, most_tokens
        self._in_bar = self._begun = 0  # tokens of the open bar; notes before it

    def forced(self) -> int | None:
        """Nothing: even the first bar line is the model's, in the metre that is asked."""
        return None

    def bias(self) -> np.ndarray | None:
        """Nothing."""
        return None

    def allowed(self) -> np.ndarray | None:
        """The lawful ids in the bars, metres and free pitches of what is filled."""
        walk, tables, last = self.walk, self._tables, len(self._metres) - 1
        mask = walk.allowed() & tables.allowed
        here, after = self._metres[max(0, walk.bar)], self._metres[min(walk.bar + 1, last)]
        mask &= (tables.metre < 0) | (tables.metre == np.where(tables.opens, after, here))
        if self._busy.any:
            self._spare(mask)
        if walk.bar >= 0 and self._sounds[walk.bar] and walk.begun == self._begun and (mask & ~tables.opens).any():
            mask &= ~tables.opens
        onward = mask & tables.opens
        if walk.bar == last and self._closes:
            ends = bool(onward.any())
            mask &= ~tables.opens
            mask[tables.fill_end] = ends
            onward = np.zeros_like(mask)
            onward[tables.fill_end] = ends
        if self._in_bar >= self._most_tokens and onward.any():
            mask = onward
        if not mask.any():
            mask[tables.fill_end] = True
        return mask

    def _spare(self, mask: np.ndarray) -> None:
        """Take out ids that strike what sounds already."""
        grammar = self._tables.grammar
        _, ticks = self.walk.landings()
        slots = np.where(grammar.note_slot == 0, self.walk.place.program, grammar.note_slot)
        struck = self._busy.at(slots * PITCHES + grammar.note_pitch, ticks[grammar.note_id])
        mask[grammar.note_id[struck]] = False

    def take(self, token: int) -> int | None:
        """Take `token`; None where the bars are full."""
        walk = self.walk
        if token == self._tables.fill_end or walk.after(token)[0] >= len(self._metres):
            return None
        bar = walk.bar
        walk.step(token)
        self._in_bar += 1
        if walk.bar != bar:
            # Byte pairs may strike the bar's first note with its bar line.
            self._in_bar, self._begun = 0, walk.begun - int(self._tables.strikes[token])
        return token
