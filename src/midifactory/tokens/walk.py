"""One row's place in the music, and what may come next there.

A `Walk` follows a row token by token, as MidiTok's decoder would (tokens/places.py), and so knows what sounds, which
pitches are taken, and how much of a bar is left. `allowed` asks of every id at once: where would it lead, and may what
it strikes sound there? Bars, ticks and seconds are those of the Score that comes out.

Legend: V model ids, S slots (programs that the tokenizer knows, from 1; 0 for none), P = 128 pitches.
"""

import copy
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np

from midifactory.errors import UserError
from midifactory.music.score import DEFAULT_TEMPO_BPM
from midifactory.tokens.grammar import (
    DRUMS,
    OFF_TYPES,
    PITCHES,
    RESTS,
    STAYS,
    STRIKES,
    TRACK_START,
    Grammar,
)
from midifactory.tokens.tokenizer import Tokenizer

# After a chord comes its program again: a model that knows little would go round there for ever. Music has one chord a
# program at a time, the second is spared.
_MOST_CHORDS = 2
_REMEMBERED_NOTES = 32
_FOREVER = np.iinfo(np.int64).max // 2
# Where a position may be the place that the row has reached already.
_AT_ITS_START = frozenset({"BOS", "Bar", "TimeSig", "Rest"})


