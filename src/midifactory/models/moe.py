"""A mixture of experts in place of a feed-forward: each token is sent to the few that its router prefers.

Shazeer et al. 2017; Lepikhin et al. 2020 (GShard) for the capacity and the normalised weights of several experts; Fedus
et al. 2021 (Switch) for one expert and the balance loss; Zoph et al. 2022 (ST-MoE) for the router's z-loss.

Legend: B rows, T tokens, D d_model, E experts, k experts of each token, N real tokens.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Routing(NamedTuple):
    """chosen: (B, T, k) int64, the best expert first. scores: (B, T, E), the router's logits, in single precision."""

    chosen: Tensor
    scores: Tensor


def router_losses(routing: Routing, real: Tensor) -> tuple[Tensor, Tensor]:
    """The balance loss and the z-loss of one layer, not weighted, over the `real` (B, T) tokens."""
    chosen, scores = routing.chosen[real], routing.scores[real]  # (N, k), (N, E)
    count = scores.shape[-1]
    shares = chosen.flatten().bincount(minlength=count) / chosen.numel()  # (E,)
    balance = count * (shares * scores.softmax(-1).mean(0)).sum()  # Fedus et al. 2021, eq. 4
    return balance, scores.logsumexp(-1).square().mean()  # Zoph et al. 2022, eq. 5


class Experts(nn.Module):
    """`count` feed-forwards made by `make_expert`, of which each token passes through `per_token`.

    With one expert for each token its output is weighted by its probability (Switch), with several by its share among
    those chosen (GShard). capacity_factor: in training, an expert takes that many times its even share of a row's
    choices, the earliest first; beyond, a choice is dropped, and a token without any passes by on the residual.
    None, and eval mode, drop nothing: a row in a cache does not know how long it will be.
    """

    def __init__(
        self, make_expert: Callable[[], nn.Module], d_model: int, count: int, per_token: int,
        capacity_factor: float | None,
    ):  # fmt: skip
        super().__init__()
        self.per_token, self.capacity_factor = per_token, capacity_factor
        self.router = nn.Linear(d_model, count, bias=False)
        self.experts = nn.ModuleList(make_expert() for _ in range(count))

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """x (B, T, D) -> (B, T, D), and which way its tokens went."""
        width, count = x.shape[-1], len(self.experts)
        # Routers need single precision, also where the rest is in half (Fedus et al. 2021, 2.4).
        with torch.autocast(x.device.type, enabled=False):
            scores = F.linear(x.float(), self.router.weight.float())  # (B, T, E)
        weights, chosen = scores.softmax(-1).topk(self.per_token, -1)  # (B, T, k)
        if self.per_token > 1:
            weights = weights / weights.sum(-1, keepdim=True)
        expert = chosen
        if self.training and self.capacity_factor is not None:
            # Those left over go to an expert of that number that does not exist, behind all others.
            expert = chosen.masked_fill(self._beyond_capacity(chosen), count)

        # Every expert's tokens side by side, so that it multiplies once.
        expert = expert.flatten()  # (B T k)
        order = expert.argsort(stable=True)
        sizes = expert.bincount(minlength=count + 1).tolist()
        tokens = x.reshape(-1, width).repeat_interleave(self.per_token, 0)  # (B T k, D)
        *parts, left = tokens.index_select(0, order).split(sizes)
        done = [module(part) for module, part in zip(self.experts, parts, strict=True)]
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        y = torch.cat([*done, torch.zeros_like(left)]).index_select(0, back)  # (B T k, D)
        y = (y.view(*chosen.shape, width) * weights[..., None].to(y.dtype)).sum(2)  # (B, T, D)
        return y, Routing(chosen, scores)

    def _beyond_capacity(self, chosen: Tensor) -> Tensor:
        """(B, T, k) bool: choices whose expert is full with earlier ones of the row."""
        assert self.capacity_factor is not None
        count, choices = len(self.experts), chosen.shape[1] * self.per_token
        capacity = math.ceil(self.capacity_factor * choices / count)
        taken = F.one_hot(chosen.flatten(1), count)  # (B, T k, E)
        before = (taken.cumsum(1) - taken).gather(2, chosen.flatten(1)[..., None])  # (B, T k, 1)
        return (before >= capacity).view(chosen.shape)

    def step(self) -> Callable[[Tensor], Tensor]:
        """`forward` as a function of x (B, D)."""
        return lambda x: self(x[:, None])[0][:, 0]
