"""Music as an iterator of notes: the one way in which those who play, show or send notes get them from the engine."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from midifactory.generation.engine import Engine, Row
from midifactory.generation.guide import MusicGuide
from midifactory.tokens.walker import Struck, Walker


@dataclass(frozen=True)
class StreamedNote:
    """A note that has become whole: program -1 for drums, velocity 1 to 127, times from the row's begin.

    row: the number of its row among those that are streamed.
    """

    row: int
    program: int
    pitch: int
    velocity: int
    onset_beats: float
    duration_beats: float
    onset_seconds: float
    duration_seconds: float


def stream(
    engine: Engine,
    rows: Sequence[Row],
    at_once: int | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Iterator[StreamedNote]:
    """The notes of rows that are guided by MusicGuides, those of the prompts excepted, as soon as each is whole.

    A row's notes come in the order in which its tokens complete them: onsets never run back but in MIDI-like tokens,
    where a note is whole when it ends. Beats are quarter notes. Leave the iterator to stop. at_once, on_step: as in
    Engine.run.
    """
    numbers = {id(row): number for number, row in enumerate(rows)}
    for taken in engine.steps(rows, at_once):
        if on_step:
            on_step(len(taken))
        for row in taken:
            walk = cast(MusicGuide, row.guide).walk
            for note in walk.finished:
                yield _streamed(numbers[id(row)], note, walk)
            walk.finished.clear()


def _streamed(row: int, note: Struck, walk: Walker) -> StreamedNote:
    quarter = walk.ticks_per_quarter
    begin = walk.seconds_at(note.onset_ticks)
    return StreamedNote(
        row,
        note.program,
        note.pitch,
        note.velocity,
        note.onset_ticks / quarter,
        note.duration_ticks / quarter,
        begin,
        walk.seconds_at(note.onset_ticks + note.duration_ticks) - begin,
    )
