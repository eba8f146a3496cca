"""Sampling one token per row, each row in its own way: small pure functions over logits.

Legend: B rows, V vocabulary, C candidates that survive top-k, ordered by falling logit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from midifactory.errors import UserError

_FEW = 128  # the greatest logits, among which a draw almost always ends; to sort all of V is the dearest part of it
_WORTH_IT = 8192  # numbers in (B, V), below which a sort costs less than to look whether it can be spared
_ROUNDING = 2e-5  # a decision on a share of the probability that is as near as this must be made in full
_COLDEST = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn. Raises UserError outside the limits.

    temperature 0 takes the most likely token, top_k=0, top_p=1, min_p=0 and typical_p=1 switch these off.
    temperature_per_type: for tokens of a type (such as Pitch) instead of `temperature`; the engine is told by id, and
    as factors (engine.Row.temperatures).
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    temperature_per_type: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise UserError(
                f"temperature={self.temperature}: it must be above 0, or 0 for the most likely token alone; "
                "0.8 is careful, 1.1 is bold"
            )
        if self.top_k < 0:
            raise UserError(f"top_k={self.top_k}: it must be 0 (off) or more")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p={self.top_p}: it must lie in (0, 1]; 1 is off, 0.95 is customary")
        if not 0 <= self.min_p <= 1:
            raise UserError(f"min_p={self.min_p}: it must lie in [0, 1]; 0 is off, 0.05 is customary")
        if not 0 < self.typical_p <= 1:
            raise UserError(f"typical_p={self.typical_p}: it must lie in (0, 1]; 1 is off, 0.95 is customary")
        for name, temperature in (self.temperature_per_type or {}).items():
            if not 0 < temperature < math.inf:
                raise UserError(
                    f"temperature_per_type.{name}={temperature}: it must be above 0; 1 changes nothing, 0.9 is careful"
                )


@dataclass(frozen=True)
class _Alike:
    """Rows of one top-k. Tensors (B, 1) of the other settings; None where none of the rows has one.

    rows: (B,) int64, None for all.
    """

    rows: Tensor | None
    k: int
    temperature: Tensor | None
    top_p: Tensor | None  # infinite where it is off: rounding could bring a sum of probabilities to 1 too early
    min_logit: Tensor | None
    typical_p: Tensor | None


class Settings:
    """The settings of B rows as tensors, made once for as long as the rows stay the same."""

    def __init__(
        self,
        samplings: Sequence[Sampling],
        device: torch.device | str = "cpu",
        temperatures: Sequence[Tensor | None] | None = None,
    ):
        """temperatures: of each row (V,), of the ids, beside its sampling's; None for 1 everywhere.

        They divide by how much an id's logit lies below the greatest one: that id keeps its lead.
        """

        def column(values: Sequence[float], off: float) -> Tensor | None:
            return torch.tensor(values, device=device)[:, None] if any(value != off for value in values) else None

        # Each row among others of its own top-k: equal logits, and sums of another length, could come out differently.
        numbers: dict[int, list[int]] = {}
        for row, sampling in enumerate(samplings):
            numbers.setdefault(sampling.top_k if sampling.temperature > 0 else 1, []).append(row)
        self.alike = []
        for k, rows in numbers.items():
            own = [samplings[row] for row in rows]
            self.alike.append(
                _Alike(
                    torch.tensor(rows, device=device) if len(numbers) > 1 else None,
                    k,
                    column([max(one.temperature, _COLDEST) for one in own], 1.0),
                    column([one.top_p if one.top_p < 1 else math.inf for one in own], math.inf),
                    column([math.log(one.min_p) if one.min_p else -math.inf for one in own], -math.inf),
                    column([one.typical_p if one.typical_p < 1 else math.inf for one in own], math.inf),
                )
            )
        self.temperatures: Tensor | None = None  # (B, V)
        self.has_temperatures: Tensor | None = None  # (B, 1) bool
        given = [part for part in temperatures or () if part is not None]
        if given and temperatures is not None:
            ones = torch.ones_like(given[0])
            stacked = torch.stack([ones if part is None else part for part in temperatures])
            self.temperatures = stacked.to(device, torch.float32).clamp(min=_COLDEST)
            self.has_temperatures = torch.tensor([part is not None for part in temperatures], device=device)[:, None]


def sample(logits: Tensor, settings: Settings, uniforms: Tensor) -> Tensor:
    """One id per row, (B,), from logits (B, V): temperature, then top-k, top-p, min-p, typical; then `draw`.

    Forbidden tokens have logit -inf; at least one must be finite in each row. A row's id does not depend on the others.
    """
    logits = logits.float()
    if settings.temperatures is not None and settings.has_temperatures is not None:
        # Rows without them are to stay as they are to the last bit.
        greatest = torch.where(settings.has_temperatures, logits.amax(-1, keepdim=True), 0.0)
        logits = (logits - greatest) / settings.temperatures
    if len(settings.alike) == 1:
        return _sample(logits, settings.alike[0], uniforms)
    ids = torch.empty(len(logits), dtype=torch.int64, device=logits.device)
    for alike in settings.alike:
        ids[alike.rows] = _sample(logits[alike.rows], alike, uniforms[alike.rows])
    return ids


def top_k(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k greatest logits of (B, V) and their ids, (B, C) each, falling; all of them for k = 0 (Fan et al. 2018)."""
    size = logits.shape[-1]
    return torch.topk(logits, min(k, size) if k else size, dim=-1)


