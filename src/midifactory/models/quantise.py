"""Weights of 8 bits: a quarter of the memory, and of what is read for each token.

Legend: N outputs, K inputs.
"""

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


class Int8Linear(nn.Module):
    """A linear layer whose weights are `scales` (N,) times `weight` (N, K) int8, which is -127 to 127."""

    weight: Tensor
    scales: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach()
        # A row of zeros has no scale.
        scales = weight.abs().amax(1).clamp(min=torch.finfo(weight.dtype).tiny) / 127
        self.register_buffer("weight", (weight / scales[:, None]).round().to(torch.int8))
        self.register_buffer("scales", scales)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """x (..., K) -> (..., N)."""
        y = F.linear(x, self.weight.to(x.dtype)) * self.scales.to(x.dtype)
        return y if self.bias is None else y + self.bias.to(x.dtype)


def quantise(model: Model) -> Model:
    """A copy of `model`, for generation alone, whose linear layers have weights of 8 bits (weight-only, by output).

    Each weight is rounded to the nearest of 255 values of its output's own range, so it moves by at most a 254th of the
    row's greatest. Activations and sums stay as they are. Embeddings, norms, routers and the cells of nn.LSTM and
    nn.GRU stay too; a tied output layer becomes a table of its own. It is faster where there is a native step alone,
    which then keeps keys and values in 8 bits, too (cache.py).
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear) and name != "router":
                setattr(parent, name, Int8Linear(child))
    return model
