"""Files to latents to files. The oracle is a model that remembers: its latent is the number of a segment."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from midifactory.data.segments import segment_score
from midifactory.errors import UserError
from midifactory.evaluation.reconstruction import note_agreement
from midifactory.generation.guide import Length
from midifactory.generation.latent import (
    LatentPiece,
    between,
    encode_segments,
    mixed,
    prior_draws,
    require_latent,
    varied,
)
from midifactory.generation.pieces import compose, compose_latents, opening_of_style, prompt_opening
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Free
from midifactory.generation.wishes import parse_wishes
from midifactory.models.interface import Output, State
from midifactory.models.vae import VAE
from midifactory.music.score import bar_count, bar_starts, duration_seconds, last_note_end, note_arrays
from midifactory.music.statistics import piece_statistics
from midifactory.tokens.tokenizer import Tokenizer
from schemes import tokenizer_of

GREEDY = Sampling(top_k=1)


class Read(State):
    """How many tokens each row has read."""

    def __init__(self, tokens: list[int]):
        self.tokens = tokens

    def select(self, rows):
        self.tokens = [self.tokens[row] for row in rows]

    def join(self, other):
        self.tokens += other.tokens


class Memory(VAE):
    """A VAE that knows `segments` by heart, and that a Bar follows each of them."""

    def __init__(self, tokenizer: Tokenizer, segments: list[np.ndarray]):
        super().__init__(tokenizer.vocab_size, "gru", "gru", d_model=8, latent_size=2)
        self.rows = [segment.tolist() for segment in segments]
        self.bar = tokenizer.tokens.index("Bar_None")

    def encode(self, ids):
        found = [float(self.rows.index([token for token in row if token])) for row in ids.tolist()]
        return torch.tensor([[number, -number] for number in found]), torch.zeros(len(ids), 2)

    def new_state(self, batch_size, capacity, padding=None):
        return Read([0] * batch_size)

    def forward(self, ids, state=None, conditions=None):
        state.tokens = [read + ids.shape[1] for read in state.tokens]
        logits = torch.zeros(len(ids), ids.shape[1], self.vocab_size)
        for row, number in enumerate(conditions.latent[:, 0].round().int().tolist()):
            known = self.rows[number] if 0 <= number < len(self.rows) else []
            logits[row, -1, known[state.tokens[row]] if state.tokens[row] < len(known) else self.bar] = 9.0
        return Output(logits, state)


@dataclass
class Holder:
    """What generation needs of a checkpoint."""

    model: VAE
    tokenizer: Tokenizer
    window: int = 512
    segment: dict[str, Any] = field(default_factory=lambda: {"unit": "bars", "length": 1, "max_tokens": 512})


@pytest.fixture(scope="module")
def without_rests() -> Tokenizer:
    """Every bar has its Bar token here; a rest over a bar line would swallow it and begin the segment itself."""
    return tokenizer_of("remi_plus", "tokenizer.use_rests=false")


def remember(tokenizer, scores, length=1) -> tuple[Holder, list[LatentPiece]]:
    cut = [segment_score(score, tokenizer, "bars", length, 512) for score in scores]
    holder = Holder(Memory(tokenizer, [segment.ids for segments in cut for segment in segments]), tokenizer)
    holder.segment["length"] = length
    pieces = []
    for segments, score in zip(cut, scores, strict=True):
        means, _ = encode_segments(holder.model, [segment.ids for segment in segments])
        heard = tokenizer.decode(tokenizer.encode(score).ids)
        pieces.append(LatentPiece(means, tuple(segment.bars for segment in segments), heard))
    return holder, pieces


@pytest.fixture(scope="module")
def untrained(tokenizer):
    torch.manual_seed(0)
    model = VAE(tokenizer.vocab_size, d_model=16, heads=2, layers=1, latent_size=6, context=4096)
    for parameter in model.parameters():
        parameter.data.mul_(2.0)
    return Holder(model.eval(), tokenizer, window=4096)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_what_is_remembered_comes_back_note_for_note(without_rests, hand_scores, length):
    """All pieces side by side, of different lengths: every segment in its place, every bar where it was."""
    holder, pieces = remember(without_rests, list(hand_scores.values()), length)
    made = compose_latents(holder, [piece.latents for piece in pieces], [piece.bars for piece in pieces], GREEDY)
    for piece, composition in zip(pieces, made, strict=True):
        assert note_agreement(piece.score, composition.score).f1 == 1
        ours, theirs = note_arrays(composition.score), note_arrays(piece.score)
        scale = composition.score.ticks_per_quarter // piece.score.ticks_per_quarter
        np.testing.assert_array_equal(np.sort(ours["duration"]), np.sort(theirs["duration"] * scale))
        np.testing.assert_array_equal(bar_starts(composition.score), bar_starts(piece.score) * scale)


def test_the_ends_of_an_interpolation_are_the_two_pieces_and_the_length_goes_over(without_rests, hand_scores):
    holder, (short, long) = remember(without_rests, [hand_scores["piano_chords"], hand_scores["four_voices"]])
    assert (len(short.bars), len(long.bars)) == (4, 8)
    rows = [mixed(short, long, share) for share in (0.0, 0.25, 0.5, 1.0)]
    assert [len(bars) for _, bars in rows] == [4, 5, 6, 8]
    made = compose_latents(holder, [latents for latents, _ in rows], [bars for _, bars in rows], GREEDY)
    assert note_agreement(short.score, made[0].score).f1 == 1
    assert note_agreement(long.score, made[-1].score).f1 == 1
    torch.testing.assert_close(rows[2][0][4:], long.latents[4:6])


def test_halfway_between_bars_of_different_numbers():
    a, b = (LatentPiece(torch.ones(3, 2), bars, None) for bars in ((2, 2, 2), (4, 2, 1)))
    assert mixed(a, b, 0.5)[1] == [3, 2, 2]
    assert mixed(a, b, 0.0)[1] == [2, 2, 2]
    assert mixed(a, b, 1.0)[1] == [4, 2, 1]


def test_between_is_exact_at_its_ends_and_turns_evenly():
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(2, 50, generator=generator), 3 * torch.randn(2, 50, generator=generator)
    for spherical in (True, False):
        assert torch.equal(between(a, b, 0.0, spherical), a)
        assert torch.equal(between(a, b, 1.0, spherical), b)
    torch.testing.assert_close(between(a, b, 0.25, spherical=False), 0.75 * a + 0.25 * b)

    def angle(x, y):
        return torch.nn.functional.cosine_similarity(x, y, dim=-1).acos()

    for share in (0.1, 0.5, 0.8):
        point = between(a, b, share)
        torch.testing.assert_close(angle(a, point), share * angle(a, b))
        torch.testing.assert_close(point.norm(dim=-1), (1 - share) * a.norm(dim=-1) + share * b.norm(dim=-1))


def test_between_equal_opposite_and_zero_latents_is_the_straight_line():
    a = torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(between(a, a, 0.5), a)
    torch.testing.assert_close(between(a, -a, 0.5), torch.zeros(1, 2))
    torch.testing.assert_close(between(a, torch.zeros(1, 2), 0.5), a / 2)


def test_segments_are_encoded_as_each_alone(untrained, hand_scores):
    segments = [part.ids for part in segment_score(hand_scores["metres"], untrained.tokenizer, "bars", 1, 512)]
    means, deviations = encode_segments(untrained.model, segments)
    assert means.shape == deviations.shape == (9, 6)
    for row, ids in enumerate(segments):
        mean, log_variance = untrained.model.encode(torch.from_numpy(ids)[None])
        torch.testing.assert_close(means[row], mean[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(deviations[row], (0.5 * log_variance[0]).exp(), rtol=1e-4, atol=1e-5)


def test_a_variation_by_nothing_is_the_same_and_else_has_the_priors_spread():
    latents = torch.zeros(100, 50)
    assert torch.equal(varied(latents, 0.0, seed=1, row=0), latents)
    moved = varied(latents, 0.3, seed=1, row=0)
    assert moved.std().item() == pytest.approx(0.3, rel=0.05)
    assert torch.equal(varied(latents, 0.3, seed=1, row=0), moved)
    assert not torch.equal(varied(latents, 0.3, seed=1, row=1), moved)


def test_draws_of_the_prior_are_standard_and_each_row_has_its_own(untrained):
    draws = prior_draws(untrained.model, 2, seed=4)
    values = torch.stack([next(draws) for _ in range(500)])  # (500, B, Z)
    assert values.mean().abs() < 0.05
    assert values.std().item() == pytest.approx(1, abs=0.05)
    assert not torch.equal(values[:, 0], values[:, 1])
    torch.testing.assert_close(next(prior_draws(untrained.model, 1, seed=4))[0], values[0, 0])


@pytest.mark.parametrize("length", [Length(bars=5), Length(seconds=7.5), Length(tokens=77)])
@pytest.mark.parametrize("unit", ["bars", "seconds"])
def test_generation_draws_latents_and_keeps_the_length_asked_for(untrained, piano, length, unit):
    untrained.segment = {"unit": unit, "length": 2, "max_tokens": 512}
    wishes = parse_wishes(piano, None, 100.0, "3/4", None)
    opening = opening_of_style(Free(), wishes, untrained.tokenizer)
    pieces = compose(untrained, opening, wishes, length, Sampling(), samples=2, seed=3)
    for piece in pieces:
        if length.bars:
            assert bar_count(piece.score) == 5
        elif length.seconds:
            assert duration_seconds(piece.score) <= 7.5 + 0.01
        else:
            assert len(piece.ids) - len(opening.prompt) == 77
        assert piece.score.note_num() > 0
        assert {(item.numerator, item.denominator) for item in piece.score.time_signatures} == {(3, 4)}
    again = compose(untrained, opening, wishes, length, Sampling(), samples=2, seed=3)
    assert [piece.ids for piece in again] == [piece.ids for piece in pieces]
    assert pieces[0].ids != pieces[1].ids


def test_each_segment_is_read_alone_and_with_its_own_latent(untrained, piano):
    """The model is never shown more than two bars, and another latent with every segment."""
    untrained.segment = {"unit": "bars", "length": 2, "max_tokens": 512}
    bar, seen = untrained.tokenizer.tokens.index("Bar_None"), []

    def spy(module, args, kwargs):
        ids, _, told = args
        if told.latent.any():  # not where only the size of a state is found out
            seen.append((ids[0].tolist(), tuple(told.latent[0].tolist())))

    handle = untrained.model.register_forward_pre_hook(spy, with_kwargs=True)
    wishes = parse_wishes(piano, None, None, None, None)
    opening = opening_of_style(Free(), wishes, untrained.tokenizer)
    try:
        compose(untrained, opening, wishes, Length(bars=6), Sampling(), seed=3)
    finally:
        handle.remove()
    latents = list(dict.fromkeys(latent for _, latent in seen))
    assert len(latents) == 3
    for number, latent in enumerate(latents):
        ids = [token for tokens, told in seen if told == latent for token in tokens]
        assert ids[0] == (bar if number else untrained.tokenizer.bos_id)
        assert 1 <= ids.count(bar) <= 2  # a rest may swallow the second


def test_a_prompt_goes_on_with_a_new_segment(untrained, hand_scores, piano):
    untrained.segment = {"unit": "bars", "length": 2, "max_tokens": 512}
    wishes = parse_wishes(piano, None, None, None, None)
    opening = prompt_opening(hand_scores["four_voices"], untrained.tokenizer, 3, None, wishes)
    (piece,) = compose(untrained, opening, wishes, Length(bars=4), Sampling(), seed=1)
    assert bar_count(piece.score) == 7
    heard = untrained.tokenizer.decode(untrained.tokenizer.encode(hand_scores["four_voices"]).ids)
    grid = heard.ticks_per_quarter
    prompt = {(onset * 480 // grid, pitch) for onset, pitch in _onsets(heard) if onset < 12 * grid}
    assert prompt == {row for row in _onsets(piece.score) if row[0] < piece.prompt_end_tick}
    assert last_note_end(piece.score) > piece.prompt_end_tick


def _onsets(score) -> list[tuple[int, int]]:
    notes = note_arrays(score)
    return list(zip(notes["onset"].tolist(), notes["pitch"].tolist(), strict=True))


def test_a_model_without_a_latent_is_refused_by_name(untrained):
    with pytest.raises(UserError, match="vary needs a model with a latent, this checkpoint holds a Transformer"):
        require_latent(untrained.model.decoder, "vary")
    assert require_latent(untrained.model, "vary") is untrained.model


@pytest.mark.parametrize("unit", ["bars", "seconds"])
def test_the_best_of_more_attempts_is_never_worse_and_how_many_are_decoded_at_once_changes_nothing(
    untrained, piano, unit
):
    untrained.segment = {"unit": unit, "length": 2, "max_tokens": 512}
    wishes = parse_wishes(piano, None, None, None, None)
    opening = opening_of_style(Free(), wishes, untrained.tokenizer)

    def best(attempts, at_once=None):
        settings = {"best_of": attempts, "best_by": "notes_per_second", "at_once": at_once}
        return compose(untrained, opening, wishes, Length(bars=4), Sampling(), samples=2, seed=3, **settings)

    found = {attempts: best(attempts) for attempts in (1, 2, 5)}
    worth = [[piece_statistics(piece.score)["notes_per_second"] for piece in found[attempts]] for attempts in found]
    assert (np.diff(worth, axis=0) >= 0).all()
    assert np.sum(worth[-1]) > np.sum(worth[0])
    assert [piece.ids for piece in best(5, at_once=3)] == [piece.ids for piece in found[5]]
