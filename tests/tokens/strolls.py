"""Random lawful rows, and what they hold, found without the walk: by MidiTok's decoder and by counting note groups."""

from collections import Counter
from functools import cache

import numpy as np

from midifactory.tokens.grammar import Grammar
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.tokens.walk import Bounds, Controls, Walk
from schemes import SAYS, learnt, tokenizer_of

STRIKES, OFFS = {"Pitch", "PitchDrum", "NoteOn", "DrumOn"}, {"NoteOff", "DrumOff"}
KINDS = [(name, pairs) for name in SAYS for pairs in (False, True)]
Note = tuple[int, int, int, int, int]  # program, onset, pitch, duration, velocity


@cache
def grammar_of(name: str, pairs: bool = False) -> Grammar:
    """The grammar of conf/tokenizer/<name>.yaml, plain or with byte pairs."""
    return Grammar(learnt(name) if pairs else tokenizer_of(name))


def notes_of(tokenizer: Tokenizer, ids: list[int]) -> list[Note]:
    """What MidiTok's decoder hears."""
    return sorted(
        (-1 if track.is_drum else track.program, note.time, note.pitch, note.duration, note.velocity)
        for track in tokenizer.decode(ids).tracks
        for note in track.notes
    )


def words_of(tokenizer: Tokenizer, ids: list[int]) -> list[tuple[str, str]]:
    """Type and value of every base token, without special ones."""
    words = [tokenizer.tokens[i].split("_", 1) for i in tokenizer.to_base_ids(ids)]
    return [(type_, value) for type_, value in words if type_ not in {"PAD", "BOS", "EOS"}]


def groups_of(tokenizer: Tokenizer, ids: list[int]) -> Counter[tuple[int, int, int]]:
    """The complete note groups as (program, pitch, velocity): counted token by token, times aside."""
    chain = [type_ for type_ in ("MicroTiming", "Velocity", "Duration") if type_ in tokenizer.types]
    found: Counter[tuple[int, int, int]] = Counter()
    open_notes: dict[tuple[int, int], list[int]] = {}
    program, pitch, velocity, missing = 0, 0, 100, list[str]()
    for type_, value in words_of(tokenizer, ids):
        if missing and type_ == missing[0]:
            missing = missing[1:]
            velocity = int(value) if type_ == "Velocity" else velocity
            if not missing and "NoteOff" in tokenizer.types:
                open_notes.setdefault((program, pitch), []).append(velocity)
            elif not missing:
                found[program, pitch, velocity] += 1
            continue
        missing = []
        if type_ == "Program":
            program = int(value)
        elif type_ in STRIKES:
            pitch, missing = int(value), list(chain)
            if not chain:
                open_notes.setdefault((program, pitch), []).append(velocity)
        elif type_ in OFFS and open_notes.get((program, int(value))):
            found[program, int(value), open_notes[program, int(value)].pop(0)] += 1
    return found


class Stroll:
    """A random row under `Walk.allowed()`; types are drawn first, so that rare ones come often.

    It never ends by EOS, and at the end no note is unfinished. weights: of types, 1 where not told. at_notes: for each
    id that finished notes, where the walk stood after it.
    """

    def __init__(
        self,
        grammar: Grammar,
        controls: Controls | None = None,
        seed: int = 0,
        steps: int = 300,
        weights: dict[str, float] | None = None,
        **aims,
    ):
        self.grammar, self.tokenizer = grammar, grammar.tokenizer
        self.walk = Walk(grammar, Bounds(grammar, controls or Controls()))
        for name, value in aims.items():
            setattr(self.walk, name, value)
        self.ids, self.ended = [self.tokenizer.bos_id], False
        self.at_notes: list[tuple[int, int, int, int, float]] = []  # index of the id, bar, tick, bar_tick, seconds
        self._random, self._weights = np.random.default_rng(seed), weights or {}
        self._firsts = np.array([self.tokenizer.types[part[0]] for part in grammar.parts])
        while not self.ended and (len(self.ids) < steps or not self.walk.between_notes):
            assert len(self.ids) < 20 * steps, f"no way to end after {self.words()[-8:]}"
            self._take(self._next(closing=len(self.ids) >= steps))
        self.notes = notes_of(self.tokenizer, self.ids)

    def _next(self, closing: bool) -> int:
        mask, eos = self.walk.allowed(), self.tokenizer.eos_id
        assert mask.any(), f"dead end after {self.words()[-8:]}"
        mask = mask.copy()
        mask[eos] = False
        assert mask.any(), f"could only end after {self.words()[-8:]}"
        sounding = [key for key, held in self.walk._held.items() if held]
        kinds = sorted(set(self._firsts[mask]))
        if sounding and (closing or len(sounding) > 6):  # MIDI-like: many sound, let some end
            ends = [kind for kind in kinds if kind in OFFS]
            programs = {f"Program_{self.grammar.programs[slot]}" for slot, _ in sounding}
            backs = [
                i
                for i in np.flatnonzero(mask[: self.tokenizer.base_vocab_size])
                if self.tokenizer.tokens[i] in programs
            ]
            if ends:
                kinds = ends
            elif backs and self._random.random() < 0.7:
                return int(self._random.choice(backs))
            else:
                kinds = [kind for kind in kinds if kind not in STRIKES] or kinds
        shares = np.array([self._weights.get(kind, 1.0) for kind in kinds])
        kind = self._random.choice(kinds, p=shares / shares.sum())
        found = np.flatnonzero(mask & (self._firsts == kind))
        drums = [i for i in found if self.tokenizer.tokens[self.grammar.parts[i][0]] == "Program_-1"]
        if drums and self._random.random() < 0.2:  # one of 129 programs, that has tokens of its own
            found = np.array(drums)
        return int(self._random.choice(found))

    def _take(self, id_: int) -> None:
        walk = self.walk
        if walk.end_bar is not None and walk.after(id_)[0] >= walk.end_bar:
            self.ended = True  # as generation does: this id would pass the end
            return
        before = walk.notes
        walk.step(id_)
        self.ids.append(id_)
        if walk.notes > before:
            place = len(self.ids), walk.bar, walk.tick, walk.bar_tick, walk.seconds_at(walk.tick)
            self.at_notes.append(place)

    def words(self) -> list[str]:
        """The base tokens."""
        return [f"{type_}_{value}" for type_, value in words_of(self.tokenizer, self.ids)]

    def types(self) -> set[str]:
        """Of the base tokens."""
        return {type_ for type_, _ in words_of(self.tokenizer, self.ids)}

    def told(self) -> list[Note]:
        """The notes that the walk has finished."""
        return sorted((n.program, n.onset_ticks, n.pitch, n.duration_ticks, n.velocity) for n in self.walk.finished)
