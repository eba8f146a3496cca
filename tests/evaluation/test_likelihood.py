"""Nats per note against one token at a time, and against numbers worked out by hand."""

import math
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from midifactory.evaluation.likelihood import (
    model_likelihood,
    piece_nats,
    uniform_likelihood,
    unigram_likelihood,
)
from midifactory.models.interface import Conditions
from midifactory.models.recurrent import Recurrent
from midifactory.models.transformer import Transformer

VOCAB = 13
IDS = np.random.default_rng(0).integers(0, VOCAB, 30)


class Recorder(nn.Module):
    """Says nothing (uniform), and notes how many tokens it saw before each prediction."""

    def __init__(self, context, vocab=VOCAB):
        super().__init__()
        self.context, self.vocab, self.seen = context, vocab, []
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, ids):
        self.seen += ids.tolist()
        return SimpleNamespace(logits=torch.zeros(*ids.shape, self.vocab))


def model(name):
    torch.manual_seed(0)
    if name == "transformer":
        made = Transformer(VOCAB, d_model=16, heads=2, layers=2, context=32)
    else:
        made = Recurrent(VOCAB, cell=name, d_model=16, layers=1)
    for parameter in made.parameters():
        parameter.data.mul_(8.0)
    return made.eval()


@torch.no_grad()
@pytest.mark.parametrize("name", ["lstm", "gru", "transformer"])
def test_a_piece_within_the_window_is_scored_as_one_token_at_a_time(name):
    made = model(name)
    expected = 0.0
    for t in range(1, len(IDS)):
        logits = made(torch.from_numpy(IDS[None, :t])).logits[0, -1].double()
        expected -= (logits[IDS[t]] - logits.logsumexp(0)).item()
    assert expected / (len(IDS) - 1) != pytest.approx(math.log(VOCAB), abs=0.01)
    assert piece_nats(made, IDS, window=32) == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_recurrent_model_reads_the_whole_piece_whatever_the_window(name):
    assert piece_nats(model(name), IDS, window=4) == pytest.approx(piece_nats(model(name), IDS, window=99), rel=1e-6)


@pytest.mark.parametrize("size", [2, 3, 7, 8, 9, 20, 30])
@pytest.mark.parametrize("window", [1, 2, 5, 8, 29, 100])
def test_every_token_is_scored_exactly_once(window, size):
    assert piece_nats(Recorder(context=64), IDS[:size], window) == pytest.approx((size - 1) * math.log(VOCAB), rel=1e-5)


def test_a_window_advances_by_half_and_never_exceeds_itself_or_the_context():
    ids = np.arange(21)
    recorder = Recorder(context=8, vocab=21)
    piece_nats(recorder, ids, window=100)
    assert recorder.seen[:3] == [list(range(8)), list(range(4, 12)), list(range(8, 16))]
    assert max(map(len, recorder.seen)) == 8
    assert recorder.seen[-1][:4] == [12, 13, 14, 15]
    assert max(map(max, recorder.seen)) == 19  # the last input; 20 is only a target


@torch.no_grad()
def test_tokens_beyond_the_window_are_scored_with_at_least_half_of_it_before_them():
    made, window = model("transformer"), 8
    expected = 0.0
    for t in range(1, len(IDS)):
        # The window that covers target t: the first ends at 8, each next one 4 later, the last at the piece's end.
        end = 8
        while end < t:
            end = min(end + 4, len(IDS) - 1)
        start = 0 if end == 8 else next(s for s in range(0, 99, 4) if min(s + 8, len(IDS) - 1) == end)
        logits = made(torch.from_numpy(IDS[None, start:t])).logits[0, -1].double()
        expected -= (logits[IDS[t]] - logits.logsumexp(0)).item()
    assert piece_nats(made, IDS, window) == pytest.approx(expected, rel=1e-5)


def test_nats_per_note_weighs_notes_alike_and_uses_the_source_files_notes():
    pieces = [("a", IDS[:11], 2), ("b", IDS[:21], 8)]
    result = uniform_likelihood(pieces, VOCAB)
    assert result.nats_per_note == pytest.approx(30 * math.log(VOCAB) / 10)
    assert result.nats_per_token == pytest.approx(math.log(VOCAB))
    assert [(piece.piece, piece.tokens, piece.notes) for piece in result.pieces] == [("a", 10, 2), ("b", 20, 8)]


def test_unigram_is_laplace_by_hand():
    """Training 1 1 2 after BOS 0 of a vocabulary of 4: counts 1, 3, 2, 1 of 7."""
    result = unigram_likelihood([("a", np.array([0, 1, 2, 3]), 1)], [np.array([0, 1, 1, 2])], 4)
    assert result.nats_per_note == pytest.approx(-math.log(3 / 7) - math.log(2 / 7) - math.log(1 / 7))


@torch.no_grad()
@pytest.mark.parametrize("mode", ["added", "prefix"])
@pytest.mark.parametrize("kind", [Transformer, Recurrent])
def test_each_piece_is_scored_under_its_own_conditions_in_every_window(kind, mode):
    torch.manual_seed(0)
    sizes = {"context": 32, "heads": 2} if kind is Transformer else {}
    made = kind(VOCAB, d_model=16, layers=1, condition_sizes=(3, 4), condition_mode=mode, **sizes).eval()
    for parameter in made.parameters():
        parameter.data.mul_(8.0)
    told = {name: Conditions(torch.tensor([labels])) for name, labels in (("a", [1, 3]), ("b", [2, 0]))}
    pieces = [("a", IDS, 5), ("b", IDS, 5), ("untold", IDS, 5)]
    result = model_likelihood(made, pieces, 8, told)

    def by_hand(conditions):
        """Windows of 8 that advance by 4, each told anew; a recurrent model reads all at once."""
        size = len(IDS) - 1
        ends = [size] if kind is Recurrent else sorted({*range(8, size, 4), size})
        nats, scored = 0.0, 0
        for end in ends:
            start = 0 if end == ends[0] else ends[ends.index(end) - 1] - 4
            logits = made(torch.from_numpy(IDS[None, start:end]), conditions=conditions).logits[0].double()
            picked = logits.log_softmax(-1)[range(end - start), IDS[start + 1 : end + 1]]
            nats -= float(picked[scored - start :].sum())
            scored = end
        return nats

    expected = [by_hand(told.get(name)) for name, _, _ in pieces]
    assert [piece.nats for piece in result.pieces] == pytest.approx(expected, rel=1e-5)
    assert min(abs(one - other) for one, other in combinations(expected, 2)) > 0.1
    nothing = Conditions(torch.zeros(1, 2, dtype=torch.int64))
    assert piece_nats(made, IDS, 8) == pytest.approx(piece_nats(made, IDS, 8, nothing))


@torch.no_grad()
def test_a_model_is_measured_in_eval_mode_and_given_back_as_it_was():
    made = model("transformer").train()
    pieces = [("a", IDS, 5), ("b", IDS[:9], 2)]
    first, second = model_likelihood(made, pieces, 16), model_likelihood(made, pieces, 16)
    assert first == second
    assert made.training
    assert first.pieces[1].nats == pytest.approx(piece_nats(model("transformer"), IDS[:9], 16), rel=1e-6)
