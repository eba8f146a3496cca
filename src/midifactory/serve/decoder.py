"""A thread that decodes: rows of many requests in one batch, which they join and leave at any step.

Legend: V vocabulary.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from midifactory.generation.engine import Engine, Guide, Row
from midifactory.generation.stream import StreamedNote
from midifactory.serve.ending import settled_notes

log = logging.getLogger(__name__)


class Aborted(Exception):
    """The decoder was ended before the rows were."""


@dataclass(eq=False)
class Round:
    """Rows of one request, by number, and who is to be told; both functions are called by `Decoder`'s `post`.

    on_notes: takes notes that have become whole; None where the guides' maker reads them. on_end: takes None, or what
    went wrong. most_tokens: a row with as many new tokens ends; `cut` are the numbers of those that did. tokens: how
    many were decoded. left: the rows that have not ended.
    """

    rows: Mapping[int, Row]
    on_end: Callable[[Exception | None], None]
    on_notes: Callable[[list[StreamedNote]], None] | None = None
    most_tokens: int = 1 << 30
    cut: set[int] = field(default_factory=set)
    cancelled: bool = False
    left: int = 0

    @property
    def tokens(self) -> int:
        """Decoded so far."""
        return sum(len(row.new) for row in self.rows.values())


class Decoder:
    """Decodes rounds with one engine, at most `most_rows` rows at once; further rows wait in the order of their coming.

    post: runs a function in the thread of those who are told, such as an event loop's call_soon_threadsafe. Called
    once for a step at most, since each call wakes that thread.
    """

    def __init__(
        self, engine: Engine, most_rows: int, post: Callable[[Callable[[], None]], object], name: str = "model"
    ):
        self._engine, self._most_rows, self._post = engine, most_rows, post
        self._changed = threading.Condition()  # it may be entered again by who is in it
        self._batch = engine.batch()
        self._places: dict[int, _Place] = {}  # by the row's id
        self._waiting: deque[tuple[Round, int]] = deque()
        self._cancelled: list[Round] = []
        self._closing = self._aborting = False
        self.running = 0  # rows that are decoded now
        self.tokens = 0  # decoded since the start
        self._thread = threading.Thread(target=self._loop, name=f"decode {name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Rows that have no place yet."""
        return len(self._waiting)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self, round_: Round) -> None:
        """Let the rows of a round join as soon as there is room."""
        with self._changed:
            if self._closing:
                raise Aborted("this model is being taken out of service")
            round_.left = len(round_.rows)
            self._waiting.extend((round_, number) for number in round_.rows)
            self._changed.notify()

    def cancel(self, round_: Round) -> None:
        """Take a round's rows out before the next step; nobody is told of their end."""
        with self._changed:
            round_.cancelled = True
            self._cancelled.append(round_)
            self._changed.notify()

    def close(self, abort: bool = False) -> None:
        """End the thread: once all rows have ended, or, with `abort`, after this step."""
        with self._changed:
            self._closing, self._aborting = True, self._aborting or abort
            self._changed.notify()

    def join(self, seconds: float | None = None) -> bool:
        """Wait for the thread's end; returns whether it has come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    # --- in the thread ---

    def _loop(self) -> None:
        while (joining := self._next()) is not None:
            notes: dict[Round, list[StreamedNote]] = {}
            try:
                ended = self._step(joining, notes)
            except Exception as error:  # nobody knows whose rows are to blame, so all that run are given up
                log.exception("decoding failed")
                ended = [(round_, error) for round_ in dict.fromkeys(place.round for place in self._places.values())]
                self._batch, self._places = self._engine.batch(), {}
                for round_, _ in ended:
                    self._drop(round_)
            self.running = len(self._batch.rows)
            self._tell(notes, ended)
        left = [*(round_ for round_, _ in self._waiting), *(place.round for place in self._places.values())]
        self._waiting.clear()
        self._tell({}, [(round_, Aborted("the server is ending")) for round_ in dict.fromkeys(left)])

    def _next(self) -> list["_Place"] | None:
        """Wait for something to do: the rows that join now, those of cancelled rounds having left; None for the end."""
        with self._changed:
            while not (self._waiting or self._cancelled or self._batch.rows or self._closing):
                self._batch.step()  # an empty batch lets go of its state
                self._changed.wait()
            cancelled, self._cancelled = self._cancelled, []
            for round_ in cancelled:
                self._drop(round_)
            if self._aborting or (self._closing and not self._waiting and not self._batch.rows):
                return None
            room = max(0, self._most_rows - len(self._batch.rows))
            chosen = [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]
        return [
            _Place(round_, number, _Own(round_.rows[number].guide, round_.most_tokens)) for round_, number in chosen
        ]

    def _step(
        self, joining: list["_Place"], notes: dict[Round, list[StreamedNote]]
    ) -> list[tuple[Round, Exception | None]]:
        """One token for every row; adds to `notes`, returns the rounds that have ended, with what went wrong."""
        rows = [place.round.rows[place.number] for place in joining]
        guides = [row.guide for row in rows]
        for row, place in zip(rows, joining, strict=True):
            self._places[id(row)] = place
            row.guide = place.own
        try:
            self._batch.join(rows)  # it keeps the guides that rows have now
        finally:
            for row, guide in zip(rows, guides, strict=True):
                row.guide = guide
        finished = self._batch.step()
        going = self._batch.rows
        self.tokens += len(going)
        ended: list[tuple[Round, Exception | None]] = []
        for row in [*going, *finished]:
            round_, number, _ = self._places[id(row)]
            if round_.on_notes is not None and (whole := settled_notes(row, number)):
                notes.setdefault(round_, []).extend(whole)
        for row in finished:
            if (left := self._places.pop(id(row), None)) is None:
                continue  # its round was given up in this step
            round_ = left.round
            round_.left -= 1
            if left.own.cut:
                round_.cut.add(left.number)
            if left.own.error is not None:
                self._drop(round_)
                ended.append((round_, left.own.error))
            elif not round_.left:
                ended.append((round_, None))
        return ended

    def _drop(self, round_: Round) -> None:
        """Take out what is left of a round, waiting or running."""
        with self._changed:
            if any(waits is round_ for waits, _ in self._waiting):
                self._waiting = deque(item for item in self._waiting if item[0] is not round_)
        for row in round_.rows.values():
            if self._places.pop(id(row), None) is not None:
                self._batch.leave(row)

    def _tell(self, notes: Mapping[Round, list[StreamedNote]], ended: list[tuple[Round, Exception | None]]) -> None:
        if not notes and not ended:
            return

        def deliver() -> None:
            for round_, whole in notes.items():
                if round_.on_notes is not None and not round_.cancelled:
                    round_.on_notes(whole)
            for round_, error in ended:
                if not round_.cancelled:
                    round_.on_end(error)

        try:
            self._post(deliver)
        except RuntimeError:  # whoever listened has ended
            log.debug("nobody is there to be told")


class _Place(NamedTuple):
    """Whose a row is."""

    round: Round
    number: int
    own: "_Own"


class _Own:
    """A guide whose failure, or whose length, ends its own row and harms no other."""

    def __init__(self, guide: Guide, most_tokens: int):
        self._guide, self._left = guide, most_tokens
        self.error: Exception | None = None
        self.cut = False

    @property
    def opens_bar(self) -> bool:
        """As the guide says."""
        return self._guide.opens_bar

    def forced(self) -> int | None:
        """As the guide says."""
        try:
            return self._guide.forced()
        except Exception as error:
            self.error = error
            return None

    def allowed(self) -> np.ndarray | None:
        """As the guide says; (V,) bool."""
        if self.error is not None:
            return None
        try:
            mask = self._guide.allowed()
        except Exception as error:
            self.error = error
            return None
        if mask is not None and not mask.any():
            self.error = ValueError("a guide allows no token at all")
            return None
        return mask

    def bias(self) -> np.ndarray | None:
        """As the guide says; (V,) float."""
        try:
            return None if self.error is not None else self._guide.bias()
        except Exception as error:
            self.error = error
            return None

    def take(self, token: int) -> int | None:
        """As the guide says, up to the last token that there may be."""
        if self.error is not None:
            return None
        if not self._left:
            self.cut = True
            return None
        self._left -= 1
        try:
            return self._guide.take(token)
        except Exception as error:
            self.error = error
            return None
