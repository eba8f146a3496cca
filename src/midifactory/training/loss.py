"""The loss: cross-entropy of the next token, over real tokens only.

Legend: B rows, T tokens, V vocabulary.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midifactory.data.batches import IGNORED
from midifactory.errors import UserError
from midifactory.tokens.tokenizer import Tokenizer


def sequence_loss(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """logits (B, T, V), labels (B, T) with IGNORED at padding -> nats per token (mean) or in all (sum).

    none: (B T,), of each token, 0 at padding.
    """
    return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction=reduction)


class TrainingLoss(nn.Module):
    """What training minimises: the nats of `sequence_loss`, weighted and with the usual regularisers.

    token_weights: (V,), how much each token counts in the (weighted) mean; None for all alike. label_smoothing: the
    share of the target that is spread evenly over the vocabulary (Szegedy et al. 2016). z_loss: weight of the squared
    log-partition, which keeps logits from drifting (Chowdhery et al. 2022, PaLM: 1e-4). Raises UserError for numbers
    that cannot be.
    """

    token_weights: Tensor | None

    def __init__(self, token_weights: Tensor | None = None, z_loss: float = 0.0, label_smoothing: float = 0.0):
        super().__init__()
        if not is_number(z_loss) or z_loss < 0:
            raise UserError(f"loss.z_loss={z_loss}: give a number of at least 0; PaLM's is 1e-4")
        if not is_number(label_smoothing) or not 0 <= label_smoothing < 1:
            raise UserError(f"loss.label_smoothing={label_smoothing}: give a share from 0 to below 1, such as 0.1")
        self.register_buffer("token_weights", token_weights, persistent=False)
        self.z_loss, self.label_smoothing = z_loss, label_smoothing

    def weight(self, labels: Tensor) -> Tensor:
        """labels (B, T) -> what the (weighted) mean over their tokens is divided by."""
        real = labels != IGNORED
        return real.sum() if self.token_weights is None else self.token_weights[labels[real]].sum()

    def forward(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """logits (B, T, V), labels (B, T) -> what to minimise, and the plain nats per token, both scalars."""
        if self.token_weights is None and not self.z_loss and not self.label_smoothing:
            nats = sequence_loss(logits, labels)
            return nats, nats.detach()
        real = labels != IGNORED
        scores, targets = logits[real].float(), labels[real]  # (N, V), (N,)
        partition = scores.logsumexp(-1)  # (N,)
        nats = partition - scores.gather(1, targets[:, None])[:, 0]  # (N,)
        each = nats
        if self.label_smoothing:
            even = partition - scores.mean(-1)
            each = torch.lerp(each, even, self.label_smoothing)
        if self.z_loss:
            each = each + self.z_loss * partition.square()
        if self.token_weights is None:
            return each.mean(), nats.detach().mean()
        weights = self.token_weights[targets]
        return (weights * each).sum() / weights.sum(), nats.detach().mean()


def token_weights(type_weights: Mapping[str, float] | None, tokenizer: Tokenizer) -> Tensor | None:
    """(V,): the weight of each token's type, 1 where none is given; a merged token has the mean of its parts.

    None where nothing is given. Raises UserError for anything but a mapping, for a type that the tokenizer has not, and
    for a weight that is not above 0.
    """
    if not type_weights:
        return None
    if not isinstance(type_weights, Mapping):
        raise UserError(f"loss.type_weights={type_weights}: give a weight for each type, such as {{Pitch: 2}}")
    known = sorted(set(tokenizer.types))
    for name, weight in type_weights.items():
        if name not in known:
            raise UserError(f"loss.type_weights: no token is of the type {name!r}; choose from {', '.join(known)}")
        if not is_number(weight) or not weight > 0:
            raise UserError(f"loss.type_weights: {name} has the weight {weight}; give a number above 0, 1 is usual")
    base = torch.tensor([float(type_weights.get(type_, 1.0)) for type_ in tokenizer.types])  # (base vocabulary,)
    return torch.stack([base[tokenizer.to_base_ids([index])].mean() for index in range(tokenizer.vocab_size)])


def is_number(value: object) -> bool:
    """Whether a config's value is a number, and no word or truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
