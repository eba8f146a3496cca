"""How a transformer is told where tokens stand: turned pairs, biases by distance, or vectors added to the input.

Columns are those of the rows and of the cache: first the C of a prefix, where the model has one, then the tokens.

Legend: B rows, T new columns, L columns in all, C prefix columns, D d_model, H heads, K head size.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from midifactory.models.cache import Columns

POSITIONS = ("rotary", "relative", "alibi", "sinusoidal", "learned", "none")


class Span(NamedTuple):
    """Where the T new columns of the rows stand among all L: worked out once and used by every layer.

    rotation: cosines and sines (B or 1, T, 1, K) of rotary positions. mask: what is seen, bool, or biases of the
    scores, either broadcastable to (B, H, T, L); None for plain causal attention. distances: (B or 1, T, L) int64 of
    relative positions; None where blockwise.py counts them itself. columns: (B, T) where they do not fill the last T.
    """

    rotation: tuple[Tensor, Tensor] | None = None
    mask: Tensor | None = None
    distances: Tensor | None = None
    columns: Tensor | None = None


class Positions(nn.Module):
    """Positions of one kind for up to `context` tokens after `prefix` columns.

    rotary: Su et al. 2021. relative: a learned vector for each distance up to `greatest`, whose vector all greater
    ones share (Huang et al. 2018); the vectors belong to the layers. alibi: Press et al. 2022. sinusoidal: Vaswani et
    al. 2017. learned: Radford et al. 2018.
    """

    cos: Tensor
    sin: Tensor
    slopes: Tensor
    waves: Tensor

    def __init__(
        self, kind: str, context: int, prefix: int, d_model: int, heads: int, rotary_base: float, greatest: int
    ):
        super().__init__()
        self.kind, self.prefix, self.greatest = kind, prefix, greatest
        self.table = nn.Embedding(context, d_model) if kind == "learned" else None
        buffers: dict[str, Tensor] = {}
        if kind == "rotary":
            buffers["cos"], buffers["sin"] = rotary_table(prefix + context, d_model // heads, rotary_base)
        elif kind == "alibi":
            buffers["slopes"] = alibi_slopes(heads)[:, None, None]  # (H, 1, 1)
        elif kind == "sinusoidal":
            # The paper scales the embeddings up by sqrt(D) instead, which a norm cannot tell apart.
            buffers["waves"] = sinusoidal_table(context, d_model) * d_model**-0.5
        for name, values in buffers.items():
            self.register_buffer(name, values, persistent=False)

    def added(self, columns: Columns, device: torch.device) -> Tensor | None:
        """Vectors to add to the tokens in these columns, (B or 1, T, D), or None. No prefix has any."""
        if self.kind not in ("sinusoidal", "learned"):
            return None
        places = _numbers(columns, device) - self.prefix
        return self.waves[places] if self.table is None else self.table(places)

    def span(self, columns: Columns, end: int, device: torch.device, explicit: bool = False) -> Span:
        """New `columns` among the first `end`.

        explicit: with mask and distances in every case, for those who want to see the weights.
        """
        plain = isinstance(columns, range) and (columns[0] == 0 or len(columns) == 1) and not explicit
        rotation = None
        if self.kind == "rotary" and isinstance(columns, range):
            rotation = self.cos[None, columns.start : end], self.sin[None, columns.start : end]
        elif self.kind == "rotary" and not isinstance(columns, range):
            rotation = self.cos[columns.to(device)], self.sin[columns.to(device)]
        if plain and (self.kind not in ("relative", "alibi") or (self.kind == "relative" and columns[0] == 0)):
            return Span(rotation)
        places = _numbers(columns, device)
        distances = places[..., None] - torch.arange(end, device=device)  # (B or 1, T, L)
        seen = distances[:, None] >= 0  # (B or 1, 1, T, L)
        filled = None if isinstance(columns, range) else places
        if self.kind == "alibi":
            biases = -self.slopes * distances[:, None]  # (B or 1, H, T, L)
            return Span(mask=biases.masked_fill(~seen, -torch.inf), columns=filled)
        mask = None if plain else seen
        if self.kind == "relative":
            return Span(mask=mask, distances=distances.clamp(0, self.greatest), columns=filled)
        return Span(rotation, mask, columns=filled)

    def span_of_one(self, columns: Columns, end: int, device: torch.device) -> Span:
        """`span` of single columns, its rotation (B or 1, 1, K) and columns (B,), in few operations."""
        if self.kind == "rotary" and isinstance(columns, range):
            return Span((self.cos[columns[0]], self.sin[columns[0]]))
        rotation, mask, distances, places = self.span(columns, end, device)
        rotation = rotation and (rotation[0][:, 0], rotation[1][:, 0])
        return Span(rotation, mask, distances, None if places is None else places[:, 0])


def _numbers(columns: Columns, device: torch.device) -> Tensor:
    """(B or 1, T) int64."""
    if isinstance(columns, range):
        return torch.arange(columns.start, columns.stop, device=device)[None]
    return columns.to(device)


def rotary_table(length: int, head_size: int, base: float) -> tuple[Tensor, Tensor]:
    """cos and signed sin of position x frequency, (length, 1, head_size) each (Su et al. 2021, eq. 34).

    Both halves of a head turn by the same angles; the first half's sine is negative, see `rotate`.
    """
    frequencies = base ** (-torch.arange(0, head_size, 2, dtype=torch.float64) / head_size)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), frequencies)
    cos, sin = angles.cos().float(), angles.sin().float()
    return torch.cat((cos, cos), -1)[:, None], torch.cat((-sin, sin), -1)[:, None]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (x[i], x[i + K/2]) of x (..., H, K) by the angle of their position."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


def sinusoidal_table(length: int, width: int) -> Tensor:
    """(length, width): sines in the even columns, cosines in the odd ones (Vaswani et al. 2017, 3.5)."""
    frequencies = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), frequencies)
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1)[:, :width].float()


def alibi_slopes(heads: int) -> Tensor:
    """(H,): 2^(-8/H), 2^(-16/H) ... for a power of two; else those of the power below it and every other one of the
    power above (Press et al. 2022, 3, and their code)."""
    power = 2 ** int(math.log2(heads))
    slopes = [2.0 ** (-8 * (index + 1) / power) for index in range(power)]
    between = [2.0 ** (-4 * (index + 1) / power) for index in range(0, 2 * power, 2)]
    return torch.tensor((slopes + between)[:heads])
