"""The loss: cross-entropy of the next token, over real tokens only."""

import torch.nn.functional as F
from torch import Tensor

from midifactory.data.batches import IGNORED


def sequence_loss(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """logits (B, T, V), labels (B, T) with IGNORED at padding -> nats per token (mean) or in all (sum)."""
    return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction=reduction)
