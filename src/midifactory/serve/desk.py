"""Requests answered: files read, work promised, decoded and told, within the limits."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from symusic import Score

from midifactory.evaluation.told_notes import ToldNotes
from midifactory.serve.answers import JSON, form_of, pieces_json, rendered
from midifactory.serve.asking import Styles, Task, continuing, generating, infilling, prompt_bytes
from midifactory.serve.explaining import attention, check_attends, check_explains, explanation, notes_told
from midifactory.serve.metrics import Metrics
from midifactory.serve.problems import Problem, to_json
from midifactory.serve.reading import Reader
from midifactory.serve.schema import (
    AnalyzeRequest,
    AttentionRequest,
    ContinueRequest,
    ExplainRequest,
    GenerateRequest,
    InfillRequest,
)
from midifactory.serve.shelf import Limits, Progress, Served, Shelf
from midifactory.serve.streaming import EventStream, disconnected, events_of, too_long

T = TypeVar("T")


class FrontDesk:
    """Answers what is asked of the models of a shelf."""

    def __init__(self, shelf: Shelf, styles: Styles, limits: Limits, reader: Reader, counted: Metrics):
        self.shelf, self.styles, self.limits, self.reader, self.counted = shelf, styles, limits, reader, counted
        self._drawing = asyncio.Semaphore(2)  # sound and pictures at once
        self._reading = asyncio.Semaphore(1)  # files that models read

    async def generate(self, request: Request, asked: GenerateRequest) -> Response:
        """POST /v1/generate."""
        served = self.shelf.find(asked.model)
        prompt = await self.prompt(asked)
        rows = asked.num_samples * asked.best_of

        def prepare() -> Task:
            return generating(served, asked, self.styles, prompt)

        return await self._answer(request, served, asked.num_samples, rows, prepare)

    async def go_on(self, request: Request, asked: ContinueRequest, data: bytes) -> Response:
        """POST /v1/continue."""
        served = self.shelf.find(asked.model)
        score = await self._read(data)
        rows = asked.num_samples * asked.best_of
        return await self._answer(request, served, asked.num_samples, rows, lambda: continuing(served, asked, score))

    async def infill(self, request: Request, asked: InfillRequest, data: bytes) -> Response:
        """POST /v1/infill."""
        served = self.shelf.find(asked.model)
        score = await self._read(data)
        samples = asked.num_samples
        return await self._answer(request, served, samples, samples, lambda: infilling(served, asked, score))

    async def analyze(self, request: Request, asked: AnalyzeRequest, data: bytes) -> Response:
        """POST /v1/analyze."""
        served = None if asked.model is None else self.shelf.find(asked.model)

        async def work() -> dict[str, Any]:
            found = await asyncio.to_thread(self.reader.analyse, data)
            if served is not None:
                score = await self._read(data)
                with served.promise(1):
                    found["originality"] = await served.at_desk(_originality, served, score)
            return found

        return Response(to_json(await self.within(request, work())), media_type=JSON)

    async def explain(self, request: Request, asked: ExplainRequest, data: bytes) -> Response:
        """POST /v1/explain."""
        served = self.shelf.find(asked.model)
        check_explains(served)
        stop = threading.Event()

        def read(told: ToldNotes) -> bytes:
            return to_json(explanation(served, told, asked, stop))

        try:
            return await self._read_by_model(request, served, data, read)
        finally:
            stop.set()

    async def attend(self, request: Request, asked: AttentionRequest, data: bytes) -> Response:
        """POST /v1/attention."""
        served = self.shelf.find(asked.model)
        check_attends(served)
        return await self._read_by_model(request, served, data, lambda told: to_json(attention(served, told, asked)))

    async def _read_by_model(
        self, request: Request, served: Served, data: bytes, read: Callable[[ToldNotes], bytes]
    ) -> Response:
        """A file's notes read by a model in a thread of its own, beside the one that decodes; one file at a time."""
        score = await self._read(data)

        async def work() -> bytes:
            with served.promise(1):
                told = await served.at_desk(notes_told, served, score)
                async with self._reading:
                    return await asyncio.to_thread(read, told)

        return Response(await self.within(request, work()), media_type=JSON)

    async def stream(self, request: Request, asked: GenerateRequest) -> Response:
        """GET and POST /v1/stream."""
        if asked.best_of > 1:
            raise Problem(
                422,
                f"best_of={asked.best_of}: the best is known at the end alone; ask POST /v1/generate",
                *(asked.best_of, 1, "ask POST /v1/generate", "best_of"),
            )
        begin = asyncio.get_running_loop().time()
        served = self.shelf.find(asked.model)
        prompt = await self.prompt(asked)

        def prepare() -> Task:
            return generating(served, asked, self.styles, prompt)

        with served.promise(asked.num_samples):
            task = await self.within(request, served.at_desk(prepare))
        events: AsyncGenerator[bytes, None] = events_of(served, task, self.limits, self.counted, begin)
        return EventStream(events, self.limits.seconds, self.counted.gone.inc)

    async def _answer(
        self, request: Request, served: Served, samples: int, rows: int, prepare: Callable[[], Task]
    ) -> Response:
        """Make a request's task at the desk, decode it, and give its pieces as the client accepts them."""
        form = form_of(request.headers.get("accept"))
        if form != JSON and samples > 1:
            raise Problem(
                422,
                f"num_samples={samples}: {form} holds one piece; ask for one, or accept {JSON}",
                *(samples, 1, f"ask for one, or accept {JSON}", "num_samples"),
            )

        async def work() -> Response:
            progress = Progress()
            with served.promise(rows):
                task = await served.at_desk(prepare)
                results = await served.perform(task.work, progress)
            self.counted.pieces.labels(served.name).inc(len(results))
            headers = {"Midifactory-Seed": str(task.seed), "Midifactory-Model": served.name}
            if form == JSON:
                body = await served.telling(lambda: to_json(pieces_json(served, task, progress, results)))
                return Response(body, headers=headers, media_type=JSON)
            async with self._drawing:
                made = await asyncio.to_thread(rendered, results[0], form, self.limits.audio_seconds)
            return Response(made, headers=headers, media_type=form)

        return await self.within(request, work())

    async def _read(self, data: bytes, name: str = "file") -> Score:
        return await asyncio.to_thread(self.reader.read, data, name)

    async def prompt(self, asked: GenerateRequest) -> "Score | None":
        """The file to go on from, None for none. Raises Problem for one that cannot be read."""
        return None if asked.prompt is None else await self._read(prompt_bytes(asked.prompt), "prompt")

    async def within(self, request: Request, work: Awaitable[T]) -> T:
        """What `work` gives, unless the client leaves, or it takes too long: then it is cancelled."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(disconnected(request.receive))
        try:
            done, _ = await asyncio.wait({task, gone}, timeout=self.limits.seconds, return_when=asyncio.FIRST_COMPLETED)
            if task in done:
                return task.result()
            if gone in done:
                self.counted.gone.inc()
                raise Problem(499, "the client has left")
            raise too_long(self.limits.seconds)
        finally:
            for one in (task, gone):
                one.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)


def _originality(served: Served, score: Score) -> dict[str, Any] | None:
    """How much of a file, as the model's tokens can tell it, the model was trained on."""
    if served.originality is None:
        return None
    tokenizer = served.trained.tokenizer
    try:
        heard = tokenizer.decode(tokenizer.to_model_ids(tokenizer.encode(score).ids))
    except (ValueError, KeyError, IndexError, ZeroDivisionError, OverflowError, AssertionError) as error:
        raise Problem(422, f"file: this model's tokens cannot tell it ({type(error).__name__})", name="file") from error
    return served.originality.of(heard).to_dict()
