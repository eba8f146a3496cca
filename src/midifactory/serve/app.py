"""The HTTP interface: routes, what they take and give, and their OpenAPI document."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Body, FastAPI, File, Form, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from midifactory.errors import UserError
from midifactory.serve import metrics as counting
from midifactory.serve.answers import JSON, MIDI, PNG, WAV
from midifactory.serve.asking import Styles
from midifactory.serve.desk import FrontDesk
from midifactory.serve.document import PROBLEM, complete_document
from midifactory.serve.gate import Gate
from midifactory.serve.page import add_page
from midifactory.serve.polling import PollingStation
from midifactory.serve.problems import Problem, problem_of, problem_of_fields
from midifactory.serve.reading import Reader
from midifactory.serve.schema import (
    AnalyzeRequest,
    AttentionRequest,
    ContinueRequest,
    ExplainRequest,
    GenerateRequest,
    InfillRequest,
    Pieces,
    VoteRequest,
    blind_of,
    query_of,
    with_defaults,
)
from midifactory.serve.shelf import Limits, Shelf
from midifactory.serve.told import Analysis, AttentionTold, BlindPair, Explanation, Health, Models, Voted, VotesTold
from midifactory.serve.told import Styles as StylesTold
from midifactory.serve.votes import Votes

M = TypeVar("M", bound=BaseModel)
_FILE = "a MIDI file; its name is not looked at"
_PIECES_OR_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Pieces,
        "description": "What was composed",
        "content": {
            JSON: {},
            **{form: {"schema": {"type": "string", "format": "binary"}} for form in (MIDI, WAV, PNG)},
        },
    }
}
_EVENTS = (
    "Server-sent events. `start` {model, seed, said}; `note` {sample, program, pitch, velocity, onset_beats, "
    "duration_beats, onset_seconds, duration_seconds} as soon as a note is whole, those of an opening first; `end` as "
    "the answer of POST /v1/generate, `notes` being their number; or `problem` {status, detail, ...} where something "
    "goes wrong on the way. A comment is sent every few seconds while there is nothing to say. Whoever leaves stops "
    "the work."
)
_STREAM: dict[int | str, dict[str, Any]] = {200: {"description": _EVENTS, "content": {"text/event-stream": {}}}}
_DESCRIPTION = (
    "Composes, continues and fills in music with trained models. Errors are RFC 9457 problem details: `detail` is one "
    "line, `value`, `limit` and `remedy` its parts. A request without a seed is given one, which the answer tells: the "
    "same seed with the same settings and the same model gives the same music."
)


@dataclass(frozen=True)
class Options:
    """How a server is run. token: what clients must show; cors: origins whose pages may ask, `*` for all.

    reload: whether POST /v1/reload is answered. defaults: of fields of requests. page: the folder of the built studio;
    soundfont: what it plays with. votes: the file of votes, None for no voting.
    """

    limits: Limits = field(default_factory=Limits)
    token: str | None = None
    cors: Sequence[str] = ()
    reload: bool = True
    defaults: Mapping[str, Any] = field(default_factory=dict)
    page: Path | None = None
    soundfont: Path | None = None
    votes: Votes | None = None


def create_app(shelf: Shelf, styles: Styles, options: Options | None = None, reader: Reader | None = None) -> FastAPI:
    """The ASGI application that serves the models of a shelf. It closes the shelf and the reader when it ends."""
    options, reader = options or Options(), reader or Reader()
    limits = options.limits

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        shelf.start()
        warming = asyncio.ensure_future(asyncio.to_thread(reader.warm_up))
        try:
            yield
        finally:
            warming.cancel()
            shelf.close()
            await asyncio.to_thread(reader.close)

    app = FastAPI(
        title="MIDI AI Factory",
        version=metadata.version("midifactory"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # its page would ask a content network for its program
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name.rstrip("_"),  # names of functions in clients
    )
    counted = counting.Metrics(shelf)
    app.state.shelf, app.state.metrics, app.state.options = shelf, counted, options
    app.add_middleware(Gate, limits=limits, metrics=counted, token=options.token)
    if options.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(options.cors),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Accept"],
            expose_headers=["Midifactory-Seed", "Midifactory-Model", "Retry-After"],
        )
    _handle_errors(app)
    desk = FrontDesk(shelf, styles, limits, reader, counted)
    _add_answers(app, desk, options)
    _add_readings(app, desk)
    _add_polls(app, PollingStation(desk, options.votes), options)
    _add_lists(app, shelf, styles, options, counted)
    about = {"midifactory": app.version, "openapi": "/openapi.json", "models": "/v1/models", "health": "/v1/health"}
    add_page(app, options.page, options.soundfont, about)
    complete_document(app, options.token is not None)
    return app


def _add_answers(app: FastAPI, desk: FrontDesk, options: Options) -> None:
    Generate: Any = with_defaults(GenerateRequest, options.defaults)
    Continue: Any = with_defaults(ContinueRequest, options.defaults)
    Infill: Any = with_defaults(InfillRequest, options.defaults)
    StreamQuery: Any = query_of(Generate)
    app.state.models = {model.__name__: model for model in (Generate, Continue, Infill, AnalyzeRequest)}

    @app.post("/v1/generate", tags=["music"], response_class=Response, responses=_PIECES_OR_FILE)
    async def generate(request: Request, asked: Annotated[Generate, Body()]) -> Response:
        """Compose pieces: as JSON notes with their files, or one piece as audio/midi, audio/wav or image/png."""
        return await desk.generate(request, asked)

    @app.post("/v1/continue", tags=["music"], response_class=Response, responses=_PIECES_OR_FILE)
    async def continue_(
        request: Request,
        file: Annotated[UploadFile, File(description=_FILE)],
        settings: Annotated[str, _settings_field("ContinueRequest")] = "{}",
    ) -> Response:
        """Let a MIDI file go on, after its last bar or from a bar; what stands before is not touched."""
        return await desk.go_on(request, _parsed(Continue, settings), await file.read())

    @app.post("/v1/infill", tags=["music"], response_class=Response, responses=_PIECES_OR_FILE)
    async def infill(
        request: Request,
        file: Annotated[UploadFile, File(description=_FILE)],
        settings: Annotated[str, _settings_field("InfillRequest")] = "{}",
    ) -> Response:
        """Fill bars or tracks of a MIDI file anew, with a model that was trained for it; all else stays as it is."""
        return await desk.infill(request, _parsed(Infill, settings), await file.read())

    @app.post("/v1/stream", tags=["music"], response_class=Response, responses=_STREAM)
    async def stream_by_post(request: Request, asked: Annotated[Generate, Body()]) -> Response:
        """Compose, and send note by note as the model decodes."""
        return await desk.stream(request, asked)

    @app.get("/v1/stream", tags=["music"], response_class=Response, responses=_STREAM)
    async def stream_by_get(request: Request, asked: Annotated[StreamQuery, Query()]) -> Response:
        """The same for a browser's EventSource: what a query can say of the settings."""
        return await desk.stream(request, Generate.model_validate(asked.model_dump(exclude_unset=True)))

    @app.post("/v1/analyze", tags=["music"], response_class=Response, responses=_json(Analysis))
    async def analyze(
        request: Request,
        file: Annotated[UploadFile, File(description=_FILE)],
        settings: Annotated[str, _settings_field("AnalyzeRequest")] = "{}",
    ) -> Response:
        """Describe a MIDI file: key, tempo, attributes, statistics, tracks; with a model also how original it is."""
        return await desk.analyze(request, _parsed(AnalyzeRequest, settings), await file.read())


