"""A file composed anew from a bar on, keeping its rhythm, its contour, or its harmony.

Legend: N base ids.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from symusic import Score

from midifactory.errors import UserError
from midifactory.generation.engine import Engine, Row
from midifactory.generation.guide import Length
from midifactory.generation.joining import Place, heard_from, joined_piece, opening_before, own_programs
from midifactory.generation.keeping import ChordsKept, Template, TemplateGuide
from midifactory.generation.pieces import Composition, TrainedModel, compose
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Free, Opening
from midifactory.generation.wishes import Wishes
from midifactory.models.vae import VAE
from midifactory.music.harmony import chords_of_beats
from midifactory.music.instruments import DRUMS
from midifactory.music.joining import bar_lines, instrument_name, program_of, signature_at, span
from midifactory.music.score import note_arrays, ticks_per_bar
from midifactory.tokens.grid import VoiceGrid
from midifactory.tokens.grid_walk import walk_maker
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.tokens.walk import Controls, Walk

KEEPS = ("rhythm", "harmony", "contour")
_OUTPUT_TICKS = 480


@dataclass(frozen=True)
class Variation:
    """A varied file; `broken`: how many notes found no pitch that keeps the contour."""

    piece: Composition
    broken: int = 0


def refuse_unless_told_in_order(trained: TrainedModel, command: str) -> None:
    """Raise UserError for a model whose rows nobody can follow through a file's bars."""
    tokenizer = trained.tokenizer
    if isinstance(trained.model, VAE):
        raise UserError(f"{command}: a model with a latent takes amount=0.3 instead; leave keep and from_bar out")
    if not tokenizer.monotonic or not tokenizer.has_grammar or isinstance(tokenizer, VoiceGrid):
        raise UserError(
            f"{command}: {tokenizer.scheme} does not tell a piece note by note in its order; take a model of another "
            "tokenizer, such as tokenizer=remi_plus"
        )


def vary(
    trained: TrainedModel,
    score: Score,
    begin: int,
    end: int,
    keep: str,
    wishes: Wishes,
    sampling: Sampling,
    samples: int = 1,
    seed: int = 0,
    on_step: Callable[[int], None] | None = None,
    tracks: Sequence[int] | None = None,
) -> list[Variation]:
    """`samples` variations of the ticks from `begin` on and before `end`, both bar lines; all else stays.

    keep: rhythm (onsets, durations, velocities and instruments are those of the Score as the tokens tell it), contour
    (that, and each instrument's highest notes rise, fall and repeat as before), or harmony (new notes are of the chord
    on their beat). Drums keep their rhythm and their drums, or with harmony are composed, too. tracks: only these get
    new pitches (not with harmony), all others stay tick by tick; None for all. Raises UserError where no note stands
    there, and for some of the tracks that share an instrument.
    """
    notes = note_arrays(score)
    there = (notes["onset"] >= begin) & (notes["onset"] < end)
    if tracks is not None:
        there &= np.isin(notes["program"], sorted(_programs_of(score, tracks)))
    if not there.any():
        raise UserError("no note stands in the bars that are to be varied; give other ones")
    first = _heard(trained, score, begin)
    if keep == "harmony":
        return _with_chords(trained, score, first, begin, end, wishes, sampling, samples, seed, on_step)
    contour = keep == "contour"
    return _with_rhythm(trained, score, first, begin, end, contour, wishes, sampling, samples, seed, on_step, tracks)


def _programs_of(score: Score, tracks: Sequence[int]) -> set[int]:
    """The programs of some tracks. Raises UserError for drums, and where another track has one of them, too."""
    found = {program_of(score.tracks[index]) for index in tracks}
    if DRUMS in found:
        raise UserError("tracks: drums keep what they play; leave them out")
    for index, track in enumerate(score.tracks):
        if index not in tracks and len(track.notes) and program_of(track) in found:
            raise UserError(
                f"tracks: track {index + 1} plays {instrument_name(program_of(track))}, too, and tokens tell notes by "
                "their instrument; name it as well, or give it another one (midifactory orchestrate)"
            )
    return found


