"""Causal attention in training, a block of queries at a time: for what torch's fused attention cannot do fast on a CPU.

That is a learned vector for every distance (Shaw et al. 2018; Huang et al. 2018, Music Transformer), dropout of the
weights, and plain attention of the lengths that music models train on: torch's kernel makes all weights anew in the
backward pass (Dao et al. 2022, FlashAttention), and its products of small heads reach a third of the machine's rate. A
block's scores stay in a core's cache, and the future half of the T x T weights is never made.

Legend: B rows, H heads, G heads of keys and values, P = H + 2 G, T tokens, K head size; b rows in hand, N = b H, n
queries of a block, L keys that they see.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from midifactory.models.interface import keep_mask

_QUERIES = 64  # of a block on a CPU


def blockwise_attention(
    qkv: Tensor,
    heads: int,
    rotation: tuple[Tensor, Tensor] | None = None,
    table: Tensor | None = None,
    dropped_share: float = 0.0,
) -> Tensor:
    """softmax((q k + q e) / sqrt(K)) v over the past: (B, T, P, K) -> (B, T, H K).

    qkv: `heads` (H) queries of each token, then G keys and G values. rotation: cosines and sines as in `rotate`,
    (1, T, 1, K), by which queries and keys are turned first. table: (H, T, K), the vectors e of the distances T - 1
    (first) to 0 (last). dropped_share: of the weights. The weights, on a CPU B H T T / 2 numbers, are kept for
    the backward pass, since making them again would cost a third of the time. There is no second derivative.
    """
    angles = None
    if rotation is not None:
        half = qkv.shape[-1] // 2  # whose cosines and sines are those of the angles
        # Complex numbers have no bfloat16, which they come in where the whole model is of it.
        angles = torch.complex(*(x[0, :, 0, half:].to(torch.promote_types(x.dtype, torch.float32)) for x in rotation))
    table = None if table is None else table.to(qkv.dtype)  # under autocast it comes in float32
    return _Blockwise.apply(qkv, heads, angles, table, dropped_share)


class _Blockwise(torch.autograd.Function):
    """The arithmetic of `blockwise_attention`. angles: None or e^(i angle), (T, K / 2), for each place and pair."""

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, heads: int, angles: Tensor | None, table: Tensor | None, dropped_share: float
    ) -> Tensor:
        """What `blockwise_attention` returns; each block's weights, and which were kept, wait for a `backward`."""
        batch, length, parts, size = qkv.shape
        shared = (parts - heads) // 2
        by_head = qkv.new_empty(batch, parts, length, size)
        # Laid out as (B, T, H, K), so that a token's heads are joined without a copy.
        result = qkv.new_empty(batch, length, heads, size)
        kept: list[Tensor] = []
        ctx.heads, ctx.dropped, ctx.scale = heads, dropped_share > 0, 1.0
        rows_in_hand, block = _sizes(qkv, length)
        future = qkv.new_full((block, block), -torch.inf).triu_(1)
        for row in range(0, batch, rows_in_hand):
            rows = slice(row, row + rows_in_hand)
            part = by_head[rows]
            _turn(qkv[rows].transpose(1, 2), part, heads + shared, angles)
            part[:, :heads].mul_(size**-0.5)
            query, key, value = _split(part, heads)  # (N, T, K)
            mixed = result[rows].transpose(1, 2)  # (b, H, T, K)
            for first in range(0, length, block):
                last = min(first + block, length)
                weights = _weights(query[:, first:last], key[:, :last], table, future)  # (N, n, L)
                kept.append(weights)
                if dropped_share:
                    mask, ctx.scale = keep_mask(weights, dropped_share)
                    kept.append(mask.view(torch.uint8))  # torch multiplies by bytes faster than by bools
                    weights = weights * kept[-1]
                mixed[:, :, first:last] = torch.bmm(weights, value[:, :last]).view(-1, heads, last - first, size)
                if not any(ctx.needs_input_grad):
                    kept.clear()
        ctx.save_for_backward(by_head, angles, table, *kept)
        return (result.mul_(ctx.scale) if ctx.dropped else result).view(batch, length, heads * size)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of the result, (B, T, H K) -> those of qkv and table."""
        by_head, angles, table, *kept = ctx.saved_tensors
        (batch, parts, length, size), heads = by_head.shape, ctx.heads
        shared = (parts - heads) // 2
        to_qkv = by_head.new_empty(batch, length, parts, size)
        to_table = torch.zeros_like(table) if ctx.needs_input_grad[3] else None
        kept.reverse()
        rows_in_hand, block = _sizes(by_head, length)
        for row in range(0, batch, rows_in_hand):
            rows = slice(row, row + rows_in_hand)
            query, key, value = _split(by_head[rows], heads)  # (N, T, K)
            above = gradients[0][rows].view(-1, length, heads, size).transpose(1, 2).flatten(0, 1)  # (N, T, K)
            above = above * ctx.scale if ctx.dropped else above
            to_query, to_key, to_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
            for first in range(0, length, block):
                last = min(first + block, length)
                weights = used = kept.pop()  # (N, n, L)
                slopes, queries = above[:, first:last], query[:, first:last]  # (N, n, K)
                slope = torch.bmm(slopes, value[:, :last].mT)
                if ctx.dropped:
                    mask = kept.pop()
                    used = weights * mask
                    slope.mul_(mask)
                to_value[:, :last].add_(torch.bmm(used.mT, slopes))  # += would copy the sum onto itself
                slope = torch._softmax_backward_data(slope, weights, -1, weights.dtype)
                back = torch.bmm(slope, key[:, :last])  # (N, n, K)
                if table is not None:
                    by_distance = _by_distance(slope)
                    back.baddbmm_(by_distance, _for_all_rows(table[:, -last:], rows_in_hand))
                    if to_table is not None:
                        to_table[:, -last:].add_(torch.bmm(by_distance.mT, queries).view(-1, heads, last, size).sum(0))
                to_query[:, first:last] = back
                to_key[:, :last].add_(torch.bmm(slope.mT, queries))
            to_query.mul_(size**-0.5)
            _turn_back(to_query.view(-1, heads, length, size), to_qkv[rows, :, :heads].transpose(1, 2), angles)
            for start, gradient, turned in ((heads, to_key, angles), (heads + shared, to_value, None)):
                result = to_qkv[rows, :, start : start + shared].transpose(1, 2)
                _turn_back(_of_groups(gradient, heads, shared), result, turned)
        return to_qkv, None, None, to_table, None


def _sizes(x: Tensor, length: int) -> tuple[int, int]:
    """How many rows of x (B, ...) are taken at a time, and how many queries; on an accelerator, all."""
    return (1, min(_QUERIES, length)) if x.device.type == "cpu" else (len(x) or 1, length)


def _turn(x: Tensor, result: Tensor, turned: int, angles: Tensor | None) -> None:
    """Copy x (b, P, T, K), the first `turned` of its parts rotated as by `rotate`.

    There, a pair's numbers end up as neighbours, as torch has them in complex numbers: a product of queries and keys
    does not ask in which order they stand.
    """
    if angles is None:
        result.copy_(x)
        return
    real, imaginary = x[:, :turned].to(angles.real.dtype).chunk(2, -1)
    pairs = torch.complex(real, imaginary)  # (b, turned, T, K / 2)
    if x.dtype == real.dtype:
        torch.mul(pairs, angles, out=torch.view_as_complex(result[:, :turned].unflatten(-1, (-1, 2))))
    else:  # half precision is rounded once, at the end
        result[:, :turned] = torch.view_as_real(pairs.mul_(angles)).flatten(-2)
    result[:, turned:] = x[:, turned:]


def _turn_back(x: Tensor, result: Tensor, angles: Tensor | None) -> None:
    """Copy the gradient x (b, H or G, T, K) of what `_turn` rotated by `angles`, rotated back."""
    if angles is None:
        result.copy_(x)
        return
    pairs = torch.view_as_complex(x.to(angles.real.dtype).unflatten(-1, (-1, 2))) * angles.conj()
    for half, part in zip(result.chunk(2, -1), (pairs.real, pairs.imag), strict=True):
        half.copy_(part)


def _split(x: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """(b, P, T, K) -> queries, keys and values of all heads, (N, T, K) each; views for a single row of H heads."""
    shared = (x.shape[1] - heads) // 2
    query, key, value = x.split((heads, shared, shared), 1)
    if shared < heads:
        key, value = (part.repeat_interleave(heads // shared, 1) for part in (key, value))
    return query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1)


def _of_groups(x: Tensor, heads: int, shared: int) -> Tensor:
    """Gradients of all heads' keys or values (N, T, K) -> (b, G, T, K), summed over the heads of a group."""
    x = x.view(-1, heads, *x.shape[1:])
    return x if heads == shared else x.unflatten(1, (shared, -1)).sum(2)


