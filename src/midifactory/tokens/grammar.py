"""What may follow what in each tokenizer's stream, as tables: made once, shared by all rows that are walked.

MidiTok's type graph says which types follow each other; what its encoder never writes is taken out, and what the graph
leaves out (PerTok has none, MMM's tracks) is put in. With byte pairs an id stands for several tokens: what it moves and
what it strikes is worked out here, so that walk.py asks the same of every id in a few array operations.

Legend: B base tokens, V model ids, C contexts, M metres, N notes within ids.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from midifactory.tokens.places import Places
from midifactory.tokens.tokenizer import INFILL_TOKENS, SPECIAL_TOKENS, Tokenizer

PITCH_TYPES = frozenset({"Pitch", "PitchDrum"})
ON_TYPES = frozenset({"NoteOn", "DrumOn"})
OFF_TYPES = frozenset({"NoteOff", "DrumOff"})
STRIKES = PITCH_TYPES | ON_TYPES
DRUM_TYPES = frozenset({"PitchDrum", "DrumOn", "DrumOff"})
DRUMS = -1
PITCHES = 128

# How an id moves time: not at all, from here, from the end of what sounds, or to the next bar line.
STAYS, SHIFTS, RESTS, OPENS = range(4)
_HEAD = frozenset({"Bar", "TimeSig", "Position", "Rest", "TimeShift"})
# Contexts are types, and these: what a MicroTiming belongs to, a TimeShift within a note of PerTok, MMM's track tokens.
TIMED, SHIFTED = "~", ">"
TRACK_START, TRACK_END = "Track_Start", "Track_End"


@dataclass
class _Part:
    """What one id does, gathered while its tokens are read."""

    kind: int = STAYS
    moves: list[int] = field(default_factory=list)  # base tokens of TimeShift, Rest and Bar, in order
    bars: int = 0
    metre: int = -1  # the base token of its last TimeSig
    first_metre_at_bar_line: bool = False  # a TimeSig that no Bar of this id stands before
    position: int = -1  # the base token of its Position
    lawful: bool = True


class Grammar:
    """The tables of one tokenizer.

    follow: for each context, what may come: (V,) bool. on_program: contexts in which that depends on the program that
    the row has. goes_on: of each mover, whether it does more than stand at a bar line.

    movers: ids that move time or change the metre; with `kind`, `offset` (M, movers) ticks in each metre, `bars` that
    are opened, `metre` after (-1: as before), `length` (M, movers) of its bars, `position` (M, movers) ticks in the
    bar, -1 for none, `at_bar_line`: whether it is lawful there alone, `opens`: whether a Bar is in it.

    notes: `note_id`, `note_slot` (0: the program that the row has), `note_pitch`, `note_drum`, `note_shift` (ticks of
    its MicroTiming), `note_untimed`: whether that comes in the next id, `note_freed` (-1: the id itself ends that pitch
    before, a slot: if the row is on it). NoteOffs and chords: the same columns as far as they have them. shifts: of all
    MicroTimings, rising. first_shift: of the one that an id begins with.

    need: how many notes an id strikes or obliges the row to strike at its tick. open_slot: the slot whose program an id
    ends with (0: another end). parts: the base tokens of each id.
    """

    def __init__(self, tokenizer: Tokenizer):
        if tokenizer.without_grammar is not None:
            raise ValueError(tokenizer.without_grammar)
        self.tokenizer = tokenizer
        inner = tokenizer.miditok
        self.places = Places(inner)
        self.of_type = {
            name: np.flatnonzero(np.array(tokenizer.types) == name) for name in dict.fromkeys(tokenizer.types)
        }
        self.values = [token.split("_", 1)[1] for token in tokenizer.tokens]
        self.parts = [tokenizer.to_base_ids([i]).tolist() for i in range(tokenizer.vocab_size)]
        self.slots = {program: 1 + index for index, program in enumerate(sorted(inner.config.programs))}
        self.programs = {slot: program for program, slot in self.slots.items()}
        self.has_bars = "Bar" in self.of_type
        self.by_track = tokenizer.scheme == "MMM"
        self.note_on_off = bool(inner._note_on_off)
        self.drum_types = bool(DRUM_TYPES & self.of_type.keys())
        self.drum_slot = self.slots.get(DRUMS, -1)
        self.bar_ticks = np.array(self.places.bar_ticks)
        self.default_bpm = float(inner.default_tempo)  # the decoder's, of a piece that tells none
        self.bars_by_token = tokenizer.scheme == "PerTok"
        self.shifts = sorted(int(self.values[i]) for i in self.of_type.get("MicroTiming", ())) or [0]
        self.track_ends = np.flatnonzero(np.array(tokenizer.tokens) == TRACK_END)
        self.successors = _successors(tokenizer)
        self._contexts()
        self._notes()
        self._movers()

    # --- contexts ---

    def context_after(self, context: str, token: int) -> str:
        """The context that a base token leads to."""
        type_ = self.tokenizer.types[token]
        if type_ == "MicroTiming":
            return context + TIMED
        if type_ == "Track":
            return self.tokenizer.tokens[token]
        if self.bars_by_token and type_ in {"TimeShift", "Position"} and context.startswith("Program"):
            return "Program" + TIMED + SHIFTED
        return type_

    def _contexts(self) -> None:
        names = ["BOS"]
        for name in names:
            for token in self._representatives():
                if self._kind_of(token) in self.successors.get(name, ()):
                    after = self.context_after(name, token)
                    if after not in names:
                        names.append(after)
        self.follow: dict[str, np.ndarray] = {}
        for name in names:
            allowed = np.zeros(self.tokenizer.vocab_size, dtype=bool)
            for index, part in enumerate(self.parts):
                context = name
                for token in part:
                    if self._kind_of(token) not in self.successors.get(context, ()):
                        break
                    context = self.context_after(context, token)
                else:
                    allowed[index] = True
            self.follow[name] = allowed

    def _kind_of(self, token: int) -> str:
        type_ = self.tokenizer.types[token]
        return self.tokenizer.tokens[token] if type_ == "Track" else type_

    def _representatives(self) -> list[int]:
        """One base token of each type."""
        found: dict[str, int] = {}
        for token in range(self.tokenizer.base_vocab_size):
            found.setdefault(self._kind_of(token), token)
        return list(found.values())

    def obliges(self, context: str) -> bool:
        """Whether a note must follow at this very tick."""
        if self.note_on_off:
            return False  # after a Program a NoteOff may come as well
        if context in {"Program", "Chord"} or context.startswith("Program" + TIMED) or context == "Chord" + TIMED:
            return not self.by_track or context != "Program"
        return context == "Position" or (context == "TimeShift" and self.tokenizer.scheme in {"Structured", "PerTok"})

    # --- what ids strike and end ---

    def _notes(self) -> None:
        types, tokens = self.tokenizer.types, self.tokenizer.tokens
        notes: list[tuple[int, int, int, bool, int, bool, int]] = []
        offs: list[tuple[int, int, int]] = []
        chords: list[tuple[int, int]] = []
        size = self.tokenizer.vocab_size
        self.need = np.zeros(size, dtype=np.int64)
        self.open_slot = np.zeros(size, dtype=np.int64)
        self.first_shift = np.zeros(size, dtype=np.int64)
        self.pairs: list[tuple[int, int]] = []  # ids that strike a pitch on the row's program and on a named one
        for index, part in enumerate(self.parts):
            slot, struck, ended = 0, set[tuple[int, int]](), set[tuple[int, int]]()
            for place, token in enumerate(part):
                type_ = types[token]
                value = tokens[token].split("_", 1)[1]
                key = (slot, int(value)) if type_ in STRIKES | OFF_TYPES else (0, 0)
                if type_ == "Program":
                    slot = self.slots[int(value)]
                elif type_ == "Chord":
                    chords.append((index, slot))
                elif type_ in STRIKES:
                    following = part[place + 1] if place + 1 < len(part) else -1
                    timed = following >= 0 and types[following] == "MicroTiming"
                    shift = int(self.values[following]) if timed else 0
                    untimed = following < 0 and "MicroTiming" in self.of_type
                    notes.append((index, *key, type_ in DRUM_TYPES, shift, untimed, _freed(key, ended)))
                    self.need[index] += 1
                    if key in struck:
                        self._forbid(index)
                    self.pairs += [(index, other) for other, pitch in struck if pitch == key[1] and 0 in (other, slot)]
                    self.pairs += [(index, slot)] * any(pitch == key[1] and not other for other, pitch in struck)
                    struck.add(key)
                elif type_ in OFF_TYPES:
                    offs.append((index, *key))
                    if key in struck or key in ended:
                        self._forbid(index)
                    ended.add(key)
                elif type_ == "MicroTiming" and place == 0:
                    self.first_shift[index] = int(value)
            last = types[part[-1]]
            context = TIMED if last == "MicroTiming" else last
            if context == TIMED and len(part) > 1:
                context = types[part[-2]] + TIMED
            if self.obliges(context):
                self.need[index] += 1
            if last == "Program" or context == "Program" + TIMED:
                self.open_slot[index] = slot
        columns = np.array(notes, dtype=np.int64).reshape(-1, 7).T
        self.note_id, self.note_slot, self.note_pitch, drum, self.note_shift, untimed, self.note_freed = columns
        self.note_drum, self.note_untimed = drum.astype(bool), untimed.astype(bool)
        self.off_id, self.off_slot, self.off_pitch = np.array(offs, dtype=np.int64).reshape(-1, 3).T
        self.chord_id, self.chord_slot = np.array(chords, dtype=np.int64).reshape(-1, 2).T

    def _forbid(self, index: int) -> None:
        for allowed in self.follow.values():
            allowed[index] = False

    # --- how ids move ---

    def _movers(self) -> None:
        places, movers = self.places, []
        # Structured writes a TimeShift of nothing between the notes of a chord.
        self.still = {int(i) for i in self.of_type.get("TimeShift", ()) if not places.ticks_of(int(i), 0)}
        for index, part in enumerate(self.parts):
            moved = self._head(part)
            if not moved.lawful:
                self._forbid(index)
            elif moved.kind != STAYS or moved.metre >= 0 or moved.position >= 0:
                movers.append((index, moved))
        metres = len(places.bar_ticks)
        self.movers = np.array([index for index, _ in movers], dtype=np.int64)
        self.kind = np.array([moved.kind for _, moved in movers], dtype=np.int64)
        self.bars = np.array([moved.bars for _, moved in movers], dtype=np.int64)
        self.metre = np.array(
            [-1 if moved.metre < 0 else places.metre_of(moved.metre) for _, moved in movers], dtype=np.int64
        )
        self.at_bar_line = np.array([moved.first_metre_at_bar_line for _, moved in movers], dtype=bool)
        self.offset = np.zeros((metres, len(movers)), dtype=np.int64)
        self.position = np.full((metres, len(movers)), -1, dtype=np.int64)
        for column, (index, moved) in enumerate(movers):
            for metre in range(metres):
                self.offset[metre, column] = self._offset(self.parts[index], moved, metre)
                if moved.position >= 0:
                    last = metre if self.metre[column] < 0 else self.metre[column]
                    self.position[metre, column] = places.ticks_of(moved.position, last)
        last = self.bar_ticks[np.where(self.metre < 0, np.arange(metres)[:, None], self.metre)]
        self.moving_notes = bool(np.isin(self.note_id, self.movers).any())
        # Movers that do more than stand at a bar line: what is to begin there could not come before it.
        struck = np.isin(self.movers, np.concatenate([self.note_id, self.chord_id]))
        self.goes_on = struck | (self.position >= 0).any(0) | (self.open_slot[self.movers] > 0)
        self.length, self.opens = last, self.kind == OPENS
        told = np.concatenate([self.note_id, self.off_id, self.chord_id])
        told = told[np.concatenate([self.note_slot, self.off_slot, self.chord_slot]) == 0]
        self.on_program = {name for name, allowed in self.follow.items() if allowed[told].any()}

    def _head(self, part: list[int]) -> _Part:
        """How an id moves: all of it stands in its first tokens, since byte pairs keep within onset groups."""
        types, moved, in_head = self.tokenizer.types, _Part(), True
        for token in part:
            type_ = types[token]
            if self.by_track and type_ == "Program":  # before the track's first bar
                continue
            if type_ not in _HEAD or token in self.still:
                in_head = False
                continue
            if not in_head or moved.position >= 0:
                moved.lawful = False
            if type_ == "Bar":
                moved.lawful &= moved.kind in (STAYS, OPENS)
                moved.kind, moved.bars = OPENS, moved.bars + 1
            elif type_ == "TimeSig":
                moved.first_metre_at_bar_line |= moved.kind != OPENS
                moved.metre = token
            elif type_ == "Position":
                moved.position = token
            else:
                rest = type_ == "Rest" and not self.note_on_off
                moved.lawful &= moved.metre < 0 and moved.kind in (STAYS, RESTS if rest else SHIFTS)
                moved.kind = RESTS if rest else SHIFTS
                moved.moves.append(token)
        return moved

    def _offset(self, part: list[int], moved: _Part, metre: int) -> int:
        """Ticks from where the kind says: of shifts and rests in `metre`, or of the bars between two Bar tokens."""
        if moved.kind != OPENS:
            return sum(self.places.ticks_of(token, metre) for token in moved.moves)
        ticks, seen = 0, 0
        for token in part:
            if self.tokenizer.types[token] == "Bar":
                ticks += self.places.bar_ticks[metre] if seen else 0
                seen += 1
            elif self.tokenizer.types[token] == "TimeSig":
                metre = self.places.metre_of(token)
        return ticks


def _freed(key: tuple[int, int], ended: set[tuple[int, int]]) -> int:
    """Whether an id has ended a pitch: -1 whatever the row's program is, a slot if that is the row's program, 0 not."""
    if key in ended:
        return -1
    return max((max(key[0], slot) for slot, pitch in ended if pitch == key[1] and 0 in (slot, key[0])), default=0)


def _successors(tokenizer: Tokenizer) -> dict[str, set[str]]:
    """Context -> the kinds of token that may come, the end of the piece among them."""
    kinds = {
        token if type_ == "Track" else type_ for token, type_ in zip(tokenizer.tokens, tokenizer.types, strict=True)
    }
    base = getattr(tokenizer.miditok, "base_tokenizer", tokenizer.miditok)
    by_track, has_bars = tokenizer.scheme == "MMM", type(base).__name__ in {"REMI", "PerTok"}
    found = _per_tok(kinds) if type(base).__name__ == "PerTok" else _of_graph(base, kinds, by_track)
    ends = {"Duration"} if "Duration" in kinds else ({"Velocity"} if "Velocity" in kinds else set(STRIKES))
    if base._note_on_off:
        ends = set(OFF_TYPES) | {"Velocity"}
    ends |= {"TimeSig", "Bar"} if has_bars else set()
    if by_track:
        first = found["BOS"]
        found["BOS"], found[TRACK_START], found["Program"] = {TRACK_START}, {"Program"}, first
        found[TRACK_END] = {TRACK_START, "EOS"}
    for name in (ends | {"Tempo"} if by_track else ends) & found.keys():
        found[name] = found[name] | {TRACK_END if by_track else "EOS"}
    return found


def _of_graph(base: Any, kinds: set[str], by_track: bool) -> dict[str, set[str]]:
    """MidiTok's graph of types, less what its encoder never writes."""
    written = type(base).__name__
    found = {name: {other.split("_")[0] for other in following} for name, following in base.tokens_types_graph.items()}
    found = {name: following & kinds - {*SPECIAL_TOKENS, *INFILL_TOKENS, "Track"} for name, following in found.items()}
    for name in found:
        # A note and a chord have their program before them, or in MMM the track's.
        if by_track:
            found[name] -= {"Program"}
        elif name != "Program":
            found[name] -= STRIKES | OFF_TYPES | {"Chord"}
    if "Chord" in kinds and not by_track:
        found["Chord"] = {"Program"}
    if written == "REMI":
        found["BOS"] = {"Bar"}
        if "TimeSig" in kinds:
            found["TimeSig"] &= {"Bar", "Position", "Rest"}
        if "Rest" in kinds:
            found["Rest"] = found["Rest"] & {"Bar", "Position", "Rest"} | {"TimeSig"} & kinds
        if "Tempo" in kinds:
            found["Tempo"] -= {"TimeSig"}  # it would change the metre in the middle of a bar
    elif written == "Structured":
        found["BOS"] = {"TimeShift"}
    else:
        found["BOS"] = {"TimeSig"} & kinds or {"Tempo", "Program", "Rest", "TimeShift"} & kinds
    return found


