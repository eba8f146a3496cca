"""Nats per note: the figure by which models are compared, whatever their tokens.

The negative log-likelihood of all tokens of a held-out piece, EOS included, divided by the notes of its source
file. Like bits per byte for text, it does not reward a tokenizer for having fewer or easier tokens; notes that a
tokenizer drops still count in the divisor, so a lossy one should be read with its losses beside it.

Legend: N tokens of a piece or segment, B rows read side by side, T inputs of a row, V vocabulary, C conditions.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

# Tokens of a call of the model: many enough for its matrices, few enough for their logits.
_BATCH_TOKENS = 8192
# Where no context asks for windows, longer rows are read in parts of so many tokens, with the state carried on.
_WHOLE, _PART = 2048, 256


class CausalModel(Protocol):
    """What a model must offer to be measured; every models.interface.SequenceModel does."""

    context: int | None
    training: bool

    def __call__(self, ids: torch.Tensor, *, conditions: Any = None) -> Any:
        """ids (B, T), 0 behind a row's end -> an object whose `logits` are (B, T, V).

        Called without `conditions` where there are none. One without a context that has `new_state` is read in parts,
        with its state as keyword (models/interface.py).
        """

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


def piece_nats(model: CausalModel, ids: np.ndarray, window: int, conditions: Any = None) -> float:
    """Nats of ids[1:] of one piece, summed: see `token_nats`."""
    told = {} if conditions is None else {"": conditions}
    return float(token_nats(model, [("", ids)], window, conditions=told)[0].sum())


@torch.no_grad()
def token_nats(
    model: CausalModel,
    pieces: Sequence[tuple[str, np.ndarray]],
    window: int,
    stride: int | None = None,
    conditions: Mapping[str, Any] | None = None,
    on_tokens: Callable[[int], Any] | None = None,
) -> list[np.ndarray]:
    """Nats of each token of each piece given what stands before it, (N - 1,) for (id, ids (N,)) with BOS first.

    A model with a context sees at most `window` tokens at once: the window advances by `stride` (half of itself where
    None), and each token is scored once, with at least window - stride tokens before it where the piece has them. A
    model without one reads pieces whole, a recurrent one part by part with its state carried on. Windows of like
    length are read side by side, padded at their ends, which a causal model cannot notice.

    conditions: what the model is told of a piece, by id: a dataclass with `labels` (1, C). on_tokens: called with the
    number of tokens scored by each call of the model. The model is to be in evaluation mode. Raises ValueError for a
    stride below 1 or beyond the window.
    """
    nats = [np.zeros(len(ids) - 1) for _, ids in pieces]
    told = conditions or {}
    windows = [
        _Window(index, *place)
        for index, (_, ids) in enumerate(pieces)
        for place in _windows(len(ids) - 1, model.context and min(window, model.context), stride)
    ]
    in_parts = model.context is None and hasattr(model, "new_state")
    for batch in _batches(windows, [name in told for name, _ in pieces], in_parts):
        given = [told[pieces[item.piece][0]] for item in batch if pieces[item.piece][0] in told]
        rows = [pieces[item.piece][1][item.start : item.end + 1] for item in batch]
        found = _rows_nats(model, rows, _stacked(given), in_parts)
        for item, values in zip(batch, found, strict=True):
            nats[item.piece][item.scored : item.end] = values[item.scored - item.start :]
        if on_tokens is not None:
            on_tokens(sum(item.end - item.scored for item in batch))
    return nats


@torch.no_grad()
def logits_of(model: CausalModel, ids: np.ndarray, window: int, conditions: Any = None) -> Iterator[np.ndarray]:
    """The logits of ids[1:] of one piece, ids (N,), in parts (n, V) one after the other: what `token_nats` scores.

    At most a window of them is held at once. The model is to be in evaluation mode.
    """
    stateful: Any = model
    if model.context is None and hasattr(model, "new_state"):
        state = stateful.new_state(1, len(ids) - 1)
        for start in range(0, len(ids) - 1, _PART):
            inputs = _padded(model, [ids[start : min(start + _PART, len(ids) - 1)]])
            yield stateful(inputs, state=state, **_keywords(conditions)).logits[0].float().cpu().numpy()
        return
    for start, scored, end in _windows(len(ids) - 1, model.context and min(window, model.context), None):
        logits = model(_padded(model, [ids[start:end]]), **_keywords(conditions)).logits[0]
        yield logits[scored - start :].float().cpu().numpy()


def advance_of(window: int, stride: int | None) -> int:
    """How far a window advances: `stride`, or half of itself. Raises ValueError for one it cannot advance by."""
    if stride is None:
        return window - window // 2
    if not 1 <= stride <= window:
        raise ValueError(f"stride={stride}: a window of {window} tokens advances by 1 to {window}")
    return stride


class _Window(NamedTuple):
    """Inputs start .. end - 1 of a piece, by its index; targets from `scored` on have not been scored before."""

    piece: int
    start: int
    scored: int
    end: int


def _windows(size: int, span: int | None, stride: int | None) -> Iterator[tuple[int, int, int]]:
    """(start, scored, end) of the windows over `size` inputs; one over all of them without a span."""
    span = span or max(1, size)
    kept = span - advance_of(span, stride)
    start = scored = 0
    while scored < size:
        end = min(start + span, size)
        yield start, scored, end
        start, scored = end - kept, end


def _batches(windows: Sequence[_Window], told: Sequence[bool], in_parts: bool) -> Iterator[list[_Window]]:
    """Windows side by side, the longest first, those that are told something apart from the others."""
    lengths = [window.end - window.start for window in windows]
    order = sorted(range(len(windows)), key=lambda i: (told[windows[i].piece], -lengths[i]))
    batch = list[_Window]()
    for index in order:
        if batch:
            longest = batch[0].end - batch[0].start
            at_once = _PART if in_parts and longest > _WHOLE else longest
            full = (len(batch) + 1) * at_once > _BATCH_TOKENS
            if full or told[batch[0].piece] != told[windows[index].piece]:
                yield batch
                batch = []
        batch.append(windows[index])
    if batch:
        yield batch


def _rows_nats(model: CausalModel, rows: Sequence[np.ndarray], conditions: Any, in_parts: bool) -> list[np.ndarray]:
    """Nats of row[1:] of each row (N,), the longest row first."""
    lengths, tokens = [len(row) - 1 for row in rows], _padded(model, rows)
    if not in_parts or lengths[0] <= _WHOLE:
        output = model(tokens[:, :-1], **_keywords(conditions))
        found = _nats(output.logits, tokens[:, 1:])
        return [values[:length] for values, length in zip(found, lengths, strict=True)]
    parts: list[list[np.ndarray]] = [[] for _ in rows]
    stateful: Any = model  # in_parts is said of such a one alone
    state, alive = stateful.new_state(len(rows), lengths[0]), len(rows)
    for start in range(0, lengths[0], _PART):
        still = sum(length > start for length in lengths)
        if still < alive:  # rows that have ended leave; the longest come first
            alive = still
            state.select(range(alive))
            conditions = _stacked([conditions], alive) if conditions is not None else None
        inputs = tokens[:alive, start : start + _PART + 1]
        output = stateful(inputs[:, :-1], state=state, **_keywords(conditions))
        found = _nats(output.logits, inputs[:, 1:])
        for index, values in enumerate(found):
            parts[index].append(values[: lengths[index] - start])
    return [np.concatenate(values) for values in parts]


def _padded(model: CausalModel, rows: Sequence[np.ndarray]) -> torch.Tensor:
    """Rows (N,), the longest first, as (B, T + 1) on the model's device, padded with PAD."""
    tokens = torch.zeros(len(rows), len(rows[0]), dtype=torch.int64)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = torch.from_numpy(np.asarray(row, dtype=np.int64))
    return tokens.to(next(model.parameters()).device)


