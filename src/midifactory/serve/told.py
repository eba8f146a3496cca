"""What lists, an analysis and a stream's events tell, for the OpenAPI document; answers are not checked against it."""

from typing import Any

from pydantic import BaseModel, Field

from midifactory.serve.schema import Metre, Piece, Pieces, Tempo


class Health(BaseModel):
    """GET /v1/health."""

    status: str = Field(description="ok")
    midifactory: str = Field(description="the version")
    models: list[str]


class Model(BaseModel):
    """A model, what it was trained on, and what it may be asked for."""

    name: str
    sha256: str = Field(description="of the checkpoint")
    model: str = Field(description="its class")
    parameters: int
    corpus: str
    tokenizer: str
    window_tokens: int | None
    infills: bool = Field(description="whether POST /v1/infill may be asked of it")
    continues: bool
    grammar: bool
    originality: bool = Field(description="whether pieces are compared with what it was trained on")
    conditions: dict[str, str] = Field(description="what it may be told, by name, and which values")
    programs: list[int] = Field(
        description="General MIDI programs of its corpus, -1 for drums, those of most notes first"
    )
    tempo_bpm: float
    metre: str


class Models(BaseModel):
    """GET /v1/models, POST /v1/reload."""

    models: list[Model]


class Style(BaseModel):
    """A way to begin, with its settings and their defaults."""

    name: str
    description: str
    settings: dict[str, Any]


class Styles(BaseModel):
    """GET /v1/styles."""

    styles: list[Style]


class AnalyzedTrack(BaseModel):
    """A track of a file."""

    name: str
    program: int
    instrument: str
    notes: int
    pitch_lowest: int | None
    pitch_highest: int | None


class Analysis(BaseModel):
    """POST /v1/analyze."""

    key: str = Field(description='the estimated key, such as "G major", or "unknown"')
    tempo_estimated_bpm: float | None
    ticks_per_quarter: int
    attributes: dict[str, float | str | None] = Field(description="density, polyphony, mean_pitch, key, ...")
    statistics: dict[str, float | None]
    tracks: list[AnalyzedTrack]
    tempos: list[Tempo]
    metres: list[Metre]
    originality: dict[str, Any] | None = Field(
        None, description="with a model: how much of the file stands in what it was trained on"
    )


class StreamStart(BaseModel):
    """The event `start` of a stream."""

    model: str
    seed: int
    said: list[str] = Field(description="what the server had to say of the settings")


class StreamNote(BaseModel):
    """The event `note` of a stream, see Note."""

    sample: int = Field(description="the number of its piece, from 1")
    program: int
    pitch: int
    velocity: int
    onset_beats: float
    duration_beats: float
    onset_seconds: float
    duration_seconds: float


class StreamedPiece(Piece):
    """A piece at a stream's end, when its notes have been told."""

    notes: int = Field(description="how many")  # type: ignore[assignment]


class StreamEnd(Pieces):
    """The event `end` of a stream."""

    pieces: list[StreamedPiece]  # type: ignore[assignment]


EVENTS = (StreamStart, StreamNote, StreamEnd)
