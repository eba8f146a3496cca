"""From a trained model and settings to finished Scores: the whole of generation below the command line."""

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
from midifactory.generation.engine import Engine
from midifactory.generation.guide import FreeGuide, Length, MusicGuide
from midifactory.generation.latent import prior_draws, run_segments
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Free, Opening, Style, Wishes, bar_head, refuse_metre, scale_bias
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
from midifactory.tokens.grammar import Controls, Grammar, Walk
from midifactory.tokens.tokenizer import Tokenizer

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


def prompt_opening(score: Score, tokenizer: Tokenizer, bars: int | None, notes: int | None, wishes: Wishes) -> Opening:
    """The first `bars` bars or `notes` notes of a Score (all of it for neither) as an opening.

    Whole bars are closed: the model's music begins at the next bar line. Without a grammar it goes on from the last
    onset instead. Raises UserError for both at once, for counts below 1 and for a prompt without notes.
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
    if not tokenizer.has_grammar:
        refuse_metre(wishes, tokenizer)
        heard = _hear(tokenizer, wishes, ids)
        if notes is None:
            wanted = min(bars, bar_count(score)) if bars is not None else bar_count(part)
            starts = bar_starts(score)
            end = int(starts[wanted]) if wanted < len(starts) else last_note_end(score)
            end = round(end * _OUTPUT_TICKS / score.ticks_per_quarter)
        else:
            end = int(note_arrays(heard)["onset"].max()) + 1
        before = bar_starts(heard, end)
        return Opening(ids, Controls(), [], None, len(before), float(seconds_at(heard, np.array(end))), end)
    walk = Walk(Grammar(tokenizer))
    for token in ids:
        walk.step(token)
    closing: list[int] = []
    if notes is None:
        # Rests and silence at the prompt's end are bars too: open bars until the one after the prompt is open.
        metre = wishes.metre or f"{walk.metre[0]}/{walk.metre[1]}"
        wanted = min(bars, bar_count(score)) if bars is not None else bar_count(part)
        closing = bar_head(tokenizer, metre) * max(1, wanted - walk.bar)
    for token in closing:
        walk.step(token)
    return Opening(
        ids,
        Controls(metre=wishes.metre, keep_tempo=True),
        closing,
        bars_before=walk.bar if closing else walk.bar + 1,
        seconds_before=walk.seconds_at(walk.tick),
    )


def compose(
    trained: TrainedModel,
    opening: Opening,
    wishes: Wishes,
    length: Length,
    sampling: Sampling,
    samples: int = 1,
    seed: int = 0,
    key_strength: float = 3.0,
    window: int | None = None,
    on_step: Callable[[], None] | None = None,
    conditions: Conditions | None = None,
    guidance: float = 1.0,
) -> list[Composition]:
    """`samples` pieces from one opening, each from its own random stream of `seed`, in the range of `wishes`.

    conditions (of `samples` rows) and guidance are those of engine.Engine.run. The latents of a VAE are drawn from its
    prior, a new one for each segment where it was trained on bars. Raises UserError where the prompt does not fit into
    the model's window.
    """
    tokenizer = trained.tokenizer
    engine_window = window or trained.window
    limit = min(engine_window, trained.model.context or engine_window)
    part_bars = _bars_of_a_latent(trained)
    if trained.model.context is not None and len(opening.prompt) >= limit and part_bars is None:
        raise UserError(
            f"the prompt has {len(opening.prompt)} tokens, the model's window holds {limit}; "
            "take fewer prompt_bars or prompt_notes"
        )
    if samples < 1:
        raise UserError(f"num_samples={samples}: it must be at least 1")
    controls = replace(opening.controls, pitch_range=wishes.pitch_range, program_ranges=wishes.program_ranges)
    bias = scale_bias(tokenizer, wishes.key, key_strength, None if tokenizer.has_grammar else wishes.pitch_range)
    hear = partial(_hear, tokenizer, wishes)
    guides: list[MusicGuide | FreeGuide]
    if tokenizer.has_grammar:
        grammar = Grammar(tokenizer)
        guides = [
            MusicGuide(
                grammar,
                opening.prompt,
                length,
                controls,
                opening.closing,
                opening.downbeats,
                bias,
                opening.bars_before,
                opening.seconds_before,
            )
            for _ in range(samples)
        ]
    else:
        guides = [
            FreeGuide(tokenizer, hear, opening.prompt, length, bias, opening.bars_before, opening.seconds_before)
            for _ in range(samples)
        ]
    engine = _engine(trained, engine_window)
    labels = conditions.labels if conditions is not None else None
    draws = prior_draws(trained.model, samples, seed) if isinstance(trained.model, VAE) else None
    if draws is not None and part_bars is not None:
        parts = ((latent, [part_bars] * samples) for latent in draws)
        whole, before = cast(list[MusicGuide], guides), opening.bars_before
        rows = run_segments(engine, whole, opening.prompt, before, parts, sampling, seed, on_step, labels, guidance)
    else:
        told = conditions if draws is None else Conditions(labels, next(draws))
        rows = engine.run(opening.prompt, guides, sampling, seed, on_step, told, guidance)
    prompt_end = _prompt_end_tick(tokenizer, opening) if opening.bars_before else 0
    return [
        _finish(hear([*opening.prompt, *row]), [*opening.prompt, *row], guide, prompt_end)
        for row, guide in zip(rows, guides, strict=True)
    ]


def compose_latents(
    trained: TrainedModel,
    latents: Sequence[Tensor],
    bars: Sequence[Sequence[int]],
    sampling: Sampling,
    seed: int = 0,
    on_step: Callable[[], None] | None = None,
) -> list[Composition]:
    """A piece for each row of latents (S, Z), its segments of so many bars; rows may differ in length.

    The model is a VAE, its tokenizer one with a grammar.
    """
    prompt, grammar = [trained.tokenizer.bos_id], Grammar(trained.tokenizer)
    guides = [MusicGuide(grammar, prompt, Length(bars=sum(row)), Controls()) for row in bars]
    together = torch.nn.utils.rnn.pad_sequence(list(latents))  # (S, B, Z)
    counts = zip_longest(*bars, fillvalue=0)
    engine = _engine(trained, trained.window)
    rows = run_segments(engine, guides, prompt, 0, zip(together, counts, strict=True), sampling, seed, on_step)
    hear = partial(_hear, trained.tokenizer, Wishes({}))
    return [_finish(hear([*prompt, *row]), [*prompt, *row], guide, 0) for row, guide in zip(rows, guides, strict=True)]


def _bars_of_a_latent(trained: TrainedModel) -> int | None:
    """The bars that a VAE makes of one latent; None where one is for the whole row, and for other models."""
    by_bars = isinstance(trained.model, VAE) and trained.segment["unit"] == "bars" and trained.tokenizer.has_grammar
    return max(1, round(trained.segment["length"])) if by_bars else None


def _engine(trained: TrainedModel, window: int) -> Engine:
    bar_ids = frozenset(trained.tokenizer.starting_with("Bar").tolist())
    return Engine(trained.model, window, bar_ids, trained.tokenizer.pad_id)


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


def _prompt_end_tick(tokenizer: Tokenizer, opening: Opening) -> int:
    if not tokenizer.has_grammar:
        return opening.end_tick
    walk = Walk(Grammar(tokenizer))
    for token in [*opening.prompt, *opening.closing]:
        walk.step(token)
    return walk.tick * _OUTPUT_TICKS // tokenizer.miditok.time_division


def opening_of_style(style: Style, wishes: Wishes, tokenizer: Tokenizer) -> Opening:
    """The style's opening; refuses chords that the style would ignore, and styles that need the grammar."""
    if wishes.chords is not None and not style.takes_chords:
        raise UserError(f"chords={wishes.chords!r}: style={type(style).__name__.lower()} takes none; set style=chords")
    if not tokenizer.has_grammar and not isinstance(style, Free):
        raise UserError(
            f"style={type(style).__name__.lower()} needs a REMI tokenizer without byte pairs or pitch "
            f"intervals, this model has {tokenizer.scheme} with {tokenizer.vocab_size} ids; use style=free"
        )
    return style.opening(wishes, tokenizer)
