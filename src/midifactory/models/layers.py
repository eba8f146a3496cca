"""Parts of a transformer's block that look at one position at a time: norms and feed-forwards.

Each part has a `step`: the same arithmetic as a plain function of x (B, D), its weights found once. While decoding,
calling some forty modules and finding their weights costs as much as their small products.

Legend: B rows, T tokens, D d_model, W inner width of a feed-forward.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORMS = ("layer", "rms")
FEED_FORWARDS = ("gelu", "swiglu")
Step = Callable[[Tensor], Tensor]


def make_norm(kind: str, d_model: int, bias: bool) -> nn.LayerNorm | nn.RMSNorm:
    """LayerNorm (Ba et al. 2016) or RMSNorm (Zhang and Sennrich 2019), which has no shift anyway."""
    return nn.RMSNorm(d_model, eps=1e-6) if kind == "rms" else nn.LayerNorm(d_model, bias=bias)


def norm_step(norm: nn.LayerNorm | nn.RMSNorm) -> Step:
    """The norm as a function of x (B, D)."""
    shape, weight = list(norm.normalized_shape), norm.weight
    if isinstance(norm, nn.RMSNorm):
        rms_eps = norm.eps
        return lambda x: F.rms_norm(x, shape, weight, rms_eps)
    bias, eps = norm.bias, norm.eps
    return lambda x: torch.layer_norm(x, shape, weight, bias, eps)


class FeedForward(nn.Module):
    """Two layers with GELU between them (Radford et al. 2018), or SwiGLU (Shazeer 2020): one half gates the other."""

    def __init__(self, d_model: int, width: int, kind: str, bias: bool):
        super().__init__()
        self.gated = kind == "swiglu"
        self.rise = nn.Linear(d_model, 2 * width if self.gated else width, bias)
        self.residual = nn.Linear(width, d_model, bias)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        return self.residual(_activate(self.rise(x), self.gated))

    def step(self) -> Step:
        """`forward` as a function of x (B, D)."""
        rise, rise_bias, fall, fall_bias = self.rise.weight, self.rise.bias, self.residual.weight, self.residual.bias
        gated = self.gated
        return lambda x: affine(_activate(affine(x, rise, rise_bias), gated), fall, fall_bias)


def default_width(d_model: int, kind: str) -> int:
    """4 D, or for the three matrices of SwiGLU two thirds of it, rounded up to a multiple of 8."""
    return 8 * -(-d_model // 3) if kind == "swiglu" else 4 * d_model


def _activate(x: Tensor, gated: bool) -> Tensor:
    if not gated:
        return F.gelu(x)
    gate, value = x.chunk(2, -1)  # (..., W) each
    return F.silu(gate) * value


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """F.linear of x (B, D); for a single row as the product of a matrix and a vector, which is faster on a CPU."""
    if len(x) > 1 or x.dtype != weight.dtype:  # of the two, autocast on a CPU knows F.linear alone
        return F.linear(x, weight, bias)
    return (torch.mv(weight, x[0]) if bias is None else torch.addmv(bias, weight, x[0]))[None]
