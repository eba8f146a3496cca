"""Which bars and tracks of a file are meant, in the words of those who ask."""

from collections.abc import Sequence
from typing import Any

from symusic import Score

from midifactory.errors import UserError
from midifactory.generation.infill import Infiller
from midifactory.music.instruments import DRUMS, listed, parse_instruments, track_label
from midifactory.music.joining import bar_lines, instrument_name


def bars_of(settings: dict[str, Any], score: Score) -> tuple[int, int]:
    """`bars` as first and end, from 0. Raises UserError for what is no span of bars of the file."""
    given, count = settings["bars"], len(bar_lines(score)) - 1
    text = "all" if given is None else str(given).strip().lower()
    if text == "all":
        return 0, count
    first, dash, last = (part.strip() for part in text.partition("-"))
    if not (first.isdigit() and (last.isdigit() or not last)):
        raise UserError(f"bars={given}: give bars from 1 on, such as bars=5-8, bars=3, bars=9- or bars=all")
    end = int(last) if last else count if dash else int(first)
    if not 1 <= int(first) <= end <= count:
        raise UserError(f"bars={given}: {settings['prompt']} has bars 1 to {count}; the first comes first")
    return int(first) - 1, end


def tracks_of(settings: dict[str, Any], score: Score) -> tuple[int, ...]:
    """`tracks` as indices, by name, by instrument or by number from 1. Raises UserError, with those there are."""
    given = settings["tracks"]
    if given is None or str(given).strip().lower() == "all":
        return tuple(index for index, track in enumerate(score.tracks) if len(track.notes))
    found: list[int] = []
    for name in listed(given):
        these = _tracks_named(name, score)
        if not these:
            there = ", ".join(_described(score))
            raise UserError(f"tracks={given}: {settings['prompt']} has no track {name!r}; it has {there}")
        found += [index for index in these if index not in found]
    return tuple(sorted(found))


def program_of(name: str | int, infiller: Infiller, key: str) -> int:
    """The program of an instrument that the model knows. Raises UserError, with those that it does."""
    given = int(name) if isinstance(name, str) and name.strip().lstrip("-").isdigit() else name
    (program,) = parse_instruments([given], list(infiller.programs))
    if program not in infiller.programs:  # of a choir of strings, the bass is the contrabass
        alike = (known for known in infiller.programs if str(given).lower() in instrument_name(known).lower())
        program = next(alike, program)
    if program not in infiller.programs:
        known = ", ".join(instrument_name(program) for program in sorted(infiller.programs))
        raise UserError(f"{key}={name}: this model never met {instrument_name(program)}; it knows {known}")
    return program


def _tracks_named(name: str, score: Score) -> list[int]:
    wanted = name.lower()
    if wanted.isdigit():
        return [int(wanted) - 1] if 1 <= int(wanted) <= len(score.tracks) else []
    names = [track.name.strip().lower() for track in score.tracks]
    for matches in (lambda own: own == wanted, lambda own: bool(wanted) and wanted in own):
        if found := [index for index, own in enumerate(names) if matches(own)]:
            return found
    programs = [DRUMS if track.is_drum else track.program for track in score.tracks]
    try:  # an instrument fits where it is what the name means if that may be chosen
        return [index for index, own in enumerate(programs) if parse_instruments([name], [own]) == (own,)]
    except UserError:
        return []


def _described(score: Score) -> list[str]:
    programs = [DRUMS if track.is_drum else track.program for track in score.tracks]
    return [
        f"{number} {label}" + (f" ({instrument})" if (instrument := instrument_name(program)) != label else "")
        for number, (label, program) in enumerate(zip(map(track_label, score.tracks), programs, strict=True), start=1)
    ]


def readings(score: Score, programs: Sequence[int]) -> list[str]:
    """What to say of tracks that the model reads as another instrument."""
    return [
        f"track {name} is read as {instrument_name(program)}, which the model knows"
        for name, track, program in zip(_described(score), score.tracks, programs, strict=True)
        if program != (DRUMS if track.is_drum else track.program) and len(track.notes)
    ]
