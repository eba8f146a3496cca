"""Music without an end, one token at a time: it may be turned at any bar, and what it keeps never grows.

The walk over the music goes on for ever, but the engine's row does not: at a bar line where it nearly fills the window,
it is begun anew from its own last bars. A change of what is asked does the same from a bar that nobody has heard yet.
"""

import math
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from midifactory.errors import UserError
from midifactory.generation.engine import Engine, Row
from midifactory.generation.guide import Length, MusicGuide, Wish
from midifactory.generation.pieces import TrainedModel, bound_controls, temperatures
from midifactory.generation.presence import wish_of_row
from midifactory.generation.sampling import Sampling
from midifactory.generation.steering import Steering
from midifactory.generation.styles import Opening
from midifactory.generation.wishes import Wishes
from midifactory.models.vae import VAE
from midifactory.tokens.bounds import Bounds, Controls
from midifactory.tokens.grammar import Grammar
from midifactory.tokens.grid_walk import walk_maker
from midifactory.tokens.walk import Walk
from midifactory.tokens.walker import Walker

# A row is begun anew at the first bar line beyond the one share of the window, from the last bars within the other.
_FULL_SHARE = 0.9
_KEPT_SHARE = 0.75
_BARS_TO_GO_BACK = 32
# A note that is held longer keeps no other waiting: it comes out of its turn, and late, when it is whole.
_LONGEST_WAIT_BEATS = 16
_OPENING_TICKS = 480  # per quarter note, of Opening.end_tick


@dataclass(frozen=True)
class Sung:
    """A whole note, in quarter notes since the beginning. program: -1 for drums. bar: the number of the bar of music
    in which it became whole, see Endless.bar. tempo_bpm: what the model plays it at."""

    bar: int
    program: int
    pitch: int
    velocity: int
    onset_beats: float
    duration_beats: float
    tempo_bpm: float


@dataclass(frozen=True)
class Manner:
    """How the music goes on: what is wished of it and how its tokens are drawn. Endless.manner makes it.

    bounds: None where the tokens have no grammar of MidiTok's.
    """

    wishes: Wishes
    sampling: Sampling
    controls: Controls
    bounds: Bounds | None
    wish: Wish | None
    temperatures: Tensor | None


@dataclass(frozen=True)
class _Bar:
    """Where the music may be taken up again: a bar that has just been opened.

    ids: those that lead to it; places: which of them open bars.
    """

    number: int
    walk: Walker
    ids: tuple[int, ...]
    places: tuple[int, ...]
    begin_beats: float


