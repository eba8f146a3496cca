"""The one interface of all sequence models.

Legend: B rows, T tokens, V vocabulary, D d_model, H heads, K head size, C conditions, Z latent size, F place features.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

PAD = 0  # the id of padding in every tokenizer


@dataclass(frozen=True)
class Conditions:
    """What the music of each row is asked to be.

    labels: (B, C) int64, one value for each condition the model was trained with, 0 where it is not given. latent:
    (B, Z) float, for a model with a latent. None of both for a model that takes none, or for "nothing given".
    """

    labels: Tensor | None = None
    latent: Tensor | None = None


class State(ABC):
    """What the rows of a batch have read. A call of the model moves it on in place; between calls rows come and go.

    A row's logits do not depend on the rows beside it, nor on when they came, but for rounding.
    """

    @abstractmethod
    def select(self, rows: Sequence[int] | Tensor) -> None:
        """Keep these rows alone, at least one, in this order, in place; a row named twice becomes two."""

    @abstractmethod
    def join(self, other: Self) -> None:
        """Append the rows of another state of the same model, which may have read another number of tokens.

        `other` is used up. Both are to have read something, a prefix of conditions above all: ValueError if not.
        """


@dataclass
class Output:
    """logits: (B, T, V). state: what the next call needs. losses: auxiliary terms, weighted, that training adds.

    statistics: what a training may log beside the losses; experts (layers, B, T, k) int64 of a mixture of experts.
    kl_nats (B,) of a latent that the model has drawn itself: with the logits' nats they bound a row's likelihood.
    """

    logits: Tensor
    state: State | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)
    statistics: dict[str, Tensor] = field(default_factory=dict)


class PlaceReader(Protocol):
    """Finds where in the music each token stands, by the tokenizer's decoding arithmetic (tokens/places.py)."""

    sizes: tuple[int, ...]  # of each of the F features: values are 0 .. size - 1

    def start(self) -> Any:
        """The state of a row that has read nothing."""

    def read(self, ids: Tensor, states: list[Any]) -> Tensor:
        """ids (B, T) on the CPU, after what `states` (B of them, moved on in place) have read -> (B, T, F) int64.

        PAD ids leave a state as it is, so rows may be padded at either end.
        """


class SequenceModel(nn.Module, ABC):
    """A causal model over token ids: logits at position t depend on ids[..t], conditions and the state alone.

    `context` is the longest span it attends to in one piece, None for one that reads pieces whole: a recurrent state
    without end, or rows of up to `longest` tokens.
    """

    vocab_size: int
    context: int | None
    longest: int | None = None

    @abstractmethod
    def forward(self, ids: Tensor, state: Any = None, conditions: Conditions | None = None) -> Output:
        """ids (B, T) int64 -> Output. With a state, ids follow what the state has seen, and the new state returns.

        The same conditions are to be given with every call of a row.
        """

    @abstractmethod
    def new_state(self, batch_size: int, capacity: int, padding: Tensor | None = None) -> State:
        """An empty state for `batch_size` rows, each of up to `capacity` tokens.

        padding: (B,) int64, how many tokens at the start of each row are to be ignored; models that carry a
        recurrent state raise ValueError for it, since they never need to be started anew.
        """

    def anneal(self, step: int) -> None:
        """Called before training step `step` (from 0): for weights that change while training, such as a VAE's KL."""

    @property
    def parameters_count(self) -> int:
        """Number of trained scalars; tied weights once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def initialise(self, layers: int) -> None:
        """GPT-2's initialisation: N(0, 0.02), and 1/sqrt(2 layers) of it where a branch rejoins the residual."""
        for name, module in self.named_modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                scale = (2 * layers) ** -0.5 if name.endswith("residual") else 1.0
                nn.init.normal_(module.weight, std=0.02 * scale)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)


def copied(readers: list[Any], rows: Sequence[int]) -> list[Any]:
    """The readers' states of these rows, if there are any; those of a row named twice apart from each other."""
    if not readers:
        return []
    return [readers[row] if row not in rows[:at] else copy.deepcopy(readers[row]) for at, row in enumerate(rows)]


def check_joined(*have_read: bool) -> None:
    """Raise ValueError unless all states that are to be joined have read something."""
    if not all(have_read):
        raise ValueError("rows that have read nothing cannot join others; give them their first tokens before")


def check_length(size: int, limit: int, name: str, remedy: str) -> None:
    """Raise ValueError when `size` tokens exceed the `limit` that a model or cache was made for."""
    if size > limit:
        raise ValueError(f"{size} tokens exceed the {name} of {limit}; {remedy}")


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Inverted dropout (Srivastava et al. 2014), p rounded to 1/256 on a CPU; nothing outside training.

    torch draws a CPU mask number by number in one thread, which took a third of a training step. One random byte per
    element, eight to a draw, is plenty for a threshold: 0.75 ms instead of 16 for (8, 350, 128).
    """
    if not training or p <= 0:
        return x
    if x.device.type != "cpu":
        return torch.nn.functional.dropout(x, p)
    keep, scale = keep_mask(x, p)
    return x * keep.to(x.dtype).mul_(scale)


def keep_mask(x: Tensor, p: float) -> tuple[Tensor, float]:
    """What `dropout` keeps of x, bool of its shape, and the factor that keeps the mean."""
    if x.device.type != "cpu":
        return torch.rand_like(x, dtype=torch.float32) >= p, 1 / (1 - p)
    threshold = min(255, max(1, round(p * 256)))
    draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    return draws.view(torch.uint8)[: x.numel()].view(x.shape) >= threshold, 256 / (256 - threshold)
