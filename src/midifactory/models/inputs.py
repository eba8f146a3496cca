"""What a model reads at each position: the token, its place in the music, and what the music is asked to be.

Legend: B rows, T tokens, D d_model, C conditions, F place features, Z latent size.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from midifactory.models.interface import Conditions, PlaceReader


class TokenInput(nn.Module):
    """Embeds ids, and adds embeddings of their places, of labels and of a latent where the model has them.

    places: reads bar, position, voice ... of each token; None for none. condition_sizes: values of each condition, 0
    ("not given", with an embedding of its own) included. condition_mode: "added" to every position, or "prefix", one
    position for each condition before the first token. latent_size: Z of `Conditions.latent`, 0 for none. Raises ValueError for an
    unknown mode.
    """

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        places: PlaceReader | None = None,
        condition_sizes: Sequence[int] = (),
        condition_mode: Literal["added", "prefix"] = "added",
        latent_size: int = 0,
    ):
        super().__init__()
        if condition_mode not in ("added", "prefix"):
            raise ValueError(f"condition_mode={condition_mode}: choose added or prefix")
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.reader = places
        self.place_tables = nn.ModuleList(nn.Embedding(size, d_model) for size in places.sizes) if places else None
        self.condition_tables = nn.ModuleList(nn.Embedding(size, d_model) for size in condition_sizes)
        self.latent = nn.Linear(latent_size, d_model, bias=False) if latent_size else None
        self.prefix_length = len(condition_sizes) if condition_mode == "prefix" else 0

    def start(self, batch_size: int) -> list[Any]:
        """The states of the place reader for rows that have read nothing; empty without a reader."""
        return [self.reader.start() for _ in range(batch_size)] if self.reader else []

    def forward(self, ids: Tensor, readers: list[Any], conditions: Conditions | None = None) -> Tensor:
        """ids (B, T) -> (B, T, D); `readers` (of `start`) are moved on in place."""
        x = self.tokens(ids)  # (B, T, D)
        if self.reader is not None and self.place_tables is not None:
            places = self.reader.read(ids.cpu(), readers).to(ids.device)  # (B, T, F)
            for index, table in enumerate(self.place_tables):
                x = x + table(places[..., index])
        if self.condition_tables and not self.prefix_length:
            x = x + self._labels(len(ids), conditions).sum(1, keepdim=True)  # (B, 1, D)
        if self.latent is not None and conditions is not None and conditions.latent is not None:
            x = x + self.latent(conditions.latent)[:, None]  # (B, 1, D)
        return x

    def prefix(self, batch_size: int, conditions: Conditions | None) -> Tensor | None:
        """(B, C, D), to stand before the first token of a row; None where there is none."""
        return self._labels(batch_size, conditions) if self.prefix_length else None

    def _labels(self, batch_size: int, conditions: Conditions | None) -> Tensor:
        labels = conditions.labels if conditions is not None else None
        if labels is None:
            labels = torch.zeros(
                batch_size, len(self.condition_tables), dtype=torch.int64, device=self.tokens.weight.device
            )
        return torch.stack([table(labels[:, index]) for index, table in enumerate(self.condition_tables)], 1)
