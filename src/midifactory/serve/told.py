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


class PitchWeighed(BaseModel):
    """A pitch that a model weighed."""

    pitch: int
    probability: float


class ValueWeighed(BaseModel):
    """A value of a token that a model weighed."""

    value: str
    probability: float


class NotePart(BaseModel):
    """A token that says something of a note."""

    type: str = Field(description="such as Pitch; those of a merged token are joined by +")
    value: str
    nats: float = Field(description="the note's share: a token of several notes is divided among them")
    probability: float = Field(description="of the token, given all before it")
    alternatives: list[ValueWeighed] = Field(description="the likeliest values of the same type")


class ExplainedNote(BaseModel):
    """A note of a file as it stands there, and how likely a model found it."""

    track: int
    program: int
    pitch: int
    velocity: int
    onset_beats: float
    duration_beats: float
    nats: float = Field(description="surprise: of all its parts")
    probability: float = Field(description="of its pitch, given all before it")
    alternatives: list[PitchWeighed] = Field(description="the likeliest pitches in its place")
    parts: list[NotePart]


class Explanation(BaseModel):
    """POST /v1/explain."""

    model: str
    notes: list[ExplainedNote] = Field(description="in the order in which the model reads them")
    nats_per_note: float | None = Field(
        description="of all tokens that were read, those of time and bars too, divided by the notes"
    )
    skipped: list[str] = Field(description="what of the file is not explained, and why")


class NoteWeight(BaseModel):
    """How much of a model's attention a note got."""

    note: int = Field(description="its place in the answer of POST /v1/explain")
    weight: float


class AttentionTold(BaseModel):
    """POST /v1/attention."""

    model: str
    layers: int
    heads: int
    window_notes: int = Field(description="how many notes before the chosen one the model still saw")
    weights: list[NoteWeight] = Field(
        description="of these; what is missing to 1 went to bars, times, and the note's own tokens"
    )


class BlindPair(BaseModel):
    """POST /v1/blind: two pieces of two models; only a vote tells whose they are."""

    pair: str = Field(description="to be voted on once, within an hour")
    first: Piece = Field(description="its originality is not told")
    second: Piece


class VoteResult(BaseModel):
    """What the votes on two models say. The models stand in the order of their names."""

    models: list[str]
    sha256: list[str] = Field(description="of their checkpoints")
    wins_first_model: int
    wins_second_model: int
    neither: int = Field(description="votes that decided nothing; they are not counted in the share")
    share: float | None = Field(description="of the first model among decided votes; null without any")
    low: float | None = Field(description="lower end of the share's 95 % interval (Wilson 1927)")
    high: float | None


class Voted(BaseModel):
    """POST /v1/votes: whose the pieces were, and what all votes say by now."""

    first: str = Field(description="the model of the first piece")
    second: str
    results: list[VoteResult]


class VotesTold(BaseModel):
    """GET /v1/votes."""

    results: list[VoteResult]
    file: str = Field(description="where the server keeps the votes, a line of JSON each")


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
