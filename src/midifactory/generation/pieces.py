"""From a trained model and settings to finished Scores: the whole of generation below the command line."""

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from typing import Any, Protocol, cast

import numpy as np
import torch
from symusic import Score, Tempo
from torch import Tensor

from midifactory.errors import UserError
from midifactory.generation.copies import CopyGuard
from midifactory.generation.engine import Engine, Row
from midifactory.generation.guide import FreeGuide, Length, MusicGuide
from midifactory.generation.latent import prior_draws, run_segments, segment_rounds, takes_segments
from midifactory.generation.presence import wish_of_row
from midifactory.generation.sampling import Sampling
from midifactory.generation.steering import Steering, scale_bias
from midifactory.generation.stream import StreamedNote, Work, perform, streamed
from midifactory.generation.styles import Free, Opening, Style, bar_head
from midifactory.generation.wishes import Wishes
from midifactory.models.interface import Conditions, SequenceModel
from midifactory.models.vae import VAE
from midifactory.music.score import (
    bar_count,
    bar_starts,
    cut,
    first_bars,
    first_notes,
    last_note_end,
    note_arrays,
    seconds_at,
)
from midifactory.music.statistics import piece_statistics
from midifactory.tokens.grid import VoiceGrid
from midifactory.tokens.grid_walk import walk_maker
from midifactory.tokens.tokenizer import SPECIAL_TOKENS, Tokenizer
from midifactory.tokens.walk import Controls, Walk
from midifactory.tokens.walker import Walker

LIKELIHOOD = "likelihood"
_OUTPUT_TICKS = 480  # per quarter note: what sequencers expect, and a multiple of every grid used here


class TrainedModel(Protocol):
    """What generation needs of training.checkpoint.Trained."""

    model: SequenceModel
    tokenizer: Tokenizer
    window: int
    segment: dict[str, Any]  # how training pieces were cut; read for a VAE alone


@dataclass(frozen=True)
class Composition:
    """A finished Score; `prompt_end_tick` is where the model's own music begins (0 without a prompt file)."""

    score: Score
    ids: tuple[int, ...]
    prompt_end_tick: int


def prompt_opening(
    score: Score, tokenizer: Tokenizer, bars: int | None, notes: int | None, wishes: Wishes, lawful: bool = True
) -> Opening:
    """The first `bars` bars or `notes` notes of a Score (all of it for neither) as an opening.

    Whole bars are closed: the model's music begins at the next bar line. Without a grammar (lawful=False) it goes on
    from the last onset instead. Raises UserError for both at once, for counts below 1 and for a prompt without notes.
    """
    if bars is not None and notes is not None:
        raise UserError(f"prompt_bars={bars} and prompt_notes={notes}: set one of them")
    for name, value in (("prompt_bars", bars), ("prompt_notes", notes)):
        if value is not None and value < 1:
            raise UserError(f"{name}={value}: it must be at least 1")
    part = first_bars(score, bars) if bars is not None else first_notes(score, notes) if notes is not None else score
    if part.note_num() == 0:
        raise UserError(f"prompt_bars={bars}: these bars of the prompt hold no note; take more bars")
    ids = tokenizer.to_model_ids(tokenizer.encode(part).ids[:-1]).tolist()
    wanted = min(bars, bar_count(score)) if bars is not None else bar_count(part)
    if not lawful or not tokenizer.monotonic:
        return _heard_opening(score, tokenizer, ids, wanted if notes is None else None, wishes)
    walk = walk_maker(tokenizer, Controls())()
    if wishes.tempo_bpm is not None:
        walk.set_tempo(wishes.tempo_bpm)
    for token in ids:
        walk.step(token)
    opening = Opening(ids, Controls(metre=wishes.metre, keep_tempo=True))
    bars_before = walk.bar + 1
    if notes is None:
        bars_before = _close(opening, walk, wanted, wishes, tokenizer)
    end = max(walk.tick, opening.not_before)
    return replace(
        opening,
        bars_before=bars_before,
        seconds_before=walk.seconds_at(end),
        end_tick=end * _OUTPUT_TICKS // walk.ticks_per_quarter,
    )