class Endless:
    """The notes of one model. Not to be used by two threads at once, but for `manner` and `bars`.

    bar: how many bars have been opened, over all that was begun. settled_beats: no further note begins before it.
    resting: whether there is nothing to be played, before the first `begin` and after music of so many bars.
    """

    def __init__(
        self,
        trained: TrainedModel,
        key_strength: float = 3.0,
        seed: int = 0,
        window: int | None = None,
        labels: Tensor | None = None,
        guidance: float = 1.0,
    ):
        """labels (C,) and guidance: as in engine.Row.

        Raises UserError for a model or tokenizer whose music cannot be heard as it is made.
        """
        tokenizer = trained.tokenizer
        if not tokenizer.monotonic:
            raise UserError(
                f"{tokenizer.scheme} writes one track after the other, so nothing could be heard before the end; "
                "use a checkpoint of another tokenizer"
            )
        if tokenizer.without_grammar is not None:
            raise UserError(f"{tokenizer.without_grammar}: live music needs a grammar; use another checkpoint")
        if isinstance(trained.model, VAE):
            raise UserError("a model with a latent makes segments of fixed length; use a checkpoint of another model")
        self.tokenizer = tokenizer
        self.bar = -1
        self.resting = True
        self._engine = Engine(
            trained.model, window or trained.window, frozenset(tokenizer.starting_with("Bar").tolist())
        )
        self._window = self._engine.window or trained.window
        self._key_strength, self._seed = key_strength, seed
        self._labels, self._guidance = labels, guidance
        self._grammar: Grammar | None = None
        self._rows = 0  # how many there have been: each has a random stream of its own
        self._marks: deque[_Bar] = deque(maxlen=_BARS_TO_GO_BACK)
        self._next: Manner | None = None

    # --- what is asked ---

    def manner(self, wishes: Wishes, sampling: Sampling, opening: Opening | None = None) -> Manner:
        """What is asked, ready to be followed; opening: of the music that it is for, None for what is being played.

        Raises UserError where the wishes contradict each other, the opening or the tokens.
        """
        tokenizer = self.tokenizer
        controls = bound_controls(opening or self._opening, wishes)
        bounds = None
        if self._grammar is not None:
            bounds = Bounds(self._grammar, controls)
        elif isinstance(walk := walk_maker(tokenizer, controls)(), Walk):
            self._grammar, bounds = walk.grammar, walk.bounds
        steering = Steering.of(tokenizer, wishes, self._key_strength)
        wish = wish_of_row(steering, tokenizer, wishes.programs, (opening or self._opening).wish)
        return Manner(wishes, sampling, controls, bounds, wish, temperatures(tokenizer, sampling))

    def begin(self, opening: Opening, manner: Manner, bars: int | None = None, begin_beats: float = 0.0) -> list[Sung]:
        """Begin anew, for `bars` bars or without an end; returns the notes that the opening itself has.

        begin_beats: where in the count of beats that is. A prompt's notes are not played again.
        """
        self._opening, self._manner, self._bars = opening, manner, bars
        self._next = None
        self._marks.clear()
        bounds = manner.bounds
        walk: Walker = (
            Walk(bounds.grammar, bounds) if bounds is not None else walk_maker(self.tokenizer, manner.controls)()
        )
        if manner.wishes.tempo_bpm is not None:
            walk.set_tempo(manner.wishes.tempo_bpm)
        self._ids, self._places = list[int](), list[int]()
        for token in opening.prompt:
            walk.step(token)
            self._took(token, walk.opened_bar)
        walk.not_before = opening.not_before
        prompted = opening.bars_before > 0
        quarter = walk.ticks_per_quarter
        self._begin_beats = begin_beats - (opening.end_tick / _OPENING_TICKS if prompted else 0.0)
        self._walk, self._quarter = walk, quarter
        self.resting = False
        self.bar += 1
        notes = [] if prompted else self._sung()
        walk.finished.clear()
        self._begin_row(opening.closing)
        return notes

    def turn(self, manner: Manner, bar: int | None = None) -> None:
        """Go on in another manner: from `bar`, one of `bars`, as if nothing had come after it, or from the next one."""
        if self.resting:
            return
        mark = next((mark for mark in self._marks if mark.number == bar), None)
        if mark is None:
            self._next = manner
            return
        while self._marks[-1] is not mark:
            self._marks.pop()
        walk = mark.walk
        self._manner, self._next, self.bar = manner, None, mark.number
        self._ids, self._places = list(mark.ids), list(mark.places)
        self._go_on(walk.copy())

    @property
    def bars(self) -> list[tuple[int, float]]:
        """Number and begin in beats of the last bars that were opened, from each of which the music may be turned."""
        return [(mark.number, mark.begin_beats) for mark in list(self._marks)]

    def forget(self, bar: int) -> None:
        """The music will not be turned at `bar` or before it."""
        while self._marks and self._marks[0].number <= bar:
            self._marks.popleft()

    # --- what is played ---

    @property
    def settled_beats(self) -> float:
        """No further note begins before it, but one that is held for very long."""
        if self.resting:
            return math.inf
        walk = self._walk
        return self._beats(max(walk.settled_tick, walk.tick - _LONGEST_WAIT_BEATS * self._quarter))

    def step(self) -> list[Sung]:
        """Take one token; returns the notes that became whole by it."""
        if self.resting:
            return []
        self._batch.step()
        if not self._batch.rows:
            return self._ended()
        self._took(self._row.new[-1], self._guide.opens_bar)
        notes = self._sung()
        if self._guide.opens_bar:
            self._open_bar()
        return notes

    def _ended(self) -> list[Sung]:
        if self._bars is not None:
            self.resting = True
            return []
        # Nothing may lawfully come after a dead end: the piece is over, and another one begins where it ended.
        walk = self._walk
        end = self._beats(walk.bar_tick + walk.bar_ticks)
        opening = replace(self._opening, prompt=[self.tokenizer.bos_id], closing=[], bars_before=0, not_before=0)
        asked = self._next or self._manner
        return self.begin(opening, self.manner(asked.wishes, asked.sampling, opening), begin_beats=end)

    def _open_bar(self) -> None:
        self.bar += 1
        walk = self._walk
        if self._next is not None:
            self._manner, self._next = self._next, None
            self._go_on(walk)
        elif len(self._ids) >= _FULL_SHARE * self._window:
            self._go_on(walk)
        ids, places = self._tail()
        self._marks.append(_Bar(self.bar, self._walk.copy(), tuple(ids), tuple(places), self._beats(walk.bar_tick)))

    def _go_on(self, walk: Walker) -> None:
        """Begin the row anew from its last bars, as the manner says."""
        bounds = self._manner.bounds
        if isinstance(walk, Walk) and bounds is not None and bounds is not walk.bounds:
            walk = walk.under(bounds)
        self._walk = walk
        self._begin_row()

    def _begin_row(self, closing: Sequence[int] = ()) -> None:
        """A new row from the last bars; closing: ids that are forced on it first."""
        self._ids, self._places = self._tail()
        opening, manner = self._opening, self._manner
        length = Length(bars=self._bars) if self._bars is not None else Length(tokens=sys.maxsize)
        self._guide = MusicGuide(
            self._walk, length, closing, opening.downbeats, manner.wish, opening.bars_before, opening.seconds_before
        )
        self._row = Row(
            self._ids.copy(),
            self._guide,
            manner.sampling,
            (self._seed, self._rows),
            self._labels,
            guidance=self._guidance,
            temperatures=manner.temperatures,
        )
        self._rows += 1
        self._batch = self._engine.batch()
        self._batch.join([self._row])

    def _took(self, token: int, opens_bar: bool) -> None:
        if opens_bar:
            self._places.append(len(self._ids))
        self._ids.append(token)

    def _tail(self) -> tuple[list[int], list[int]]:
        """The last ids, from a bar line on where one lies among them and before the newest; which of them open bars."""
        start = max(0, len(self._ids) - int(_KEPT_SHARE * self._window))
        if start:
            start = next((place for place in self._places if start <= place < len(self._ids) - 1), start)
        return self._ids[start:], [place - start for place in self._places if place >= start]

    def _beats(self, tick: int) -> float:
        return self._begin_beats + tick / self._quarter

    def _sung(self) -> list[Sung]:
        walk, quarter = self._walk, self._quarter
        if not walk.finished:
            return []
        tempo_bpm = round(60.0 / (walk.seconds_at(walk.tick + quarter) - walk.seconds_at(walk.tick)), 6)
        notes = [
            Sung(
                self.bar,
                note.program,
                note.pitch,
                note.velocity,
                self._beats(note.onset_ticks),
                note.duration_ticks / quarter,
                tempo_bpm,
            )
            for note in walk.finished
        ]
        walk.finished.clear()
        return notes
