"""The walk over a grid of voices: every voice speaks at every step, so all that can go wrong are ranges and the end.

Legend: V ids, S steps.
"""

import copy
import math
from collections.abc import Callable

import numpy as np

from midifactory.errors import UserError
from midifactory.music.chorales import PROGRAMS, TEMPO_BPM, VELOCITY
from midifactory.tokens.grammar import grammar_of
from midifactory.tokens.grid import STEPS_PER_BEAT, VOICES, VoiceGrid
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.tokens.walk import Bounds, Controls, Walk
from midifactory.tokens.walker import Struck, Walker

_BAR_STEPS = 4 * STEPS_PER_BEAT  # a grid tells no metre: its Scores are in 4/4


class GridWalk:
    """Implements walker.Walker. A tick is a step. Raises UserError for controls that a grid has no tokens for.

    A note is finished when its voice sings another one, or none.
    """

    ticks_per_quarter = STEPS_PER_BEAT
    bar_id: int | None = None
    at_downbeat = True

    def __init__(self, tokenizer: VoiceGrid, controls: Controls | None = None):
        controls = controls if controls is not None else Controls()
        for name in ("programs", "polyphony", "grid"):
            if getattr(controls, name) is not None:
                raise UserError(
                    f"{name}: a voice grid has four voices at every sixteenth and no other tokens; leave it out"
                )
        self.tokenizer: Tokenizer = tokenizer
        self._order = tokenizer.order
        self.finished: list[Struck] = []
        self.notes = 0
        self.begun = 0  # notes that a voice has begun, the last one of them
        self.last_begun = -1
        self.end_bar: int | None = None
        self.end_tick: int | None = None
        self.keeps_bar_lines, self.not_before = False, 0
        self.opened_bar = False
        self._cells = 0
        self._held: list[tuple[int, int]] = [(-1, 0)] * VOICES  # pitch, -1 for silence, and the step since when
        self._bpm = float(TEMPO_BPM)
        self._allowed = self._cells_allowed(controls)

    def _cells_allowed(self, controls: Controls) -> np.ndarray:
        types, tokens = self.tokenizer.types, self.tokenizer.tokens
        (low, high), classes = controls.pitch_range or (0, 127), controls.pitch_classes or range(12)
        pitches = [
            int(token.partition("_")[2]) if type_ == "Pitch" else -1 for type_, token in zip(types, tokens, strict=True)
        ]
        sung = np.array([low <= pitch <= high and pitch % 12 in classes for pitch in pitches])
        if not sung.any():
            raise UserError(
                f"no pitch is left to sing: pitch_range={controls.pitch_range}, pitch classes {sorted(classes)}; "
                "widen one of them"
            )
        return sung | (np.array(types) == "Silence")

    @property
    def tick(self) -> int:
        """The step that is being told."""
        return self._cells // VOICES

    @property
    def bar(self) -> int:
        """The bar of that step."""
        return self.tick // _BAR_STEPS

    @property
    def bar_tick(self) -> int:
        """The first step of the bar."""
        return self.bar * _BAR_STEPS

    @property
    def bar_ticks(self) -> int:
        """Steps of a bar."""
        return _BAR_STEPS

    @property
    def held(self) -> int:
        """The pitch that the voice which speaks next holds, -1 for none: to say it again strikes nothing."""
        return self._held[self._order[self._cells % VOICES]][0]

    @property
    def between_notes(self) -> bool:
        """Whether the step that was being told is whole."""
        return self._cells % VOICES == 0

    def allowed(self) -> np.ndarray:
        """(V,) bool: silence and the pitches within the bounds."""
        return self._allowed

    def step(self, id_: int) -> None:
        """Move over an id."""
        type_ = self.tokenizer.types[id_]
        if type_ not in {"Silence", "Pitch"}:
            return
        voice = self._order[self._cells % VOICES]
        self.opened_bar = self._cells % (VOICES * _BAR_STEPS) == 0
        pitch = -1 if type_ == "Silence" else int(self.tokenizer.tokens[id_].partition("_")[2])
        last, since = self._held[voice]
        if pitch != last:
            if last >= 0:
                self.notes += 1
                self.finished.append(Struck(PROGRAMS[voice], since, last, VELOCITY, self.tick - since))
            self._held[voice] = (pitch, self.tick)
            if pitch >= 0:
                self.begun, self.last_begun = self.begun + 1, pitch
        self._cells += 1

    def after(self, id_: int) -> tuple[int, int]:
        """The bar and step of the cell that `id_` would be: a step is passed only by the one after it."""
        return self.bar, self.tick

    def seconds_at(self, tick: int) -> float:
        """Seconds from the start."""
        return tick * 60.0 / (self._bpm * STEPS_PER_BEAT)

    def tick_at(self, seconds: float) -> int:
        """The first step at or after so many seconds."""
        return math.ceil(seconds * self._bpm * STEPS_PER_BEAT / 60.0)

    @property
    def settled_tick(self) -> int:
        """The step before which no further note will begin: a note that is held is still to be finished."""
        return min([self.tick, *(since for pitch, since in self._held if pitch >= 0)])

    def copy(self) -> "GridWalk":
        """The same row, to go another way."""
        other = copy.copy(self)
        other.finished, other._held = [], list(self._held)
        return other

    def sounds(self, program: int, pitch: int) -> bool:
        """Whether a voice holds that pitch."""
        return any(voice == program and held[0] == pitch for voice, held in zip(PROGRAMS, self._held, strict=True))

    def follows(self, id_: int) -> bool:
        """Whether it is a cell."""
        return self.tokenizer.types[id_] in {"Silence", "Pitch"}

    def set_tempo(self, bpm: float) -> None:
        """The tempo that the finished Score will have."""
        self._bpm = bpm


def walk_maker(tokenizer: Tokenizer, controls: Controls) -> Callable[[], Walker]:
    """A function that starts a row under the controls, its tables made once.

    Raises UserError for a tokenizer without a grammar, and for controls that contradict it or each other.
    """
    if isinstance(tokenizer, VoiceGrid):
        return GridWalk(tokenizer, controls).copy
    if tokenizer.without_grammar is not None:
        raise UserError(f"{tokenizer.without_grammar}: set grammar=false")
    grammar = grammar_of(tokenizer)
    bounds = Bounds(grammar, controls)
    return lambda: Walk(grammar, bounds)
