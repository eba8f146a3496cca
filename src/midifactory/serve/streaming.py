"""Server-sent events: notes as they become whole, until the piece is done or nobody listens any more."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from midifactory.generation.stream import StreamedNote
from midifactory.serve.answers import piece_json, pieces_json
from midifactory.serve.asking import Result, Task, notes_of
from midifactory.serve.metrics import Metrics
from midifactory.serve.problems import Problem, problem_of, to_json
from midifactory.serve.shelf import Limits, Progress, Served


def event(name: str, value: Any) -> bytes:
    """One event, its data in one line of JSON."""
    return b"event: " + name.encode("ascii") + b"\ndata: " + to_json(value) + b"\n\n"


def note_event(note: StreamedNote, sample: int) -> bytes:
    """A note. Written by hand, as there are many of them and all are alike."""
    return (
        f'event: note\ndata: {{"sample":{sample},"program":{note.program},"pitch":{note.pitch},'
        f'"velocity":{note.velocity},"onset_beats":{note.onset_beats:.6g},"duration_beats":{note.duration_beats:.6g},'
        f'"onset_seconds":{note.onset_seconds:.6f},"duration_seconds":{note.duration_seconds:.6f}}}\n\n'
    ).encode("ascii")


KEEP_ALIVE = b": keep-alive\n\n"


async def disconnected(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """Sends what a generator yields; closes it when the client leaves or takes longer than `seconds` to read a part.

    on_gone: told of a client that leaves.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], seconds: float, on_gone: Callable[[], None]):
        super().__init__(None, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events, self._seconds, self._on_gone = events, seconds, on_gone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all events."""
        sending = asyncio.ensure_future(self._send(send))
        gone = asyncio.ensure_future(disconnected(receive))
        try:
            done, _ = await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if sending not in done:
                self._on_gone()
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)
            await self._events.aclose()
        if not sending.cancelled() and (error := sending.exception()) is not None:
            raise error

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with contextlib.suppress(OSError):  # the client has left, or (TimeoutError) does not read
            async for part in self._events:
                async with asyncio.timeout(self._seconds):
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def events_of(
    served: Served, task: Task, limits: Limits, counted: Metrics, begin: float
) -> AsyncGenerator[bytes, None]:
    """A stream's events, from `start` to `end`; closing it takes the rows out of the batch.

    begin: when the request came, by the loop's clock.
    """
    heard: asyncio.Queue[list[StreamedNote] | None] = asyncio.Queue()
    progress, streamed = Progress(), [list[tuple[int, int, float]]() for _ in range(task.samples)]

    def told(sample: int, note: StreamedNote) -> bytes:
        streamed[sample].append((note.program, note.pitch, round(note.onset_beats, 4)))
        return note_event(note, sample + 1)

    try:
        promise = served.promise(task.samples)
    except Problem as problem:  # others came while this one was prepared
        yield event("problem", problem.body)
        return
    promise.give()
    work = asyncio.ensure_future(served.perform(task.work, progress, heard.put_nowait))

    def done(_: object) -> None:
        promise.take_back()  # a client that reads slowly keeps nobody waiting
        heard.put_nowait(None)

    work.add_done_callback(done)
    try:
        yield event("start", {"model": served.name, "seed": task.seed, "said": task.said})
        if task.opening:
            yield b"".join(told(sample, note) for sample in range(task.samples) for note in task.opening)
        first = True
        async for notes in _arrivals(heard, limits, begin):
            if notes and first:
                counted.first_note.observe(asyncio.get_running_loop().time() - begin)
                first = False
            yield b"".join(told(note.row, note) for note in notes) or KEEP_ALIVE
        results = work.result()
        counted.pieces.labels(served.name).inc(len(results))
        for sample, result in enumerate(results):
            if missing := _missing(result, streamed[sample]):
                yield b"".join(note_event(note, sample + 1) for note in missing)
        yield event("end", await served.telling(_end, served, task, progress, results))
    except Exception as error:
        yield event("problem", problem_of(error).body)
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _arrivals(
    heard: asyncio.Queue[list[StreamedNote] | None], limits: Limits, begin: float
) -> AsyncGenerator[list[StreamedNote], None]:
    """All notes that are there, again and again until None is; none where nothing has come for a while.

    Raises Problem when the time is over.
    """
    loop = asyncio.get_running_loop()
    while True:
        left = begin + limits.seconds - loop.time()
        if left <= 0:
            raise too_long(limits.seconds)
        try:
            part = await asyncio.wait_for(heard.get(), min(limits.keep_alive_seconds, left))
        except TimeoutError:
            yield []
            continue
        notes = list[StreamedNote]()
        while part is not None:
            notes += part
            if heard.empty():
                break
            part = heard.get_nowait()
        if notes:
            yield notes
        if part is None:
            return


def _missing(result: Result, streamed: list[tuple[int, int, float]]) -> list[StreamedNote]:
    """The notes of a finished piece that no event has told: where tokens tell ends, the last ones were left open."""
    told = Counter(streamed)
    finished = Counter((program, pitch, round(onset, 4)) for program, pitch, onset in notes_of(result.score))
    lacking = finished - told
    if not lacking:
        return []
    found = []
    for note in piece_json(result, 1, None, False)["notes"]:
        key = (note["program"], note["pitch"], round(note["onset_beats"], 4))
        if lacking[key] > 0:
            lacking[key] -= 1
            note.pop("track")
            found.append(StreamedNote(0, **note))
    return found


def _end(served: Served, task: Task, progress: Progress, results: Sequence[Result]) -> dict[str, Any]:
    """The answer at a stream's end, with the number of the notes in their place: they have been told."""
    told = pieces_json(served, task, progress, results)
    for piece in told["pieces"]:
        piece["notes"] = len(piece["notes"])
    return told


def too_long(seconds: float) -> Problem:
    """The problem of a request that takes longer than it may."""
    return Problem(
        504,
        f"seconds={seconds:g}: there was no answer in time; ask for fewer bars or samples",
        *(seconds, seconds, "ask for fewer bars or samples", "limits.seconds"),
    )
