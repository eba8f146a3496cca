"""What may be asked over HTTP: the settings of the commands, with their names, units and limits, as pydantic models.

The defaults here are those of conf/composing.yaml and conf/filling.yaml; a server that was started with others says so
in its OpenAPI document (`with_defaults`).
"""

import copy
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

Level = Literal["low", "medium", "high"]
Share = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(gt=0, le=100)]
Name = Annotated[str, Field(max_length=200)]
Midi = Annotated[str, Field(max_length=1 << 24)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Sampled(_Strict):
    """How tokens are drawn."""

    model: str | None = Field(None, max_length=200, description="which of the models (GET /v1/models); the first one")
    num_samples: int = Field(1, ge=1, le=64, description="how many pieces")
    seed: int | None = Field(None, ge=0, lt=1 << 63, description="the same seed, the same music; null draws one")
    temperature: float = Field(0.95, ge=0, le=100, description="below 1 careful, above 1 bold, 0 the likeliest alone")
    top_k: int = Field(0, ge=0, lt=1 << 31, description="only so many of the likeliest tokens; 0: all")
    top_p: float = Field(0.97, gt=0, le=1, description="the fewest tokens that hold this probability; 1: all")
    min_p: Share = Field(0.0, description="only tokens as likely as this share of the likeliest; 0: all")
    typical_p: float = Field(1.0, gt=0, le=1, description="the most typical tokens of this probability; 1: all")
    pitch_range: list[Annotated[int, Field(ge=0, le=127)]] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="lowest and highest MIDI pitch of new notes, drums aside; null: the corpus' own ranges",
        examples=[[48, 84]],
    )


class _Composed(_Sampled):
    """What is asked of new music."""

    key: str | None = Field(None, max_length=40, description="the key that is preferred", examples=["D minor"])
    key_strength: float = Field(3.0, ge=0, le=1000, description="nats by which pitches outside the key are held back")
    instruments: list[Name | int] | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="only these, each of which plays: names or General MIDI programs, -1 or drums",
        examples=[["piano", "bass", "drums"]],
    )
    polyphony: Annotated[int, Field(ge=1, le=1000)] | Level | None = Field(
        None, description="how many notes may sound at once; a word is told to models that know it"
    )
    density: Annotated[float, Field(gt=0, le=1000)] | Level | None = Field(
        None, description="notes that begin in a quarter note, all voices together; or a word, see polyphony"
    )
    rhythm_grid: float | None = Field(None, gt=0, le=64, description="grid of onsets in quarter notes, such as 0.25")
    mean_pitch: float | Level | None = Field(None, description="MIDI pitch; of models that were told it")
    note_length: float | Level | None = Field(None, description="quarter notes; of models that were told it")
    harmony: str | None = Field(None, max_length=2000, description="a chord for each bar, over again: C G Am F")
    harmony_strength: float = Field(3.0, ge=0, le=1000, description="nats by which other pitches are held back")
    repetition_penalty: float = Field(1.0, ge=1, le=10, description="of pitches that have just been played; 1: none")
    max_copy_beats: float | None = Field(
        None, gt=0, le=10_000, description="no longer run of notes is copied from the training set; null: no limit"
    )
    grammar: bool = Field(True, description="false: whatever the model says, lawful music or not")
    conditions: dict[str, Name | float | None] = Field(
        default_factory=dict,
        max_length=64,
        description="what the model is told, by name, of what GET /v1/models lists",
    )
    guidance: float = Field(1.0, ge=0, le=100, description="how strongly that is followed; 1 as trained, 0 not at all")
    bars: int | None = Field(None, ge=1, le=10_000, description="length; one of bars, seconds, tokens; else 8 bars")
    seconds: float | None = Field(None, gt=0, le=36_000, description="length in seconds")
    tokens: int | None = Field(None, ge=1, le=10_000_000, description="length in tokens")
    best_of: int = Field(1, ge=1, le=64, description="each sample is the best of so many")
    best_by: str = Field(
        "likelihood", max_length=60, description="likelihood, or a statistic that is to be great: scale_consistency"
    )
    temperature_per_type: dict[str, Temperature] = Field(
        default_factory=dict, max_length=32, description="of tokens of a type, such as Pitch"
    )


class StyleAsked(BaseModel):
    """A style by its name, and settings of its own."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    name: str = Field(max_length=60, description="one of GET /v1/styles", examples=["chords"])


class GenerateRequest(_Composed):
    """A new piece, by the settings of `midifactory generate`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"bars": 4, "seed": 7},
                {"style": "chords", "chords": "C G Am F", "tempo_bpm": 100, "bars": 8, "seed": 7},
            ]
        }
    )
    style: Name | StyleAsked = Field("free", description="how it begins: a name of GET /v1/styles")
    chords: str | None = Field(None, max_length=2000, description="for styles: C G Am F, or I V vi IV in the key")
    tempo_bpm: Annotated[float, Field(ge=20, le=400)] | Level | None = Field(
        None, description="quarter notes a minute; a word is for models that were told tempos"
    )
    metre: str | None = Field(None, max_length=20, description="such as 3/4")
    prompt: Midi | None = Field(None, description="a MIDI file to go on from, in base64")
    prompt_bars: int | None = Field(None, ge=1, le=10_000, description="only the prompt's first bars")
    prompt_notes: int | None = Field(None, ge=1, le=1_000_000, description="only the prompt's first notes")


