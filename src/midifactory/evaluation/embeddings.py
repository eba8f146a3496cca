"""What a model makes of a piece, as one vector: for the Frechet distance of sets of pieces.

Legend: T tokens, D d_model.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn


class Reader(Protocol):
    """What a model must offer: a `head` that makes logits of hidden states, and a context."""

    context: int | None

    def __call__(self, ids: torch.Tensor, *, conditions: Any = None) -> Any:
        """ids (1, T), the head called once on (1, T, D)."""

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Among them one that is called `head`."""

    def parameters(self) -> Iterator[torch.Tensor]:
        """They show the device."""


def head_of(model: Any) -> nn.Module | None:
    """The layer that makes logits of a model's hidden states; None where there is none of that name."""
    return next((part for name, part in model.named_modules() if name.rpartition(".")[2] == "head"), None)


@torch.inference_mode()
def mean_hidden_states(model: Reader, pieces: Sequence[np.ndarray], window: int, conditions: Any = None) -> np.ndarray:
    """(pieces, D): of each piece (T,) the mean of what the model's head reads, over its tokens.

    A model with a context reads the first `window` tokens of a piece, any other one the whole of it. Raises ValueError
    for a model without a head.
    """
    head = head_of(model)
    if head is None:
        raise ValueError(f"{type(model).__name__} has no head")
    read: list[torch.Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    device = next(model.parameters()).device
    most = None if model.context is None else min(window, model.context)
    rows = []
    try:
        for ids in pieces:
            read.clear()
            model(torch.from_numpy(np.asarray(ids[:most], dtype=np.int64)).to(device)[None], conditions=conditions)
            rows.append(read[-1][0].double().mean(0).cpu().numpy())  # (T, D) -> (D,)
    finally:
        hook.remove()
    return np.array(rows)
