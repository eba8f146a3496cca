"""Music against a clock: each note is handed out a fixed time before it is due, and whatever fails in that is counted.

One side takes tokens, so many seconds of music ahead of the clock; the other hands notes out. A note's time hangs on
the tempo at which it is handed out. Where the model is too slow for the tempo, the music waits: the time of all that is
to come moves, which is counted, too.
"""

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from midifactory.errors import UserError
from midifactory.generation.endless import Endless, Manner, Sung
from midifactory.generation.listening import Listener, Phrase
from midifactory.generation.styles import Opening

# A bar that is turned is at least so far from being handed out: a row is begun anew meanwhile.
_TURN_SECONDS = 0.25
# The longest nap between two looks at the clock, so that a new tempo is heard at once; and while notes are awaited.
_NAP_SECONDS, _SHORT_NAP_SECONDS = 0.02, 0.001
_MOST_AHEAD = 4096  # notes
_ROUNDING_SECONDS = 1e-9


class Clock(Protocol):
    """Time in seconds from any beginning on."""

    def monotonic(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """Implements Clock: this machine's."""

    monotonic = staticmethod(time.perf_counter)  # of a finer grain than time.monotonic on some systems
    sleep = staticmethod(time.sleep)


@dataclass(frozen=True)
class LiveNote:
    """A note that is to be played. program: -1 for drums. at_seconds: on the clock."""

    program: int
    pitch: int
    velocity: int
    onset_beats: float
    duration_beats: float
    tempo_bpm: float
    at_seconds: float
    duration_seconds: float


@dataclass
class Report:
    """How it went.

    late: notes that were handed out after their time; least_margin_seconds: between a note's being handed out and its
    time; waits: how often the music waited for the model, waited_seconds: how long altogether.
    first_note_seconds: from the beginning to the time of the first note; of answers, from the end of the phrase as it
    was noticed, the longest.
    """

    notes: int = 0
    late: int = 0
    least_margin_seconds: float = math.inf
    waits: int = 0
    waited_seconds: float = 0.0
    first_note_seconds: float = 0.0

    def __str__(self) -> str:
        """In one line."""
        if not self.notes:
            return "no note was played"
        first, least = 1000 * self.first_note_seconds, 1000 * self.least_margin_seconds
        late, margin = "none of them late", f"each handed out at least {least:.0f} ms before its time"
        if self.late:
            late, margin = f"{self.late} of them late", f"the latest by {-least:.0f} ms: raise lookahead_ms"
        waits = "the music never waited for the model"
        if self.waits:
            waits = f"the music waited {self.waits} times for the model, {self.waited_seconds:.1f} s altogether"
        return f"{self.notes} notes, {late}, the first after {first:.0f} ms; {margin}; {waits}"


class Live:
    """Notes of an Endless in time; `turn`, `set_tempo` and `stop` may be called by any thread while it plays."""

    def __init__(
        self,
        music: Endless,
        clock: Clock | None = None,
        lookahead_seconds: float = 0.1,
        ahead_seconds: float = 4.0,
        tempo_bpm: float | None = None,
        in_background: bool = True,
        listener: Listener | None = None,
        respond: Callable[[Phrase, float], tuple[Opening, Manner] | None] | None = None,
        answer_bars: int = 4,
    ):
        """tempo_bpm: None for the model's own. in_background: decode in a thread of its own, else between two notes.

        listener: whose phrases are answered, each with `answer_bars` bars that begin as `respond` says of the phrase
        and the tempo in which it is heard (None: no answer). Raises UserError for times that are not above 0.
        """
        for name, value in (("lookahead_ms", lookahead_seconds * 1000), ("ahead_seconds", ahead_seconds)):
            if not 0 < value < math.inf:
                raise UserError(f"{name}={value:g}: it must be above 0; lookahead_ms=100 and ahead_seconds=4 are usual")
        self.report = Report()
        self._music, self._clock = music, clock if clock is not None else SystemClock()
        self._lookahead, self._ahead = lookahead_seconds, ahead_seconds
        self._in_background = in_background
        self._listener, self._respond, self._answer_bars = listener, respond, answer_bars
        self._asked_bpm = tempo_bpm
        self._bpm = tempo_bpm or 120.0
        self._lock = threading.RLock()  # over all that follows
        self._decoding = threading.RLock()  # over the music; taken before the other
        self._queue: list[tuple[float, int, Sung]] = []  # a heap, by onset and order
        self._order = itertools.count()
        self._settled = -math.inf  # no note begins before that beat any more
        self._anchor: tuple[float, float] | None = None  # a beat, and its time on the clock
        self._on_beat: tuple[float, float] | None = None  # since when a player's beats are counted, and their length
        self._handed_bar = -1  # the last bar of music of which a note was handed out
        self._next: Manner | None = None
        self._stopped, self._ended = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._began = 0.0
        self._asked_at: float | None = None  # when the music that has no note yet was asked for

    # --- what may be turned ---

    @property
    def tempo_bpm(self) -> float:
        """The tempo of what is being handed out."""
        return self._bpm

    def set_tempo(self, bpm: float | None) -> None:
        """A tempo from now on, for whatever has not been handed out. Raises UserError outside 20 to 400.

        None: what the model says, from its next note on.
        """
        if bpm is not None and not 20 <= bpm <= 400:
            raise UserError(f"tempo {bpm:g}: it must lie between 20 and 400 beats per minute")
        with self._lock:
            if bpm is None:
                self._asked_bpm = None
                return
            if self._anchor is not None:
                now = self._clock.monotonic() + self._lookahead
                self._anchor = self._beat_at(now), now
            self._asked_bpm = self._bpm = bpm

    def turn(self, manner: Manner) -> None:
        """Go on in that manner (Endless.manner) from the first bar line that can still be turned."""
        with self._lock:
            self._next = manner

    def stop(self) -> None:
        """No further note is handed out."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    # --- handing out ---

    def notes(self, seconds: float | None = None) -> Generator[LiveNote, None, None]:
        """The notes, each so long before its time as is looked ahead, by onset; waits on the clock in between.

        Ends after `seconds` of music, by `stop`, or with the music where nobody is listened to. What fails while
        decoding is raised here.
        """
        self._began = self._asked_at = self._clock.monotonic()
        end = math.inf if seconds is None else seconds
        with self._decoded():
            while not self._stopped.is_set():
                if self._error is not None:
                    raise self._error
                note = self._due()
                if note is not None:
                    if note.at_seconds - self._began > end:
                        return
                    self._count(note)
                    yield note
                elif self._clock.monotonic() + self._lookahead - self._began > end:
                    return
                elif self._rests():
                    if self._listener is None:
                        return
                    self._answer()
                    self._clock.sleep(_NAP_SECONDS)
                elif not self._in_background and self._wants_more():
                    self._decode()
                else:
                    self._clock.sleep(self._nap())

    def _due(self) -> LiveNote | None:
        """The next note, if it is time to hand it out."""
        with self._lock:
            now = self._clock.monotonic()
            if self._anchor is None and not self._sets_out(now):
                return None
            self._wait_for_model(now)
            if not self._queue or self._queue[0][0] > self._settled:
                return None
            sung = self._queue[0][2]
            if self._asked_bpm is None and sung.tempo_bpm != self._bpm:
                self._anchor = sung.onset_beats, self._time_of(sung.onset_beats)
                self._bpm = sung.tempo_bpm
            at = self._time_of(sung.onset_beats)
            if at - self._lookahead > now + _ROUNDING_SECONDS:
                return None
            heapq.heappop(self._queue)
            self._handed_bar = max(self._handed_bar, sung.bar)
            return LiveNote(
                sung.program,
                sung.pitch,
                sung.velocity,
                sung.onset_beats,
                sung.duration_beats,
                self._bpm,
                at,
                sung.duration_beats * 60.0 / self._bpm,
            )

    def _sets_out(self, now: float) -> bool:
        """Set the clock by the first note, once all are there that begin with it."""
        if not self._queue or self._settled <= self._queue[0][0]:
            return False
        due = now + self._lookahead
        if self._on_beat is not None:
            since, length = self._on_beat
            due = since + math.ceil((due - since) / length - _ROUNDING_SECONDS) * length
        if self._asked_bpm is None:
            self._bpm = self._queue[0][2].tempo_bpm
        self._anchor = self._queue[0][0], due
        return True

    def _wait_for_model(self, now: float) -> None:
        """Move the time of all that is to come where nobody knows yet what is to be handed out now.

        What has come meanwhile may still be handed out with less than the full time ahead.
        """
        until = self._time_of(self._settled)
        if until < now + self._lookahead / 4:
            assert self._anchor is not None
            missing = now + self._lookahead - until
            self._anchor = self._anchor[0], self._anchor[1] + missing
            self.report.waits += 1
            self.report.waited_seconds += missing

    def _count(self, note: LiveNote) -> None:
        report, margin = self.report, note.at_seconds - self._clock.monotonic()
        report.notes += 1
        report.late += margin < 0
        report.least_margin_seconds = min(report.least_margin_seconds, margin)
        if self._asked_at is not None:
            report.first_note_seconds = max(report.first_note_seconds, note.at_seconds - self._asked_at)
            self._asked_at = None

    def _nap(self) -> float:
        """How long to sleep until something may have to be handed out."""
        with self._lock:
            if self._anchor is None or not self._queue or self._queue[0][0] > self._settled:
                return _SHORT_NAP_SECONDS
            until = self._time_of(self._queue[0][0]) - self._lookahead - self._clock.monotonic()
            return min(max(until, _ROUNDING_SECONDS), _NAP_SECONDS)

    def _time_of(self, beat: float) -> float:
        assert self._anchor is not None
        return self._anchor[1] + (beat - self._anchor[0]) * 60.0 / self._bpm

    def _beat_at(self, seconds: float) -> float:
        assert self._anchor is not None
        return self._anchor[0] + (seconds - self._anchor[1]) * self._bpm / 60.0

    # --- decoding ---

    @contextmanager
    def _decoded(self) -> Iterator[None]:
        """While this lasts, the music is decoded."""
        thread = threading.Thread(target=self._keep_decoding, name="decoding", daemon=True)
        if self._in_background:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            if self._in_background:
                thread.join()

    def _keep_decoding(self) -> None:
        try:
            while not self._ended.is_set():
                if self._wants_more():
                    self._decode()
                else:
                    self._ended.wait(_NAP_SECONDS / 4)
        except BaseException as error:  # whoever asks for notes is to know
            self._error = error

    def _wants_more(self) -> bool:
        with self._lock:
            if self._next is not None:
                return True
            if self._music.resting or len(self._queue) >= _MOST_AHEAD:
                return False
            if self._anchor is None:
                return True
            return self._time_of(self._settled) < self._clock.monotonic() + self._lookahead + self._ahead

    def _decode(self) -> None:
        """Take one token, or turn."""
        with self._decoding:
            manner, bar = self._bar_to_turn()
            if manner is not None:
                self._music.turn(manner, bar)
            else:
                self._take_in(self._music.step())

    def _take_in(self, notes: list[Sung]) -> None:
        with self._lock:
            for note in notes:
                heapq.heappush(self._queue, (note.onset_beats, next(self._order), note))
            self._settled = self._music.settled_beats

    def _bar_to_turn(self) -> tuple[Manner | None, int | None]:
        """What is asked anew, and from which bar on; drops the notes that come of it or after it."""
        with self._lock:
            self._music.forget(self._handed_bar)
            manner, self._next = self._next, None
            if manner is None or self._anchor is None:
                return manner, None
            soonest = self._clock.monotonic() + self._lookahead + _TURN_SECONDS
            for bar, begin_beats in self._music.bars:
                if self._time_of(begin_beats) >= soonest:
                    self._queue = [item for item in self._queue if item[2].bar < bar]
                    heapq.heapify(self._queue)
                    self._settled = min(self._settled, begin_beats)
                    return manner, bar
            return manner, None

    # --- answering ---

    def _rests(self) -> bool:
        with self._lock:
            return self._music.resting and not self._queue

    def _answer(self) -> None:
        """Begin an answer, if the player has ended a phrase."""
        assert self._listener is not None
        assert self._respond is not None
        now = self._clock.monotonic()
        phrase = self._listener.phrase(now)
        if phrase is None:
            return
        self._asked_at = now
        answer = self._respond(phrase, self._bpm)
        if answer is None:
            return
        opening, manner = answer
        with self._decoding, self._lock:
            begin_beats = 0.0 if self._anchor is None else math.ceil(max(self._beat_at(now + self._lookahead), 0.0))
            self._anchor, self._next = None, None
            self._on_beat = phrase[0].begin_seconds, 60.0 / self._bpm
            self._settled = -math.inf
            self._take_in(self._music.begin(opening, manner, self._answer_bars, begin_beats))

    def begin(self, opening: Opening, manner: Manner) -> None:
        """Let the music begin, without an end; to be called before `notes`."""
        with self._decoding:
            self._take_in(self._music.begin(opening, manner))
