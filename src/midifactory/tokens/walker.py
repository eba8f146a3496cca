"""What generation knows of a row's place in the music, whatever its tokens are.

Legend: V model ids.
"""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from midifactory.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Struck:
    """A whole note of the row. onset and duration in ticks of the decoded Score."""

    program: int
    onset_ticks: int
    pitch: int
    velocity: int
    duration_ticks: int


class Walker(Protocol):
    """What generation knows of a walk: that of walk.py, or that over a grid of voices (grid_walk.py).

    bar: the open bar, -1 before any; tick, bar_tick, bar_ticks: where the next note would stand, where its bar begins,
    how long that is. at_downbeat: whether notes may begin at the very start of the open bar. between_notes: whether the
    row could end here without an unfinished note. settled_tick: no further note begins before it. opened_bar: whether
    the id taken last began a bar. bar_id: the id that opens a bar, None where there is none. finished: the whole notes,
    which the reader may empty; notes: how many there were.

    allowed: (V,) bool of the lawful next ids, never all False, not to be written to. step: move over an id. after: the
    bar and tick to which an id leads. sounds: whether a pitch does. follows: whether an id may by its type alone.
    seconds_at: of a tick from the last tempo on. set_tempo: for tokens that tell no tempo.

    To be set: end_bar: no id leads to that bar before the one before it sounds; end_tick: nor to that tick from more
    than a bar before it, see tick_at. keeps_bar_lines: no id passes over a
    bar line without standing on it. not_before: the tick before which no note begins.
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
    opened_bar: bool

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
    @property
    def settled_tick(self) -> int: ...
    def allowed(self) -> np.ndarray: ...
    def step(self, id_: int) -> None: ...
    def after(self, id_: int) -> tuple[int, int]: ...
    def seconds_at(self, tick: int) -> float: ...
    def tick_at(self, seconds: float) -> int: ...
    def copy(self) -> Self: ...
    def sounds(self, program: int, pitch: int) -> bool: ...
    def follows(self, id_: int) -> bool: ...
    def set_tempo(self, bpm: float) -> None: ...
