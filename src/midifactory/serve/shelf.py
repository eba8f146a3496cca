"""The models that are served, each with its decoder, and how one takes another's place while work goes on."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from midifactory.data.originality import require_originality
from midifactory.errors import UserError
from midifactory.generation.infill import Infiller
from midifactory.generation.pieces import engine_of
from midifactory.generation.stream import StreamedNote, Work
from midifactory.music.originality import Originality
from midifactory.serve.decoder import Aborted, Decoder, Round
from midifactory.serve.problems import Problem
from midifactory.training.checkpoint import Trained

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What one request, and all together, may take. Raises UserError for a limit that is not above 0.

    body_megabytes: of a request. seconds: until the answer, or until a stream's end. rows: pieces that are decoded at
    once, of each model. queue: pieces that wait for a place; beyond, requests are refused. samples: pieces of one
    request, best_of counted. tokens: of one piece. audio_seconds: of one that is rendered. body_seconds: until a
    request's body is there. keep_alive_seconds: a stream that has nothing to say says so.
    """

    body_megabytes: float = 2.0
    body_seconds: float = 30.0
    seconds: float = 120.0
    rows: int = 16
    queue: int = 64
    samples: int = 16
    tokens: int = 8192
    audio_seconds: float = 600.0
    keep_alive_seconds: float = 15.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            whole = name in ("rows", "queue", "samples", "tokens")
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not value > 0:
                raise UserError(f"limits.{name}={value}: give a {'whole ' if whole else ''}number above 0")


@dataclass
class Progress:
    """How far a request is: tokens, numbers of the samples that were cut, whether any note has come."""

    tokens: int = 0
    cut: set[int] = field(default_factory=set)


class Served:
    """A loaded checkpoint and its decoder. `name` is what requests call it."""

    def __init__(self, name: str, trained: Trained, limits: Limits):
        self.name, self.trained, self.limits = name, trained, limits
        self.engine = engine_of(trained)
        self.engine.refuse_too_many(limits.rows)
        self.originality: Originality | None = None
        self.without_originality = ""
        try:
            self.originality = require_originality(trained)
        except UserError as error:
            self.without_originality = str(error)
        self.rows = 0  # of all requests that are being answered
        self._decoder: Decoder | None = None
        self._infiller: Infiller | None = None
        # Tokenizers and grammars are used by one thread at a time, beside the decoder.
        self._desk = ThreadPoolExecutor(1, f"desk {name}")
        # What is told goes one after the other, too: many threads that want the interpreter's lock keep it from the
        # decoder. It is another thread than the desk's, so that new rows need not wait until old ones are told.
        self._telling = ThreadPoolExecutor(1, f"telling {name}")

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to decode, and tell `loop` what comes."""
        if self._decoder is None:
            self._decoder = Decoder(self.engine, self.limits.rows, loop.call_soon_threadsafe, self.name)

    @property
    def decoder(self) -> Decoder:
        """The running decoder."""
        if self._decoder is None:
            raise Problem(503, f"model={self.name}: it is not in service yet; try again", remedy="try again")
        return self._decoder

    @property
    def running(self) -> Decoder | None:
        """The decoder, None before the start."""
        return self._decoder

    @property
    def infiller(self) -> Infiller:
        """What fills gaps. Raises UserError for a model that was not trained for it. To be called at the desk."""
        if self._infiller is None:
            self._infiller = Infiller(self.trained, self.name)
        return self._infiller

    def promise(self, rows: int) -> "_Promise":
        """Rows that will be decoded, until the context is left. Raises Problem where too many wait (429)."""
        limits = self.limits
        if rows > limits.samples:
            raise Problem(
                422,
                f"num_samples={rows}: with best_of, at most {limits.samples} at once; ask several times",
                *(rows, limits.samples, "ask several times", "num_samples"),
            )
        if self.rows + rows > limits.rows + limits.queue:
            wait = max(1, round(limits.seconds / 20))
            raise Problem(
                429,
                f"queue={self.rows}: {limits.rows} pieces are composed and {limits.queue} may wait; try again in "
                f"{wait} seconds",
                *(self.rows, limits.rows + limits.queue, f"try again in {wait} seconds", "queue"),
                headers={"Retry-After": str(wait)},
            )
        return _Promise(self, rows)

    async def at_desk(self, do: Callable[..., T], *given: Any) -> T:
        """Run something that uses the tokenizer, one after the other."""
        return await asyncio.get_running_loop().run_in_executor(self._desk, do, *given)

    async def telling(self, do: Callable[..., T], *given: Any) -> T:
        """Run something that makes an answer of finished pieces, one after the other."""
        return await asyncio.get_running_loop().run_in_executor(self._telling, do, *given)

    async def perform(
        self, work: Work[T], progress: Progress, on_notes: Callable[[list[StreamedNote]], None] | None = None
    ) -> T:
        """Decode a work's rounds in the running batch; returns what it makes. Cancelled, its rows leave the batch."""
        rows, result = await self.at_desk(_advance, work)
        while rows is not None:
            end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def told(error: Exception | None, end: asyncio.Future[None] = end) -> None:
                if not end.done():
                    end.set_result(None) if error is None else end.set_exception(error)

            round_ = Round(rows, told, on_notes, max(1, self.limits.tokens))
            decoder = self.decoder
            try:
                decoder.start(round_)
                await end
            except asyncio.CancelledError:
                decoder.cancel(round_)
                raise
            except Aborted as error:
                raise Problem(503, f"{error}; try again", remedy="try again") from error
            finally:
                progress.tokens += round_.tokens
                progress.cut |= round_.cut
            rows, result = await self.at_desk(_advance, work)
        return result  # type: ignore[return-value]

    def close(self, abort: bool = False) -> None:
        """Take no more work; what runs is finished, or with `abort` ended."""
        if self._decoder is not None:
            self._decoder.close(abort)
        for threads in (self._desk, self._telling):
            threads.shutdown(wait=False, cancel_futures=abort)

    def describe(self) -> dict[str, Any]:
        """What GET /v1/models says of it."""
        trained = self.trained
        codec = trained.conditions
        tokenizer = trained.tokenizer
        return {
            "name": self.name,
            "sha256": trained.sha256,
            "model": type(trained.model).__name__,
            "parameters": trained.model.parameters_count,
            "corpus": trained.corpus,
            "tokenizer": tokenizer.scheme,
            "window_tokens": trained.window,
            "infills": bool(tokenizer.infills),
            "continues": bool(tokenizer.monotonic),
            "grammar": bool(tokenizer.has_grammar),
            "originality": self.originality is not None,
            "conditions": {} if codec is None else {item.name: item.describe() for item in codec.fields},
            "programs": [row["program"] for row in trained.profile["programs"]],
            "tempo_bpm": trained.profile["tempo_bpm"],
            "metre": trained.profile["metre"],
        }