@dataclass(frozen=True)
class Controls:
    """What a caller fixes beside the law. None leaves it to the model.

    metre: the only time signature, as "4/4". keep_tempo: no further tempo tokens. programs: the only ones
    allowed (-1 drums). polyphony: how many notes may sound at once. every_bar: no rest may pass a bar line and no bar
    stays empty, so that every bar has a note, and its Bar token where there are any. pitch_range: lowest and highest
    pitch; program_ranges: the same for single programs, instead of pitch_range. Neither binds drums, nor a program of
    whose range the tokenizer knows no pitch. pitch_classes: the only ones allowed, 0 for C, drums aside. grid: notes
    begin at multiples of so many quarter notes from their bar line.
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


@dataclass(frozen=True)
class Struck:
    """A whole note of the row. onset and duration in ticks of the decoded Score."""

    program: int
    onset_ticks: int
    pitch: int
    velocity: int
    duration_ticks: int


class Walker(Protocol):
    """What generation knows of a walk: this module's, or that over a grid of voices (tokens/grid.py).

    bar: the open bar, -1 before any; tick, bar_tick, bar_ticks: where the next note would stand, where its bar begins,
    how long that is. bar_id: the id that opens a bar, None where there is none. sounds: whether a pitch does; follows:
    whether an id may follow by its type alone; set_tempo: for tokens that tell no tempo. at_downbeat: whether notes may begin at
    the very start of the open bar. finished: the whole notes, which the reader may empty. end_bar: no id leads to that
    bar before the one before it sounds; end_tick: nor to that tick from more than a bar before. keeps_bar_lines: no id passes over a bar line without standing on it.
    not_before: the tick before which no note begins.
    """

    tokenizer: Tokenizer
    ticks_per_quarter: int
    bar_id: int | None
    finished: list[Struck]
    notes: int
    end_bar: int | None
    end_tick: int | None
    keeps_bar_lines: bool
    not_before: int

    @property
    def bar(self) -> int: ...
    @property
    def tick(self) -> int: ...
    @property
    def bar_tick(self) -> int: ...
    @property
    def bar_ticks(self) -> int: ...
    @property
    def at_downbeat(self) -> bool: ...
    @property
    def between_notes(self) -> bool: ...
    def allowed(self) -> np.ndarray: ...
    def step(self, id_: int) -> None: ...
    def after(self, id_: int) -> tuple[int, int]: ...
    def seconds_at(self, tick: int) -> float: ...
    def copy(self) -> Self: ...
    def sounds(self, program: int, pitch: int) -> bool: ...
    def follows(self, id_: int) -> bool: ...
    def set_tempo(self, bpm: float) -> None: ...


class Bounds:
    """Controls in the tables of a grammar, shared by the rows that have them.

    free_from (S, P): 0, or for ever where a pitch is not to be struck. ids: (V,) bool of those that never break them.
    Raises UserError where the controls leave nothing to play, or ask for a grid that the tokens do not have.
    """

    def __init__(self, grammar: Grammar, controls: Controls):
        self.grammar, self.controls = grammar, controls
        inner = grammar.tokenizer.miditok
        known = {
            drums: {int(grammar.values[i]) for name in names for i in grammar.of_type.get(name, ())}
            for drums, names in (
                (False, ("Pitch", "NoteOn")),
                (True, ("PitchDrum", "DrumOn") if grammar.drum_types else ("Pitch", "NoteOn")),
            )
        }
        lowest, highest = inner.config.pitch_range  # the decoder passes over notes outside, drums too
        self.free_from = np.full((1 + len(grammar.slots), PITCHES), _FOREVER)
        for program, slot in grammar.slots.items():
            if controls.programs is not None and program not in controls.programs:
                continue
            pitches = {pitch for pitch in known[program == DRUMS] if lowest <= pitch <= highest}
            bounds = controls.range_of(program)
            if bounds is not None:
                pitches = {pitch for pitch in pitches if bounds[0] <= pitch <= bounds[1]} or pitches
            if controls.pitch_classes is not None and program != DRUMS:
                pitches = {pitch for pitch in pitches if pitch % 12 in controls.pitch_classes}
            self.free_from[slot, sorted(pitches)] = 0
        self.rooms = (self.free_from == 0).sum(1)  # (S,) how many pitches a program may play
        self.tightest = int(self.rooms[self.rooms > 0].min(initial=PITCHES))
        if not self.rooms.any():
            raise UserError(
                f"no pitch is left to play: programs={list(controls.programs or ()) or 'any'}, "
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

    def _ids(self) -> np.ndarray:
        grammar, controls = self.grammar, self.controls
        ids = np.ones(grammar.tokenizer.vocab_size, dtype=bool)
        ids &= (grammar.open_slot == 0) | (self.rooms[grammar.open_slot] > 0)
        if controls.keep_tempo:
            ids &= ~grammar.has_tempo
        if controls.metre is not None and "TimeSig" in grammar.of_type:
            others = {int(i) for i in grammar.of_type["TimeSig"] if grammar.values[i] != controls.metre}
            ids &= [others.isdisjoint(part) for part in grammar.parts]
        return ids


class Walk:
    """A row under a grammar and what bounds it. `finished` gathers the notes that are whole; the reader may empty it."""

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
        self.place = grammar.places.start()
        self.context = "BOS"
        self.notes = 0
        self.finished: list[Struck] = []
        self.recent: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED_NOTES)  # slot and pitch, as they are struck
        self._free_from = self.bounds.free_from.copy()  # (S, P): the tick from which a pitch may be struck
        self._sounding: dict[tuple[int, int], int] = {}  # slot and pitch -> the tick at which it ends
        self._held: dict[
            tuple[int, int], list[tuple[int, int]]
        ] = {}  # the same -> onsets and velocities, until NoteOff
        self._struck = (0, 0)  # what the note that is being told strikes, and from when on that was free
        self._struck_free_from = 0
        self._shift = 0
        self._velocity = 64
        self._chords: dict[int, int] = {}  # how many each slot has at this tick
        self._notes_at_bar = 0
        self._notes_at_track = 0
        self._tempo = (0, 0.0, DEFAULT_TEMPO_BPM)  # since which tick, at how many seconds, beats per minute
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
        whole = self.context in _AT_ITS_START | {"Duration", "Velocity", "TimeShift", *OFF_TYPES}
        return whole and not self._held and (self.context != "Velocity" or self.grammar.note_on_off)

    @property
    def bar_sounds(self) -> bool:
        """Whether any note sounds in the bar that is open."""
        return any(end > self.place.bar_tick for end in self._sounding.values()) or self.notes > self._notes_at_bar

    @property
    def at_downbeat(self) -> bool:
        """Whether notes may begin at the very start of the open bar: the bar's metre is settled, and nothing else."""
        settled = self.context == "TimeSig" if "TimeSig" in self.grammar.of_type and self.bar_id is not None else True
        return settled and self.place.tick == self.place.bar_tick

    def tick_at(self, seconds: float) -> int:
        """The first tick at or after so many seconds, if the tempo stays."""
        since, elapsed, bpm = self._tempo
        return since + math.ceil((seconds - elapsed) * bpm * self.ticks_per_quarter / 60.0)

    def copy(self) -> "Walk":
        """The same row, to go another way."""
        other = copy.copy(self)
        other.place, other.finished, other.recent = copy.copy(self.place), [], self.recent.copy()
        other._free_from, other._sounding = self._free_from.copy(), dict(self._sounding)
        other._held = {key: list(held) for key, held in self._held.items()}
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

    def after(self, id_: int) -> tuple[int, int]:
        """The bar and tick at which the row would be after a model id."""
        place = copy.copy(self.place)
        for token in self.grammar.parts[id_]:
            self.grammar.places.advance(token, place)
        return place.bar, place.tick

    # --- moving ---

    def step(self, id_: int) -> None:
        """Move over a model id, lawful or not, as MidiTok's decoder does."""
        for token in self.grammar.parts[id_]:
            self._step(token)

    def _step(self, token: int) -> None:
        grammar, place = self.grammar, self.place
        type_, before = grammar.tokenizer.types[token], (place.tick, place.bar)
        if type_ == "Tempo":
            self._tempo = (place.tick, self.seconds_at(place.tick), float(grammar.values[token]))
        grammar.places.advance(token, place)
        if place.tick != before[0]:
            self._chords.clear()
            self._sounding = {key: end for key, end in self._sounding.items() if end > place.tick}
        if place.bar != before[1]:
            self._notes_at_bar = self.notes
        if type_ in STRIKES:
            self._strike(int(grammar.values[token]))
        elif type_ == "Velocity":
            self._velocity = int(grammar.values[token])
            if grammar.note_on_off:
                self._held.setdefault(self._struck, []).append((place.tick, self._velocity))
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
            self._notes_at_track = self._notes_at_bar = self.notes
            self._tempo = (0, 0.0, DEFAULT_TEMPO_BPM)
        self.context = grammar.context_after(self.context, token)

    def _strike(self, pitch: int) -> None:
        self._struck = key = self.place.program, pitch
        self._struck_free_from = int(self._free_from[key])
        self._shift = 0
        self.recent.append(key)
        end = _FOREVER if self.grammar.note_on_off else self.place.tick + 1
        self._free_from[key] = max(self._free_from[key], end)
        self._sounding[key] = max(self._sounding.get(key, 0), end)
        if self.grammar.note_on_off and not self.grammar.has_velocities:
            self._held.setdefault(key, []).append((self.place.tick, self._velocity))

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
        if not held:
            self._held.pop(key, None)
            self._sounding.pop(key, None)
            if self._free_from[key] >= _FOREVER and self.bounds.free_from[key] == 0:
                self._free_from[key] = self.place.tick

    def _note(self, key: tuple[int, int], onset: int, velocity: int, duration: int) -> None:
        self.notes += 1
        self.finished.append(Struck(self.grammar.programs.get(key[0], 0), onset, key[1], velocity, duration))

    # --- what may come ---

    def allowed(self) -> np.ndarray:
        """(V,) bool of the lawful next ids under the bounds; never all False. Not to be written to."""
        grammar = self.grammar
        mask = grammar.follow[self.context] & self.bounds.ids
        if self.context not in grammar.dynamic:
            return mask
        # A long note may fill a bar in which none can begin: then a bar may be without an onset after all.
        for with_onset, with_end in ((True, True), (False, True), (False, False)):
            found = self._dynamic(mask.copy(), with_onset, with_end)
            if found.any():
                return found
        found = np.zeros_like(mask)
        found[grammar.tokenizer.eos_id] = True  # only a row that cannot go on lawfully is ended
        return found

    def landings(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each id would lead, lawful or not: its bar and its tick, (V,) each."""
        bars, ticks, _, _ = self._land()
        return self._spread(bars, self.place.bar), self._spread(ticks, self.place.tick)

    def _spread(self, of_movers: np.ndarray, of_others: int) -> np.ndarray:
        values = np.full(self.grammar.tokenizer.vocab_size, of_others)
        values[self.grammar.movers] = of_movers
        return values

    def _land(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """For each mover the bar, the tick and the begin of the bar that it leads to, and whether that is lawful."""
        grammar, place, metre = self.grammar, self.place, self.place.metre
        length, open_bar = grammar.places.bar_ticks[metre], max(place.bar, 0)
        next_bar = place.bar_tick + length if place.bar >= 0 else place.tick
        start = np.array([place.tick, place.tick, max(place.tick, place.note_end), next_bar])[grammar.kind]
        tick = start + grammar.offset[metre]
        if grammar.bars_by_token:  # shifts stay within their bar
            bar, bar_tick = np.full_like(tick, place.bar), np.full_like(tick, place.bar_tick)
        else:
            bar = np.maximum(place.bar_at_metre + (tick - place.tick_at_metre) // length, open_bar)
            bar_tick = place.bar_tick + (bar - open_bar) * length
        bar = np.where(grammar.opens, place.bar + grammar.bars, bar)
        bar_tick = np.where(grammar.opens, tick, bar_tick)
        lawful = ~grammar.at_bar_line | (tick == bar_tick)
        if grammar.bars_by_token:
            lawful &= grammar.opens | (tick < place.bar_tick + length)
        placed = grammar.placed[metre]
        if placed.any():
            after = np.where(placed, bar_tick + grammar.position[metre], tick)
            earliest = tick if self.context in _AT_ITS_START else tick + (grammar.kind == STAYS)
            lawful &= ~placed | (grammar.in_bar[metre] & (after >= earliest))
            tick = after
        if place.tracks > 1 and self._metres:
            lawful &= self._keeps_metres(bar)
        return bar, tick, bar_tick, lawful

    def _keeps_metres(self, bar: np.ndarray) -> np.ndarray:
        """Whether movers to `bar` keep to the metres of MMM's first track, the only ones that the decoder tells."""
        grammar, place, metres = self.grammar, self.place, np.array(self._metres)
        wanted = metres[np.clip(bar, 0, len(metres) - 1)]
        since = max(place.bar, 0)
        differs = np.flatnonzero(metres[since:] != place.metre)
        until = since + differs[0] if len(differs) else _FOREVER  # rests must not pass a change of metre
        until = until if since < len(metres) or metres[-1] == place.metre else since
        return np.where(grammar.metre < 0, (grammar.kind != RESTS) | (bar < until), grammar.metre == wanted)

    def _dynamic(self, mask: np.ndarray, with_onset: bool, with_end: bool) -> np.ndarray:
        grammar, place, bounds = self.grammar, self.place, self.bounds
        full = self._full_until()
        watched = bounds.controls.polyphony is not None or bounds.grid_ticks > 0 or bool(full) or grammar.note_on_off
        watched |= place.tick < self.not_before
        watched &= grammar.promises[self.context]
        ticks = bar_ticks = np.array([])  # (V,), where they are looked at
        if grammar.moves[self.context]:
            bar, tick, bar_tick, lawful = self._land()
            mask[grammar.movers[~lawful]] = False
            if bounds.controls.every_bar and place.bar >= 0:
                self._keep_every_bar(mask, bar, with_onset)
            if self.keeps_bar_lines:
                later = bar > max(place.bar, 0)
                mask[grammar.movers[later & ((bar > place.bar + 1) | (tick != bar_tick) | grammar.goes_on)]] = False
            if with_end:
                self._keep_length(mask, bar, tick)
            if watched or grammar.strikes[self.context]:
                ticks, bar_ticks = self._spread(tick, place.tick), self._spread(bar_tick, place.bar_tick)
        elif watched or grammar.strikes[self.context]:
            ticks, bar_ticks = np.full(len(mask), place.tick), np.full(len(mask), place.bar_tick)
        if grammar.strikes[self.context]:
            self._keep_pitches(mask, ticks)
        if watched:
            self._keep_promises(mask, ticks, full)
            if place.tick < self.not_before:
                mask[(grammar.need > 0) & (ticks < self.not_before)] = False
            if bounds.grid_ticks:
                mask[(grammar.need > 0) & ((ticks - bar_ticks) % bounds.grid_ticks != 0)] = False
        if self.context in {"Pitch", "PitchDrum"}:  # a MicroTiming: not before the piece, nor before the pitch is free
            onset = place.tick + grammar.first_shift
            mask[(onset < max(0, self._struck_free_from)) & (grammar.first_shift != 0)] = False
        if self._held or (grammar.tokenizer.monotonic and self.bar_id is None):
            mask[grammar.tokenizer.eos_id] = False
        if grammar.by_track and self.notes == self._notes_at_track:
            mask[grammar.track_ends] = False
        return mask

    def _keep_length(self, mask: np.ndarray, bar: np.ndarray, tick: np.ndarray) -> None:
        """No way over the end before the music has come near it."""
        grammar, place = self.grammar, self.place
        if self.end_tick is not None and place.tick + self.bar_ticks < self.end_tick:
            mask[grammar.movers[tick >= self.end_tick]] = False
        if self.end_bar is None:
            return
        late, sounds = bar >= self.end_bar, self.bar_sounds
        if place.bar == self.end_bar - 1 and sounds:
            late &= (grammar.kind == RESTS) & grammar.has_bars
        mask[grammar.movers[late]] = False
        if place.bar >= self.end_bar - 1 and not sounds:
            mask[grammar.tokenizer.eos_id] = False

    def _keep_every_bar(self, mask: np.ndarray, bar: np.ndarray, with_onset: bool) -> None:
        """No bar without a note, none passed over, and none opened by a rest where there are Bar tokens."""
        grammar = self.grammar
        wrong = bar > self.place.bar + 1
        if with_onset and self.notes == self._notes_at_bar:
            wrong |= bar > self.place.bar
            mask[grammar.tokenizer.eos_id] = False
        if grammar.has_bars:
            wrong |= (grammar.kind == RESTS) & (bar > self.place.bar)
        mask[grammar.movers[wrong]] = False

    def _keep_pitches(self, mask: np.ndarray, ticks: np.ndarray) -> None:
        """No pitch that sounds already, none that the bounds forbid, no drum on a pitched program."""
        grammar, program = self.grammar, self.place.program
        slot = np.where(grammar.note_slot == 0, program, grammar.note_slot)
        onset = ticks[grammar.note_id] + grammar.note_shift
        wrong = (self._free_from[slot, grammar.note_pitch] > onset) | (onset < 0)
        if len(grammar.off_id):
            freed = (grammar.note_freed < 0) | ((grammar.note_freed > 0) & (grammar.note_freed == program))
            wrong &= ~freed | (self.bounds.free_from[slot, grammar.note_pitch] > 0)
        if grammar.drum_types:
            wrong |= grammar.note_drum != (slot == grammar.drum_slot)
        mask[grammar.note_id[wrong]] = False
        for index, other in grammar.pairs:
            if other == program:
                mask[index] = False
        if len(grammar.off_id):
            slot = np.where(grammar.off_slot == 0, program, grammar.off_slot)
            since = np.full(self._free_from.shape, _FOREVER)
            for key, held in self._held.items():
                since[key] = held[0][0]
            mask[grammar.off_id[since[slot, grammar.off_pitch] >= ticks[grammar.off_id]]] = False
        if len(grammar.chord_id):
            slot = np.where(grammar.chord_slot == 0, program, grammar.chord_slot)
            wrong = slot == grammar.drum_slot
            full = [one for one, count in self._chords.items() if count >= _MOST_CHORDS]
            if full:
                wrong |= np.isin(slot, full) & (ticks[grammar.chord_id] == self.place.tick)
            mask[grammar.chord_id[wrong]] = False

    def _keep_promises(self, mask: np.ndarray, ticks: np.ndarray, full: dict[int, int]) -> None:
        """No more notes at once than the bounds say, and no promise of a note that could not be kept."""
        grammar, bounds = self.grammar, self.bounds
        limit = bounds.controls.polyphony
        room = np.ones(len(mask), dtype=bool)
        if limit is not None:
            ends = np.sort(np.fromiter(self._sounding.values(), np.int64, len(self._sounding)))
            room = len(ends) - np.searchsorted(ends, ticks, side="right") + grammar.need <= limit
        if grammar.note_on_off:
            self._keep_programs(mask, ticks, room, full)
            mask[~room & (grammar.need > 0)] = False
            return
        mask[~room & (grammar.need > 0)] = False
        if full:
            for slot, free in full.items():
                mask[(grammar.open_slot == slot) & (ticks < free)] = False
            playable = [self.place.program] if grammar.by_track else np.flatnonzero(bounds.rooms).tolist()
            if all(slot in full for slot in playable):
                mask[(grammar.need > 0) & (ticks < min(full[slot] for slot in playable))] = False

    def _keep_programs(self, mask: np.ndarray, ticks: np.ndarray, room: np.ndarray, full: dict[int, int]) -> None:
        """MIDI-like: a program that can neither strike nor end a note leads nowhere."""
        slots = self.grammar.open_slot
        free_from, held_since = np.zeros(len(self._free_from)), np.full(len(self._free_from), np.inf)
        for slot, free in full.items():
            free_from[slot] = free
        for (slot, _), held in self._held.items():
            held_since[slot] = min(held_since[slot], held[0][0])
        leads = (room & (ticks >= free_from[slots])) | (ticks > held_since[slots])
        mask[(slots > 0) & ~leads] = False

    def _full_until(self) -> dict[int, int]:
        """For each slot that sounds all the pitches it may play: when the first of them is free again."""
        if len(self._sounding) < self.bounds.tightest:
            return {}
        counts: dict[int, int] = {}
        for slot, pitch in self._sounding:
            if self.bounds.free_from[slot, pitch] == 0:
                counts[slot] = counts.get(slot, 0) + 1
        return {
            slot: int(self._free_from[slot][self.bounds.free_from[slot] == 0].min())
            for slot, count in counts.items()
            if count >= self.bounds.rooms[slot] and self._free_from[slot].min() > self.place.tick
        }
