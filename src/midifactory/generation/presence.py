"""Wishes of a row that look at what it has played: every instrument that was asked plays, no note over a bar line.

Legend: V model ids, M metres.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from midifactory.generation.guide import Wish
from midifactory.generation.steering import Steering
from midifactory.tokens.grammar import Grammar
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.tokens.walk import Walk
from midifactory.tokens.walker import Walker

# More than any model's preference, less than what would hide one lawful id behind another.
_NEVER = -1e4
_FIRST_BAR_NATS = 2.0
# After so many bars of silence an instrument becomes more likely, by so much with each further one.
_SILENT_BARS = 1
_SILENT_NATS = 2.0
_MOST_NATS = 8.0


class Presence:
    """Implements guide.Wish: every one of `programs` plays, and comes back.

    In the row's first bar those that have not played are `_FIRST_BAR_NATS` likelier; from the second bar on (or in the
    last one, where it is the only one) nothing else comes as long as one of them is missing and may come. Later, one
    that has been silent for more than a bar becomes likelier with each further bar.
    """

    def __init__(self, programs: Sequence[int]):
        self._programs = programs
        self._begun: int | None = None
        self._first_bar = 0
        self._heard: dict[int, int] = {}  # slot -> the last bar in which it struck
        self._named: np.ndarray | None = None

    def bias(self, walk: Walker) -> np.ndarray | None:
        """(V,) what is added to the logits."""
        if not isinstance(walk, Walk):
            return None
        grammar, bar = walk.grammar, max(walk.bar, 0)
        if self._begun is None or self._named is None:
            self._begun, self._first_bar, self._named = walk.begun, bar, programs_named(grammar)
        struck = walk.begun - self._begun
        self._begun = walk.begun
        for slot, _ in list(walk.recent)[len(walk.recent) - struck :] if struck else ():
            self._heard[slot] = bar
        slots = [grammar.slots[program] for program in self._programs if program in grammar.slots]
        missing = [slot for slot in slots if slot not in self._heard]
        found = np.zeros(len(self._named), dtype=np.float32)
        if missing:
            theirs = np.isin(self._named, missing)
            if not (theirs & walk.follow).any():
                return None
            if bar > self._first_bar or grammar.by_track or walk.end_bar == bar + 1:
                found[~theirs] = _NEVER
            else:
                found[theirs] = _FIRST_BAR_NATS
            return found
        for slot in slots:
            silent = bar - self._heard[slot] - _SILENT_BARS
            if silent > 0 and not grammar.by_track:
                found[self._named == slot] = min(_MOST_NATS, _SILENT_NATS * silent)
        return found if found.any() else None


def programs_named(grammar: Grammar) -> np.ndarray:
    """(V,) the slot of the first program that each id names, 0 for none."""
    types, values = grammar.tokenizer.types, grammar.values
    return np.array(
        [next((grammar.slots[int(values[i])] for i in part if types[i] == "Program"), 0) for part in grammar.parts]
    )


class WithinBars:
    """Implements guide.Wish: notes end by the line of their bar, where tokens tell durations."""

    def __init__(self) -> None:
        self._lasting: np.ndarray | None = None  # (M, V) ticks of the longest note in each id, 0 for none

    def bias(self, walk: Walker) -> np.ndarray | None:
        """(V,) what is added to the logits."""
        if not isinstance(walk, Walk) or walk.grammar.by_track:
            return None
        if self._lasting is None:
            self._lasting = _longest_notes(walk.grammar)
        lasting = self._lasting[walk.place.metre]
        if not lasting[walk.follow].any():
            return None
        bars, ticks = walk.landings()
        line = walk.bar_tick + (bars - walk.bar + 1) * walk.bar_ticks
        return np.where((lasting > 0) & (ticks + lasting > line), np.float32(_NEVER), np.float32(0))


def _longest_notes(grammar: Grammar) -> np.ndarray:
    types, places = grammar.tokenizer.types, grammar.places
    return np.array(
        [
            [
                max((places.ticks_of(i, metre) for i in part if types[i] == "Duration"), default=0)
                for part in grammar.parts
            ]
            for metre in range(len(places.bar_ticks))
        ]
    )


class Together:
    """Implements guide.Wish: several wishes at once."""

    def __init__(self, wishes: Sequence[Wish]):
        self._wishes = wishes

    def bias(self, walk: Walker) -> np.ndarray | None:
        """(V,) the sum of what each adds."""
        parts = [part for wish in self._wishes if (part := wish.bias(walk)) is not None]
        return np.stack(parts).sum(0) if parts else None


def wish_of_row(
    steering: Steering | None,
    tokenizer: Tokenizer,
    programs: Sequence[int] | None,
    further: Callable[[], Wish] | None = None,
) -> Wish | None:
    """All that is wished of one row: what is steered, `programs` that are to play, and what `further` makes."""
    found: list[Wish] = [replace(steering)] if steering is not None else []
    if programs is not None and len(programs) > 1 and "Program" in tokenizer.types:
        found.append(Presence(programs))
    if further is not None:
        found.append(further())
    return None if not found else found[0] if len(found) == 1 else Together(found)