class _Promise:
    """Counts rows while a request is answered."""

    def __init__(self, served: Served, rows: int):
        self.served, self.rows = served, rows

    def give(self) -> None:
        """From now on they count."""
        self.served.rows += self.rows

    def take_back(self) -> None:
        """They count no more."""
        self.served.rows -= self.rows

    def __enter__(self) -> None:
        self.give()

    def __exit__(self, *error: object) -> None:
        self.take_back()


def _advance(work: Work[T]) -> tuple[Any, T | None]:
    """The next rows and None, or None and the result: StopIteration cannot pass through a future."""
    try:
        return next(work), None
    except StopIteration as end:
        return None, end.value


class Shelf:
    """The models by their names, the first of them the one that is meant where none is named."""

    def __init__(self, loaders: Sequence[tuple[str, Callable[[], Trained]]], limits: Limits):
        """loaders: names, and what loads each of them, again where the shelf is reloaded."""
        self._loaders, self.limits = dict(loaders), limits
        self._loop: asyncio.AbstractEventLoop | None = None
        self._retiring: set[asyncio.Future[None]] = set()
        self.models = {name: Served(name, load(), limits) for name, load in self._loaders.items()}

    def start(self) -> None:
        """Put all into service, for the running event loop."""
        self._loop = asyncio.get_running_loop()
        for served in self.models.values():
            served.start(self._loop)

    def find(self, name: str | None) -> Served:
        """The model of that name. Raises Problem for one that there is not."""
        import difflib

        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            near = difflib.get_close_matches(name, self.models, n=1, cutoff=0.0)[0]
            known = ", ".join(self.models)
            raise Problem(
                422, f"model={name[:60]}: served are {known}; nearest: {near}", name[:60], known, near, "model"
            )
        return self.models[name]

    async def reload(self, name: str | None = None) -> list[Served]:
        """Load a model, or all, anew; new requests get it at once, what runs is finished with the old one.

        Raises UserError, and nothing changes, where a checkpoint cannot be loaded.
        """
        names = [self.find(name).name] if name is not None else list(self.models)
        loaded = []
        for one in names:
            trained = await asyncio.to_thread(self._loaders[one])
            loaded.append(await asyncio.to_thread(Served, one, trained, self.limits))
        for served in loaded:
            assert self._loop is not None
            served.start(self._loop)
            old, self.models[served.name] = self.models[served.name], served
            task = asyncio.ensure_future(_retire(old))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
        return loaded

    def close(self, abort: bool = False) -> None:
        """Take all out of service."""
        for served in self.models.values():
            served.close(abort)


async def _retire(served: Served) -> None:
    """Close a model that nobody is told of any more, once those who were have their answers."""
    while served.rows:
        await asyncio.sleep(0.1)
    served.close()