def top_p(logits: Tensor, p: Tensor) -> Tensor:
    """Falling logits (B, C) with -inf behind the shortest prefix that holds probability p (Holtzman et al. 2020).

    p: (B, 1), infinite to keep everything.
    """
    probabilities = logits.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities  # the mass in front of each candidate; 0 for the first
    return logits.masked_fill(before >= p, -torch.inf)


def min_p(logits: Tensor, min_logit: Tensor) -> Tensor:
    """Falling logits (B, C) that begin with 0, with -inf below (B, 1) `min_logit` (Nguyen et al. 2024).

    It is the logarithm of the least probability that is kept, as a share of the greatest one.
    """
    return logits.masked_fill(logits < min_logit, -torch.inf)


def typical(logits: Tensor, p: Tensor) -> Tensor:
    """Logits (B, C) of the fewest tokens that hold probability p, whose information is nearest to the entropy.

    Locally typical sampling (Meister et al. 2022); the others become -inf. p: (B, 1), infinite to keep everything.
    """
    nats = -logits.log_softmax(-1)
    probabilities = (-nats).exp()
    entropy = torch.where(probabilities > 0, probabilities * nats, 0.0).sum(-1, keepdim=True)
    nearest = (nats - entropy).abs().sort(dim=-1, stable=True).indices
    masses = probabilities.gather(-1, nearest)
    over = masses.cumsum(-1) - masses >= p
    return logits.masked_fill(over.scatter(-1, nearest, over), -torch.inf)


def draw(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Indices (B,) by inverting the distribution of logits (B, C) at uniforms (B,) in [0, 1)."""
    cumulative = logits.softmax(-1).cumsum(-1)  # (B, C)
    # Scaled by the last value, which rounding may leave a little off 1.
    chosen = torch.searchsorted(cumulative, uniforms[:, None] * cumulative[:, -1:], right=True)[:, 0]
    last = logits.shape[-1] - 1 - (logits > -torch.inf).flip(-1).byte().argmax(-1)
    return torch.minimum(chosen, last)


def _sample(logits: Tensor, alike: _Alike, uniforms: Tensor) -> Tensor:
    if alike.k == 1:
        return logits.topk(1, dim=-1).indices[:, 0]
    if (
        alike.k == 0
        and alike.typical_p is None
        and logits.shape[-1] > _FEW
        and logits.numel() >= _WORTH_IT
        and logits.device.type == "cpu"
    ):
        ids, certain = _among_few(logits, alike, uniforms)
        if not bool(certain.all()):
            rest = (~certain).nonzero()[:, 0]
            ids[rest] = _among_all(logits[rest], _chosen(alike, rest), uniforms[rest])
        return ids
    return _among_all(logits, alike, uniforms)


def _among_all(logits: Tensor, alike: _Alike, uniforms: Tensor) -> Tensor:
    values, ids = top_k(logits, alike.k)
    values = _falling_from_zero(values, values[:, :1], alike)
    if alike.top_p is not None:
        values = top_p(values, alike.top_p)
    if alike.min_logit is not None:
        values = min_p(values, alike.min_logit)
    if alike.typical_p is not None:
        values = typical(values, alike.typical_p)
    return ids.gather(-1, draw(values, uniforms)[:, None])[:, 0]


def _among_few(logits: Tensor, alike: _Alike, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """What `_among_all` gives, (B,), without top-k and typical, and where that is certain, (B,) bool.

    The order of all of V is needed only as far as the drawn token, and to where top-p and min-p cut it off. Both are
    looked for among the greatest logits. Uncertain is what lies further down, is too near to a decision to survive
    another order of summation, or hangs on the order of equal logits.
    """
    values, ids = torch.topk(logits, _FEW, dim=-1)
    first = values[:, :1]
    near = _falling_from_zero(values, first, alike)
    total = _falling_from_zero(logits, first, alike).exp().sum(-1, keepdim=True)
    masses = near.exp() / total
    cumulative = masses.cumsum(-1)  # (B, few)
    certain = (values[:, 1:] < values[:, :-1]).logical_or_(values[:, 1:] == -torch.inf).all(-1)
    goal = uniforms[:, None]
    if alike.top_p is not None or alike.min_logit is not None:
        kept = torch.ones_like(masses, dtype=torch.bool)
        if alike.top_p is not None:
            before = cumulative - masses
            kept &= before < alike.top_p
            certain &= (before - alike.top_p).abs().amin(-1) > _ROUNDING
        if alike.min_logit is not None:
            kept &= near >= alike.min_logit
        count = kept.sum(-1, keepdim=True)
        goal = goal * cumulative.gather(-1, (count - 1).clamp(min=0))
        limited = torch.zeros_like(count, dtype=torch.bool)
        for limit in (alike.top_p, alike.min_logit):
            if limit is not None:
                limited |= limit.isfinite()
        goal = torch.where(limited, goal, uniforms[:, None])
        certain &= ((count < _FEW) | ~limited)[:, 0]
    chosen = torch.searchsorted(cumulative, goal, right=True)
    certain &= (cumulative - goal).abs().amin(-1) > _ROUNDING
    # The last one could stand for another of the same logit.
    certain &= chosen[:, 0] < _FEW - 1
    return ids.gather(-1, chosen.clamp(max=_FEW - 1))[:, 0], certain


def _falling_from_zero(values: Tensor, first: Tensor, alike: _Alike) -> Tensor:
    # From 0 before they are divided: the smallest temperature then leaves the first candidate finite.
    values = values - first
    return values if alike.temperature is None else values / alike.temperature


def _chosen(alike: _Alike, rows: Tensor) -> _Alike:
    parts = (alike.temperature, alike.top_p, alike.min_logit, alike.typical_p)
    return _Alike(None, alike.k, *(None if part is None else part[rows] for part in parts))