def _close(opening: Opening, walk: Walker, wanted: int, wishes: Wishes, tokenizer: Tokenizer) -> int:
    """Let the model begin at the bar line after `wanted` bars; returns how many bars that are.

    Rests and silence at a prompt's end are bars too, and a prompt is never shorter than what the walk has seen.
    """
    missing = max(1, wanted - walk.bar)
    if isinstance(tokenizer, VoiceGrid):
        line = walk.bar_tick + (wanted - walk.bar) * walk.bar_ticks
        opening.closing = tokenizer.silence(max(0, line - walk.tick))
    elif walk.bar_id is not None:
        opening.closing = bar_head(tokenizer, wishes.metre or _metre_of(walk, tokenizer)) * missing
    else:
        missing = max(wanted - walk.bar, int(walk.tick > walk.bar_tick))
        opening.not_before = walk.bar_tick + missing * walk.bar_ticks
        return walk.bar + missing
    for token in opening.closing:
        walk.step(token)
    return walk.bar


def _metre_of(walk: Walker, tokenizer: Tokenizer) -> str:
    """The metre of the open bar, by its name among the tokens; "4/4" where they have none."""
    assert isinstance(walk, Walk)
    return walk.metre if "TimeSig" in tokenizer.types else "4/4"


def _heard_opening(score: Score, tokenizer: Tokenizer, ids: list[int], bars: int | None, wishes: Wishes) -> Opening:
    """An opening that nobody walks over: its Score says where it ends. bars: None for a part of the last one."""
    if wishes.metre is not None:
        raise UserError(f"metre={wishes.metre}: nothing keeps to it without a grammar; leave it out")
    heard = _hear(tokenizer, wishes, ids)
    if bars is not None:
        starts = bar_starts(score)
        end = int(starts[bars]) if bars < len(starts) else last_note_end(score)
        end = round(end * _OUTPUT_TICKS / score.ticks_per_quarter)
    else:
        end = int(note_arrays(heard)["onset"].max()) + 1
    before = len(bar_starts(heard, end))
    seconds = float(seconds_at(heard, np.array(end)))
    return Opening(ids, Controls(), bars_before=before, seconds_before=seconds, end_tick=end)


def compose(
    trained: TrainedModel,
    opening: Opening,
    wishes: Wishes,
    length: Length | Sequence[Length],
    sampling: Sampling,
    samples: int = 1,
    seed: int = 0,
    key_strength: float = 3.0,
    window: int | None = None,
    on_step: Callable[[int], None] | None = None,
    conditions: Conditions | None = None,
    guidance: float = 1.0,
    grammar: bool = True,
    best_of: int = 1,
    best_by: str = LIKELIHOOD,
    at_once: int | None = None,
    on_note: Callable[[StreamedNote], None] | None = None,
    copies: CopyGuard | None = None,
) -> list[Composition]:
    """`samples` pieces from one opening, each from its own random stream of `seed`, in the range of `wishes`.

    length: of all pieces, or one for each. conditions (of `samples` rows) and guidance are those of engine.Row. The
    latents of a VAE are drawn from its prior, a new one for each segment where it was trained on bars. grammar: whether
    only lawful music may come; a tokenizer without one composes freely in any case. Each piece is the best of
    `best_of`: by the fewest nats per note, or by the greatest of a statistic (music/statistics.py). at_once: how many
    rows are decoded together, None for all.
    on_note: told each note as soon as it is whole, where there is a grammar. copies: what keeps each of the pieces from
    copying; it stays as it is, and needs a grammar. Raises UserError where the prompt does not fit into the model's
    window, and for rows that memory does not hold.
    """
    work = composing(
        *(trained, opening, wishes, length, sampling, samples, seed, key_strength, window, conditions, guidance),
        *(grammar, best_of, best_by, copies),
    )
    engine, rows = engine_of(trained, window), max(0, samples * best_of)
    engine.refuse_too_many(min(at_once or rows, rows))
    return perform(work, engine, on_step, at_once, on_note)


