"""Music as an iterator of notes: the one way in which those who play, show or send notes get them from the engine."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from midifactory.generation.engine import Engine, Row
from midifactory.tokens.walker import Struck

T = TypeVar("T")
# Music in the making: it yields rows by number, goes on when these are decoded, and returns what came of it. Who
# decodes them lends it an engine, or places in a batch that others share.
Work = Generator[Mapping[int, Row], None, T]


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
            yield from whole_notes(row, numbers[id(row)])


def whole_notes(row: Row, number: int) -> list[StreamedNote]:
    """The notes of a running row that have become whole since the last call; of a guide without a walk none."""
    walk = getattr(row.guide, "walk", None)
    if walk is None or not walk.finished:
        return []
    notes = [streamed(number, note, walk.ticks_per_quarter, walk.seconds_at) for note in walk.finished]
    walk.finished.clear()
    return notes


def perform(
    work: Work[T],
    engine: Engine,
    on_step: Callable[[int], None] | None = None,
    at_once: int | None = None,
    on_note: Callable[[StreamedNote], None] | None = None,
) -> T:
    """Decode all rounds of `work` with an engine of its own; returns what it makes.

    on_note: told each note as soon as it is whole, which leaves none for guides whose maker reads them at the end.
    """
    try:
        while True:
            rows = next(work)
            if on_note is None:
                engine.run(list(rows.values()), on_step, at_once)
                continue
            numbers = list(rows)
            for note in stream(engine, list(rows.values()), at_once, on_step):
                on_note(replace(note, row=numbers[note.row]))
    except StopIteration as end:
        return end.value


def streamed(row: int, note: Struck, ticks_per_quarter: int, seconds_at: Callable[[int], float]) -> StreamedNote:
    """A whole note in beats and seconds."""
    begin = seconds_at(note.onset_ticks)
    return StreamedNote(
        row,
        note.program,
        note.pitch,
        note.velocity,
        note.onset_ticks / ticks_per_quarter,
        note.duration_ticks / ticks_per_quarter,
        begin,
        seconds_at(note.onset_ticks + note.duration_ticks) - begin,
    )
