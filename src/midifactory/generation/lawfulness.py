"""How far a model would leave the grammar if nothing held it: a share of what it says, not of what it composes.

Legend: T tokens, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import torch

from midifactory.models.interface import Conditions, SequenceModel
from midifactory.tokens.grid_walk import walk_maker
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.tokens.walk import Controls


@torch.inference_mode()
def unlawful_share(
    model: SequenceModel,
    tokenizer: Tokenizer,
    ids: Sequence[int],
    window: int,
    conditions: Conditions | None = None,
) -> float:
    """The probability of tokens that the grammar forbids, at temperature 1, the mean over the places of a lawful row.

    ids: with BOS first. A model with a context reads `window` tokens at once, advanced by half of that. The tokenizer
    has a grammar. So it can be told how much of lawfulness a model has learnt, though what it composes is always lawful
    (Fradet et al. 2023 count the errors of free composing instead).
    """
    device = next(model.parameters()).device
    row = torch.tensor(ids, dtype=torch.int64, device=device)
    size = len(ids) - 1
    span = size if model.context is None else min(window, model.context)
    walk = walk_maker(tokenizer, Controls())()
    total, scored, start = 0.0, 0, 0
    while scored < size:
        end = min(start + span, size)
        shares = model(row[None, start:end], conditions=conditions).logits[0].float().softmax(-1)  # (T, V)
        for place, share in enumerate(shares.cpu().numpy()[scored - start :], start=scored):
            walk.step(ids[place])
            total += float(share[~np.asarray(walk.allowed())].sum())
        scored, start = end, end - span // 2
    return total / size if size else 0.0