def _for_all_rows(x: Tensor, count: int) -> Tensor:
    """(H, ...) -> (N, ...), the same for `count` rows."""
    return x if count == 1 else x.repeat(count, 1, 1)


def _weights(query: Tensor, key: Tensor, table: Tensor | None, future: Tensor) -> Tensor:
    """(N, n, K), (N, L, K), (H, T, K), (n or more, n or more) -> (N, n, L): softmax over what each query may see."""
    scores = torch.bmm(query, key.mT)
    every, new, length = scores.shape
    if table is not None:
        vectors = _for_all_rows(table[:, -length:], every // len(table))
        products = torch.bmm(query, vectors.mT)  # (N, n, L), by distance: L - 1 to 0
        # Query i and key j want the product of distance i - j. With rows one number shorter, each begins one further
        # on, and all products stand where their keys do, without a copy (skewing, Huang et al. 2018, 3.4.1).
        scores += products.as_strided((every, new, length), (new * length, length - 1, 1), new - 1)
    scores[:, :, length - new :].add_(future if new == len(future) else future[:new, :new])
    return torch.softmax(scores, -1, dtype=torch.float32 if scores.dtype.itemsize < 4 else None).to(scores.dtype)


def _by_distance(slope: Tensor) -> Tensor:
    """slope (N, n, L) by key -> by distance, L - 1 to 0.

    The reverse of the skewing above, with rows one number longer. What stands before a row's first key is the row
    before it after its own query, hence 0, and before the first row a margin of zeros.
    """
    every, new, length = slope.shape
    buffer = slope.new_empty(every, new - 1 + new * length)
    buffer[:, : new - 1] = 0
    buffer[:, new - 1 :].view(slope.shape).copy_(slope)
    return buffer.as_strided(slope.shape, (buffer.shape[1], length + 1, 1))
