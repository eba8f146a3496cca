"""Note by note: how likely a model found what was written, and what else it weighed.

Legend: T tokens as the model reads them, V vocabulary, M notes, n tokens of a part that is read at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from midifactory.evaluation.likelihood import CausalModel, logits_of
from midifactory.evaluation.told_notes import ToldNotes
from midifactory.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Part:
    """A token of a note: its type and value, those of a merged token joined by +.

    nats: this note's share of the token's, which its notes share alike. probability: of the token, given all before.
    alternatives: the likeliest values of the same type, with their probabilities.
    """

    type: str
    value: str
    nats: float
    probability: float
    alternatives: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class ExplainedNote:
    """nats: of all parts. probability: of the note's pitch, given all before; alternatives: the likeliest pitches."""

    nats: float
    probability: float
    alternatives: tuple[tuple[int, float], ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Explained:
    """The notes of ToldNotes in their order. nats: of all tokens that were foretold, those of time and bars, too."""

    notes: tuple[ExplainedNote, ...]
    nats: float


def explain(
    model: CausalModel,
    tokenizer: Tokenizer,
    told: ToldNotes,
    window: int,
    alternatives: int = 5,
    on_tokens: Callable[[int], Any] | None = None,
) -> Explained:
    """Let the model read the file, in windows as evaluation/likelihood.py has them, told nothing of it.

    The probability of a pitch is summed over all tokens that say it and begin as the one that was written: without
    byte pairs that is one token. on_tokens: called with the number of tokens read; what it raises ends the reading.
    """
    names = _Names(tokenizer)
    notes_of: list[list[int]] = [[] for _ in told.ids]
    for token, note in zip(told.token.tolist(), told.note.tolist(), strict=True):
        notes_of[token].append(note)
    parts: list[list[Part]] = [[] for _ in range(len(told))]
    pitches: list[tuple[float, tuple[tuple[int, float], ...]]] = [(0.0, ())] * len(told)
    total, place = 0.0, 1
    for logits in logits_of(model, told.ids, window):
        targets = told.ids[place : place + len(logits)]
        logs = _log_softmax(logits)  # (n, V)
        total -= float(logs[np.arange(len(targets)), targets].sum())
        for row, target in zip(logs, targets.tolist(), strict=True):
            sharing = notes_of[place]
            if sharing:
                part = _part(names, row, target, len(sharing), alternatives)
            for note in sharing:
                parts[note].append(part)
                if told.strikes[note] == place:
                    where, pitch = int(told.parts[note]), int(told.pitch[note])
                    pitches[note] = _pitches(names, row, target, where, pitch, alternatives)
            place += 1
        if on_tokens is not None:
            on_tokens(len(targets))
    notes = (
        ExplainedNote(sum(part.nats for part in own), *pitch, tuple(own))
        for own, pitch in zip(parts, pitches, strict=True)
    )
    return Explained(tuple(notes), total)


class _Names:
    """What the model's ids mean: the types and values of their base tokens, and which ids are of the same types."""

    def __init__(self, tokenizer: Tokenizer):
        base = [tokenizer.to_base_ids([i]).tolist() for i in range(tokenizer.vocab_size)]
        self.base = base
        self.base_values = [token.partition("_")[2] for token in tokenizer.tokens]
        self.types = ["+".join(tokenizer.types[i] for i in part) for part in base]
        self.values = ["+".join(self.base_values[i] for i in part) for part in base]
        alike: dict[str, list[int]] = {}
        for i, name in enumerate(self.types):
            alike.setdefault(name, []).append(i)
        self.alike = {name: np.array(ids) for name, ids in alike.items()}
        self.base_types = tokenizer.types
        self._strikes: dict[tuple[tuple[int, ...], str], _Strikes] = {}

    def strikes(self, target: int, part: int) -> "_Strikes":
        """The ids that begin as `target` up to its base token `part`, and then have one of that type."""
        own = self.base[target]
        begin, type_ = tuple(own[:part]), self.base_types[own[part]]
        key = (begin, type_)
        if key not in self._strikes:
            found: dict[int, list[int]] = {}
            for i, base in enumerate(self.base):
                if len(base) > part and tuple(base[:part]) == begin and self.base_types[base[part]] == type_:
                    found.setdefault(int(self.base_values[base[part]]), []).append(i)
            sizes = [len(ids) for ids in found.values()]
            self._strikes[key] = _Strikes(
                np.array(list(found)), np.concatenate(list(found.values())), np.cumsum([0, *sizes[:-1]])
            )
        return self._strikes[key]


class _Strikes(NamedTuple):
    """Values of tokens that strike a note, and the ids that say each: from its place in `begins` on."""

    values: np.ndarray
    ids: np.ndarray
    begins: np.ndarray


def _part(names: _Names, row: np.ndarray, target: int, sharing: int, count: int) -> Part:
    """row: (V,) logarithms of probabilities."""
    alike = names.alike[names.types[target]]
    likeliest = alike[_largest(row[alike], count)]
    return Part(
        names.types[target],
        names.values[target],
        -float(row[target]) / sharing,
        float(np.exp(row[target])),
        tuple((names.values[i], float(np.exp(row[i]))) for i in likeliest.tolist()),
    )


def _pitches(
    names: _Names, row: np.ndarray, target: int, part: int, pitch: int, count: int
) -> tuple[float, tuple[tuple[int, float], ...]]:
    """The probability of what was written, and the likeliest pitches with theirs; intervals are told as pitches."""
    written = int(names.base_values[names.base[target][part]])
    strikes = names.strikes(target, part)
    shares = np.add.reduceat(np.exp(row[strikes.ids]), strikes.begins)
    values = strikes.values - written + pitch
    possible = (values >= 0) & (values <= 127)
    own = float(shares[strikes.values == written][0])
    values, shares = values[possible], shares[possible]
    return own, tuple((int(values[i]), float(shares[i])) for i in _largest(shares, count))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """(n, V) -> (n, V) in double precision."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(-1, keepdims=True))
    return shifted


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Where the `count` greatest values stand, the greatest first, of equal ones the first."""
    return np.argsort(-values, kind="stable")[:count]
