"""Parts of a transformer's block that look at one position at a time: norms and feed-forwards.

Each part has a `step`: the same arithmetic as a plain function of x (B, D), its weights found once. While decoding,
calling some forty modules and finding their weights costs as much as their small products. It is what decodes where
there is no native step (native.py).

Legend: B rows, T tokens, D d_model, W inner width of a feed-forward.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

NORMS = ("layer", "rms")
FEED_FORWARDS = ("gelu", "swiglu")
Step = Callable[[Tensor], Tensor]


def make_norm(kind: str, d_model: int, bias: bool) -> nn.LayerNorm | nn.RMSNorm:
    """LayerNorm (Ba et al. 2016) or RMSNorm (Zhang and Sennrich 2019), which has no shift anyway."""
    return RMSNorm(d_model, eps=1e-6) if kind == "rms" else nn.LayerNorm(d_model, bias=bias)


class RMSNorm(nn.RMSNorm):
    """torch's, whose training on a CPU takes half the time: there, torch's is many operations, forth and back."""

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        slow = x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()
        # In half precision torch's rounds at the end alone.
        if not slow or x.dtype != self.weight.dtype or x.dtype.itemsize < 4:
            return super().forward(x)
        return _RootMeanSquare.apply(x, self.weight, self.eps)


class _RootMeanSquare(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) x weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """x (..., D), weight (D,) -> (..., D)."""
        factor = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, factor)
        return (x * factor).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of the result -> those of x and weight."""
        x, weight, factor = ctx.saved_tensors
        above = gradients[0].reshape(-1, x.shape[-1])  # (N, D), N all rows
        normed = x.reshape(above.shape) * factor.view(-1, 1)
        products = above * normed
        mean = torch.mv(products, weight)[:, None].div_(x.shape[-1])  # (N, 1)
        to_x = torch.addcmul(above * weight, normed, mean, value=-1).mul_(factor.view(-1, 1))
        return to_x.view(x.shape), products.sum(0), None


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
        if not self.gated or x.device.type != "cpu" or not isinstance(self.rise, nn.Linear):
            return self.residual(_activate(self.rise(x), self.gated))
        # In two products, since a CPU is slow with halves that do not lie together.
        biases = (None, None) if self.rise.bias is None else self.rise.bias.chunk(2)
        gate, value = (F.linear(x, *half) for half in zip(self.rise.weight.chunk(2), biases, strict=True))
        return self.residual(F.silu(gate) * value)

    def step(self) -> Step:
        """`forward` as a function of x (B, D)."""
        rise, fall, gated = linear_step(self.rise), linear_step(self.residual), self.gated
        return lambda x: fall(_activate(rise(x), gated))


def default_width(d_model: int, kind: str) -> int:
    """4 D, or for the three matrices of SwiGLU two thirds of it, rounded up to a multiple of 8."""
    return 8 * -(-d_model // 3) if kind == "swiglu" else 4 * d_model


def _activate(x: Tensor, gated: bool) -> Tensor:
    if not gated:
        return F.gelu(x)
    gate, value = x.chunk(2, -1)  # (..., W) each
    return F.silu(gate) * value


def linear_step(linear: nn.Module) -> Step:
    """A linear layer of x (B, D); a single row as the product of a matrix and a vector, which is faster on a CPU."""
    if not isinstance(linear, nn.Linear):
        return linear
    weight, bias = linear.weight, linear.bias

    def multiply(x: Tensor) -> Tensor:
        if len(x) > 1 or x.dtype != weight.dtype:  # of the two, autocast on a CPU knows F.linear alone
            return F.linear(x, weight, bias)
        return (torch.mv(weight, x[0]) if bias is None else torch.addmv(bias, weight, x[0]))[None]

    return multiply
