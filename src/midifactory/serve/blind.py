"""Pairs of pieces of two models, of which nothing tells which is whose until a vote has been given."""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from symusic import Score, Track

from midifactory.music.joining import instrument_name, program_of
from midifactory.serve.asking import Result
from midifactory.serve.problems import Problem

_MOST_PAIRS, _LIFE_SECONDS = 256, 3600.0


@dataclass(frozen=True)
class Composer:
    """A model as it was when it composed one of a pair, and the seed with which it would do so again."""

    name: str
    sha256: str
    seed: int


@dataclass
class Pair:
    """Two composers in the order in which their pieces were told."""

    composers: tuple[Composer, Composer]
    settings: Mapping[str, Any]
    made: float = 0.0
    voted: bool = False

    def vote(self, choice: str) -> dict[str, Any]:
        """What is kept of a vote: enough to compose both pieces again."""
        settings = dict(self.settings)
        if settings.get("prompt") is not None:
            settings["prompt"] = f"sha256:{hashlib.sha256(settings['prompt'].encode()).hexdigest()}"
        return {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "models": [vars(composer) for composer in self.composers],
            "settings": settings,
            "choice": choice,
        }


class Pairs:
    """The pairs that can be voted on: for an hour, the newest 256."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._pairs: OrderedDict[str, Pair] = OrderedDict()
        self._clock = clock

    def add(self, pair: Pair) -> str:
        """Keep a pair. Returns its name, which nobody can guess."""
        name = secrets.token_urlsafe(12)
        self._pairs[name] = replace(pair, made=self._clock())
        while len(self._pairs) > _MOST_PAIRS:
            self._pairs.popitem(last=False)
        return name

    def find(self, name: str) -> Pair:
        """A pair without a vote. Raises Problem where there is none (404), or its vote has been given (409)."""
        while self._pairs and self._clock() - next(iter(self._pairs.values())).made > _LIFE_SECONDS:
            self._pairs.popitem(last=False)
        if name not in self._pairs:
            remedy = "ask POST /v1/blind for a new one"
            raise Problem(
                404, f"pair={name[:60]}: there is none, or no longer; {remedy}",
                *(name[:60], f"{_MOST_PAIRS} pairs, each for an hour", remedy, "pair"),
            )  # fmt: skip
        pair = self._pairs[name]
        if pair.voted:
            remedy = "ask POST /v1/blind for a new one"
            raise Problem(
                409, f"pair={name[:60]}: one vote is taken, and it has been given; {remedy}",
                *(name[:60], "one vote", remedy, "pair"),
            )  # fmt: skip
        return pair


def shuffled(names: Sequence[str]) -> list[str]:
    """The names in an order that the operating system draws."""
    order = list(names)
    secrets.SystemRandom().shuffle(order)
    return order


def disguised(result: Result) -> Result:
    """The same music without a word in it: tracks in the order of their instruments, named after them."""
    given = result.score
    score = Score(given.ticks_per_quarter)
    score.tempos, score.time_signatures = given.tempos.copy(), given.time_signatures.copy()
    merged: dict[int, Track] = {}
    for track in given.tracks:
        program = program_of(track)
        if program not in merged:
            merged[program] = Track(instrument_name(program), max(0, program), program < 0)
        merged[program].notes.extend(track.notes)
    for _, track in sorted(merged.items()):
        track.notes.sort(key=lambda note: (note.time, note.pitch, note.duration, note.velocity), inplace=True)
        score.tracks.append(track)
    return Result(score, result.prompt_end_tick, result.region)