def _add_readings(app: FastAPI, desk: FrontDesk) -> None:
    app.state.models |= {model.__name__: model for model in (ExplainRequest, AttentionRequest)}

    @app.post("/v1/explain", tags=["music"], response_class=Response, responses=_json(Explanation))
    async def explain(
        request: Request,
        file: Annotated[UploadFile, File(description=_FILE)],
        settings: Annotated[str, _settings_field("ExplainRequest")] = "{}",
    ) -> Response:
        """How likely a model finds each note of a MIDI file, given all before it, and what else it weighed."""
        return await desk.explain(request, _parsed(ExplainRequest, settings), await file.read())

    @app.post("/v1/attention", tags=["music"], response_class=Response, responses=_json(AttentionTold))
    async def attention(
        request: Request,
        file: Annotated[UploadFile, File(description=_FILE)],
        settings: Annotated[str, _settings_field("AttentionRequest")],
    ) -> Response:
        """Which notes a transformer looked at when it chose a note of a MIDI file."""
        return await desk.attend(request, _parsed(AttentionRequest, settings), await file.read())


def _add_polls(app: FastAPI, polls: PollingStation, options: Options) -> None:
    Generate: Any = with_defaults(GenerateRequest, options.defaults)
    Blind: Any = blind_of(Generate)
    app.state.models |= {model.__name__: model for model in (Blind, VoteRequest)}

    @app.post("/v1/blind", tags=["music"], response_class=Response, responses={**_json(BlindPair), 403: PROBLEM})
    async def blind(request: Request, asked: Annotated[Blind, Body()]) -> Response:
        """Compose a piece by each of two models, told in an order that is drawn and without their names."""
        settings = Generate.model_validate(asked.settings.model_dump(exclude_unset=True))
        return await polls.compose(request, asked.models, settings)

    missing: dict[int | str, dict[str, Any]] = dict.fromkeys((403, 404, 409, 503), PROBLEM)

    @app.post("/v1/votes", tags=["votes"], response_class=Response, responses={**_json(Voted), **missing})
    async def vote(asked: Annotated[VoteRequest, Body()]) -> Response:
        """Say which piece of a pair is better; the answer tells whose they were. Each pair is voted on once."""
        return await polls.vote(asked)

    @app.get("/v1/votes", tags=["votes"], response_class=Response, responses={**_json(VotesTold), 403: PROBLEM})
    async def votes() -> Response:
        """What all votes say, with intervals."""
        return await polls.results()


