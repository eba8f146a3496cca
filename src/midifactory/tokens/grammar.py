"""What may follow what in a REMI stream: MidiTok's type graph, and the decoding arithmetic that it leaves out.

One `Walk` follows one row. It repeats what MidiTok's decoder does with time, so bars, ticks and seconds are those of
the Score that comes out, rests included; and it knows which tokens are lawful next: positions ascend within a bar, a
pitch that still sounds on a program is not struck again, drums have drum pitches.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from midifactory.music.score import DEFAULT_TEMPO_BPM
from midifactory.tokens.tokenizer import NOTE_TYPES, Tokenizer

_DRUMS = -1
# After a chord comes its program again: a model that knows little would go round there for ever. Music has one chord a
# program; the second is spared, as forbidding it would shift every draw after a chord and so change older replays.
_MOST_CHORDS = 2


@dataclass(frozen=True)
class Controls:
    """What a caller fixes beside the law. None leaves it to the model.

    metre: the only time signature, as "4/4". keep_tempo: no further tempo tokens. programs: the only ones
    allowed (-1 drums). one_voice: no note begins before the last one ends. every_bar: no rest may pass a bar line
    and no bar stays empty, so that every bar has its Bar token and a note. pitch_range: lowest and highest pitch;
    program_ranges: the same for single programs, instead of pitch_range. Neither binds drums, nor a program of whose
    range the tokenizer knows no pitch.
    """

    metre: str | None = None
    keep_tempo: bool = False
    programs: tuple[int, ...] | None = None
    one_voice: bool = False
    every_bar: bool = False
    pitch_range: tuple[int, int] | None = None
    program_ranges: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    def range_of(self, program: int) -> tuple[int, int] | None:
        """The pitches that bind a program; None for any."""
        return None if program == _DRUMS else self.program_ranges.get(program, self.pitch_range)


class Grammar:
    """The tables of one tokenizer, shared by all its walks."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        types = np.array(tokenizer.types)
        self.of_type = {name: np.flatnonzero(types == name) for name in dict.fromkeys(tokenizer.types)}
        self.values = [token.split("_", 1)[1] for token in tokenizer.tokens]
        self.numbers = {
            name: np.array([int(self.values[i]) for i in ids])
            for name, ids in self.of_type.items()
            if name in {"Position", "Program", "Pitch", "PitchDrum"}
        }
        self.successors = {name: self._successors(name) for name in self.of_type}

    def _successors(self, name: str) -> np.ndarray:
        """(V,) bool: what MidiTok's type graph lets follow, less what its encoder never writes."""
        graph = self.tokenizer.miditok.tokens_types_graph
        following = {other.split("_")[0] for other in graph.get(name, set())} - {"PAD", "BOS", "EOS"}
        if name == "BOS":
            following = {"Bar"}
        elif name == "TimeSig":
            following &= {"Bar", "Position", "Rest"}
        elif name == "Rest":
            following = following & {"Bar", "Position", "Rest"} | {"TimeSig"} & self.of_type.keys()
        elif name == "Tempo":
            following -= {"TimeSig"}  # it would change the metre in the middle of a bar
        elif name == "Chord":
            following = {"Program"}
        if name in {"Duration", "TimeSig", "Bar"}:
            following |= {"EOS"}
        allowed = np.zeros(self.tokenizer.vocab_size, dtype=bool)
        for other in following:
            allowed[self.of_type.get(other, np.zeros(0, int))] = True
        return allowed