def composing(
    trained: TrainedModel,
    opening: Opening,
    wishes: Wishes,
    length: Length | Sequence[Length],
    sampling: Sampling,
    samples: int = 1,
    seed: int = 0,
    key_strength: float = 3.0,
    window: int | None = None,
    conditions: Conditions | None = None,
    guidance: float = 1.0,
    grammar: bool = True,
    best_of: int = 1,
    best_by: str = LIKELIHOOD,
    copies: CopyGuard | None = None,
) -> Work[list[Composition]]:
    """The work of `compose`, whose arguments these are, for any engine of that window."""
    tokenizer = trained.tokenizer
    engine_window = engine_of(trained, window).window
    part_bars = _bars_of_a_latent(trained)
    full = trained.model.context is not None and len(opening.prompt) >= (engine_window or 0)
    if full and part_bars is None:
        raise UserError(
            f"the prompt has {len(opening.prompt)} tokens, the model's window holds {engine_window}; "
            "take fewer prompt_bars or prompt_notes"
        )
    if samples < 1:
        raise UserError(f"num_samples={samples}: it must be at least 1")
    hear = partial(_hear, tokenizer, wishes)
    guides = _guides(tokenizer, opening, wishes, length, samples * best_of, key_strength, hear, grammar, copies)
    labels = conditions.labels if conditions is not None else None
    factors = temperatures(tokenizer, sampling)
    draws = prior_draws(trained.model, samples, seed) if isinstance(trained.model, VAE) else None
    end = opening.end_tick if opening.bars_before else 0

    if draws is not None and part_bars is not None:
        parts = ((latent, [part_bars] * samples) for latent in draws)
        whole, before = cast(Sequence[MusicGuide], guides), opening.bars_before
        said = yield from segment_rounds(
            *(engine_window, whole, opening.prompt, before, parts, sampling, seed, labels, guidance, factors, best_of)
        )
    else:
        latents = next(draws) if draws is not None else None
        rows = []
        for number, guide in enumerate(guides):
            sample, attempt = divmod(number, best_of)
            told = labels[sample] if labels is not None else None
            latent = latents[sample] if latents is not None else None
            own = (seed, sample, attempt) if attempt else (seed, sample)
            rows.append(Row(opening.prompt, guide, sampling, own, told, latent, guidance, factors, best_of > 1))
        yield dict(enumerate(rows))
        said = [(row.new, row.nats) for row in rows]
    pieces = []
    for (ids, _), guide in zip(said, guides, strict=True):
        whole_row = [*opening.prompt, *ids]
        pieces.append(_finish(hear(whole_row), whole_row, guide, end))
    if best_of == 1:
        return pieces
    worth = [_worth(piece, nats, best_by) for piece, (_, nats) in zip(pieces, said, strict=True)]
    return [
        pieces[max(range(first, first + best_of), key=worth.__getitem__)] for first in range(0, len(pieces), best_of)
    ]


def opening_notes(trained: TrainedModel, opening: Opening, wishes: Wishes) -> list[StreamedNote]:
    """The whole notes of an opening's prompt, as a stream tells notes: those of a style, or of a prompt file."""
    if len(opening.prompt) < 2 or not trained.tokenizer.has_grammar:
        return []
    walk = walk_maker(trained.tokenizer, Controls())()
    for token in opening.prompt:
        walk.step(token)
    quarter, score = walk.ticks_per_quarter, _hear(trained.tokenizer, wishes, opening.prompt)

    def seconds(tick: int) -> float:
        return float(seconds_at(score, np.array(tick * _OUTPUT_TICKS / quarter)))

    return [streamed(0, note, quarter, seconds) for note in walk.finished]


def _worth(piece: Composition, nats: float, best_by: str) -> float:
    """The greater the better; least for a piece without notes."""
    notes = piece.score.note_num()
    if not notes:
        return -math.inf
    if best_by == LIKELIHOOD:
        return -nats / notes
    worth = piece_statistics(piece.score)[best_by]
    return worth if math.isfinite(worth) else -math.inf