def _add_lists(app: FastAPI, shelf: Shelf, styles: Styles, options: Options, counted: counting.Metrics) -> None:
    @app.get("/v1/health", tags=["server"], response_model=None, responses={**_json(Health), 503: PROBLEM})
    async def health() -> dict[str, Any]:
        """Whether all models are in service; needs no token."""
        for name, served in shelf.models.items():
            if served.running is None or not served.running.alive:
                raise Problem(503, f"model={name}: it is not in service; start the server again", name="model")
        return {"status": "ok", "midifactory": app.version, "models": list(shelf.models)}

    @app.get("/v1/models", tags=["server"], response_model=None, responses=_json(Models))
    async def models() -> dict[str, Any]:
        """The models, what they were trained on, and what each may be asked for."""
        return {"models": [served.describe() for served in shelf.models.values()]}

    @app.get("/v1/styles", tags=["server"], response_model=None, responses=_json(StylesTold))
    async def list_styles() -> dict[str, Any]:
        """The styles, with the settings that each has."""
        return {
            "styles": [
                {
                    "name": name,
                    "description": style.line,
                    "settings": {key: value for key, value in style.settings.items() if not key.startswith("_")},
                }
                for name, style in styles.items()
            ]
        }

    @app.get("/v1/metrics", tags=["server"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Counts and times, as Prometheus reads them."""
        return Response(counted.text(), media_type=counting.CONTENT_TYPE)

    @app.post("/v1/reload", tags=["server"], response_model=None, responses={**_json(Models), 403: PROBLEM})
    async def reload(model: Annotated[str | None, Query(max_length=200)] = None) -> dict[str, Any]:
        """Load a model's checkpoint (or all) anew; what runs is finished with the old one."""
        if not options.reload:
            raise Problem(403, "reload: only with a token, or on loopback; start the server with a token")
        loaded = await shelf.reload(model)
        return {"models": [served.describe() for served in loaded]}


def _json(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """What is answered, told and not checked: it is made here."""
    return {200: {"model": model, "content": {JSON: {}}}}


def _parsed(model: type[M], text: str) -> M:
    """A part of a form that is JSON. Raises Problem."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise problem_of_fields(error.errors(include_url=False), list(model.model_fields)) from error


def _settings_field(name: str) -> Any:
    return Form(
        description=f"a {name} as JSON",
        json_schema_extra={
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": f"#/components/schemas/{name}"},
        },
        examples=["{}"],
    )


def _handle_errors(app: FastAPI) -> None:
    async def by_problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, (Problem, UserError))
        return problem_of(error).response()

    async def by_fields(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        known = [name for model in app.state.models.values() for name in model.model_fields]
        if any(item.get("type") == "json_invalid" for item in error.errors()):
            return Problem(
                422, "body: it is no JSON; send a JSON object", remedy="send a JSON object", name="body"
            ).response()
        return problem_of_fields(error.errors(), known).response()

    async def by_status(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return Problem(error.status_code, str(error.detail), headers=error.headers).response()

    handlers: dict[Any, Callable[[Request, Exception], Coroutine[Any, Any, Response]]] = {
        Problem: by_problem,
        UserError: by_problem,
        RequestValidationError: by_fields,
        HTTPException: by_status,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
