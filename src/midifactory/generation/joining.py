"""Music composed for a place in a file: what the model hears before it, and how its notes come back into the file.

Legend: G onset groups.
"""

from dataclasses import dataclass, replace

import numpy as np
from symusic import Score

from midifactory.errors import UserError
from midifactory.generation.pieces import Composition, TrainedModel, prompt_opening
from midifactory.generation.styles import Opening
from midifactory.generation.wishes import Wishes
from midifactory.music.joining import bar_lines, joined, notes_after, program_of, signature_at, span
from midifactory.music.score import note_arrays
from midifactory.tokens.grid import VoiceGrid
from midifactory.tokens.tokenizer import Tokenizer

# How much of the model's window the bars before may fill; the rest is for what is composed.
_HEARD_SHARE = 0.5


@dataclass(frozen=True)
class Place:
    """The tick `begin` of a Score at which a model is to begin, having heard at most `bars` bars before it."""

    score: Score
    begin: int
    bars: int | None = None


def heard_from(place: Place, tokenizer: Tokenizer, room: int) -> int:
    """The tick of the bar line from which on the model hears: as early as `room` tokens allow, one bar at least.

    Raises UserError where no note stands before the place.
    """
    lines = bar_lines(place.score)
    before = lines[lines < place.begin]
    if place.bars is not None:
        before = before[-place.bars :]
    notes = note_arrays(place.score)["onset"]
    if not ((notes >= before[0]) & (notes < place.begin)).any():
        raise UserError(f"no note stands in the {len(before)} bars before; nothing to go on from: take another bar")
    encoding = tokenizer.encode(span(place.score, int(before[0]), place.begin))
    groups = np.searchsorted(encoding.group_bar, np.arange(len(before)))  # (B,) the first group of each bar or later
    starts = np.append(encoding.group_token, len(encoding.ids))[groups]
    fits = np.flatnonzero(len(encoding.ids) - starts <= room)
    sounding = np.flatnonzero(starts < len(encoding.ids) - 1)  # a bar from which on there is a note
    first = min(int(fits[0]) if len(fits) else len(before) - 1, int(sounding[-1]))
    return int(before[first])


def opening_before(place: Place, trained: TrainedModel, wishes: Wishes, lawful: bool) -> Opening:
    """The bars before a place as an opening, in the metre and the tempo of the file.

    Its instruments alone play on, unless others are wished; none of them has to. Raises UserError where there is
    nothing to hear.
    """
    tokenizer, lawful = trained.tokenizer, lawful and trained.tokenizer.has_grammar
    room = max(16, int(trained.window * _HEARD_SHARE))
    first = heard_from(place, tokenizer, room)
    heard = span(place.score, first, place.begin)
    lines = bar_lines(place.score)
    bars = int(((lines >= first) & (lines < place.begin)).sum())
    opening = prompt_opening(heard, tokenizer, bars, None, wishes, lawful)
    if not lawful or isinstance(tokenizer, VoiceGrid):
        return opening
    signature = signature_at(place.score, place.begin)
    metre = f"{signature.numerator}/{signature.denominator}"
    known = f"TimeSig_{metre}" in tokenizer.tokens
    programs = own_programs(heard, tokenizer) if wishes.programs is None else None
    return replace(opening, controls=replace(opening.controls, metre=metre if known else None, programs=programs))


def own_programs(score: Score, tokenizer: Tokenizer) -> tuple[int, ...] | None:
    """The programs that have notes in a Score and a token; None for none."""
    known = {int(name.partition("_")[2]) for name in tokenizer.tokens if name.startswith("Program_")}
    found = {program_of(track) for track in score.tracks if len(track.notes)} & known
    return tuple(sorted(found)) or None


def joined_piece(score: Score, piece: Composition, begin: int, end: int | None, tokenizer: Tokenizer) -> Composition:
    """The file with what was composed for its ticks from `begin` on and before `end` (None: for all that follows)."""
    notes = notes_after(piece.score, piece.prompt_end_tick, score.ticks_per_quarter, begin)
    if end is not None:
        # What was just before the end may have been rounded to it.
        inside = notes["onset"] <= end
        notes = {key: values[inside] for key, values in notes.items()}
        notes["onset"] = np.minimum(notes["onset"], end - 1)
        notes["duration"] = np.minimum(notes["duration"], end - notes["onset"])
    owners = None
    if isinstance(tokenizer, VoiceGrid):  # it tells voices by their order, not by their programs
        own = [index for index, track in enumerate(score.tracks) if len(track.notes) and not track.is_drum]
        programs = sorted(program_of(track) for track in piece.score.tracks)
        owners = dict(zip(programs, own, strict=False))
    return Composition(joined(score, notes, begin, end, owners), piece.ids, begin)