def _per_tok(kinds: Iterable[str]) -> dict[str, set[str]]:
    """The order of Lemonaide's PerTok as MidiTok's encoder writes it: it gives no graph.

    A MicroTiming follows each Program, Chord and pitch; a note that lies between two steps of the grid may have a
    second TimeShift after its Program.
    """
    kinds = set(kinds)
    step = {"TimeShift", "Position"} & kinds
    timed = TIMED if "MicroTiming" in kinds else ""
    follow: dict[str, set[str]] = {
        "BOS": {"Bar", "Program"} | step,
        "Bar": {"Bar", "Program"} | step,
        **{name: {"Program"} for name in sorted(step)},
        "Program" + timed: {"Chord", *PITCH_TYPES, *step},
        "Program" + TIMED + SHIFTED: set(PITCH_TYPES),
        "Chord" + timed: {"Program"},
    }
    if timed:
        follow |= {name: {"MicroTiming"} for name in ("Program", "Chord", *sorted(PITCH_TYPES))}
    onward = {"Bar", "Program"} | step
    chain: list[str] = [name for name in ("Velocity", "Duration") if name in kinds]
    for place, name in enumerate(chain):
        follow[name] = {chain[place + 1]} if place + 1 < len(chain) else onward
    for name in PITCH_TYPES:
        follow[name + timed] = {chain[0]} if chain else onward
    return {name: set(following) & kinds for name, following in follow.items()}


def grammar_of(tokenizer: Tokenizer) -> Grammar:
    """The grammar of a tokenizer, worked out once and kept with it: that takes a good part of a second."""
    known = tokenizer.__dict__.get("_grammar")
    if known is None or len(known.parts) != tokenizer.vocab_size:  # byte pairs were learnt since
        known = tokenizer.__dict__["_grammar"] = Grammar(tokenizer)
    return known