def _nats(logits: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    """logits (B, T, V), targets (B, T) -> (B, T) in double precision."""
    nats = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
    return nats.view(targets.shape).cpu().double().numpy()


def _keywords(conditions: Any) -> dict[str, Any]:
    """`conditions` as keyword, left out where there are none."""
    return {} if conditions is None else {"conditions": conditions}


def _stacked(told: Sequence[Any], rows: int | None = None) -> Any:
    """Conditions of several rows as those of a batch, the first `rows` of it; None for none."""
    return replace(told[0], labels=torch.cat([each.labels for each in told])[:rows]) if told else None


def model_likelihood(
    model: CausalModel,
    pieces: Iterable[tuple[str, np.ndarray, int]],
    window: int,
    conditions: Mapping[str, Any] | None = None,
) -> Likelihood:
    """pieces: (id, ids (N,), notes of the source file). conditions: by id, see `token_nats`."""
    known = list(pieces)
    with evaluating(model):
        found = token_nats(model, [(name, ids) for name, ids, _ in known], window, conditions=conditions)
    return Likelihood(
        tuple(
            PieceLikelihood(name, float(nats.sum()), len(nats), notes)
            for (name, _, notes), nats in zip(known, found, strict=True)
        )
    )


@torch.no_grad()
def latent_nats(
    model: CausalModel,
    pieces: Sequence[tuple[str, Sequence[np.ndarray]]],
    conditions: Mapping[str, Any] | None = None,
    on_tokens: Callable[[int], Any] | None = None,
) -> list[tuple[np.ndarray, float]]:
    """Of each piece the nats of every token given one draw of its segment's posterior, and the posteriors' divergence.

    The latter is from the prior, in nats, summed over the segments; both together are an upper bound of the nats of a
    model with a latent (models/vae.py), each segment apart: no other is known to it. pieces: (id, segments (N,), each
    with the token after it). The other arguments are those of `token_nats`.
    """
    told = conditions or {}
    parts: list[list[np.ndarray]] = [[np.zeros(0)] * len(segments) for _, segments in pieces]
    divergences = [0.0] * len(pieces)
    places = [
        (index, number)
        for index, (_, segments) in enumerate(pieces)
        for number, segment in enumerate(segments)
        if len(segment) > 1
    ]
    windows = [_Window(place, 0, 0, len(pieces[index][1][number]) - 1) for place, (index, number) in enumerate(places)]
    for batch in _batches(windows, [pieces[index][0] in told for index, _ in places], in_parts=False):
        where = [places[item.piece] for item in batch]
        given = [told[pieces[index][0]] for index, _ in where if pieces[index][0] in told]
        tokens = _padded(model, [pieces[index][1][number] for index, number in where])
        inputs = tokens[:, :-1].clone()
        for row, item in enumerate(batch):
            inputs[row, item.end :] = 0  # the last label is not to be known to the posterior
        output = model(inputs, **_keywords(_stacked(given)))
        found = _nats(output.logits, tokens[:, 1:])
        for row, (index, number) in enumerate(where):
            parts[index][number] = found[row, : batch[row].end]
            divergences[index] += float(output.statistics["kl_nats"][row])
        if on_tokens is not None:
            on_tokens(sum(item.end for item in batch))
    empty = np.zeros(0)
    return [(np.concatenate([empty, *rows]), nats) for rows, nats in zip(parts, divergences, strict=True)]


@contextlib.contextmanager
def evaluating(model: CausalModel) -> Iterator[None]:
    """The model in evaluation mode, and afterwards as it was."""
    was_training = model.training
    model.train(False)
    try:
        yield
    finally:
        model.train(was_training)


def uniform_likelihood(pieces: Iterable[tuple[str, np.ndarray, int]], vocab_size: int) -> Likelihood:
    """Every token equally likely."""
    each = math.log(vocab_size)
    return Likelihood(
        tuple(PieceLikelihood(name, each * (len(ids) - 1), len(ids) - 1, notes) for name, ids, notes in pieces)
    )


def unigram_likelihood(
    pieces: Iterable[tuple[str, np.ndarray, int]], training: Sequence[np.ndarray], vocab_size: int
) -> Likelihood:
    """See `unigram_nats`."""
    nats = unigram_nats(training, vocab_size)
    return Likelihood(
        tuple(
            PieceLikelihood(name, float(nats[np.asarray(ids)[1:]].sum()), len(ids) - 1, notes)
            for name, ids, notes in pieces
        )
    )


def unigram_nats(training: Iterable[np.ndarray], vocab_size: int) -> np.ndarray:
    """(V,) nats of each id by its frequency in the training pieces (N,), with one added to each count (Laplace)."""
    counts = np.ones(vocab_size)
    for ids in training:
        counts += np.bincount(np.asarray(ids)[1:], minlength=vocab_size)
    return -np.log(counts / counts.sum())
