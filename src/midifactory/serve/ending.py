"""Notes of a running row as they will stand in the finished file, which is cut where the length that was asked ends."""

from dataclasses import replace
from typing import Any

from midifactory.generation.engine import Row
from midifactory.generation.stream import StreamedNote, streamed


def settled_notes(row: Row, number: int) -> list[StreamedNote]:
    """The notes that have become whole, and whose end can no longer change; the others wait for a later call.

    A note that rings beyond the last bar ends with it. Where metres may still change, nobody knows where that is before
    the last bar is open.
    """
    walk: Any = getattr(row.guide, "walk", None)
    if walk is None or not walk.finished:
        return []
    quarter, end_bar = walk.ticks_per_quarter, getattr(row.guide, "end_bar", None)
    ready, end = list(walk.finished), None
    if end_bar is not None:
        end, known = _end_tick(walk, end_bar)
        ready = [note for note in ready if known or note.onset_ticks + note.duration_ticks <= end]
    waiting = [note for note in walk.finished if note not in ready] if len(ready) < len(walk.finished) else []
    walk.finished[:] = waiting
    notes = [streamed(number, note, quarter, walk.seconds_at) for note in ready]
    if end is not None:
        return [_shortened(note, end / quarter - note.onset_beats, note.duration_beats) for note in notes]
    end_seconds = getattr(row.guide, "end_seconds", None)
    if end_seconds is not None:
        return [_shortened(note, end_seconds - note.onset_seconds, note.duration_seconds) for note in notes]
    return notes


def _end_tick(walk: Any, end_bar: int) -> tuple[int, bool]:
    """Where the bars that were asked for end, and True; or the earliest place where they can, and False."""
    left = end_bar - walk.bar
    if "TimeSig" not in walk.tokenizer.types or not hasattr(walk, "grammar"):
        return walk.bar_tick + left * walk.bar_ticks, True
    shortest = min(walk.grammar.places.bar_ticks)
    told = walk.at_downbeat or walk.tick > walk.bar_tick  # the open bar's metre
    if left <= 0 or not told:
        return walk.bar_tick + max(0, left) * shortest, left <= 0
    return walk.bar_tick + walk.bar_ticks + (left - 1) * shortest, left == 1


def _shortened(note: StreamedNote, most: float, has: float) -> StreamedNote:
    """A note that lasts `most` of the `has` that it has, where that is less."""
    if not 0 < most < has:
        return note
    share = most / has
    return replace(note, duration_beats=note.duration_beats * share, duration_seconds=note.duration_seconds * share)
