"""Votes of people who heard two models blind: a line of JSON each in one file, and what they say together."""

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from midifactory.evaluation.proportions import wilson_interval
from midifactory.files import sync_directory
from midifactory.serve.problems import to_json

FIRST, SECOND, NEITHER = "first", "second", "neither"
CHOICES = (FIRST, SECOND, NEITHER)
_Model = tuple[str, str]  # name and SHA-256


class Votes:
    """The file of votes, which may not be there yet."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()

    def add(self, vote: Mapping[str, Any]) -> None:
        """Append a vote: on the disk when this returns. Raises OSError where it cannot be written.

        What a crash has left of a line is ended first, so that it spoils no other.
        """
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                size = file.seek(0, os.SEEK_END)
                torn = b""
                if size:
                    file.seek(size - 1)
                    torn = b"" if file.read(1) == b"\n" else b"\n"
                file.write(torn + to_json(vote) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            if not size:
                sync_directory(self.path.parent)

    def read(self) -> Iterator[dict[str, Any]]:
        """All whole votes."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            for line in file:
                try:
                    vote = json.loads(line)
                    [_model(model) for model in vote["models"]]
                    whole = len(vote["models"]) == 2 and vote["choice"] in CHOICES
                except (ValueError, TypeError, KeyError):
                    continue  # torn
                if whole:
                    yield vote

    def results(self) -> list[dict[str, Any]]:
        """Of each pair of models, in the order of their names: who won how often, see told.VoteResult."""
        pairs: dict[tuple[_Model, ...], Counter[_Model | None]] = {}
        for vote in self.read():
            heard = [_model(model) for model in vote["models"]]
            winner = None if vote["choice"] == NEITHER else heard[CHOICES.index(vote["choice"])]
            pairs.setdefault(tuple(sorted(heard)), Counter())[winner] += 1
        return [_result(pair, wins) for pair, wins in sorted(pairs.items())]


def _model(told: Mapping[str, Any]) -> _Model:
    return str(told["name"]), str(told["sha256"])


def _result(pair: tuple[_Model, ...], wins: Counter[_Model | None]) -> dict[str, Any]:
    first, second = (wins[model] for model in pair)
    decided = first + second
    low, high = wilson_interval(first, decided) if decided else (None, None)
    return {
        "models": [name for name, _ in pair],
        "sha256": [sha256 for _, sha256 in pair],
        "wins_first_model": first,
        "wins_second_model": second,
        "neither": wins[None],
        "share": first / decided if decided else None,
        "low": low,
        "high": high,
    }
