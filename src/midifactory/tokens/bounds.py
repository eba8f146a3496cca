"""What a caller may ask of a row beside the law, and what that leaves of a grammar's tables.

Legend: V model ids, K those of them that may follow in one context, S slots (programs that the tokenizer knows, from 1;
0 for none), P = 128 pitches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from midifactory.errors import UserError
from midifactory.tokens.grammar import DRUMS, PITCH_TYPES, PITCHES, RESTS, Grammar

FOREVER = np.iinfo(np.int64).max // 2


@dataclass(frozen=True)
class Controls:
    """What a caller fixes beside the law. None leaves it to the model.

    metre: the only time signature, as "4/4". keep_tempo: no further tempo tokens. programs: the only ones
    allowed (-1 drums). polyphony: how many notes may sound at once. every_bar: no rest may pass a bar line and in each
    bar a note begins (where held notes leave no room for one, they sound on), so that each has its Bar token where
    there are any. pitch_range: lowest and highest pitch; program_ranges: the same for single programs, instead of
    pitch_range. Neither binds drums, nor a program of whose range the tokenizer knows no pitch. pitch_classes: the only
    ones allowed, 0 for C, drums aside. grid: notes begin at multiples of so many quarter notes from their bar line.
    """

    metre: str | None = None
    keep_tempo: bool = False
    programs: tuple[int, ...] | None = None
    polyphony: int | None = None
    every_bar: bool = False
    pitch_range: tuple[int, int] | None = None
    program_ranges: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    pitch_classes: frozenset[int] | None = None
    grid: float | None = None

    def range_of(self, program: int) -> tuple[int, int] | None:
        """The pitches that bind a program; None for any."""
        return None if program == DRUMS else self.program_ranges.get(program, self.pitch_range)


class Table:
    """What may come after one context on one program, of a grammar's tables the part that concerns these `ids` (K,).

    allowed (V,) bool: the ids, before those are taken out that strike what `free_from` (S, P) never lets them. program:
    the slot of the row. movers, note_at, off_at, chord_at, track_ends, bar_at and eos_at are places in `ids`, the other
    columns beside them as in Grammar; note_key and off_key are slot * P + pitch. claims: pitches that an id strikes or
    may need. timed: whether a MicroTiming among them places a note. settled: nothing depends on where the row is.
    """

    def __init__(self, grammar: Grammar, free_from: np.ndarray, allowed: np.ndarray, program: int, timed: bool):
        slots = np.where(grammar.note_slot == 0, program, grammar.note_slot)  # of all notes in ids
        chord_slots = np.where(grammar.chord_slot == 0, program, grammar.chord_slot)
        wrong = free_from[slots, grammar.note_pitch] > 0
        if grammar.drum_types:
            wrong |= grammar.note_drum != (slots == grammar.drum_slot)
        self.mask = allowed.copy()
        self.mask[grammar.note_id[wrong]] = False
        self.mask[grammar.chord_id[chord_slots == grammar.drum_slot]] = False
        self.mask[[index for index, slot in grammar.pairs if slot == program]] = False
        mask, self.timed, self.ids = self.mask, timed, np.flatnonzero(self.mask)
        place = np.cumsum(mask) - 1  # (V,) -> index in ids

        moving = mask[grammar.movers]
        self.movers = place[grammar.movers[moving]]
        self.kind, self.bars, self.metre = grammar.kind[moving], grammar.bars[moving], grammar.metre[moving]
        self.opens, self.at_bar_line = grammar.opens[moving], grammar.at_bar_line[moving]
        self.goes_on = grammar.goes_on[moving]
        self.rests = bool((self.kind == RESTS).any())
        # What a Walk has worked out: where movers lead, and what may follow.
        self.landings: dict[tuple[Any, ...], tuple[np.ndarray, ...]] = {}
        self.masks: dict[tuple[Any, ...], np.ndarray] = {}
        self.offset, self.length = grammar.offset[:, moving], grammar.length[:, moving]
        self.position = grammar.position[:, moving]
        self.has_positions = bool((self.position >= 0).any())

        freed = (grammar.note_freed < 0) | ((grammar.note_freed > 0) & (grammar.note_freed == program))
        noted, ending, chords = mask[grammar.note_id] & ~freed, mask[grammar.off_id], mask[grammar.chord_id]
        self.note_id = grammar.note_id[noted]
        self.note_at = place[self.note_id]
        self.note_key = (slots * PITCHES + grammar.note_pitch)[noted]
        self.note_shift, self.note_untimed = grammar.note_shift[noted], grammar.note_untimed[noted]
        off_slots = np.where(grammar.off_slot == 0, program, grammar.off_slot)[ending]
        self.off_at, self.off_key = place[grammar.off_id[ending]], off_slots * PITCHES + grammar.off_pitch[ending]
        self.chord_at, self.chord_slot = place[grammar.chord_id[chords]], chord_slots[chords]
        self.strikes = bool(len(self.note_at) + len(self.off_at) + len(self.chord_at))

        self.need, self.open_slot = grammar.need[self.ids], grammar.open_slot[self.ids]
        # MIDI-like: after a Program something may end instead, but not always.
        self.claims = self.need + (self.open_slot > 0) if grammar.note_on_off else self.need
        self.most_claims = int(self.claims.max(initial=0))
        self.promises = self.most_claims > 0 or bool(self.open_slot.any())

        self.first_shift = grammar.first_shift[self.ids]
        self.track_ends = place[grammar.track_ends[mask[grammar.track_ends]]]
        bars = grammar.of_type.get("Bar", np.array([], dtype=np.int64))
        self.bar_at = place[bars[mask[bars]]]
        self.eos_at = place[np.flatnonzero(mask & (np.arange(len(mask)) == grammar.tokenizer.eos_id))]
        ends = len(self.track_ends) + len(self.eos_at)
        self.settled = not (len(self.movers) or self.strikes or self.promises or timed or ends)
        self.only_notes = len(self.note_at) > 0 and not (len(self.movers) or len(self.off_at) or timed or ends)


class Bounds:
    """Controls in the tables of a grammar, shared by the rows that have them.

    free_from (S, P): 0, or for ever where a pitch is not to be struck. ids: (V,) bool of those that never break them.
    grid_ticks: 0 for no grid. Raises UserError where the controls leave nothing to play, or ask for what the tokens
    cannot say.
    """

    def __init__(self, grammar: Grammar, controls: Controls):
        self.grammar, self.controls = grammar, controls
        if controls.polyphony is not None and grammar.by_track:
            raise UserError(
                f"polyphony={controls.polyphony}: {grammar.tokenizer.scheme} writes one track after the other, so "
                "nobody can count what sounds at once; leave it out"
            )
        self.free_from = self._free_from()
        self.rooms = (self.free_from == 0).sum(1)  # (S,) how many pitches a program may play
        self.tightest = int(self.rooms[self.rooms > 0].min(initial=PITCHES))
        if not self.rooms.any():
            raise UserError(
                f"no pitch is left to play: instruments={list(controls.programs or ()) or 'any'}, "
                f"pitch_range={controls.pitch_range}, pitch classes {sorted(controls.pitch_classes or range(12))}; "
                "widen one of them"
            )
        self.ids = self._ids()
        self.grid_ticks = 0
        if controls.grid is not None:
            ticks = controls.grid * grammar.places.ticks_per_quarter
            self.grid_ticks = round(ticks)
            if self.grid_ticks < 1 or abs(ticks - self.grid_ticks) > 1e-6:
                raise UserError(
                    f"rhythm_grid={controls.grid:g}: this model's tokens divide a quarter note into "
                    f"{grammar.places.ticks_per_quarter}; give a whole number of these, such as 0.25"
                )
            if 0 not in grammar.shifts:
                raise UserError(
                    f"rhythm_grid={controls.grid:g}: every MicroTiming token of this model leads off it; leave it out"
                )
        # How far a MicroTiming may move a note: where voices are counted not to before what its token follows.
        self.shifts = grammar.shifts[0], grammar.shifts[-1]
        if self.grid_ticks:
            self.shifts = 0, 0
        elif controls.polyphony is not None:
            self.shifts = min(shift for shift in grammar.shifts if shift >= 0), grammar.shifts[-1]
        self._tables: dict[tuple[str, int], Table] = {}

    def table(self, context: str, program: int) -> Table:
        """What may follow in a context on a program's slot, by the types of tokens and by what is always forbidden."""
        grammar = self.grammar
        key = context, program if context in grammar.on_program else 0
        found = self._tables.get(key)
        if found is None:
            timed = context in PITCH_TYPES and "MicroTiming" in grammar.of_type
            found = Table(grammar, self.free_from, grammar.follow[context] & self.ids, program, timed)
            self._tables[key] = found
        return found

    def _free_from(self) -> np.ndarray:
        grammar, controls = self.grammar, self.controls
        # The decoder passes over notes outside, drums too.
        lowest, highest = grammar.tokenizer.miditok.config.pitch_range
        pitches = np.arange(PITCHES)
        inside = (lowest <= pitches) & (pitches <= highest)
        drum_types = ("PitchDrum", "DrumOn") if grammar.drum_types else ("Pitch", "NoteOn")
        struck = {False: self._struck(("Pitch", "NoteOn")) & inside, True: self._struck(drum_types) & inside}
        if controls.pitch_classes is not None:
            in_classes = np.isin(pitches % 12, list(controls.pitch_classes))
        free_from = np.full((1 + len(grammar.slots), PITCHES), FOREVER)
        for program, slot in grammar.slots.items():
            if controls.programs is not None and program not in controls.programs:
                continue
            free = struck[program == DRUMS]
            if (bounds := controls.range_of(program)) is not None:
                within = free & (bounds[0] <= pitches) & (pitches <= bounds[1])
                free = within if within.any() else free
            if controls.pitch_classes is not None and program != DRUMS:
                free = free & in_classes
            free_from[slot, free] = 0
        return free_from

    def _struck(self, types: Sequence[str]) -> np.ndarray:
        """(P,) bool: the pitches that tokens of these types strike."""
        found = np.zeros(PITCHES, dtype=bool)
        found[[int(self.grammar.values[i]) for name in types for i in self.grammar.of_type.get(name, ())]] = True
        return found

    def _ids(self) -> np.ndarray:
        grammar, controls = self.grammar, self.controls
        others = {int(i) for i in grammar.of_type["Program"] if self.rooms[grammar.slots[int(grammar.values[i])]] == 0}
        if controls.keep_tempo:
            others.update(grammar.of_type.get("Tempo", ()))
        if controls.metre is not None:
            others.update(int(i) for i in grammar.of_type.get("TimeSig", ()) if grammar.values[i] != controls.metre)
        return np.array([others.isdisjoint(part) for part in grammar.parts])
