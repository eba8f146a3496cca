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
    position for each condition before the first token. latent_size: Z of `Conditions.latent`, 0 for none; it is added
    to every position alike, or with places each position reads its own part of it (PlaceCodes). Raises ValueError for
    an unknown mode.

    token_dropout: the share of tokens that are hidden in training, their places are not (word dropout of Bowman et al.
    2016, which makes a decoder read its latent).
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
        self.codes = PlaceCodes(places.sizes, latent_size) if latent_size and places else None
        self.token_dropout = 0.0
        self.prefix_length = len(condition_sizes) if condition_mode == "prefix" else 0

    def start(self, batch_size: int) -> list[Any]:
        """The states of the place reader for rows that have read nothing; empty without a reader."""
        return [self.reader.start() for _ in range(batch_size)] if self.reader else []

    def forward(self, ids: Tensor, readers: list[Any], conditions: Conditions | None = None) -> Tensor:
        """ids (B, T) -> (B, T, D); `readers` (of `start`) are moved on in place.

        Raises ValueError for conditions of another kind or number than this model was made for.
        """
        self._check(conditions)
        x = self.tokens(ids)  # (B, T, D)
        if self.training and self.token_dropout:
            x = x * (torch.rand(*ids.shape, 1, device=ids.device) >= self.token_dropout)
        places = self.places(ids, readers)
        if places is not None and self.place_tables is not None:
            for index, table in enumerate(self.place_tables):
                x = x + table(places[..., index])
        if self.condition_tables and not self.prefix_length:
            x = x + self._labels(len(ids), conditions).sum(1, keepdim=True)  # (B, 1, D)
        if self.latent is not None and conditions is not None and conditions.latent is not None:
            latent = conditions.latent[:, None]  # (B, 1, Z)
            if self.codes is not None and places is not None:
                latent = latent * self.codes(places)  # (B, T, Z)
            x = x + self.latent(latent)
        return x

    def places(self, ids: Tensor, readers: list[Any]) -> Tensor | None:
        """ids (B, T) -> (B, T, F), `readers` moved on in place; None without a reader."""
        return self.reader.read(ids.cpu(), readers).to(ids.device) if self.reader is not None else None

    def prefix(self, batch_size: int, conditions: Conditions | None) -> Tensor | None:
        """(B, C, D), to stand before the first token of a row; None where there is none."""
        return self._labels(batch_size, conditions) if self.prefix_length else None

    def _check(self, conditions: Conditions | None) -> None:
        labels, latent = (None, None) if conditions is None else (conditions.labels, conditions.latent)
        if labels is not None and labels.shape[1] != len(self.condition_tables):
            raise ValueError(
                f"{labels.shape[1]} labels a row, but the model was made for {len(self.condition_tables)}; "
                "set model.condition_sizes, or leave the labels out"
            )
        size = self.latent.in_features if self.latent is not None else 0
        if latent is not None and latent.shape[1] != size:
            raise ValueError(
                f"a latent of {latent.shape[1]} numbers, but the model was made for {size}; set model.latent_size"
            )

    def _labels(self, batch_size: int, conditions: Conditions | None) -> Tensor:
        labels = conditions.labels if conditions is not None else None
        if labels is None:
            labels = torch.zeros(
                batch_size, len(self.condition_tables), dtype=torch.int64, device=self.tokens.weight.device
            )
        return torch.stack([table(labels[:, index]) for index, table in enumerate(self.condition_tables)], 1)


class PlaceCodes(nn.Module):
    """A code of Z numbers for each place, by which many places share one latent.

    What is multiplied by a place's code and added to a latent is found there again by multiplying with the same code:
    the codes of places that differ in any feature are nearly orthogonal, and what was written under them comes out
    as noise (binding, as in the holographic reduced representations of Plate 1995). A code is the cosine of phases,
    random and fixed, that add up over the place's features.
    """

    phases: Tensor
    offsets: Tensor

    def __init__(self, sizes: Sequence[int], latent_size: int):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("phases", 2 * torch.pi * torch.rand(sum(sizes), latent_size, generator=generator))
        self.register_buffer("offsets", torch.tensor([0, *sizes[:-1]]).cumsum(0), persistent=False)

    def forward(self, places: Tensor) -> Tensor:
        """places (B, T, F) -> (B, T, Z), of mean square 1."""
        return 2**0.5 * nn.functional.embedding(places + self.offsets, self.phases).sum(-2).cos()
