"""One row's place in the music, and what may come next there.

A `Walk` follows a row token by token, as MidiTok's decoder would (tokens/places.py), and so knows what sounds, which
pitches are taken, and how much of a bar is left. `allowed` asks of every id at once: where would it lead, and may what
it strikes sound there? Bars, ticks and seconds are those of the Score that comes out.

Legend: V model ids, K those of them that may follow in one context, S slots (programs that the tokenizer knows, from 1;
0 for none), P = 128 pitches.
"""

import copy
import math
from collections import deque
from typing import Any, NamedTuple

import numpy as np
from miditok.constants import DEFAULT_VELOCITY

from midifactory.tokens.bounds import FOREVER, Bounds, Controls, Table
from midifactory.tokens.grammar import OFF_TYPES, RESTS, STAYS, STRIKES, TRACK_END, TRACK_START, Grammar
from midifactory.tokens.walker import Struck

# After a chord comes its program again: a model that knows little would go round there for ever. Music has one chord a
# program at a time, the second is spared.
_MOST_CHORDS = 2
# So many notes at one onset are enough: a model that knows little would take an hour over all programs' pitches.
_MOST_AT_ONCE = 64
_REMEMBERED_NOTES = 32
_MOST_KNOWN = 4096
# Where a position may be the place that the row has reached already.
_AT_ITS_START = frozenset({"BOS", "Bar", "TimeSig", "Rest"})


class _Aims(NamedTuple):
    """What is to be kept where it can be: a note in every bar, a Bar token for each, the end, and bar lines."""

    notes: bool
    bars: bool
    end_bar: int | None
    bar_lines: bool
    end_tick: int | None = None


