"""Nats per note: the figure by which models are compared, whatever their tokens.

The negative log-likelihood of all tokens of a held-out piece, EOS included, divided by the notes of its source
file. Like bits per byte for text, it does not reward a tokenizer for having fewer or easier tokens; notes that a
tokenizer drops still count in the divisor, so a lossy one should be read with its losses beside it.

Legend: N tokens of a piece or segment, V vocabulary.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch


class CausalModel(Protocol):
    """What a model must offer to be measured; every models.interface.SequenceModel does."""

    context: int | None
    training: bool

    def __call__(self, ids: torch.Tensor, *, conditions: Any = None) -> Any:
        """ids (1, T) -> an object whose `logits` are (1, T, V). Called without `conditions` where there are none."""

    def parameters(self) -> Iterator[torch.Tensor]:
        """They show the device."""

    def train(self, mode: bool = True) -> Any:
        """Training or, with False, evaluation mode."""


@dataclass(frozen=True)
class PieceLikelihood:
    """Nats of all predicted tokens of a piece, how many they are, and the notes of its source file."""

    piece: str
    nats: float
    tokens: int
    notes: int


@dataclass(frozen=True)
class Likelihood:
    """The pieces' sums: a corpus' nats per note weighs every note alike."""

    pieces: tuple[PieceLikelihood, ...]

    @property
    def nats_per_note(self) -> float:
        """Over all pieces together."""
        return sum(piece.nats for piece in self.pieces) / max(1, sum(piece.notes for piece in self.pieces))

    @property
    def nats_per_token(self) -> float:
        """Over all pieces together; comparable for one tokenizer only."""
        return sum(piece.nats for piece in self.pieces) / max(1, sum(piece.tokens for piece in self.pieces))


@torch.no_grad()
def piece_nats(model: CausalModel, ids: np.ndarray, window: int, conditions: Any = None) -> float:
    """Nats of ids[1:] given what stands before them, ids (N,) with BOS first.

    A model with a context sees at most `window` tokens at once: the window advances by half of itself, and each
    token is scored once, with at least window / 2 tokens before it where the piece has them. A recurrent model
    reads the piece in one go. conditions: what the model is told of the piece, in its own form.
    """
    told = {} if conditions is None else {"conditions": conditions}
    device = next(model.parameters()).device
    tokens = torch.from_numpy(np.asarray(ids, dtype=np.int64)).to(device)
    size = len(tokens) - 1  # inputs, and targets
    span = size if model.context is None else min(window, model.context)
    total, scored = 0.0, 0
    start = 0
    while scored < size:
        end = min(start + span, size)
        logits = model(tokens[None, start:end], **told).logits[0].float()  # (T, V)
        targets = tokens[start + 1 : end + 1]
        nats = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        total += float(nats[scored - start :].double().sum())
        scored = end
        start = end - span // 2
    return total


def model_likelihood(
    model: CausalModel,
    pieces: Iterable[tuple[str, np.ndarray, int]],
    window: int,
    conditions: Mapping[str, Any] | None = None,
) -> Likelihood:
    """pieces: (id, ids (N,), notes of the source file). conditions: by id, see `piece_nats`."""
    told = conditions or {}
    was_training = model.training
    model.train(False)
    results = [
        PieceLikelihood(name, piece_nats(model, ids, window, told.get(name)), len(ids) - 1, notes)
        for name, ids, notes in pieces
    ]
    model.train(was_training)
    return Likelihood(tuple(results))


def latent_likelihood(
    model: CausalModel,
    pieces: Iterable[tuple[str, Sequence[np.ndarray], int]],
    conditions: Mapping[str, Any] | None = None,
) -> Likelihood:
    """An upper bound of the nats of a model with a latent (models/vae.py), each segment apart: no other is known to it.

    pieces: (id, segments (N,), each with the token after it, notes of the source file). The bound is the nats of
    a segment given one draw of its posterior, and the posterior's divergence from the prior.
    """
    told = conditions or {}
    was_training = model.training
    model.train(False)
    results = []
    for name, segments, notes in pieces:
        nats = sum(_segment_nats(model, ids, told.get(name)) for ids in segments)
        results.append(PieceLikelihood(name, nats, sum(len(ids) - 1 for ids in segments), notes))
    model.train(was_training)
    return Likelihood(tuple(results))


@torch.no_grad()
def _segment_nats(model: CausalModel, ids: np.ndarray, conditions: Any) -> float:
    tokens = torch.from_numpy(np.asarray(ids, dtype=np.int64)).to(next(model.parameters()).device)
    output = model(tokens[None, :-1], conditions=conditions)
    nats = torch.nn.functional.cross_entropy(output.logits[0].float(), tokens[1:], reduction="sum")
    return float(nats + output.statistics["kl_nats"].sum())


def uniform_likelihood(pieces: Iterable[tuple[str, np.ndarray, int]], vocab_size: int) -> Likelihood:
    """Every token equally likely."""
    each = math.log(vocab_size)
    return Likelihood(
        tuple(PieceLikelihood(name, each * (len(ids) - 1), len(ids) - 1, notes) for name, ids, notes in pieces)
    )


def unigram_likelihood(
    pieces: Iterable[tuple[str, np.ndarray, int]], training: Sequence[np.ndarray], vocab_size: int
) -> Likelihood:
    """Token frequencies of the training pieces, with one added to each count (Laplace)."""
    counts = np.ones(vocab_size)
    for ids in training:
        counts += np.bincount(np.asarray(ids)[1:], minlength=vocab_size)
    nats = -np.log(counts / counts.sum())
    return Likelihood(
        tuple(
            PieceLikelihood(name, float(nats[np.asarray(ids)[1:]].sum()), len(ids) - 1, notes)
            for name, ids, notes in pieces
        )
    )
