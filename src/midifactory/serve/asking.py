"""Requests made into work: what the commands do with a config, done with a request's fields."""

import base64
import binascii
import difflib
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from symusic import Score

from midifactory.errors import UserError
from midifactory.generation.asked import DEFAULT_BARS, Asked, check_numbers, what_is_asked
from midifactory.generation.infill import Filled, Region, read_as
from midifactory.generation.joining import Place, joined_piece, opening_before
from midifactory.generation.pieces import Composition, opening_notes, prompt_opening
from midifactory.generation.region import bars_of, readings, tracks_of
from midifactory.generation.sampling import Sampling
from midifactory.generation.stream import StreamedNote, Work
from midifactory.generation.styles import Opening
from midifactory.generation.told import take_words, tell_numbers
from midifactory.generation.wishes import Wishes, bind_range
from midifactory.music.joining import line_of_bar
from midifactory.music.score import note_arrays
from midifactory.serve.problems import Problem
from midifactory.serve.schema import ContinueRequest, GenerateRequest, InfillRequest, StyleAsked
from midifactory.serve.shelf import Served

# What the commands have beside a request's fields: how they run here is the server's business.
_OF_THE_SERVER: dict[str, Any] = {"at_once": None, "window": None, "int8": False, "prompt": None}
_ABSENT: dict[str, Any] = {
    **dict.fromkeys(("chords", "tempo_bpm", "metre", "prompt_bars", "prompt_notes")),
    "style": {"_target_": "midifactory.generation.styles.Free"},
}
_SEED_BITS = 32
T = TypeVar("T")


@dataclass(frozen=True)
class Style:
    """A style as it is served. settings: of a conf/style file, `_target_` included."""

    line: str
    settings: Mapping[str, Any]


Styles = Mapping[str, Style]


@dataclass(frozen=True)
class Result:
    """A finished piece. prompt_end_tick: where its own music begins; region: the ticks of what was filled anew."""

    score: Score
    prompt_end_tick: int = 0
    region: tuple[int, int] | None = None


@dataclass
class Task:
    """A request that can be performed. said: what there is to say of its settings; opening: notes that stand."""

    work: Work[list[Result]]
    seed: int
    rows: int
    said: list[str] = field(default_factory=list)
    opening: list[StreamedNote] = field(default_factory=list)
    samples: int = 1


def seed_of(asked: int | None) -> int:
    """The seed that was asked for, or one that nobody has."""
    return secrets.randbits(_SEED_BITS) if asked is None else asked


def prompt_bytes(text: str) -> bytes:
    """A file in base64. Raises Problem where it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem(
            422, f"prompt: it is no base64 ({error}); send a MIDI file in base64", name="prompt", limit="base64"
        ) from error


def style_settings(asked: str | StyleAsked, styles: Styles) -> dict[str, Any]:
    """The settings of a style, with those that were asked. Raises Problem for an unknown style or setting."""
    name, own = (asked, {}) if isinstance(asked, str) else (asked.name, dict(asked.model_extra or {}))
    if name not in styles:
        near = difflib.get_close_matches(name, styles, n=1, cutoff=0.0)[0]
        known = ", ".join(styles)
        raise Problem(
            422, f"style={name[:60]}: there are {known}; nearest: {near}", name[:60], known, f"take {near}", "style"
        )
    settings = dict(styles[name].settings)
    for key, value in own.items():
        if key not in settings or key.startswith("_"):
            known = ", ".join(key for key in settings if not key.startswith("_")) or "none"
            raise Problem(
                422,
                f"style.{key[:60]}: {name} has no such setting; it has {known}",
                None,
                known,
                name=f"style.{key[:60]}",
            )
        settings[key] = value
    return settings


def settings_of(asked: GenerateRequest | ContinueRequest, style: dict[str, Any] | None = None) -> dict[str, Any]:
    """The settings of conf/composing.yaml. Raises UserError for values outside their limits."""
    values = asked.model_dump()
    settings = {**_ABSENT, **values, **_OF_THE_SERVER, "seed": seed_of(asked.seed)}
    if style is not None:
        settings["style"] = style
    if settings["instruments"] is not None:  # a query has words alone
        settings["instruments"] = [_program(name) for name in settings["instruments"]]
    if settings["bars"] is None and settings["seconds"] is None and settings["tokens"] is None:
        settings["bars"] = DEFAULT_BARS
    take_words(settings, values)
    check_numbers(settings)
    return settings


def _program(name: str | int) -> str | int:
    return int(name) if isinstance(name, str) and re.fullmatch(r"-?\d{1,3}", name.strip(), re.ASCII) else name


def generating(served: Served, asked: GenerateRequest, styles: Styles, prompt: "Score | None") -> Task:
    """What `midifactory generate` does. To be called at the model's desk. Raises UserError and Problem."""
    if prompt is None and (asked.prompt_bars is not None or asked.prompt_notes is not None):
        raise UserError("prompt_bars and prompt_notes need a prompt; add prompt, a MIDI file in base64")
    if prompt is not None and asked.chords:
        raise UserError(f"chords={asked.chords!r} and a prompt: the prompt sets the start; leave one of them out")
    settings = settings_of(asked, style_settings(asked.style, styles))
    settings["prompt"] = prompt
    tokenizer = served.trained.tokenizer
    begin = None
    if prompt is not None:

        def begin(wishes: Wishes) -> Opening:
            lawful = settings["grammar"] and tokenizer.has_grammar
            bars, notes = settings["prompt_bars"], settings["prompt_notes"]
            return _encoded(lambda: prompt_opening(prompt, tokenizer, bars, notes, wishes, lawful))

    try:
        return _task(served, settings, begin, lambda pieces: [Result(p.score, p.prompt_end_tick) for p in pieces])
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        if isinstance(asked.style, str) or not asked.style.model_extra:
            raise
        # A style's settings are whatever its class takes.
        raise Problem(
            422, f"style={asked.style.name}: it cannot use these settings ({error}); see GET /v1/styles",
            *(asked.style.name, "the settings that GET /v1/styles lists", "see GET /v1/styles", "style"),
        ) from error  # fmt: skip


