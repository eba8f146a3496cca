"""How a transformer is told where tokens stand: turned pairs, biases by distance, or vectors added to the input.

Columns are those of the rows and of the cache: first the C of a prefix, where the model has one, then the tokens. In a
row that begins with padding, tokens have the places they would have without it.

Legend: B rows, T new columns, L columns in all, C prefix columns, D d_model, H heads, K head size.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

POSITIONS = ("rotary", "relative", "alibi", "sinusoidal", "learned", "none")


class Span(NamedTuple):
    """Where the T new columns of the rows stand among all L: worked out once and used by every layer.

    rotation: cosines and sines (B or 1, T, 1, K) of rotary positions. mask: what is seen, bool, or biases of the
    scores, either broadcastable to (B, H, T, L); None for plain causal attention. distances: (B or 1, T, L) int64 of
    relative positions; None where blockwise.py counts them itself.
    """

    rotation: tuple[Tensor, Tensor] | None = None
    mask: Tensor | None = None
    distances: Tensor | None = None


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

    def places(self, end: int, padding: Tensor | None, device: torch.device) -> Tensor:
        """The place of each of the first `end` columns, (B or 1, L); padding (B,) as in `new_state`."""
        columns = torch.arange(end, device=device)[None]
        if padding is None:
            return columns
        return torch.where(columns < self.prefix, columns, (columns - padding[:, None]).clamp(min=self.prefix))

    def added(self, start: int, end: int, padding: Tensor | None, device: torch.device) -> Tensor | None:
        """Vectors to add to the tokens in the columns `start` to `end`, (B or 1, T, D), or None. No prefix has any."""
        if self.kind not in ("sinusoidal", "learned"):
            return None
        places = self.places(end, padding, device)[:, max(start, self.prefix) :] - self.prefix
        return self.waves[places] if self.table is None else self.table(places)

    def span(self, start: int, end: int, padding: Tensor | None, device: torch.device, explicit: bool = False) -> Span:
        """The columns from `start` to `end`, those before them in the cache.

        explicit: with mask and distances in every case, for those who want to see the weights.
        """
        plain = padding is None and (start == 0 or end - start == 1) and not explicit
        mask = None if plain else self._seen(start, end, padding, device)
        if self.kind == "rotary":
            if padding is None:
                return Span((self.cos[None, start:end], self.sin[None, start:end]), mask)
            places = self.places(end, padding, device)[:, start:]
            return Span((self.cos[places], self.sin[places]), mask)
        if self.kind == "relative" and not (plain and start == 0):
            return Span(mask=mask, distances=self._distances(start, end, padding, device).clamp(0, self.greatest))
        if self.kind == "alibi":
            biases = -self.slopes * self._distances(start, end, padding, device)[:, None]  # (B or 1, H, T, L)
            seen = self._seen(start, end, padding, device) if mask is None else mask
            return Span(mask=biases.masked_fill(~seen, -torch.inf))
        return Span(mask=mask)

    def span_of_one(self, place: int, padding: Tensor | None, device: torch.device) -> Span:
        """`span` of the single column `place`, its rotation (B or 1, 1, K), in few operations."""
        if self.kind == "rotary" and padding is None:
            return Span((self.cos[place], self.sin[place]))
        span = self.span(place, place + 1, padding, device)
        return span._replace(rotation=span.rotation and (span.rotation[0][:, 0], span.rotation[1][:, 0]))

    def _distances(self, start: int, end: int, padding: Tensor | None, device: torch.device) -> Tensor:
        places = self.places(end, padding, device)
        return places[:, start:, None] - places[:, None]  # (B or 1, T, L)

    def _seen(self, start: int, end: int, padding: Tensor | None, device: torch.device) -> Tensor:
        """(B or 1, 1, T, L) bool: the prefix, and the row's own tokens up to each one."""
        keys, queries = torch.arange(end, device=device), torch.arange(start, end, device=device)[:, None]
        seen = (keys <= queries)[None]  # (1, T, L)
        if padding is not None:
            real = (keys < self.prefix) | (keys >= self.prefix + padding[:, None])  # (B, L)
            # A padding column may see itself: a row of nothing but -inf would be NaN.
            seen = (seen & real[:, None]) | (keys == queries)
        return seen[:, None]


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
