"""Causal attention a block of queries at a time, for what torch's fused attention cannot do fast on a CPU.

That is a learned vector for every distance (Shaw et al. 2018; Huang et al. 2018, Music Transformer) and dropout of the
weights. A block's scores stay in a core's cache, and the future half of the T x T weights is never made.

Legend: B rows, H heads, T tokens, K head size; b rows in hand, N = b H, n queries of a block, L keys that they see.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from midifactory.models.interface import keep_mask

_QUERIES = 64  # of a block on a CPU


def blockwise_attention(
    query: Tensor, key: Tensor, value: Tensor, table: Tensor | None = None, dropped_share: float = 0.0
) -> Tensor:
    """softmax((q k + q e) / sqrt(K)) v over the past, (B, H, T, K) each -> (B, H, T, K).

    table: (H, T, K), the vectors e of the distances T - 1 (first) to 0 (last); None for none. dropped_share: of the
    weights, in training. The weights, B H T T / 2 numbers, are kept for the backward pass, since to make them again
    (Dao et al. 2022, FlashAttention) would cost a third of the time.
    """
    if table is None:
        table = value.new_empty(query.shape[1], 0, query.shape[3])
    scaled = query * query.shape[-1] ** -0.5
    # In half precision, rotated queries and keys and the table come in float32.
    return _Blockwise.apply(scaled.to(value.dtype), key.to(value.dtype), value, table.to(value.dtype), dropped_share)


class _Blockwise(torch.autograd.Function):
    """The arithmetic of `blockwise_attention`, whose query comes scaled."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, table: Tensor, dropped_share: float) -> Tensor:
        """What `blockwise_attention` returns; each block's weights, and which were kept, wait for `backward`."""
        batch, heads, length, size = query.shape
        # Laid out as (B, T, H, K), so that a token's heads are joined without a copy.
        result = query.new_empty(batch, length, heads, size).transpose(1, 2)
        kept: list[Tensor] = []
        ctx.scale = 1.0
        for rows, first, last in _blocks(query):
            weights = _weights(_heads(query[rows, :, first:last]), *_seen(key, table, rows, last))  # (N, n, L)
            kept.append(weights)
            if dropped_share:
                mask, ctx.scale = keep_mask(weights, dropped_share)
                kept.append(mask.view(torch.uint8))  # torch multiplies by bytes faster than by bools
                weights = weights * kept[-1]
            mixed = torch.bmm(weights, _heads(value[rows, :, :last]))  # (N, n, K)
            result[rows, :, first:last] = mixed.view(-1, heads, last - first, size)
        ctx.dropped = dropped_share > 0
        ctx.save_for_backward(query, key, value, table, result, *kept)
        return result.mul_(ctx.scale) if ctx.dropped else result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of the result, (B, H, T, K) -> those of query, key, value and table; None for the share."""
        query, key, value, table, result, *kept = ctx.saved_tensors
        heads, size = query.shape[1], query.shape[3]
        to_query, to_key, to_value, to_table = (torch.zeros_like(x) for x in (query, key, value, table))
        # The sum over keys of weight x its gradient, which the derivative of softmax subtracts.
        mean = (gradients[0] * result).sum(-1, keepdim=True)  # (B, H, T, 1)
        for rows, first, last in _blocks(query):
            part = rows, slice(None), slice(first, last)
            queries = _heads(query[part])  # (N, n, K)
            keys, distances = _seen(key, table, rows, last)  # (N, L, K), (N, L or 0, K)
            above = _heads(gradients[0][part])  # (N, n, K)
            weights = used = kept.pop(0)  # (N, n, L)
            if ctx.dropped:
                above = above * ctx.scale
                used = weights * kept[0]
            slope = torch.bmm(above, _heads(value[rows, :, :last]).mT)  # (N, n, L)
            if ctx.dropped:
                slope.mul_(kept.pop(0))
            slope.sub_(_heads(mean[part]))
            to_value[rows, :, :last] += torch.bmm(used.mT, above).view(-1, heads, last, size)
            if len(distances[0]):
                turned, slope = _turned(slope, weights)
                back = torch.bmm(slope, keys).baddbmm_(turned, distances)  # (N, n, K)
                to_table[:, -last:] += torch.bmm(turned.mT, queries).view(-1, heads, last, size).sum(0)
            else:
                back = torch.bmm(slope.mul_(weights), keys)  # (N, n, K)
            to_key[rows, :, :last] += torch.bmm(slope.mT, queries).view(-1, heads, last, size)
            to_query[part] = back.view(-1, heads, last - first, size)
        return to_query, to_key, to_value, to_table, None


def _blocks(query: Tensor) -> Iterator[tuple[slice, int, int]]:
    """Rows, first query and the one after the last of every block; on an accelerator, all in one."""
    batch, _, length, _ = query.shape
    rows, queries = (1, _QUERIES) if query.device.type == "cpu" else (batch, length)
    for row in range(0, batch, rows):
        for first in range(0, length, queries):
            yield slice(row, row + rows), first, min(first + queries, length)


def _heads(x: Tensor) -> Tensor:
    """(b, H, n, K) -> (N, n, K); a view where b is 1."""
    return x.flatten(0, 1)


def _seen(key: Tensor, table: Tensor, rows: slice, last: int) -> tuple[Tensor, Tensor]:
    """What a block of queries that ends at `last` sees: keys (N, L, K), and vectors of distances (N, L or 0, K)."""
    keys = key[rows, :, :last]
    return _heads(keys), _heads(table[:, -last:].expand(len(keys), -1, -1, -1))


def _weights(query: Tensor, key: Tensor, table: Tensor) -> Tensor:
    """(N, n, K), (N, L, K), (N, L or 0, K) -> (N, n, L): softmax over the keys up to each of the last n places."""
    heads, new, _ = query.shape
    length = key.shape[1]
    scores = torch.bmm(query, key.mT)
    if table.shape[1]:
        products = torch.bmm(query, table.mT)  # (N, n, L), by distance: L - 1 to 0
        # Query i and key j want the product of distance i - j. With rows one number shorter, each begins one further
        # on, and all products stand where their keys do, without a copy (skewing, Huang et al. 2018, 3.4.1).
        scores += products.as_strided((heads, new, length), (new * length, length - 1, 1), new - 1)
    future = torch.ones(new, new, dtype=torch.bool, device=query.device).triu(1)
    scores[..., length - new :].masked_fill_(future, -torch.inf)
    return torch.softmax(scores, -1, dtype=torch.float32 if scores.dtype.itemsize < 4 else None).to(scores.dtype)


def _turned(slope: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """slope x weights (N, n, L) by distance, L - 1 to 0, and by key: two views of the same numbers.

    The reverse of the skewing above, with rows one number longer. What stands before a row's first key is the row
    before it after its own query, hence 0, and before the first row a margin of zeros.
    """
    heads, new, length = slope.shape
    buffer = slope.new_empty(heads, new - 1 + new * length)
    buffer[:, : new - 1] = 0
    by_key = buffer[:, new - 1 :].view(heads, new, length)
    torch.mul(slope, weights, out=by_key)
    return buffer.as_strided((heads, new, length), (buffer.shape[1], length + 1, 1)), by_key