def continuing(served: Served, asked: ContinueRequest, score: Score) -> Task:
    """What `midifactory continue` does with a file. To be called at the model's desk. Raises UserError and Problem."""
    trained = served.trained
    if not trained.tokenizer.monotonic:
        raise UserError(
            f"model={served.name}: {trained.tokenizer.scheme} writes one track after the other, so nothing can go on "
            "after a bar; ask another model"
        )
    settings = settings_of(asked)
    settings["prompt"] = score
    begin_tick = line_of_bar(score, asked.from_bar, "from_bar", "the file", past_the_end=True)

    def begin(wishes: Wishes) -> Opening:
        place = Place(score, begin_tick, settings["prompt_bars"])
        return _encoded(lambda: opening_before(place, trained, wishes, settings["grammar"]))

    def finish(pieces: list[Composition]) -> list[Result]:
        return [Result(joined_piece(score, p, begin_tick, None, trained.tokenizer).score, begin_tick) for p in pieces]

    return _task(served, settings, begin, finish)


def infilling(served: Served, asked: InfillRequest, score: Score) -> Task:
    """What `midifactory infill` does with a file. To be called at the model's desk. Raises UserError and Problem."""
    if asked.bars is None and asked.tracks is None:
        raise UserError("infill: say what is to be filled: bars=5-8, tracks=bass, or both")
    infiller, trained = served.infiller, served.trained
    tracks = asked.tracks if not isinstance(asked.tracks, list) else ",".join(map(str, asked.tracks))
    named = {"bars": asked.bars, "tracks": tracks, "prompt": "the file"}
    region = Region(*bars_of(named, score), tracks_of(named, score))
    wishes = bind_range(Wishes(trained.profile), asked.pitch_range, trained.tokenizer)
    sampling = Sampling(asked.temperature, asked.top_k, asked.top_p, asked.min_p, asked.typical_p)
    programs, seed = read_as(score, trained.profile), seed_of(asked.seed)

    def work() -> Work[list[Result]]:
        filled: list[Filled] = yield from infiller.rounds(
            *(score, region, sampling, asked.num_samples, seed, programs, wishes.pitch_range, wishes.program_ranges)
        )
        return [Result(piece.score, 0, (piece.start_tick, piece.end_tick)) for piece in filled]

    return Task(_begun(work()), seed, asked.num_samples, readings(score, programs), samples=asked.num_samples)


def _task(
    served: Served,
    settings: dict[str, Any],
    begin: Callable[[Wishes], Opening] | None,
    finish: Callable[[list[Composition]], list[Result]],
) -> Task:
    trained, said = served.trained, list[str]()
    tell_numbers(settings, trained, said.append)
    if settings["max_copy_beats"] is not None and served.originality is None:
        raise UserError(f"max_copy_beats={settings['max_copy_beats']}: {served.without_originality}")
    heard: Callable[[str], None] = lambda text: None  # noqa: E731  GET /v1/models lists what may be asked for
    asked: Asked = what_is_asked(trained, settings, served.originality, begin, heard)

    def work() -> Work[list[Result]]:
        pieces = yield from asked.work(trained, settings)
        return finish(pieces)

    opening = opening_notes(trained, asked.opening, asked.wishes)
    samples = settings["num_samples"]
    return Task(_begun(work()), settings["seed"], samples * settings["best_of"], said, opening, samples)


def _begun(work: Work[T]) -> Work[T]:
    """The same work, its first rows made: what cannot be done is known before an answer begins."""
    first = next(work)

    def rest() -> Work[T]:
        yield first
        return (yield from work)

    return rest()


def _encoded(make: Callable[[], Opening]) -> Opening:
    """What a file becomes in tokens. Raises Problem where the tokenizer meets what it cannot tell."""
    try:
        return make()
    except (UserError, Problem):
        raise
    except (ValueError, KeyError, IndexError, ZeroDivisionError, OverflowError, AssertionError) as error:
        raise Problem(
            422, f"file: this model's tokens cannot tell it ({type(error).__name__}); send another MIDI file",
            *(None, "what the tokens can tell", "send another MIDI file", "file"),
        ) from error  # fmt: skip


def notes_of(score: Score) -> list[tuple[int, int, float]]:
    """Program, pitch and onset in beats of all notes, sorted."""
    notes, quarter = note_arrays(score), score.ticks_per_quarter
    columns = (notes["program"].tolist(), notes["pitch"].tolist(), (notes["onset"] / quarter).tolist())
    return sorted(zip(*columns, strict=True))
