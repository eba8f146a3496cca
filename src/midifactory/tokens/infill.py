"""Rows of tokens rearranged for infilling: what surrounds a gap first, then what stood in it.

    [BOS] Infill  ... bar bar  Gap bar bar bar GapEnd  bar ...  [EOS]  Fill Program Program  bar bar bar  FillEnd

`Infill` says that a row is of this kind, so that a model which also continues pieces is not misled by what is missing.
`Gap` and `GapEnd` stand before the first bar of the gap and behind its last one; what is left there (other instruments,
a melody, tempos) stays in its place. After `Fill` come the programs that are filled in, whether they say something or
not, and the gap's bars with what was taken out of them (MMM, Ens and Pasquier 2020, arXiv 2008.06048, and the
fill-in-the-middle of Bavarian et al. 2022, arXiv 2207.14255, do the like). A region of some bars, of some instruments
in some bars, and of an instrument from the first bar to the last are one thing: to add a track is to fill a gap of all
bars, to harmonise a melody is to fill it with all other voices.

A row is read by MidiTok's decoding arithmetic (tokens/places.py) into bars and what stands in them, and written anew.
Every bar has its Bar and TimeSig tokens there, silent ones too: rests, which swallow them, are not written, so the bars
of the gap can be counted and stand at the same places on both sides of `Fill`. What was read is otherwise written token
by token, so surroundings and span together are the notes of the row, exactly. Chords that name notes of both sides are
left out. Byte pairs are merged in the rearranged row as in any other: merges keep within onset groups, and special
tokens are never merged.

Only REMI tells bars and positions in one stream of all programs; other schemes are refused.

Legend: N base tokens, E events, K bars.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from midifactory.tokens.places import Places
from midifactory.tokens.tokenizer import INFILL_TOKENS, NOTE_TYPES, Tokenizer

_UNIT = frozenset({"Bar", "TimeSig", "Position", "Rest"})  # what says where, and not what


class Event(NamedTuple):
    """Base ids that belong together, at one place: a note, a chord's name or a tempo.

    bar, offset_ticks: where, the ticks of the decoder's grid from the bar line. program: None for a tempo, which is no
    instrument's. pitch: -1 for what is no note.
    """

    bar: int
    offset_ticks: int
    program: int | None
    pitch: int
    ids: tuple[int, ...]

    @property
    def is_note(self) -> bool:
        """Whether it sounds."""
        return self.pitch >= 0


@dataclass(frozen=True)
class Passage:
    """Bars and the events in them, in the order of the tokens.

    metres: of each bar the number that Places gives its metre. lead: base ids before the first bar line, of a row cut
    inside a bar. begins, ends: whether the piece does, with BOS and EOS.
    """

    metres: tuple[int, ...]
    events: tuple[Event, ...]
    lead: tuple[int, ...] = ()
    begins: bool = False
    ends: bool = False

    @property
    def bars(self) -> int:
        """How many."""
        return len(self.metres)

    @property
    def programs(self) -> list[int]:
        """Those with notes, in rising order."""
        return sorted({event.program for event in self.events if event.is_note and event.program is not None})

    def part(self, first: int, end: int) -> "Passage":
        """The bars from `first` up to, not including, `end`, counted anew."""
        if (first, end) == (0, self.bars):
            return self
        inside = tuple(event._replace(bar=event.bar - first) for event in self.events if first <= event.bar < end)
        return Passage(
            self.metres[first:end],
            inside,
            self.lead if first == 0 else (),
            self.begins and first == 0,
            self.ends and end == self.bars,
        )

    def of(self, events: Iterable[Event]) -> "Passage":
        """The same bars with other events."""
        return replace(self, events=tuple(events))


@dataclass(frozen=True)
class Split:
    """A passage taken apart: `kept` and `taken` are events, `gap` its bars from the first up to, not including, the
    last, `programs` those that are asked for there.
    """

    kept: tuple[Event, ...]
    taken: tuple[Event, ...]
    gap: tuple[int, int]
    programs: tuple[int, ...]


@dataclass
class Rearranger:
    """Reads and writes the rows of one tokenizer. Raises ValueError, with the reason, for one that cannot."""

    tokenizer: Tokenizer
    places: Places = field(init=False)

    def __post_init__(self) -> None:
        if (reason := why_not(self.tokenizer)) is not None:
            raise ValueError(reason)
        if not self.tokenizer.infills:
            raise ValueError("its vocabulary has no tokens for infilling")
        tokens, types = self.tokenizer.tokens, self.tokenizer.types
        self.places = places = Places(self.tokenizer.miditok)
        self.infill, self.gap, self.gap_end, self.fill, self.fill_end = (
            tokens.index(f"{name}_None") for name in INFILL_TOKENS
        )
        self._bar = tokens.index("Bar_None")
        self._program = {int(name.partition("_")[2]): i for i, name in enumerate(tokens) if types[i] == "Program"}
        self._metre = {places.metre_of(i): i for i, type_ in enumerate(types) if type_ == "TimeSig"}
        positions = [i for i, type_ in enumerate(types) if type_ == "Position"]
        self._position = [{places.ticks_of(i, metre): i for i in positions} for metre in range(len(places.bar_ticks))]
        self._value = [int(name.partition("_")[2]) if types[i] in {"Program", *NOTE_TYPES} else -1
                       for i, name in enumerate(tokens)]  # fmt: skip
        self.bar_head = 1 + bool(self._metre)  # tokens that open a bar

    def read(self, ids: Sequence[int] | np.ndarray) -> Passage | None:
        """The passage of base ids (N,), as MidiTok decodes them; None for one without a bar line.

        Silent bars that rests passed over are bars of it. None, too, for what no encoder writes: an event off the grid.
        """
        tokenizer, places = self.tokenizer, self.places
        place = places.start()
        metres: list[int] = []
        lead: list[int] = []
        events: list[tuple[int, int, list[int]]] = []
        open_event: list[int] | None = None
        first, begins, ends = -1, False, False
        for token in map(int, ids):
            type_ = tokenizer.types[token]
            places.advance(token, place)
            if token in (tokenizer.bos_id, tokenizer.eos_id):
                begins, ends = begins or token == tokenizer.bos_id, ends or token == tokenizer.eos_id
                continue
            if first < 0:
                if type_ != "Bar":
                    lead.append(token)
                    continue
                first = place.bar
            bar = place.bar - first
            if type_ in _UNIT:
                open_event = None
                # Silent bars before this one keep the metre of the last one that was told.
                metres += [metres[-1] if metres else place.metre] * (bar - len(metres))
                metres[bar:] = [place.metre]
            elif type_ in {"Program", "Tempo"} or open_event is None:
                open_event = [token]
                events.append((bar, place.tick - place.bar_tick, open_event))
            else:
                open_event.append(token)
        if first < 0 or any(offset not in self._position[metres[bar]] for bar, offset, _ in events):
            return None
        found = tuple(self._event(bar, offset, tuple(part)) for bar, offset, part in events)
        return Passage(tuple(metres), found, tuple(lead), begins, ends)

    def _event(self, bar: int, offset: int, ids: tuple[int, ...]) -> Event:
        types = self.tokenizer.types
        if types[ids[0]] != "Program":
            return Event(bar, offset, None, -1, ids)
        pitch = self._value[ids[1]] if len(ids) > 1 and types[ids[1]] in NOTE_TYPES else -1
        return Event(bar, offset, self._value[ids[0]], pitch, ids)

    def write(self, passage: Passage, split: Split, span: bool = True) -> list[int]:
        """The rearranged row of base ids; without its span it ends after the programs: a prompt."""
        first, end = split.gap
        kept = self._by_bar(split.kept, passage.bars)
        row = [self.tokenizer.bos_id] * passage.begins + [self.infill, *passage.lead]
        for bar in range(passage.bars):
            row += [self.gap] * (bar == first) + [self.gap_end] * (bar == end)
            row += self._written(passage.metres[bar], kept[bar])
        row += [self.gap_end] * (end == passage.bars) + [self.tokenizer.eos_id] * passage.ends
        row += [self.fill, *(self._program[program] for program in split.programs)]
        if span:
            taken = self._by_bar(split.taken, passage.bars)
            for bar in range(first, end):
                row += self._written(passage.metres[bar], taken[bar])
            row.append(self.fill_end)
        return row

    def lengths(self, passage: Passage, events: Iterable[Event]) -> np.ndarray:
        """(K,) base tokens that the bars of a passage take with these events in them."""
        sizes = [self.bar_head] * passage.bars
        places = set[tuple[int, int]]()
        for bar, offset, _, _, ids in events:
            sizes[bar] += len(ids) + ((bar, offset) not in places)
            places.add((bar, offset))
        return np.array(sizes)

    def notes_in(self, ids: Iterable[int]) -> int:
        """How many notes base ids strike."""
        return sum(self.tokenizer.types[token] in NOTE_TYPES for token in ids)

    @staticmethod
    def _by_bar(events: Iterable[Event], bars: int) -> list[list[Event]]:
        found: list[list[Event]] = [[] for _ in range(bars)]
        for event in events:
            found[event.bar].append(event)
        return found

    def _written(self, metre: int, events: Sequence[Event]) -> list[int]:
        row, last = [self._bar], -1
        if metre in self._metre:
            row.append(self._metre[metre])
        for event in sorted(events, key=lambda event: event.offset_ticks):
            if event.offset_ticks != last:
                row.append(self._position[metre][event.offset_ticks])
                last = event.offset_ticks
            row += event.ids
        return row


def why_not(tokenizer: Tokenizer) -> str | None:
    """Why rows of a tokenizer cannot be rearranged; None where they can."""
    if tokenizer.scheme != "REMI":
        return f"{tokenizer.scheme} does not tell bars and positions in one stream of all instruments"
    return tokenizer.without_grammar


def around(costs: np.ndarray, first: int, end: int, budget: float) -> tuple[int, int] | None:
    """The bars [lower, upper) around those from `first` up to `end` that `budget` holds, as many on either side.

    costs: (K,) of each bar. Where one side has no more, the other one goes on. None where not even the bars themselves
    fit.
    """
    left = budget - float(costs[first:end].sum())
    if left < 0:
        return None
    lower, upper = first, end
    stuck_below, stuck_above = lower == 0, upper == len(costs)
    while not (stuck_below and stuck_above):
        below = not stuck_below and (stuck_above or first - lower <= upper - end)
        bar = lower - 1 if below else upper
        fits = costs[bar] <= left
        if fits:
            left -= float(costs[bar])
            lower, upper = (bar, upper) if below else (lower, bar + 1)
        if below:
            stuck_below = not fits or lower == 0
        else:
            stuck_above = not fits or upper == len(costs)
    return lower, upper
