"""Keeps a row from copying the training set for longer than a limit.

Legend: V model ids, K those of them that strike something.
"""

import copy
import math
from bisect import bisect_left, insort
from typing import cast

import numpy as np

from midifactory.errors import UserError
from midifactory.music.originality import NGRAM, TICKS, NoteLine, Originality
from midifactory.tokens.grid import VoiceGrid
from midifactory.tokens.grid_walk import GridWalk
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.tokens.walk import Walk
from midifactory.tokens.walker import Walker

_DRUMS = 128  # as in NoteLine
_NOTHING = 255


class CopyGuard:
    """For one row: no run of NGRAM notes or more that lasts longer than `max_beats`, from its first onset to its last,
    stands in the training set, in any key.

    A note is forbidden where it would end such a run, or where further notes of its chord could. Runs are those of
    music/originality.py, over all that the row strikes; a drum corpus is watched for its drums, any other for the rest.
    Where no other id is lawful the note may come all the same, and so may those that a style forces.

    Raises UserError for a limit that is none, and for tokens whose onsets are not known when a note is struck.
    """

    def __init__(self, originality: Originality, tokenizer: Tokenizer, max_beats: float):
        if not 0 < max_beats < math.inf:
            raise UserError(f"max_copy_beats={max_beats:g}: give more than 0 quarter notes; null lets it copy")
        if not isinstance(tokenizer, VoiceGrid) and (tokenizer.scheme == "MMM" or "MicroTiming" in tokenizer.types):
            raise UserError(
                f"max_copy_beats={max_beats:g}: {tokenizer.scheme} does not tell notes in the order in which they "
                "sound; leave it out"
            )
        self._indexes = originality.indexes
        self._drums = not any(index.has_pitches for index in self._indexes)
        self._limit = max_beats * TICKS
        self._tables: dict[bool, tuple[np.ndarray, np.ndarray]] = {}
        self._onsets: list[int] = []  # in TICKS, of all notes in their order, those of the open onset from `_chord` on
        self._notes: list[int] = []
        self._chord = 0
        self._begun = 0
        self._after: dict[tuple[int, int], list[tuple[np.ndarray, np.ndarray]]] = {}

    def copy(self) -> "CopyGuard":
        """For another row that goes on from here."""
        other = copy.copy(self)
        other._onsets, other._notes, other._after = list(self._onsets), list(self._notes), {}
        return other

    def forget_before(self, onset: int) -> None:
        """Notes before an onset, in TICKS, are nobody's copy: those of a prompt."""
        first = bisect_left(self._onsets, onset)
        del self._onsets[:first], self._notes[:first]
        self._chord = max(0, self._chord - first)

    def follow(self, walk: Walker, tick_before: int) -> None:
        """Take note of what the id struck over which `walk` has just moved, from `tick_before`."""
        if isinstance(walk, GridWalk):
            struck, tick = ([walk.last_begun] if walk.begun > self._begun else []), tick_before
            self._begun = walk.begun
        else:
            row = cast(Walk, walk)
            recent, drums = list(row.recent), row.grammar.drum_slot
            new = recent[len(recent) - (row.begun - self._begun) :] if row.begun > self._begun else []
            struck = [pitch + _DRUMS * self._drums for slot, pitch in new if (slot == drums) == self._drums]
            tick, self._begun = row.tick, row.begun
        if not struck:
            return
        onset = _ticks(np.array(tick), walk).item()
        if not self._onsets or onset > self._onsets[-1]:
            self._chord = len(self._onsets)
        for note in struck:
            if note not in self._notes[self._chord :]:
                self._onsets.append(onset)
                insort(self._notes, note, self._chord)
        self._after.clear()

    def allowed(self, walk: Walker, lawful: np.ndarray) -> np.ndarray:
        """lawful (V,) bool without the ids by which a copy would become too long; as it is where none is left."""
        lowest, count = self._strikes(walk)
        ids = np.flatnonzero(lawful & (count > 0))
        if not len(ids) or not self._onsets:
            return lawful
        ticks = walk.landings()[1][ids] if isinstance(walk, Walk) else np.full(len(ids), walk.tick)
        onset = _ticks(ticks, walk)
        if onset.max() - self._onsets[0] <= self._limit:
            return lawful
        copied = self._copied(onset, lowest[ids], count[ids])
        if not copied.any():
            return lawful
        left = lawful.copy()
        left[ids[copied]] = False
        return left if left.any() else lawful

    def _strikes(self, walk: Walker) -> tuple[np.ndarray, np.ndarray]:
        """Of each id the lowest note that it strikes, and how many it strikes, (V,) each."""
        if isinstance(walk, GridWalk):
            if False not in self._tables:
                names = [name.partition("_") for name in walk.tokenizer.tokens]
                pitch = np.array([int(value) if type_ == "Pitch" else _NOTHING for type_, _, value in names])
                self._tables[False] = pitch, np.ones(len(pitch), dtype=np.int64)
            pitch, count = self._tables[False]
            return pitch, count * ((pitch != _NOTHING) & (pitch != walk.held))
        grammar, program = cast(Walk, walk).grammar, cast(Walk, walk).place.program
        on_drums = program == grammar.drum_slot
        if on_drums not in self._tables:
            slots = np.where(grammar.note_slot == 0, program, grammar.note_slot)
            ours = (slots == grammar.drum_slot) == self._drums
            lowest = np.full(len(grammar.parts), _NOTHING)
            np.minimum.at(lowest, grammar.note_id[ours], grammar.note_pitch[ours] + _DRUMS * self._drums)
            self._tables[on_drums] = lowest, np.bincount(grammar.note_id[ours], minlength=len(lowest))
        return self._tables[on_drums]

    def _copied(self, onset: np.ndarray, lowest: np.ndarray, count: np.ndarray) -> np.ndarray:
        """(K,) bool: whether too long a copy could run through an id's lowest note, at its onset.

        Every run that an id completes holds its lowest note, since it began before this onset; and so does every run
        that is completed by a later note of the chord, which is looked at when that comes. So it is enough to ask
        whether the run up to that note stands in the training set, if with the notes above it, it would be NGRAM long.
        """
        chord = self._notes[self._chord :]
        below = np.where(onset > self._onsets[-1], len(chord), np.searchsorted(chord, lowest))
        above = np.where(onset > self._onsets[-1], 0, len(chord) - below)
        copied = np.zeros(len(onset), dtype=bool)
        cases, case = np.unique(
            np.stack([onset, self._chord + below, above + count - 1], 1), axis=0, return_inverse=True
        )
        for number, (at, size, others) in enumerate(cases.tolist()):
            # The latest begin of a run that is too long, in time and in notes.
            begin = bisect_left(self._onsets, at - self._limit, 0, size) - 1
            begin = min(begin, size + 1 - (NGRAM - others))
            if begin < 0:
                continue
            gap = at - self._onsets[size - 1]
            for ticks, notes in self._what_follows(begin, size):
                copied |= (case == number) & np.isin(lowest, notes[ticks == gap])
        return copied

    def _what_follows(self, begin: int, end: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each index, what follows on notes begin .. end - 1 there: ticks and notes."""
        found = self._after.get((begin, end))
        if found is None:
            onset, note = np.array(self._onsets[begin:end]), np.array(self._notes[begin:end])
            line = NoteLine(onset, note, np.zeros_like(onset))
            found = self._after[begin, end] = [index.follows(line) for index in self._indexes]
        return found


def _ticks(tick: np.ndarray, walk: Walker) -> np.ndarray:
    """Ticks of a walk in TICKS, rounded as in NoteLine."""
    return (2 * TICKS * tick + walk.ticks_per_quarter) // (2 * walk.ticks_per_quarter)
