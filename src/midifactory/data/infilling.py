"""Training segments rearranged for infilling, as users will ask for it: see tokens/infill.py for the rows.

A region is one of these, by chance: some bars of all instruments; some bars of one or several of them; one or several
of them from the first bar to the last, which is what adding a track or harmonising a melody asks for; or, of an
instrument that plays chords, all but its highest notes, or these alone, so that a melody is harmonised on the one
instrument that a piano corpus knows. At least a note is taken out and at least one stays.

The loss counts all tokens of a rearranged row, its surroundings too. They are music that can be learnt from, a third or
two of the row, and the first token says that something is missing in them, so that the model of whole music is not
misled; Bavarian et al. (2022) found that a model trained so continues no worse. Validation and test stay as they are:
their nats per note are those of continuing, with infilling and without.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from midifactory.errors import UserError
from midifactory.tokens.infill import Event, Passage, Rearranger, Split, around, why_not
from midifactory.tokens.tokenizer import Tokenizer

_DRUMS = -1
_TRIES = 4
# How often all instruments of a bar are taken out, some of them, and some from beginning to end; where there is but
# one, its melody or its accompaniment takes the place of the last two.
_KINDS = ("bars", "some", "whole")
# Of melody and accompaniment the latter is asked for more often: to harmonise.
_ACCOMPANIMENT = 0.6


def check_share(share: object, tokenizer: object) -> None:
    """Raise UserError for a `data.infill` that is no share, or of a tokenizer whose rows cannot be rearranged."""
    if type(share) not in (int, float) or not 0 <= share <= 1:  # type: ignore[operator]
        raise UserError(f"data.infill={share}: give a share of the training segments from 0 (off) to 1, such as 0.5")
    if not share:
        return
    reason = why_not(tokenizer) if isinstance(tokenizer, Tokenizer) else "note features have no bars"
    if reason is not None:
        raise UserError(f"data.infill={share}: {reason}; set tokenizer=remi_plus, or data.infill=0")


class Infilling:
    """Rearranges a `share` of the segments; rows have at most `max_tokens` base ids.

    Raises UserError for a share or a tokenizer that cannot be, ValueError for one without the tokens.
    """

    def __init__(self, tokenizer: Tokenizer, share: float, max_tokens: int):
        check_share(share, tokenizer)
        self.share, self.max_tokens = share, max_tokens
        self.rows = Rearranger(tokenizer)

    def apply(self, ids: np.ndarray, notes: int, generator: np.random.Generator) -> tuple[np.ndarray, int]:
        """A segment of base ids (T,) and its notes, rearranged or, where chance or its music says so, as it was.

        Of a row that would be too long the bars farthest from the gap are left out; `notes` counts what is in it.
        """
        if generator.random() >= self.share:
            return ids, notes
        passage = self.rows.read(ids)
        if passage is None or not passage.bars:
            return ids, notes
        for _ in range(_TRIES):
            split = self.choose(passage, generator)
            row = self._within(passage, split) if split is not None else None
            if row is not None:
                return row
        return ids, notes

    def choose(self, passage: Passage, generator: np.random.Generator) -> Split | None:
        """A region of a passage by chance; None where it would take nothing or leave nothing."""
        programs = passage.programs
        kind = _KINDS[generator.integers(len(_KINDS))]
        if kind == "bars" or not programs:
            gap = _some_bars(passage.bars, generator, most=passage.bars - 1)
            asked = tuple(programs)
            taken = [event.program is not None for event in passage.events]
        else:
            whole = kind == "whole" or passage.bars == 1
            gap = (0, passage.bars) if whole else _some_bars(passage.bars, generator, most=passage.bars)
            if len(programs) > 1:
                size = generator.integers(1, len(programs))
                asked = tuple(sorted(int(p) for p in generator.choice(programs, size, replace=False)))
                taken = [event.program in asked for event in passage.events]
            else:
                asked = tuple(programs)
                if asked[0] == _DRUMS:
                    return None
                accompaniment = generator.random() < _ACCOMPANIMENT
                taken = [top != accompaniment for top in _is_top(passage.events)]
                return _split_voices(passage, gap, asked, taken, accompaniment)
        inside = [_in_gap(gap, event) and out for event, out in zip(passage.events, taken, strict=True)]
        return _split(passage.events, inside, gap, asked)

    def _within(self, passage: Passage, split: Split) -> tuple[np.ndarray, int] | None:
        first, end = split.gap
        kept = self.rows.lengths(passage, split.kept)
        # BOS, Infill, Gap, GapEnd, EOS, Fill and FillEnd
        fixed = 7 + len(passage.lead) + len(split.programs)
        span = int(self.rows.lengths(passage, split.taken)[first:end].sum())
        bars = around(kept, first, end, self.max_tokens - fixed - span)
        if bars is None:
            return None
        part, (lower, upper) = passage.part(*bars), bars
        kept_part = passage.of(split.kept).part(lower, upper).events
        taken_part = passage.of(split.taken).part(lower, upper).events
        notes = sum(event.is_note for event in (*kept_part, *taken_part)) + self.rows.notes_in(part.lead)
        if not any(event.is_note for event in kept_part):
            return None
        moved = Split(kept_part, taken_part, (first - lower, end - lower), split.programs)
        return np.array(self.rows.write(part, moved), dtype=np.int64), notes


def _in_gap(gap: tuple[int, int], event: Event) -> bool:
    """Whether an event begins in the bars of a gap."""
    return gap[0] <= event.bar < gap[1]


def _some_bars(bars: int, generator: np.random.Generator, most: int) -> tuple[int, int]:
    size = int(generator.integers(1, max(1, most) + 1))
    first = int(generator.integers(0, bars - size + 1))
    return first, first + size


def _split(
    events: Sequence[Event], taken: Sequence[bool], gap: tuple[int, int], programs: tuple[int, ...]
) -> Split | None:
    out = tuple(event for event, is_taken in zip(events, taken, strict=True) if is_taken)
    left = tuple(event for event, is_taken in zip(events, taken, strict=True) if not is_taken)
    if not any(event.is_note for event in out) or not any(event.is_note for event in left):
        return None
    return Split(left, out, gap, programs)


def _is_top(events: Sequence[Event]) -> list[bool]:
    """Whether each event is the highest note of its onset."""
    highest: defaultdict[tuple[int, int], int] = defaultdict(int)
    for event in events:
        place = event.bar, event.offset_ticks
        highest[place] = max(highest[place], event.pitch)
    return [event.is_note and event.pitch == highest[event.bar, event.offset_ticks] for event in events]


def _split_voices(
    passage: Passage, gap: tuple[int, int], programs: tuple[int, ...], taken: list[bool], accompaniment: bool
) -> Split | None:
    """One instrument's melody and accompaniment apart, in a gap.

    A chord's name tells of both: it goes with the accompaniment that is taken, and out where the melody is.
    """
    events, out = list[Event](), list[bool]()
    for event, is_taken in zip(passage.events, taken, strict=True):
        inside, is_chord = _in_gap(gap, event), event.program is not None and not event.is_note
        if is_chord and inside and not accompaniment:
            continue
        events.append(event)
        out.append(inside and event.program is not None and (is_taken or is_chord))
    return _split(events, out, gap, programs)