class Walk:
    """Implements Walker: a row under a grammar and what bounds it."""

    def __init__(self, grammar: Grammar, bounds: Bounds | None = None):
        self.grammar = grammar
        self.bounds = bounds if bounds is not None else Bounds(grammar, Controls())
        self.tokenizer = grammar.tokenizer
        self.ticks_per_quarter = grammar.places.ticks_per_quarter
        self.bar_id = int(grammar.of_type["Bar"][0]) if grammar.has_bars else None
        self.end_bar: int | None = None
        self.end_tick: int | None = None
        self.keeps_bar_lines = False
        self.not_before = 0
        self.opened_bar = False
        self.place = grammar.places.start()
        self.context = "BOS"
        self.notes = 0
        self.finished: list[Struck] = []
        self.recent: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED_NOTES)  # slot and pitch, as they are struck
        self._free_from = self.bounds.free_from.copy()  # (S, P): the tick from which a pitch may be struck
        self._sounding: dict[tuple[int, int], int] = {}  # slot and pitch -> the tick at which it ends
        # MIDI-like: the same -> onsets and velocities until their NoteOff; (S, P): since when, for ever for not at all.
        self._held: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._held_since = np.full(self._free_from.shape if grammar.note_on_off else (1, 1), FOREVER)
        self._struck = (0, 0)  # what the note that is being told strikes, and from when on that was free
        self._struck_free_from = 0
        self._shift = 0
        self._velocity = DEFAULT_VELOCITY
        self._chords: dict[int, int] = {}  # how many each slot has at this tick
        self.begun = 0  # notes that were struck, whole or not yet
        self._crowd = 0  # those of them at this tick
        self._bar_struck = self._track_struck = False  # whether a note began in the bar, in MMM's track
        self._tempo = (0, 0.0, grammar.default_bpm)  # since which tick, at how many seconds, beats per minute
        self._metres: list[int] = []  # of the bars of MMM's first track

    @property
    def bar(self) -> int:
        """The bar that is open, -1 before any."""
        return self.place.bar

    @property
    def tick(self) -> int:
        """Where the next note would stand."""
        return self.place.tick

    @property
    def bar_tick(self) -> int:
        """Where the open bar begins."""
        return self.place.bar_tick

    @property
    def bar_ticks(self) -> int:
        """How long the open bar is."""
        return self.grammar.places.bar_ticks[self.place.metre]

    @property
    def metre(self) -> str:
        """The metre of the open bar, such as "3/4"."""
        return self.grammar.places.metre_names[self.place.metre]

    @property
    def between_notes(self) -> bool:
        """Whether the row could end here without an unfinished note."""
        whole = self.context in _AT_ITS_START | {"Duration", "Velocity", "TimeShift", TRACK_END, *OFF_TYPES}
        return whole and not self._held and (self.context != "Velocity" or self.grammar.note_on_off)

    @property
    def bar_sounds(self) -> bool:
        """Whether any note sounds in the bar that is open."""
        return self._bar_struck or any(end > self.place.bar_tick for end in self._sounding.values())

    @property
    def at_downbeat(self) -> bool:
        """Whether notes may begin at the very start of the open bar: the bar's metre is settled, and nothing else."""
        settled = self.context == "TimeSig" if "TimeSig" in self.grammar.of_type and self.bar_id is not None else True
        return settled and self.place.tick == self.place.bar_tick

    @property
    def settled_tick(self) -> int:
        """The tick before which no further note will begin."""
        begun = [onset for held in self._held.values() for onset, _ in held]
        return min([self.place.tick + min(0, self.grammar.shifts[0]), *begun])

    def under(self, bounds: Bounds) -> "Walk":
        """The same row, to go on under other bounds of its grammar."""
        other = self.copy()
        free = np.maximum(self._free_from, bounds.free_from)
        other._free_from = np.where(self.bounds.free_from == 0, free, bounds.free_from)
        other.bounds = bounds
        return other

    def copy(self) -> "Walk":
        """The same row, to go another way."""
        other = copy.copy(self)
        other.place, other.finished, other.recent = copy.copy(self.place), [], self.recent.copy()
        other._free_from, other._sounding = self._free_from.copy(), dict(self._sounding)
        other._held = {key: list(held) for key, held in self._held.items()}
        other._held_since = self._held_since.copy()
        other._chords, other._metres = dict(self._chords), list(self._metres)
        return other

    def sounds(self, program: int, pitch: int) -> bool:
        """Whether a program's pitch still sounds."""
        return self._sounding.get((self.grammar.slots.get(program, 0), pitch), 0) > self.place.tick

    def follows(self, id_: int) -> bool:
        """Whether an id may follow by the type of its tokens alone."""
        return bool(self.grammar.follow[self.context][id_])

    def set_tempo(self, bpm: float) -> None:
        """The tempo that the finished Score will have, where its tokens tell none."""
        if "Tempo" not in self.grammar.of_type:
            self._tempo = (0, 0.0, bpm)

    def seconds_at(self, tick: int) -> float:
        """Seconds from the start at `tick`, which lies after the last tempo token."""
        since, elapsed, bpm = self._tempo
        return elapsed + (tick - since) * 60.0 / (bpm * self.grammar.places.ticks_per_quarter)

    def tick_at(self, seconds: float) -> int:
        """The first tick at or after so many seconds, if the tempo stays."""
        since, elapsed, bpm = self._tempo
        return since + math.ceil((seconds - elapsed) * bpm * self.ticks_per_quarter / 60.0)

    def after(self, id_: int) -> tuple[int, int]:
        """The bar and tick at which the row would be after a model id."""
        place = copy.copy(self.place)
        for token in self.grammar.parts[id_]:
            self.grammar.places.advance(token, place)
        return place.bar, place.tick

    # --- moving ---

    def step(self, id_: int) -> None:
        """Move over a model id, lawful or not, as MidiTok's decoder does."""
        bar = self.place.bar
        for token in self.grammar.parts[id_]:
            self._step(token)
        self.opened_bar = self.place.bar != bar

    def _step(self, token: int) -> None:
        grammar, place = self.grammar, self.place
        type_, before = grammar.tokenizer.types[token], (place.tick, place.bar)
        if type_ == "Tempo":
            self._tempo = (place.tick, self.seconds_at(place.tick), float(grammar.values[token]))
        grammar.places.advance(token, place)
        if place.tick != before[0]:
            self._crowd = 0
            self._chords.clear()
            self._sounding = {key: end for key, end in self._sounding.items() if end > place.tick}
        if place.bar != before[1]:
            self._bar_struck = False
        if type_ in STRIKES:
            self._strike(int(grammar.values[token]))
        elif type_ == "Velocity":
            self._velocity = int(grammar.values[token])
            if grammar.note_on_off:
                self._hold()
        elif type_ == "Duration":
            self._finish(place.tick + self._shift, grammar.places.ticks_of(token, place.metre))
        elif type_ == "MicroTiming" and self.context.startswith("Pitch"):
            self._shift = int(grammar.values[token])
        elif type_ in OFF_TYPES:
            self._release((place.program, int(grammar.values[token])))
        elif type_ == "Chord":
            self._chords[place.program] = self._chords.get(place.program, 0) + 1
        elif type_ == "TimeSig" and place.tracks == 1:
            skipped = place.bar - len(self._metres)
            self._metres += [self._metres[-1] if self._metres else place.metre] * skipped
            self._metres[place.bar :] = [place.metre]
        elif grammar.tokenizer.tokens[token] == TRACK_START:
            self._free_from = self.bounds.free_from.copy()
            self._sounding.clear()
            self._bar_struck = self._track_struck = False
            self._tempo = (0, 0.0, grammar.default_bpm)
        context = grammar.context_after(self.context, token)
        self.context = context if context in grammar.follow else self.context

    def _strike(self, pitch: int) -> None:
        self._struck = key = self.place.program, pitch
        self._struck_free_from = int(self._free_from[key])
        self._shift, self._bar_struck, self._track_struck = 0, True, True
        self._crowd += 1
        self.begun += 1
        self.recent.append(key)
        end = FOREVER if self.grammar.note_on_off else self.place.tick + 1
        self._free_from[key] = max(self._free_from[key], end)
        self._sounding[key] = max(self._sounding.get(key, 0), end)
        if self.grammar.note_on_off and "Velocity" not in self.grammar.of_type:
            self._hold()

    def _hold(self) -> None:
        held = self._held.setdefault(self._struck, [])
        held.append((self.place.tick, self._velocity))
        self._held_since[self._struck] = held[0][0]

    def _finish(self, onset: int, duration: int) -> None:
        key, end = self._struck, onset + duration
        self._free_from[key] = max(self._free_from[key], end)
        self._sounding[key] = max(self._sounding.get(key, 0), end)
        self._note(key, onset, self._velocity, duration)

    def _release(self, key: tuple[int, int]) -> None:
        held = self._held.get(key, [])
        if held:
            onset, velocity = held.pop(0)
            self._note(key, onset, velocity, self.place.tick - onset)
        self._held_since[key] = held[0][0] if held else FOREVER
        if not held:
            self._held.pop(key, None)
            self._sounding.pop(key, None)
            if self._free_from[key] >= FOREVER and self.bounds.free_from[key] == 0:
                self._free_from[key] = self.place.tick

    def _note(self, key: tuple[int, int], onset: int, velocity: int, duration: int) -> None:
        self.notes += 1
        self.finished.append(Struck(self.grammar.programs.get(key[0], 0), onset, key[1], velocity, duration))

    # --- what may come ---

    def allowed(self) -> np.ndarray:
        """(V,) bool of the lawful next ids under the bounds; never all False. Not to be written to."""
        table, every_bar = self.bounds.table(self.context, self.place.program), self.bounds.controls.every_bar
        if table.settled:
            return table.mask
        aims = _Aims(every_bar, every_bar, self.end_bar, self.keeps_bar_lines, self.end_tick)
        if self._only_sounds_matter(table):
            found = table.mask.copy()
            found[table.note_id[self._free_from.take(table.note_key) > self.place.tick]] = False
            if found.any():
                return found
        key = self._key_of_place(table, aims)
        known = table.masks.get(key) if key is not None else None
        if known is not None:
            return known
        found = self._worked_out_mask(table, aims)
        if key is not None:
            found.flags.writeable = False
            _keep(table.masks, key, found)
        return found

    def _only_sounds_matter(self, table: Table) -> bool:
        """Whether all that may follow is to strike a pitch, and only those that sound are in the way."""
        if not table.only_notes or (len(table.chord_at) and self._chords) or len(self.grammar.shifts) > 1:
            return False
        return not (table.promises and self._cramped(table)) and not self.grammar.by_track

    def _key_of_place(self, table: Table, aims: _Aims) -> tuple[Any, ...] | None:
        """What decides alone of what may follow, where that is the place; None where notes do, or a track."""
        if table.strikes or table.timed or self.grammar.by_track or self._crowd >= _MOST_AT_ONCE or aims.end_tick:
            return None
        if table.promises and self._cramped(table):
            return None
        left = None if aims.end_bar is None else (aims.end_bar - self.place.bar, self.bar_sounds)
        return self._bars_key(table), self._bar_struck, left, aims.bar_lines

    def _worked_out_mask(self, table: Table, aims: _Aims) -> np.ndarray:
        lawful = self._lawful(table, aims)
        if not lawful.any():
            lawful = self._second_best(table)
        found = np.zeros(len(table.mask), dtype=bool)
        found[table.ids] = lawful
        if not lawful.any():
            found[self.tokenizer.eos_id] = True  # only a row that cannot go on lawfully is ended
        return found

    def _second_best(self, table: Table) -> np.ndarray:
        """(K,) bool of what may come where held notes leave no room for one in this bar, or up to the end."""
        lawful = self._lawful(table, _Aims(False, self.bounds.controls.every_bar, self.end_bar, self.keeps_bar_lines))
        if not lawful.any() and len(table.movers):  # Structured, whose shifts lead to notes: no farther than needed
            for aims in (_Aims(False, False, self.end_bar, self.keeps_bar_lines), _Aims(False, False, None, False)):
                lawful = self._lawful(table, aims)
                if lawful.any():
                    bar = self._land(table)[0]
                    lawful[table.movers] &= bar == bar[lawful[table.movers]].min()
                    break
        return lawful

    @property
    def follow(self) -> np.ndarray:
        """(V,) bool of the ids that may follow by their types and what is always forbidden. Not to be written to."""
        return self.bounds.table(self.context, self.place.program).mask

    @property
    def moves_on(self) -> bool:
        """Whether the next id may move time."""
        return len(self.bounds.table(self.context, self.place.program).movers) > 0

    def landings(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each id that may follow would lead, as if it were lawful: its bar and its tick, (V,) each."""
        table = self.bounds.table(self.context, self.place.program)
        bar, tick, _, _ = self._land(table)
        bars, ticks = np.full(len(table.mask), self.place.bar), np.full(len(table.mask), self.place.tick)
        bars[table.ids[table.movers]], ticks[table.ids[table.movers]] = bar, tick
        return bars, ticks

    def _lawful(self, table: Table, aims: _Aims) -> np.ndarray:
        """(K,) bool of the ids of the table."""
        grammar, place = self.grammar, self.place
        lawful = np.ones(len(table.ids), dtype=bool)
        ticks = bar_ticks = np.array([])  # (K,), where they are looked at
        told = table.strikes or table.promises
        if told:
            ticks, bar_ticks = np.full(len(lawful), place.tick), np.full(len(lawful), place.bar_tick)
        if len(table.movers):
            bar, tick, bar_tick, moves = self._land(table)
            self._keep_bars(table, moves, bar, tick - bar_tick, aims)
            if aims.end_tick is not None and place.tick + self.bar_ticks < aims.end_tick:
                moves &= tick < aims.end_tick
            lawful[table.movers] = moves
            if self._crowd >= _MOST_AT_ONCE and moves.any():
                still = table.claims > 0
                still[table.movers[tick > place.tick]] = False
                lawful &= ~still
            if told:
                ticks[table.movers], bar_ticks[table.movers] = tick, bar_tick
        if table.strikes:
            self._keep_pitches(table, lawful, ticks, bar_ticks, aims)
        if table.promises and self._cramped(table):
            self._keep_promises(table, lawful, ticks, bar_ticks)
        if table.timed:
            earliest, latest = self._window(np.array(place.tick), np.array(place.bar_tick), aims)
            onset = place.tick + table.first_shift
            lawful &= (onset >= np.maximum(earliest, self._struck_free_from)) & (onset <= latest)
        if grammar.by_track:
            if not self._track_struck or (aims.notes and not self._bar_struck):
                lawful[table.track_ends] = False
        elif len(table.eos_at):  # only where a bar may begin instead
            lawful[table.eos_at] = lawful[table.bar_at].any()
        return lawful

    def _bars_key(self, table: Table) -> tuple[Any, ...]:
        """What decides where movers lead, counted from the open bar and the tick: it comes again in every bar."""
        place = self.place
        length = self.grammar.places.bar_ticks[place.metre]
        return (
            *(place.metre, place.bar < 0, place.tick - place.bar_tick, self.context in _AT_ITS_START),
            max(0, place.note_end - place.tick) if table.rests else 0,
            place.bar_tick - place.tick_at_metre - (max(place.bar, 0) - place.bar_at_metre) * length,
        )

    def _land(self, table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """For each mover the bar, the tick and the begin of the bar that it leads to, and whether that is lawful."""
        place, key = self.place, self._bars_key(table)
        found = table.landings.get(key)
        if found is None:
            bar, tick, bar_tick, lawful = self._worked_out(table)
            found = bar - place.bar, tick - place.tick, bar_tick - place.bar_tick, lawful
            _keep(table.landings, key, found)
        bar, tick, bar_tick = found[0] + place.bar, found[1] + place.tick, found[2] + place.bar_tick
        if place.tracks > 1 and self._metres:
            return bar, tick, bar_tick, found[3] & self._keeps_metres(table, bar)
        return bar, tick, bar_tick, found[3].copy()

    def _worked_out(self, table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """`_land` by arithmetic; the metres of other tracks aside."""
        grammar, place, metre = self.grammar, self.place, self.place.metre
        length, open_bar = grammar.places.bar_ticks[metre], max(place.bar, 0)
        next_bar = place.bar_tick + length if place.bar >= 0 else place.tick
        start = np.array([place.tick, place.tick, max(place.tick, place.note_end), next_bar])[table.kind]
        tick = start + table.offset[metre]
        if grammar.bars_by_token:  # shifts stay within their bar
            bar, bar_tick = np.full_like(tick, place.bar), np.full_like(tick, place.bar_tick)
        else:
            bar = np.maximum(place.bar_at_metre + (tick - place.tick_at_metre) // length, open_bar)
            bar_tick = place.bar_tick + (bar - open_bar) * length
        bar = np.where(table.opens, place.bar + table.bars, bar)
        bar_tick = np.where(table.opens, tick, bar_tick)
        lawful = ~table.at_bar_line | (tick == bar_tick)
        if grammar.bars_by_token:
            lawful &= table.opens | (tick < place.bar_tick + length)
        if table.has_positions:
            position = table.position[metre]
            placed, after = position >= 0, bar_tick + position
            earliest = tick if self.context in _AT_ITS_START else tick + (table.kind == STAYS)
            lawful &= ~placed | ((position < table.length[metre]) & (after >= earliest))
            tick = np.where(placed, after, tick)
        return bar, tick, bar_tick, lawful

    def _keeps_metres(self, table: Table, bar: np.ndarray) -> np.ndarray:
        """Whether movers to `bar` keep to the metres of MMM's first track, the only ones that the decoder tells."""
        place, metres = self.place, np.array(self._metres)
        wanted = metres[np.clip(bar, 0, len(metres) - 1)]
        since = max(place.bar, 0)
        differs = np.flatnonzero(metres[since:] != place.metre)
        until = since + differs[0] if len(differs) else FOREVER  # rests must not pass a change of metre
        until = until if since < len(metres) or metres[-1] == place.metre else since
        return np.where(table.metre < 0, (table.kind != RESTS) | (bar < until), table.metre == wanted)

    def _keep_bars(self, table: Table, lawful: np.ndarray, bar: np.ndarray, within: np.ndarray, aims: _Aims) -> None:
        """No mover past the end, a bar line, or a bar that lacks a note; `within`: ticks after the bar's begin."""
        place, rests = self.place, table.kind == RESTS
        later, silent = bar > place.bar, np.zeros(len(bar), dtype=bool)
        if aims.bars:
            lawful &= bar <= place.bar + 1
            if self.grammar.has_bars:
                lawful &= ~(rests & later)
        if aims.notes:
            silent |= later | (not self._bar_struck)
            if not self._bar_struck and place.bar >= 0:
                lawful &= ~later
        if aims.bar_lines:
            lawful &= (bar <= max(place.bar, 0)) | ((bar == place.bar + 1) & (within == 0) & ~table.goes_on)
        if aims.end_bar is not None:
            last = aims.end_bar - 1
            late = bar > last
            if place.bar == last and self.bar_sounds:
                lawful &= ~late | (not self.grammar.has_bars) | ~rests
            else:
                lawful &= ~late
            silent |= (bar == last) & (later | (not self.bar_sounds))
        if self.bounds.grid_ticks:  # where a note must still begin, one can
            first = -(-within // self.bounds.grid_ticks) * self.bounds.grid_ticks
            lawful &= ~silent | (first < table.length[place.metre])

    def _window(self, ticks: np.ndarray, bar_ticks: np.ndarray, aims: _Aims) -> tuple[np.ndarray, np.ndarray]:
        """Between which ticks a note of each place may begin, that a MicroTiming moves."""
        least, most = self.bounds.shifts
        earliest, latest = np.maximum(ticks + least, max(0, self.not_before)), ticks + most
        if aims.notes:
            earliest = np.maximum(earliest, bar_ticks)
        if aims.notes or aims.end_bar is not None:
            latest = np.minimum(latest, bar_ticks + self.bar_ticks - 1)
        return earliest, latest

    def _keep_pitches(
        self, table: Table, lawful: np.ndarray, ticks: np.ndarray, bar_ticks: np.ndarray, aims: _Aims
    ) -> None:
        """No pitch that sounds already, no end of one that does not, and not one chord after the other."""
        onset, free_from = ticks[table.note_at], self._free_from.take(table.note_key)
        if len(self.grammar.shifts) > 1:
            earliest, latest = self._window(onset, bar_ticks[table.note_at], aims)
            onset = np.where(table.note_untimed, latest, onset + table.note_shift)
            wrong = (free_from > onset) | (onset < earliest) | (onset > latest)
        else:
            wrong = free_from > onset
        lawful[table.note_at[wrong]] = False
        if len(table.off_at):
            lawful[table.off_at[self._held_since.take(table.off_key) >= ticks[table.off_at]]] = False
        full = [slot for slot, count in self._chords.items() if count >= _MOST_CHORDS]
        if full and len(table.chord_at):
            here = ticks[table.chord_at] == self.place.tick
            lawful[table.chord_at[here & np.isin(table.chord_slot, full)]] = False

    def _cramped(self, table: Table) -> bool:
        """Whether notes may be too many, too early or off the grid."""
        bounds = self.bounds
        few = len(self._sounding) + table.most_claims > bounds.tightest or bounds.controls.polyphony is not None
        return few or bounds.grid_ticks > 0 or self.place.tick < self.not_before

    def _keep_promises(self, table: Table, lawful: np.ndarray, ticks: np.ndarray, bar_ticks: np.ndarray) -> None:
        """Notes, and what obliges to one, only where and when there is room for them."""
        bounds, limit = self.bounds, self.bounds.controls.polyphony
        need = table.claims
        room = ticks >= self.not_before
        if bounds.grid_ticks:
            room &= (ticks - bar_ticks) % bounds.grid_ticks == 0
        if limit is not None:
            ends = np.sort(np.fromiter(self._sounding.values(), np.int64, len(self._sounding)))
            room &= len(ends) - np.searchsorted(ends, ticks, side="right") + need <= limit
        if len(self._sounding) + table.most_claims > bounds.tightest:
            room &= self._finds_pitches(table, need, ticks)
        if not self.grammar.note_on_off:
            lawful &= room | (need == 0)
            return
        # A program that can strike nothing may still end a note, if the id itself does not.
        held_since = self._held_since.min(1)[table.open_slot]
        ends_note = (table.open_slot > 0) & (table.need == 0) & (ticks > held_since)
        ends_note[table.off_at] = False
        lawful &= room | (need == 0) | ends_note

    def _finds_pitches(self, table: Table, need: np.ndarray, ticks: np.ndarray) -> np.ndarray:
        """Whether enough pitches are free for what an id strikes and promises: of its program, and of all."""
        bounds = self.bounds
        used = [slot for slot, pitch in self._sounding if bounds.free_from[slot, pitch] == 0]
        left = bounds.rooms - np.bincount(np.array(used, dtype=np.int64), minlength=len(bounds.rooms))  # (S,)
        free = np.where(bounds.free_from == 0, self._free_from, FOREVER).min(1)  # (S,) when the next pitch is free
        own = table.open_slot
        found = (own == 0) | (need <= left[own]) | ((need == 1) & (ticks >= free[own]))
        playable = np.array([self.place.program]) if self.grammar.by_track and self.place.program else bounds.rooms > 0
        return found & ((need <= left[playable].sum()) | ((need == 1) & (ticks >= free[playable].min())))


def _keep(known: dict[tuple[Any, ...], Any], key: tuple[Any, ...], value: Any) -> None:
    """Remember what was worked out, and not more than memory allows."""
    if len(known) >= _MOST_KNOWN:
        known.clear()
    known[key] = value
