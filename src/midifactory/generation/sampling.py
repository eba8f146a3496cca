"""Sampling one token per row: small pure functions over logits.

Legend: B rows, V vocabulary, C candidates that survive top-k, ordered by falling logit.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from midifactory.errors import UserError


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn. top_k=0 and top_p=1 switch the two off. Raises UserError outside the limits."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise UserError(f"temperature={self.temperature}: it must be above 0; 0.8 is careful, 1.1 is bold")
        if self.top_k < 0:
            raise UserError(f"top_k={self.top_k}: it must be 0 (off) or more")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p={self.top_p}: it must lie in (0, 1]; 1 is off, 0.95 is customary")


def top_k(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k greatest logits of (B, V) and their ids, (B, C) each, falling; all of them for k = 0 (Fan et al. 2018)."""
    size = logits.shape[-1]
    return torch.topk(logits, min(k, size) if k else size, dim=-1)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Falling logits (B, C) with -inf behind the shortest prefix that holds probability p (Holtzman et al. 2020)."""
    if p >= 1:
        return logits
    probabilities = logits.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities  # the mass in front of each candidate; 0 for the first
    return logits.masked_fill(before >= p, -torch.inf)


def draw(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Indices (B,) by inverting the distribution of logits (B, C) at uniforms (B,) in [0, 1)."""
    cumulative = logits.softmax(-1).cumsum(-1)  # (B, C)
    # Scaled by the last value, which rounding may leave a little off 1.
    chosen = torch.searchsorted(cumulative, uniforms[:, None] * cumulative[:, -1:], right=True)[:, 0]
    last = (logits > -torch.inf).sum(-1) - 1
    return torch.minimum(chosen, last)


def sample(logits: Tensor, sampling: Sampling, uniforms: Tensor) -> Tensor:
    """One id per row, (B,), from logits (B, V): temperature, then top-k, then top-p.

    Forbidden tokens have logit -inf; at least one must be finite in each row. Without top-k the sort is over V.
    """
    values, ids = top_k(logits.float(), sampling.top_k)
    # Falling from 0 before it is divided: the smallest temperature then leaves the first candidate finite.
    values = (values - values[:, :1]) / sampling.temperature
    chosen = draw(top_p(values, sampling.top_p), uniforms)
    return ids.gather(-1, chosen[:, None])[:, 0]