class ContinueRequest(_Composed):
    """How a MIDI file goes on, by the settings of `midifactory continue`; metre and tempo are the file's."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"bars": 4, "seed": 7}, {"from_bar": 3, "bars": 2}]})
    from_bar: int | None = Field(
        None, ge=2, le=100_000, description="the bar from which on it is composed anew; null: after its last bar"
    )
    prompt_bars: int | None = Field(None, ge=1, le=10_000, description="how many bars before that are heard")


class InfillRequest(_Sampled):
    """What of a MIDI file is filled anew, by the settings of `midifactory infill`; the rest stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"bars": "2-3", "tracks": "alto", "seed": 7}]})
    bars: Name | int | None = Field(
        None, description="bars from 1 on, the last one included: 5-8, 3, 9- or all", examples=["5-8"]
    )
    tracks: Name | list[Name | int] | None = Field(
        None, description="names, instruments or numbers from 1 of tracks; null: all with notes", examples=["bass"]
    )


class AnalyzeRequest(_Strict):
    """What is to be said of a MIDI file."""

    model: str | None = Field(
        None, max_length=200, description="compare the file with what this model was trained on; null: do not"
    )


class ExplainRequest(_Strict):
    """What is to be said of a model's reading of a MIDI file."""

    model: str | None = Field(None, max_length=200, description="which of the models reads it; the first one")
    alternatives: int = Field(5, ge=0, le=20, description="how many likeliest values of each token are told")


class AttentionRequest(_Strict):
    """Where a transformer looked when it chose a note."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": 8}, {"note": 8, "layer": 0, "head": 1}]})
    model: str | None = Field(None, max_length=200, description="which of the models; the first one")
    note: int = Field(ge=0, le=1_000_000, description="the place of the note in the answer of POST /v1/explain, from 0")
    layer: int | None = Field(None, ge=0, le=1000, description="from 0; null: the mean of all")
    head: int | None = Field(None, ge=0, le=1000, description="from 0; null: the mean of all")


class VoteRequest(_Strict):
    """Which of two pieces is liked better."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"pair": "Zm9v8m1sAq0dTn2k", "choice": "first"}]})
    pair: str = Field(max_length=60, description="as POST /v1/blind told it")
    choice: Literal["first", "second", "neither"]


# What two models that are heard blind cannot be asked: what would tell them apart, or who decides the vote.
_NOT_BLIND = ("model", "num_samples", "seed")


def blind_of(model: type[GenerateRequest]) -> type[BaseModel]:
    """A request of two models' pieces, with the settings that `model` has beside which model and which seed."""
    fields: dict[str, Any] = {
        name: (info.annotation, copy.copy(info)) for name, info in model.model_fields.items() if name not in _NOT_BLIND
    }
    config = ConfigDict(extra="forbid", allow_inf_nan=False)
    line = "What both are asked: GenerateRequest without model, seed and num_samples."
    settings = create_model("BlindSettings", __config__=config, __doc__=line, **fields)
    models = (
        list[Name],
        Field(min_length=2, max_length=2, description="two names of GET /v1/models", examples=[["bach", "games"]]),
    )
    return create_model(
        "BlindRequest",
        __config__=config,
        __doc__="Two models that are to be heard without knowing which is which.",
        models=models,
        settings=(settings, Field(default_factory=settings, description="what both are asked; seeds are the server's")),
    )


# What a query may say: all that is no object.
_NOT_IN_QUERIES = ("prompt", "prompt_bars", "prompt_notes", "conditions", "temperature_per_type", "style")


def query_of(model: type[GenerateRequest]) -> type[BaseModel]:
    """The fields of `model` that a query can say, as a model of their own."""
    fields: dict[str, Any] = {
        name: (info.annotation, copy.copy(info))
        for name, info in model.model_fields.items()
        if name not in _NOT_IN_QUERIES
    }
    fields["style"] = (Name, Field(model.model_fields["style"].default, description="how it begins"))
    return create_model("StreamQuery", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)


def with_defaults(model: type[BaseModel], defaults: Mapping[str, Any]) -> Any:
    """`model` with other defaults, of the fields that it has; its name stays."""
    fields: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        if name in defaults and defaults[name] != info.get_default(call_default_factory=True):
            changed = copy.copy(info)
            changed.default, changed.default_factory = defaults[name], None
            fields[name] = (info.annotation, changed)
    if not fields:
        return model
    return create_model(model.__name__, __base__=model, __doc__=model.__doc__, **fields)


# --- answers ---


class Note(BaseModel):
    """A note. program: of General MIDI, -1 for drums; times from the begin of the piece, a beat is a quarter note."""

    program: int
    pitch: int
    velocity: int
    onset_beats: float
    duration_beats: float
    onset_seconds: float
    duration_seconds: float
    track: int = Field(description="the number of its track in the piece, from 0")


class Tempo(BaseModel):
    """A tempo, in quarter notes a minute, and where it begins."""

    onset_beats: float
    bpm: float


class Metre(BaseModel):
    """A metre such as 3/4, and where it begins."""

    onset_beats: float
    metre: str


class Track(BaseModel):
    """A track of a piece. program: of General MIDI, -1 for drums."""

    name: str
    program: int


class Piece(BaseModel):
    """A piece as notes and as a file."""

    sample: int = Field(description="its number, from 1")
    bars: int
    seconds: float
    notes: list[Note]
    tempos: list[Tempo]
    metres: list[Metre]
    tracks: list[Track]
    prompt_end_beats: float = Field(description="where new music begins; 0 without a prompt")
    new_beats: list[float] | None = Field(None, description="begin and end of what was filled anew")
    originality: dict[str, Any] | None = Field(description="how much stands in the training set; null: nobody knows")
    truncated: bool = Field(description="whether the server's limit of tokens ended it before its length")
    midi: str = Field(description="the file, in base64")


class Pieces(BaseModel):
    """What was composed."""

    model: str
    seed: int = Field(description="asked for again, with the same settings and model, it gives the same pieces")
    tokens: int = Field(description="how many were decoded")
    said: list[str] = Field(description="what the server had to say of the settings")
    pieces: list[Piece]