def _heard(trained: TrainedModel, score: Score, begin: int) -> int:
    """The tick from which on the model hears the file; `begin` where no note stands before."""
    onsets = note_arrays(score)["onset"]
    if not (onsets < begin).any():
        return begin
    return heard_from(Place(score, begin), trained.tokenizer, max(16, trained.window // 2))


def _with_rhythm(
    trained: TrainedModel,
    score: Score,
    first: int,
    begin: int,
    end: int,
    contour: bool,
    wishes: Wishes,
    sampling: Sampling,
    samples: int,
    seed: int,
    on_step: Callable[[int], None] | None,
    tracks: Sequence[int] | None,
) -> list[Variation]:
    tokenizer = trained.tokenizer
    heard, told = template_ids(score, first, begin, end, tokenizer)
    prompt = tokenizer.to_model_ids(heard).tolist()
    start = walk_maker(tokenizer, Controls(program_ranges=_ranges(score, wishes), pitch_range=wishes.pitch_range))
    walk = cast(Walk, start())
    for token in prompt:
        walk.step(token)
    programs = None if tracks is None else _programs_of(score, tracks)
    template = Template.of(tokenizer, walk.grammar, heard.tolist(), told.tolist(), programs)
    if tracks is not None and not template.lines:
        raise UserError(
            f"tracks: {tokenizer.scheme} as this model has it tells no note of their instruments; leave it out"
        )
    guides = [TemplateGuide(walk.copy(), template, contour) for _ in range(samples)]
    rows = [Row(prompt, guide, sampling, (seed, number)) for number, guide in enumerate(guides)]
    bar_ids = frozenset(tokenizer.starting_with("Bar").tolist())
    engine = Engine(trained.model, trained.window, bar_ids)
    engine.refuse_too_many(len(rows))
    engine.run(rows, on_step)
    line = round((begin - first) * _OUTPUT_TICKS / score.ticks_per_quarter)
    found = []
    for row, guide in zip(rows, guides, strict=True):
        ids = [*prompt, *row.new]
        music = tokenizer.decode(ids).resample(_OUTPUT_TICKS, min_dur=1)
        piece = joined_piece(score, Composition(music, tuple(ids), line), begin, end, tokenizer)
        for index, track in enumerate(score.copy().tracks):
            if tracks is not None and index not in tracks:  # not even rounded
                piece.score.tracks[index].notes = track.notes
        found.append(Variation(piece, guide.broken))
    return found


def template_ids(score: Score, first: int, begin: int, end: int, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """Base ids of the bars from tick `first` on, with BOS, and of those from `begin` on and before `end`."""
    part = span(score, first, end)
    line = begin - first
    # What stands just before the line would be rounded to it, and belong to the bars that are varied.
    near = score.ticks_per_quarter / (2 * tokenizer.miditok.time_division)
    for track in part.tracks:
        kept = [note for note in track.notes if not line - near <= note.time < line]
        track.notes = type(track.notes)(kept)
    encoding = tokenizer.encode(part)
    lines = bar_lines(part)
    group = int(np.searchsorted(encoding.group_bar, np.searchsorted(lines, line)))
    place = int(encoding.group_token[group]) if group else 1
    return encoding.ids[:place], encoding.ids[place:-1]


def _ranges(score: Score, wishes: Wishes) -> dict[int, tuple[int, int]]:
    """Of each program the range that the model learned, widened by what the file plays."""
    notes = note_arrays(score)
    found = dict(wishes.program_ranges)
    for program in np.unique(notes["program"]).tolist():
        pitches = notes["pitch"][notes["program"] == program]
        low, high = wishes.program_ranges.get(program, wishes.pitch_range or (0, 127))
        found[program] = (min(low, int(pitches.min())), max(high, int(pitches.max())))
    return found


def _with_chords(
    trained: TrainedModel,
    score: Score,
    first: int,
    begin: int,
    end: int,
    wishes: Wishes,
    sampling: Sampling,
    samples: int,
    seed: int,
    on_step: Callable[[int], None] | None,
) -> list[Variation]:
    tokenizer = trained.tokenizer
    wishes = replace(wishes, program_ranges=_ranges(score, wishes))
    signature = signature_at(score, begin)
    metre = f"{signature.numerator}/{signature.denominator}"
    if first < begin:
        opening = opening_before(Place(score, begin), trained, wishes, True)
    else:
        known = f"TimeSig_{metre}" in tokenizer.tokens
        opening = Free().opening(replace(wishes, metre=metre if known else None), tokenizer)
    walk_ticks = walk_maker(tokenizer, Controls())().ticks_per_quarter
    beats, chords = chords_of_beats(span(score, first, end))
    scaled = np.rint(beats * walk_ticks / score.ticks_per_quarter)
    programs = own_programs(span(score, begin, end), tokenizer)
    opening = _with_wish(opening, scaled, chords, programs)
    bars = -(-(end - begin) // ticks_per_bar(signature, score.ticks_per_quarter))
    pieces = compose(trained, opening, wishes, Length(bars=bars), sampling, samples, seed, on_step=on_step)
    return [Variation(joined_piece(score, piece, begin, end, tokenizer)) for piece in pieces]


def _with_wish(
    opening: Opening, beats: np.ndarray, chords: list[frozenset[int]], programs: tuple[int, ...] | None
) -> Opening:
    """The opening for music of these programs in which every bar sounds, of the chords alone."""
    controls = replace(opening.controls, every_bar=True, programs=programs)
    return replace(opening, controls=controls, wish=lambda: ChordsKept(beats, chords))