def check_best_by(name: str) -> None:
    """Raise UserError for a name that is neither `likelihood` nor a statistic of a piece."""
    known = [LIKELIHOOD, *piece_statistics(Score(_OUTPUT_TICKS))]
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)[0]
        raise UserError(f"best_by={name}: give one of {', '.join(known)} (nearest: {near})")


def _guides(
    tokenizer: Tokenizer,
    opening: Opening,
    wishes: Wishes,
    length: Length | Sequence[Length],
    samples: int,
    key_strength: float,
    hear: Callable[[Sequence[int]], Score],
    grammar: bool,
    copies: CopyGuard | None,
) -> Sequence[MusicGuide | FreeGuide]:
    """A guide for each row: all begin where the opening ends."""
    lengths = (
        [length] * samples
        if isinstance(length, Length)
        else [each for each in length for _ in range(samples // len(length))]
    )
    if not (grammar and tokenizer.has_grammar):
        bias = scale_bias(tokenizer, wishes.key, key_strength, wishes.pitch_range)
        return [
            FreeGuide(tokenizer, hear, opening.prompt, each, bias, opening.bars_before, opening.seconds_before)
            for each in lengths
        ]
    walk = walk_maker(tokenizer, bound_controls(opening, wishes))()
    if wishes.tempo_bpm is not None:
        walk.set_tempo(wishes.tempo_bpm)
    copies = copies.copy() if copies is not None else None
    for token in opening.prompt:
        tick = walk.tick
        walk.step(token)
        if copies is not None:
            copies.follow(walk, tick)
    if copies is not None and opening.bars_before:  # a style's opening is music of ours, a prompt is not
        copies.forget_before(opening.end_tick)
    walk.not_before = opening.not_before
    wish = Steering.of(tokenizer, wishes, key_strength)
    return [
        MusicGuide(
            walk.copy(),
            each,
            opening.closing,
            opening.downbeats,
            wish_of_row(wish, tokenizer, wishes.programs, opening.wish),
            opening.bars_before,
            opening.seconds_before,
            copies.copy() if copies is not None else None,
        )
        for each in lengths
    ]


def bound_controls(opening: Opening, wishes: Wishes) -> Controls:
    """The opening's controls, with the caller's. Raises UserError where the two contradict each other."""
    controls, programs, polyphony = opening.controls, wishes.programs, wishes.polyphony
    if controls.programs is not None and programs is not None and programs != controls.programs:
        raise UserError(
            f"instruments: programs {list(programs)}, but the style plays {controls.programs[0]}; "
            "give it as style.program, or leave instruments out"
        )
    if controls.polyphony is not None and polyphony is not None:
        polyphony = min(polyphony, controls.polyphony)
    return replace(
        controls,
        pitch_range=wishes.pitch_range,
        program_ranges=wishes.program_ranges,
        programs=programs if programs is not None else controls.programs,
        polyphony=polyphony if polyphony is not None else controls.polyphony,
        grid=wishes.rhythm_grid,
    )


def temperatures(tokenizer: Tokenizer, sampling: Sampling) -> Tensor | None:
    """(V,) the factor of the temperature for each id, by the type of its first token; None for one everywhere.

    Raises UserError for a type that the tokenizer does not have.
    """
    if not sampling.temperature_per_type:
        return None
    found = torch.ones(tokenizer.vocab_size)
    for name, value in sampling.temperature_per_type.items():
        ids = tokenizer.starting_with(name)
        if not len(ids):
            known = [type_ for type_ in dict.fromkeys(tokenizer.types) if type_ not in SPECIAL_TOKENS]
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise UserError(f"temperature_per_type.{name}: this model's types are {', '.join(known)} (nearest: {near})")
        found[torch.from_numpy(ids)] = value / sampling.temperature if sampling.temperature else 1.0
    return found


def compose_latents(
    trained: TrainedModel,
    latents: Sequence[Tensor],
    bars: Sequence[Sequence[int]],
    sampling: Sampling,
    seed: int = 0,
    on_step: Callable[[int], None] | None = None,
) -> list[Composition]:
    """A piece for each row of latents (S, Z), its segments of so many bars; rows may differ in length.

    The model is a VAE, its tokenizer one that latents can be decoded with (latent.takes_segments).
    """
    prompt, start = [trained.tokenizer.bos_id], walk_maker(trained.tokenizer, Controls())
    guides = [MusicGuide(start(), Length(bars=sum(row))) for row in bars]
    together = torch.nn.utils.rnn.pad_sequence(list(latents))  # (S, B, Z)
    counts = zip_longest(*bars, fillvalue=0)
    engine = engine_of(trained)
    rows = run_segments(engine, guides, prompt, 0, zip(together, counts, strict=True), sampling, seed, on_step)
    hear = partial(_hear, trained.tokenizer, Wishes({}))
    ids = [[*prompt, *row] for row, _ in rows]
    return [_finish(hear(row), row, guide, 0) for row, guide in zip(ids, guides, strict=True)]


def _bars_of_a_latent(trained: TrainedModel) -> int | None:
    """The bars that a VAE makes of one latent; None where one is for the whole row, and for other models."""
    by_bars = isinstance(trained.model, VAE) and trained.segment["unit"] == "bars" and takes_segments(trained.tokenizer)
    return max(1, round(trained.segment["length"])) if by_bars else None


def engine_of(trained: TrainedModel, window: int | None = None) -> Engine:
    """An engine for a model's music. window: how many tokens it attends to, None for what it was trained on."""
    bar_ids = frozenset(trained.tokenizer.starting_with("Bar").tolist())
    return Engine(trained.model, window or trained.window, bar_ids)


def _hear(tokenizer: Tokenizer, wishes: Wishes, ids: Sequence[int]) -> Score:
    """The Score of model ids, in the ticks of the output and the tempo that was asked."""
    score = tokenizer.decode(ids).resample(_OUTPUT_TICKS, min_dur=1)
    if wishes.tempo_bpm is not None:
        # Tokens know tempos in steps; the file gets the tempo that was asked.
        score.tempos = type(score.tempos)([Tempo(0, wishes.tempo_bpm)])
    return score


def _finish(score: Score, ids: list[int], guide: MusicGuide | FreeGuide, prompt_end: int) -> Composition:
    # The last notes may ring over the end asked for.
    if guide.end_bar is not None:
        starts = bar_starts(score)
        if len(starts) > guide.end_bar:
            score = cut(score, int(starts[guide.end_bar]))
    if guide.seconds is not None:
        seconds = seconds_at(score, np.arange(last_note_end(score) + 1))
        limit = seconds_at(score, np.array(prompt_end)) + guide.seconds
        score = cut(score, int(np.searchsorted(seconds, limit, side="right")) - 1)
    score.tracks = type(score.tracks)(sorted(score.tracks, key=lambda track: (track.is_drum, track.program)))
    return Composition(score, tuple(ids), prompt_end)


def opening_of_style(style: Style, wishes: Wishes, tokenizer: Tokenizer, lawful: bool = True) -> Opening:
    """The style's opening; refuses chords that the style would ignore, and styles that the tokens cannot tell."""
    if wishes.chords is not None and not style.takes_chords:
        raise UserError(f"chords={wishes.chords!r}: style={type(style).__name__.lower()} takes none; set style=chords")
    name = type(style).__name__.lower()
    if not isinstance(style, Free) and (not tokenizer.monotonic or isinstance(tokenizer, VoiceGrid)):
        raise UserError(f"style={name}: {tokenizer.scheme} does not tell a piece bar by bar; use style=free")
    if not (lawful and tokenizer.has_grammar):
        if not isinstance(style, Free):
            reason = tokenizer.without_grammar or "grammar=false"
            raise UserError(f"style={name} needs a grammar ({reason}); use style=free")
        if wishes.metre is not None:
            raise UserError(f"metre={wishes.metre}: nothing keeps to it without a grammar; leave it out")
        return Opening([tokenizer.bos_id], Controls())
    return style.opening(wishes, tokenizer)
