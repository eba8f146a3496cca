"""The state of a transformer's rows: keys and values in static buffers, each row from the first column on.

So a row's columns are its places, whatever the others have read, and nothing moves when rows of other lengths join.
In 8 bits each column of a head is its greatest number and the others' shares of it, in 127 steps either way.

Legend: B rows, T new tokens, N layers, G heads of keys and values, K head size, C prefix columns, R rows of the buffer.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from midifactory.models.interface import State, check_joined, copied

_SCALE = 4  # bytes behind the K of a column: a float
Columns = range | Tensor  # of new tokens: the same in all rows, or (B, T) int64


def after_prefix(columns: Columns, prefix: int) -> Columns:
    """The columns of a prefix, and those of the tokens behind it."""
    if isinstance(columns, range):
        return range(columns.stop)
    return torch.cat((torch.arange(prefix).expand(len(columns), -1), columns), 1)


class KeyValueCache(State):
    """Up to `capacity` tokens for each row.

    lengths: columns that each row has filled, the C of its prefix included. padding: how many of each row's next
    tokens are no music: they are not attended to, and take no column. layers: each layer's keys and values, both
    (B, G, C + capacity, K), or int8 with four bytes more. readers: the states of TokenInput's reader of places.
    """

    layers: list[tuple[Tensor, Tensor]]
    # What the model does to one more token, made with the state: the native step, or else its blocks'.
    native: Any
    steps: Any
    _buffer: Tensor  # (N, 2, R, G, C + capacity, K), R >= B; int8 with K + 4

    def __init__(
        self,
        like: Tensor,
        shape: tuple[int, int, int, int, int],
        prefix: int,
        padding: Sequence[int],
        readers: list[Any],
        eight: bool = False,
    ):
        """like: a tensor of the device and dtype wanted. shape: N, B, G, capacity, K. prefix: C. eight: in 8 bits."""
        layers, rows, heads, capacity, size = shape
        self.prefix, self.padding, self.lengths, self.readers = prefix, list(padding), [0] * rows, readers
        self.eight, self._dtype = eight, like.dtype
        size, dtype = (size + _SCALE, torch.int8) if eight else (size, like.dtype)
        self._use(like.new_zeros((layers, 2, rows, heads, prefix + capacity, size), dtype=dtype))

    @property
    def capacity(self) -> int:
        """Tokens a row can hold."""
        return self._buffer.shape[4] - self.prefix

    def place(self, new: int, before: int) -> Columns:
        """The columns, on the CPU, that the next `new` tokens of each row fill after `before` ones of a prefix."""
        starts, skipped = [length + before for length in self.lengths], self._skipped(new)
        if not any(skipped) and min(starts) == max(starts):
            return range(starts[0], starts[0] + new)
        # Padding stands behind the tokens, where no token sees it and the next ones overwrite it.
        order = (torch.arange(new) - torch.tensor(skipped)[:, None]) % new
        return torch.tensor(starts)[:, None] + order

    def advance(self, new: int, before: int) -> None:
        """Count what `place` said as filled."""
        skipped = self._skipped(new)
        self.lengths = [length + before + new - left for length, left in zip(self.lengths, skipped, strict=True)]
        self.padding = [padding - left for padding, left in zip(self.padding, skipped, strict=True)]

    def opened(self, layer: int, end: int) -> tuple[Tensor, Tensor]:
        """The first `end` columns of a layer's keys and values, (B, G, end, K), to be written to."""
        keys, values = (part.narrow(2, 0, end) for part in self.layers[layer])
        if not self.eight:
            return keys, values
        return _enlarged(keys).to(self._dtype), _enlarged(values).to(self._dtype)

    def close(self, layer: int, keys_values: tuple[Tensor, Tensor], columns: Columns) -> None:
        """Keep what was written to `columns` of what `opened` gave."""
        for stored, part in zip(self.layers[layer], keys_values, strict=True) if self.eight else ():
            if isinstance(columns, range):
                stored[:, :, columns.start : columns.stop] = _shrunk(part[:, :, columns.start : columns.stop])
            else:
                rows = torch.arange(len(columns))[:, None]
                stored[rows, :, columns] = _shrunk(part[rows, :, columns])  # (B, T, G, K + 4)

    def select(self, rows: Sequence[int] | Tensor) -> None:
        """As State says. Only rows that change their place are copied, so let the last one take the place of another.

        The memory of rows that left stays, for those who join.
        """
        rows = [int(row) for row in rows]
        moved = [index for index, row in enumerate(rows) if index != row]
        self._reserve(len(rows), self.capacity)
        live, sources = max(self.lengths), [rows[index] for index in moved]
        for layer in self._buffer if moved else ():
            layer[:, moved, :, :live] = layer[:, sources, :, :live]
        self.lengths, self.padding = [self.lengths[row] for row in rows], [self.padding[row] for row in rows]
        self.readers = copied(self.readers, rows)
        self._use(self._buffer)

    def join(self, other: "KeyValueCache") -> None:
        """As State says; the smaller capacity becomes as large as the greater."""
        check_joined(min(self.lengths) >= self.prefix, min(other.lengths) >= self.prefix)
        first, last, live = len(self.lengths), len(self.lengths) + len(other.lengths), max(other.lengths)
        self._reserve(last, max(self.capacity, other.capacity))
        self._buffer[:, :, first:last, :, :live] = other._buffer[:, :, : last - first, :, :live]
        self.lengths, self.padding = self.lengths + other.lengths, self.padding + other.padding
        self.readers = self.readers + other.readers
        self._use(self._buffer)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` tokens in each row."""
        self._reserve(len(self.lengths), capacity)
        self._use(self._buffer)

    def _skipped(self, new: int) -> list[int]:
        return [min(padding, new) for padding in self.padding]

    def _reserve(self, rows: int, capacity: int) -> None:
        """Make the buffer large enough, without touching what is in it."""
        old, live, filled = self._buffer, max(self.lengths), len(self.lengths)
        if rows <= old.shape[2] and capacity <= self.capacity:
            return
        shape = *old.shape[:2], max(rows, old.shape[2]), old.shape[3], self.prefix + capacity, old.shape[5]
        self._buffer = old.new_zeros(shape)
        self._buffer[:, :, :filled, :, :live] = old[:, :, :filled, :, :live]

    def _use(self, buffer: Tensor) -> None:
        self._buffer = buffer
        self.layers = [(keys, values) for keys, values in buffer[:, :, : len(self.lengths)]]


def _shrunk(x: Tensor) -> Tensor:
    """(..., K) -> (..., K + 4) int8."""
    x = x.float()
    scales = x.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny) / 127  # (..., 1)
    return torch.cat(((x / scales).round().to(torch.int8), scales.contiguous().view(torch.int8)), -1)


def _enlarged(x: Tensor) -> Tensor:
    """(..., K + 4) int8 -> (..., K)."""
    return x[..., :-_SCALE] * x[..., -_SCALE:].contiguous().view(torch.float32)
