"""Files that strangers send, read in a process of its own with limits: none can end or starve this one."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from symusic import Score

from midifactory.music.attributes import attributes_of
from midifactory.music.joining import instrument_name, program_of
from midifactory.music.scan import printable, warm_up
from midifactory.music.score import Limits, UnreadableMidi, bar_count, check_size, note_arrays, parse_score
from midifactory.music.statistics import key_estimate, piece_statistics, tempo_estimate
from midifactory.music.workers import Failure, GuardedWorker
from midifactory.serve.problems import Problem

_READ, _ANALYSE = "read", "analyse"
# What a file may cost that is read for one request; corpora have greater limits.
LIMITS = Limits(
    max_megabytes=2.0, max_notes=20_000, max_tracks=64, max_hours=1.0, seconds_per_file=5.0, memory_megabytes=400.0
)
_MOST_BARS = 4096


@dataclass(frozen=True)
class _Analysed:
    """What /v1/analyze says of a file."""

    values: dict[str, Any]


class Reader:
    """Reads MIDI files in `workers` processes that stay; with 0 in this one, where no limit of time or memory holds."""

    def __init__(self, limits: Limits = LIMITS, workers: int = 1):
        self.limits = limits
        task = partial(_read, limits=limits)
        self._worker: GuardedWorker | None = None
        self._run: Callable[[tuple[str, bytes]], Any] = task
        if workers:
            seconds, megabytes = limits.seconds_per_file, limits.memory_megabytes
            self._worker = GuardedWorker(
                task, seconds=seconds, megabytes=megabytes, initializer=warm_up, workers=workers
            )
            self._run = self._worker.run

    def warm_up(self) -> None:
        """Start the process, so that the first file need not wait for it."""
        self._run((_READ, b""))

    def read(self, data: bytes, name: str = "file") -> Score:
        """The Score of a file's bytes. Raises Problem, with the reason, where it is none or beyond the limits."""
        found = self._of(_READ, data, name)
        return found

    def analyse(self, data: bytes, name: str = "file") -> dict[str, Any]:
        """What a file is like, as plain values. Raises Problem as `read` does."""
        return self._of(_ANALYSE, data, name).values

    def _of(self, what: str, data: bytes, name: str) -> Any:
        found = self._run((what, data))
        if isinstance(found, Failure):
            raise Problem(422, f"{name}: it {found.reason}; send another MIDI file", None, found.kind, name=name)
        if isinstance(found, UnreadableMidi):
            raise Problem(
                422, f"{name}: {found}; send another MIDI file", None, found.kind, "send another MIDI file", name
            )
        return found

    def close(self) -> None:
        """End the processes."""
        if self._worker is not None:
            self._worker.close()


def _read(item: tuple[str, bytes], limits: Limits) -> Any:
    """In the worker: a Score, an _Analysed, or UnreadableMidi as a value, since raised it would lose its kind."""
    what, data = item
    try:
        if len(data) > limits.max_megabytes * 2**20:
            raise UnreadableMidi(f"larger than {limits.max_megabytes:g} MB", "too_large")
        with np.errstate(all="ignore"):  # odd files divide by zero; their statistics are nan
            score = parse_score(data, limits)
            check_size(limits, notes=score.note_num())
            bars = bar_count(score)
            if bars > _MOST_BARS:
                raise UnreadableMidi(f"{bars} bars, more than {_MOST_BARS}", "too_long")
            return score if what == _READ else _Analysed(describe(score))
    except UnreadableMidi as error:
        return error


def describe(score: Score) -> dict[str, Any]:
    """What a Score is like: its attributes, statistics, tracks, tempos and metres; null where it has none."""
    notes = note_arrays(score)
    quarter = score.ticks_per_quarter
    tracks = []
    for index, track in enumerate(score.tracks):
        own = notes["pitch"][notes["track"] == index]
        program = program_of(track)
        tracks.append(
            {
                "name": printable(track.name)[:200],
                "program": program,
                "instrument": instrument_name(program),
                "notes": len(own),
                "pitch_lowest": int(own.min()) if len(own) else None,
                "pitch_highest": int(own.max()) if len(own) else None,
            }
        )
    tempo = tempo_estimate(score)
    return {
        "key": key_estimate(score),
        "tempo_estimated_bpm": tempo if math.isfinite(tempo) else None,
        "ticks_per_quarter": quarter,
        "attributes": attributes_of(score),
        "statistics": piece_statistics(score),
        "tracks": tracks,
        "tempos": tempos_of(score),
        "metres": metres_of(score),
    }


def tempos_of(score: Score) -> list[dict[str, float]]:
    """Where each tempo begins, in beats."""
    quarter = score.ticks_per_quarter
    return [{"onset_beats": tempo.time / quarter, "bpm": round(float(tempo.qpm), 4)} for tempo in score.tempos]


def metres_of(score: Score) -> list[dict[str, Any]]:
    """Where each metre begins, in beats."""
    quarter = score.ticks_per_quarter
    return [
        {"onset_beats": item.time / quarter, "metre": f"{item.numerator}/{item.denominator}"}
        for item in score.time_signatures
    ]
