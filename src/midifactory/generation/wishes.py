"""What a caller asks of the music, read from words and checked against what the model's tokens can tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from midifactory.errors import UserError
from midifactory.music.instruments import parse_instruments
from midifactory.music.profile import tessitura
from midifactory.music.theory import Chord, Key, parse_chords, parse_key
from midifactory.tokens.tokenizer import Tokenizer

_PITCHED = ("Pitch_", "NoteOn_")  # how the tokens of pitches begin, those of drums aside


@dataclass(frozen=True)
class Wishes:
    """What the caller asked for; None leaves it to the style or the model. profile: see music/profile.py.

    pitch_range, program_ranges: what `bind_range` settled, as in walk.Controls; programs, polyphony and rhythm_grid
    likewise. harmony: a chord for each bar in turn; harmony_strength, density and repetition_penalty: see
    steering.Steering.
    """

    profile: dict[str, Any]
    key: Key | None = None
    tempo_bpm: float | None = None
    metre: str | None = None
    chords: str | None = None
    pitch_range: tuple[int, int] | None = None
    program_ranges: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    programs: tuple[int, ...] | None = None
    polyphony: int | None = None
    rhythm_grid: float | None = None
    harmony: tuple[Chord, ...] = ()
    harmony_strength: float = 3.0
    density: float | None = None
    repetition_penalty: float = 1.0


def parse_metre(text: str | None) -> tuple[int, int]:
    """(3, 4) for "3/4". Raises UserError for anything else."""
    numerator, _, denominator = (text or "4/4").partition("/")
    if not (numerator.isdigit() and denominator.isdigit() and int(numerator) and int(denominator)):
        raise UserError(f"metre={text}: write it as beats over beat, such as metre=3/4")
    return int(numerator), int(denominator)


def parse_wishes(
    profile: dict[str, Any], key: str | None, tempo_bpm: float | None, metre: str | None, chords: str | None
) -> Wishes:
    """Wishes from what was typed. Raises UserError for a tempo outside 20 to 400 bpm and unknown names."""
    if tempo_bpm is not None and not 20 <= tempo_bpm <= 400:
        raise UserError(f"tempo_bpm={tempo_bpm:g}: it must lie between 20 and 400")
    if metre is not None:
        parse_metre(metre)
    return Wishes(profile, parse_key(key) if key else None, tempo_bpm, metre, chords)


def bind_range(wishes: Wishes, asked: Sequence[int] | None, tokenizer: Tokenizer) -> Wishes:
    """`wishes` with the pitches `asked` as the range that binds, or with the corpus' tessitura for None.

    To be settled before there is an opening: a style keeps to it too (see `room` for a range below an octave). A
    prompt file stays as it is. Raises UserError for pitches that are no range or that this model's tokens do not
    have. Without a grammar all programs share one range.
    """
    overall, programs = tessitura(wishes.profile)
    if asked is not None:
        if len(asked) != 2 or not 0 <= asked[0] <= asked[1] <= 127:
            raise UserError(f"pitch_range={list(asked)}: give the lowest and the highest MIDI pitch, such as [21,108]")
        known = [int(name.partition("_")[2]) for name in tokenizer.tokens if name.startswith(_PITCHED)]
        if not any(asked[0] <= pitch <= asked[1] for pitch in known):
            raise UserError(f"pitch_range={list(asked)}: this model knows pitches {min(known)} to {max(known)}")
        overall, programs = (asked[0], asked[1]), {}
    return replace(wishes, pitch_range=overall, program_ranges=programs)


def bind_controls(wishes: Wishes, asked: Mapping[str, Any], tokenizer: Tokenizer) -> Wishes:
    """`wishes` with the instruments, polyphony, rhythm_grid, harmony, density and repetition penalty of `asked`.

    Raises UserError for names that are not known, values outside their limits, and instruments that the model's tokens
    do not have.
    """
    if "Program" not in tokenizer.types:
        plain = {"repetition_penalty": 1}
        for name in ("instruments", "polyphony", "density", "rhythm_grid", "repetition_penalty"):
            if asked[name] != plain.get(name):
                raise UserError(f"{name}={asked[name]}: {tokenizer.scheme} has a fixed set of voices; leave it out")
    programs = None
    if asked["instruments"] is not None:
        corpus = [row["program"] for row in wishes.profile["programs"]]
        programs = parse_instruments(asked["instruments"], corpus)
        known = {int(name.partition("_")[2]) for name in tokenizer.tokens if name.startswith("Program_")}
        missing = [program for program in programs if program not in known]
        if missing:
            raise UserError(
                f"instruments={list(asked['instruments'])}: this model's tokens have no program {missing[0]}; "
                f"it learned from programs {', '.join(map(str, corpus))}"
            )
    if asked["polyphony"] is not None and asked["polyphony"] < 1:
        raise UserError(f"polyphony={asked['polyphony']}: at least 1 note must be allowed to sound; 1 is one voice")
    for name in ("density", "rhythm_grid"):
        if asked[name] is not None and asked[name] <= 0:
            raise UserError(f"{name}={asked[name]}: it must be above 0 quarter notes or notes; null leaves it free")
    if not 1 <= asked["repetition_penalty"] <= 10:
        raise UserError(f"repetition_penalty={asked['repetition_penalty']}: give 1 (off) to 10; 1.2 is mild")
    if asked["harmony_strength"] < 0:
        raise UserError(f"harmony_strength={asked['harmony_strength']}: give 0 or more nats; 3 is customary")
    return replace(
        wishes,
        programs=programs,
        polyphony=asked["polyphony"],
        rhythm_grid=asked["rhythm_grid"],
        harmony=parse_chords(asked["harmony"], wishes.key) if asked["harmony"] else (),
        harmony_strength=float(asked["harmony_strength"]),
        density=asked["density"],
        repetition_penalty=float(asked["repetition_penalty"]),
    )
