"""Where a transformer looked when it chose a note.

Legend: L layers, H heads, T tokens, M notes of the file, K notes before the chosen one.
"""

from typing import Any

import numpy as np
import torch

from midifactory.evaluation.told_notes import ToldNotes


def attend(model: Any, told: ToldNotes, note: int, window: int) -> tuple[np.ndarray, np.ndarray]:
    """The notes before `note` that the model still saw, (K,), and the weights that it gave them, (L, H, K).

    It chose the note's pitch at the token before the one that strikes it: the weights are those of that position. What
    is missing to one went to tokens of time and bars, to the note's own, and to what stands before the first token.
    A token of several notes is divided among them.
    """
    chosen_at = int(told.strikes[note]) - 1
    first = max(0, chosen_at + 1 - window)
    ids = torch.from_numpy(told.ids[first : chosen_at + 1])[None].to(next(model.parameters()).device)
    weights = torch.cat([layer[:, :, -1] for layer in model.attention_maps(ids)]).float().cpu().numpy()  # (L, H, T)
    seen = (told.token >= first) & (told.token <= chosen_at)
    token, owner = told.token[seen] - first, told.note[seen]
    owners = np.bincount(token, minlength=weights.shape[-1])
    notes = np.unique(owner[told.strikes[owner] <= chosen_at])
    notes = notes[notes != note]
    shares = np.zeros((weights.shape[-1], len(told)))
    shares[token, owner] = 1 / owners[token]
    return notes, weights @ shares[:, notes]