@dataclass
class Walk:
    """One row's place in the music. Ticks are those of the decoded Score, `Tokenizer.miditok.time_division`."""

    grammar: Grammar
    controls: Controls = field(default_factory=Controls)
    type: str = "BOS"
    bar: int = -1
    bar_tick: int = 0
    tick: int = 0
    notes: int = 0

    def __post_init__(self) -> None:
        self._metre(4, 4)
        self._bar_at_metre, self._tick_at_metre = 0, 0
        self._program = 0
        self._note_end = 0
        self._sounding_at = -1
        self._chords: Counter[tuple[int, int]] = Counter()  # chord tokens by program and tick
        self._notes_at_bar = 0
        self._pitch = 0
        self._until: dict[tuple[int, int], int] = {}  # end tick of the latest note per program and pitch
        self._tempo = (0, 0.0, DEFAULT_TEMPO_BPM)  # since which tick, at how many seconds, beats per minute
        self._pitches = self._free_pitches()
        self._fewest = min((len(pitches) for pitches in self._pitches.values()), default=0)

    def _free_pitches(self) -> dict[int, np.ndarray]:
        """The pitches that the controls leave to each program that may play and that they bind."""
        known = self.grammar.numbers.get("Pitch", np.zeros(0, int))
        found = {}
        for program in self.grammar.numbers["Program"].tolist():
            bounds = self.controls.range_of(program)
            if bounds is not None:
                inside = known[(known >= bounds[0]) & (known <= bounds[1])]
                if len(inside):
                    found[program] = inside
        return found

    def _busy_until(self) -> dict[int, int]:
        """The tick at which a pitch comes free again, for each program that sounds all the pitches left to it."""
        if len(self._until) < self._fewest or not self._pitches:
            return {}
        ends = Counter(program for (program, _), end in self._until.items() if end > self.tick)
        return {
            program: min(self._until[program, int(pitch)] for pitch in self._pitches[program])
            for program, count in ends.items()
            if program in self._pitches
            and count >= len(self._pitches[program])
            and all(self._until.get((program, int(pitch)), 0) > self.tick for pitch in self._pitches[program])
        }

    def _metre(self, numerator: int, denominator: int) -> None:
        inner = self.grammar.tokenizer.miditok
        self.metre = (numerator, denominator)
        self.ticks_per_bar = inner.time_division * 4 * numerator // denominator
        self._ticks_per_beat = inner._tpb_per_ts[denominator]
        self._ticks_per_position = self._ticks_per_beat // inner.config.max_num_pos_per_beat

    def seconds_at(self, tick: int) -> float:
        """Seconds from the start at `tick`, which lies after the last tempo token."""
        since, elapsed, bpm = self._tempo
        return elapsed + (tick - since) * 60.0 / (bpm * self.grammar.tokenizer.miditok.time_division)

    def after(self, token: int) -> tuple[int, int]:
        """The bar and tick at which the row would be after a time token (Bar, Position or Rest)."""
        type_, value = self.grammar.tokenizer.types[token], self.grammar.values[token]
        if type_ == "Bar":
            return self.bar + 1, (self.bar_tick + self.ticks_per_bar if self.bar >= 0 else self.tick)
        if type_ == "Rest":
            tick = max(self._note_end, self.tick)
            tick += self.grammar.tokenizer.miditok._tpb_rests_to_ticks[self._ticks_per_beat][value]
            bar = self._bar_at_metre + (tick - self._tick_at_metre) // self.ticks_per_bar
            return max(bar, self.bar, 0), tick
        if type_ == "Position":
            return max(self.bar, 0), self.bar_tick + int(value) * self._ticks_per_position
        return self.bar, self.tick

    def step(self, token: int) -> None:
        """Move over `token`, lawful or not, as MidiTok's decoder does."""
        type_, value = self.grammar.tokenizer.types[token], self.grammar.values[token]
        if type_ in {"Bar", "Rest", "Position"}:
            bar, tick = self.after(token)
            if type_ == "Bar":
                self.bar_tick, self._notes_at_bar = tick, self.notes
            elif type_ == "Rest" and bar > self.bar:
                self.bar_tick += (bar - max(self.bar, 0)) * self.ticks_per_bar
            self.bar, self.tick = bar, tick
        elif type_ == "TimeSig":
            numerator, denominator = map(int, value.split("/"))
            if (numerator, denominator) != self.metre:
                self._tick_at_metre, self._bar_at_metre = self.bar_tick, self.bar
                self._metre(numerator, denominator)
        elif type_ == "Tempo":
            self._tempo = (self.tick, self.seconds_at(self.tick), float(value))
            self._note_end = max(self._note_end, self.tick)
        elif type_ == "Program":
            self._program = int(value)
        elif type_ == "Chord":
            self._chords[self._program, self.tick] += 1
        elif type_ in NOTE_TYPES:
            self._sounding_at, self._pitch = self.tick, int(value)
        elif type_ == "Duration":
            inner = self.grammar.tokenizer.miditok
            duration = inner._tpb_tokens_to_ticks[self._ticks_per_beat][value]
            end = self.tick + int(duration)
            self._note_end = max(self._note_end, end)
            self._until[self._program, self._pitch] = max(end, self._until.get((self._program, self._pitch), 0))
            self.notes += 1
        self.type = type_

    @property
    def between_notes(self) -> bool:
        """Whether the row could end here without an unfinished note."""
        return self.type in {"Duration", "TimeSig", "BOS"}

    @property
    def bar_sounds(self) -> bool:
        """Whether any note sounds in the bar that is open."""
        return max(self._until.values(), default=0) > self.bar_tick

    def allowed(self) -> np.ndarray:
        """(V,) bool of the lawful next tokens under the controls; never all False."""
        grammar, controls = self.grammar, self.controls
        mask = grammar.successors[self.type].copy()
        of_type, numbers = grammar.of_type, grammar.numbers
        positions = of_type["Position"]
        ticks = numbers["Position"] * self._ticks_per_position
        earliest = self.tick - self.bar_tick + (self.type not in {"Bar", "TimeSig", "Rest"})
        if controls.one_voice:
            earliest = max(earliest, self._note_end - self.bar_tick)
        busy = self._busy_until()
        if busy:
            mask[of_type["Program"][np.isin(numbers["Program"], list(busy))]] = False
            playing = controls.programs if controls.programs is not None else numbers["Program"].tolist()
            if all(program in busy for program in playing):
                earliest = max(earliest, min(busy[program] for program in playing) - self.bar_tick)
        mask[positions] &= (ticks >= earliest) & (ticks < self.ticks_per_bar)
        if self.type == "Rest" and self.tick != self.bar_tick:
            mask[of_type.get("TimeSig", [])] = False  # a metre changes at a bar line; a rest may have swallowed its Bar
        if self.type == "Program":
            drums = self._program == _DRUMS
            for name in NOTE_TYPES & of_type.keys():
                if "PitchDrum" in of_type and (name == "PitchDrum") != drums:
                    mask[of_type[name]] = False
            if drums or self._chords[self._program, self.tick] >= _MOST_CHORDS:
                mask[of_type.get("Chord", [])] = False
            taken = [
                pitch for (program, pitch), end in self._until.items() if program == self._program and end > self.tick
            ]
            for name in NOTE_TYPES & of_type.keys():
                mask[of_type[name][np.isin(numbers[name], taken)]] = False
            if self._program in self._pitches:
                mask[of_type["Pitch"][~np.isin(numbers["Pitch"], self._pitches[self._program])]] = False
        if controls.one_voice and self._sounding_at == self.tick and self.type in {"Duration", "Position", "Tempo"}:
            mask[of_type["Program"]] = False
        self._apply(controls, mask)
        if not mask.any():
            # Only a row that cannot go on lawfully is ended: at a bar line there is always a way.
            mask[of_type["Bar"] if self.between_notes else [self.grammar.tokenizer.eos_id]] = True
        return mask

    def _apply(self, controls: Controls, mask: np.ndarray) -> None:
        of_type = self.grammar.of_type
        if controls.metre is not None and mask[of_type["TimeSig"]].any():
            wanted = [i for i in of_type["TimeSig"] if self.grammar.values[i] == controls.metre]
            mask[of_type["TimeSig"]] = False
            mask[wanted] = True
        if controls.keep_tempo:
            mask[of_type.get("Tempo", [])] = False
        if controls.programs is not None:
            mask[of_type["Program"][~np.isin(self.grammar.numbers["Program"], controls.programs)]] = False
        if controls.every_bar:
            if self.notes == self._notes_at_bar and self.bar >= 0:
                mask[of_type["Bar"]] = mask[of_type["EOS"]] = False
            for token in of_type.get("Rest", []):
                if mask[token] and self.after(int(token))[0] > self.bar:
                    mask[token] = False
