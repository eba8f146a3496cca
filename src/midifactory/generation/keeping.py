"""What a variation keeps of its original: guides of rows whose rhythm or contour, or harmony, is settled before.

A row that keeps the rhythm takes the original's tokens, all but those of pitches: when, how long, how loud and on what
each note is played is then the same, and the model says which note it is.

Legend: N base ids of the original's tokens, V model ids, L tokens of the longest model id.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from midifactory.tokens.grammar import DRUMS, OFF_TYPES, Grammar
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.tokens.walk import Walk
from midifactory.tokens.walker import Walker

_NEVER = -1e4
_OPEN = frozenset({"Pitch", "NoteOn", "Chord"})
_TOLD, _PITCH, _CHORD, _OFF = range(4)


@dataclass
class Line:
    """What a note's pitch has to keep to in a contour.

    group: the notes of its instrument that begin with it, by number, from the highest down; rank: its place there.
    before: the highest of the group before, None for the first; way: -1, 0 or 1, to where the original's top goes from
    there. above, below: pitches that the top needs over and under itself, so that the lines can go on as they do.
    """

    program: int
    group: tuple[int, ...]
    rank: int
    before: int | None
    way: int
    above: int
    below: int


@dataclass
class Template:
    """The original's base ids (N,), and what is open in them: pitches and chords, but not those of drums.

    kinds (N,): whether a token is told as it is, a pitch, a chord, or the end of a note; number (N,): of which note, -1
    for none. pitches: of the notes, of those of drums too. lines: for each note that is open, see `Line`.
    """

    tokenizer: Tokenizer
    ids: Sequence[int]
    sounding: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    kinds: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    pitches: list[int] = field(default_factory=list)
    lines: dict[int, Line] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        tokenizer: Tokenizer,
        grammar: Grammar,
        heard: Sequence[int],
        ids: Sequence[int],
        programs: Collection[int] | None = None,
    ) -> "Template":
        """The template of base `ids` that stand after those that were `heard`; of `programs` alone pitches are open.

        None for all.
        """
        made = cls(tokenizer, list(ids))
        walk = Walk(grammar)
        for token in heard:
            walk.step(int(token))
        held: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        struck: list[tuple[int, int, int]] = []  # program, tick, number
        for token in made.ids:
            type_, value = tokenizer.types[token], grammar.values[token]
            program = grammar.programs.get(walk.place.program, 0)
            drums = program == DRUMS or type_.startswith(("PitchDrum", "Drum"))
            kept = programs is not None and program not in programs
            kind, number = _TOLD, -1
            if type_ in {"Pitch", "NoteOn", "PitchDrum", "DrumOn"}:
                number = len(made.pitches)
                made.pitches.append(int(value))
                held[program, int(value)].append(number)
                if not (drums or kept):
                    kind = _PITCH
                    struck.append((program, walk.tick, number))
            elif type_ == "Chord" and not kept:
                kind = _CHORD
            elif type_ in OFF_TYPES and held[program, int(value)]:
                kind, number = _OFF, held[program, int(value)].pop(0)
            made.kinds.append(kind)
            made.numbers.append(number)
            walk.step(token)
        made._read_lines(struck)
        return made

    def _read_lines(self, struck: Sequence[tuple[int, int, int]]) -> None:
        groups: defaultdict[int, dict[int, list[int]]] = defaultdict(dict)
        for program, tick, number in struck:
            groups[program].setdefault(tick, []).append(number)
        for program, by_tick in groups.items():
            ordered = [sorted(by_tick[tick], key=lambda number: -self.pitches[number]) for tick in sorted(by_tick)]
            tops = [self.pitches[group[0]] for group in ordered]
            ways = [0, *(int(np.sign(after - before)) for before, after in pairwise(tops))]
            for index, group in enumerate(ordered):
                before = ordered[index - 1][0] if index else None
                above = _room(ways[index + 1 :], [1] * len(ordered), 1)
                below = _room(ways[index + 1 :], [len(other) for other in ordered[index:]], -1)
                for rank, number in enumerate(group):
                    self.lines[number] = Line(program, tuple(group), rank, before, ways[index], above, below)


def _room(ways: Sequence[int], sizes: Sequence[int], way: int) -> int:
    """How many pitches lie beyond a top, as it goes on that `way`: steps, and the notes of a group under its top.

    ways: of the groups that follow; sizes: of its own group and of those. It ends where the top turns round.
    """
    steps, most = 0, sizes[0] - 1
    for other, size in zip(ways, sizes[1:], strict=False):
        if other == -way:
            break
        steps += other == way
        most = max(most, steps + size - 1)
    return most


class TemplateGuide:
    """Implements engine.Guide for a row that keeps the rhythm of a template, and with `contour` its lines' ways.

    walk: over the prompt, whose ids were `heard` by the template. The highest notes of an instrument's onsets go up, go
    down and repeat as the original's do, and those under them stay under them, in their order. broken: how often no
    pitch was left for that, so that any came that does not sound.
    """

    opens_bar = False

    def __init__(self, walk: Walk, template: Template, contour: bool):
        self.walk, self._template, self._contour = walk, template, contour
        self._place = 0
        self._pitches: dict[int, int] = {}  # of the notes so far
        self.broken = 0
        grammar = walk.grammar
        self._parts = np.full((len(grammar.parts), max(map(len, grammar.parts))), -1)  # (V, L)
        for row, part in zip(self._parts, grammar.parts, strict=True):
            row[: len(part)] = part
        self._types = np.array([*walk.tokenizer.types, "", ""])[self._parts]  # (V, L), "" for none
        self._ranges = {
            grammar.programs[slot]: (int(free[0]), int(free[-1]))
            for slot in grammar.programs
            if len(free := np.flatnonzero(walk.bounds.free_from[slot] == 0))
        }

    def forced(self) -> int | None:
        """The only id that goes on with the template; EOS at its end."""
        if self._place >= len(self._template.ids):
            return self.walk.tokenizer.eos_id
        fitting = np.flatnonzero(self._fitting())
        return int(fitting[0]) if len(fitting) == 1 else None

    def allowed(self) -> np.ndarray | None:
        """(V,) bool of the ids that go on with the template and, as far as can be, are lawful and keep the contour."""
        fitting = self._fitting()
        lawful = fitting & self.walk.allowed()
        told = np.zeros(len(fitting), dtype=bool)
        told[[i for i in np.flatnonzero(lawful) if self._keeps(int(i))]] = True
        for found in (told, lawful):
            if found.any():
                return found
        return fitting

    def bias(self) -> np.ndarray | None:
        """Nothing."""
        return None

    def take(self, token: int) -> int | None:
        """Take `token`; None at the end."""
        template = self._template
        if self._place >= len(template.ids):
            return None
        self.broken += not self._keeps(token)
        for offset, base in enumerate(self.walk.grammar.parts[token]):
            number = template.numbers[self._place + offset]
            if template.kinds[self._place + offset] in (_TOLD, _PITCH) and number >= 0:
                self._pitches[number] = int(self.walk.grammar.values[base])
        self._place += len(self.walk.grammar.parts[token])
        bar = self.walk.bar
        self.walk.step(token)
        self.opens_bar = self.walk.bar != bar
        return token

    def _fitting(self) -> np.ndarray:
        """(V,) bool of the ids whose tokens are the template's next ones, but for what is open in them."""
        template, tokenizer = self._template, self.walk.tokenizer
        fitting = np.ones(len(self._parts), dtype=bool)
        for column in range(self._parts.shape[1]):
            here, place = self._parts[:, column], self._place + column
            if place >= len(template.ids):
                fitting &= here < 0
                break
            kind, token, number = template.kinds[place], template.ids[place], template.numbers[place]
            if kind in (_PITCH, _CHORD):
                right = self._types[:, column] == tokenizer.types[token]
            elif kind == _OFF:
                pitch = self._pitches.get(number)
                name = f"{tokenizer.types[token]}_{pitch}"
                right = here == (tokenizer.tokens.index(name) if pitch is not None else -2)
            else:
                right = here == token
            fitting &= right | (here < 0)
        return fitting

    def _keeps(self, id_: int) -> bool:
        """Whether an id keeps the contour; always without one."""
        if not self._contour:
            return True
        template, told = self._template, dict(self._pitches)
        for offset, base in enumerate(self.walk.grammar.parts[id_]):
            number = template.numbers[self._place + offset]
            if template.kinds[self._place + offset] != _PITCH:
                continue
            pitch = int(self.walk.grammar.values[base])
            low, high = self._between(template.lines[number], told)
            if not low <= pitch <= high:
                return False
            told[number] = pitch
        return True

    def _between(self, line: Line, told: dict[int, int]) -> tuple[int, int]:
        """The lowest and the highest pitch of a note, after those that are told."""
        low, high = self._ranges.get(line.program, (0, 127))
        top_low, top_high = low + line.below, high - line.above
        last = told.get(line.before) if line.before is not None else None
        if last is not None:
            top_low = {1: max(top_low, last + 1), 0: last, -1: top_low}[line.way]
            top_high = {1: top_high, 0: last, -1: min(top_high, last - 1)}[line.way]
        under = low + len(line.group) - 1 - line.rank
        least, most = (max(top_low, under), top_high) if line.rank == 0 else (under, top_high - line.rank)
        for rank, number in enumerate(line.group):
            if number in told and rank < line.rank:
                most = min(most, told[number] - (line.rank - rank))
            elif number in told and rank > line.rank:
                least = max(least, told[number] + (rank - line.rank))
        return least, most


class ChordsKept:
    """Implements guide.Wish: each note that begins is one of the chord on its beat, drums aside.

    beats: ticks (N + 1,) of the walk; chords (N): the pitch classes. What follows the last beat has its chord.
    """

    def __init__(self, beats: np.ndarray, chords: Sequence[frozenset[int]]):
        self._beats = beats
        self._inside = np.array([[value % 12 in chord for value in range(128)] for chord in chords])  # (N, 128)

    def bias(self, walk: Walker) -> np.ndarray | None:
        """(V,) what is added to the logits."""
        if not isinstance(walk, Walk):
            return None
        grammar = walk.grammar
        if not walk.follow[grammar.note_id].any():
            return None
        _, ticks = walk.landings()
        beat = np.clip(np.searchsorted(self._beats, ticks[grammar.note_id], side="right") - 1, 0, len(self._inside) - 1)
        slots = np.where(grammar.note_slot == 0, walk.place.program, grammar.note_slot)
        drums = grammar.note_drum | (slots == grammar.drum_slot)
        wrong = ~self._inside[beat, grammar.note_pitch] & ~drums
        found = np.zeros(len(grammar.parts), dtype=np.float32)
        found[grammar.note_id[wrong]] = _NEVER
        return found
