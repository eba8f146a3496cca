"""LoRA: a trained matrix of low rank added to each frozen weight (Hu et al. 2021).

Legend: M, N rows and columns of a weight, R rank.
"""

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from midifactory.models.interface import SequenceModel


class LowRank(nn.Module):
    """weight (M, N) -> weight + alpha / R x up (M, R) @ down (R, N); up starts at zero, so nothing changes at first."""

    def __init__(self, weight: Tensor, rank: int, alpha: float):
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(torch.randn(rank, columns).to(weight) * columns**-0.5)
        self.up = nn.Parameter(weight.new_zeros(rows, rank))
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """(M, N) -> (M, N)."""
        return torch.addmm(weight, self.up, self.down, alpha=self.scale)


def add_lora(model: SequenceModel, rank: int, alpha: float, whole: Collection[str] = ()) -> int:
    """Freeze `model` in place, adapt its linear layers, and return how many these are.

    Every nn.Linear but the output layer (`head`) is adapted: attention, feed-forward and projections. Recurrent
    cells (nn.LSTM, nn.GRU) and embeddings are no linear layers. whole: names of parameters that stay trained as they
    are. Raises ValueError for numbers that cannot be, and for a model with nothing to adapt.
    """
    if type(rank) is not int or rank < 1:
        raise ValueError(f"rank={rank}: give a whole number of at least 1, such as 8")
    if not isinstance(alpha, (int, float)) or not alpha > 0:
        raise ValueError(f"alpha={alpha}: give a number above 0, such as twice the rank")
    layers = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] != "head"
    ]
    if not layers:
        raise ValueError(f"{type(model).__name__} has no linear layers besides its output for LoRA to adapt")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in whole)
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank, alpha))
    return len(layers)


def merge_lora(model: SequenceModel) -> None:
    """Add what `add_lora` let be learnt to the weights, in place; the model is as plain and fast as before it."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
