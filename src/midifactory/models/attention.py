"""Causal self-attention with any kind of positions, its keys and values shared by groups of heads if asked.

Legend: B rows, T new columns, L columns in all, D d_model, H heads, G heads of keys and values (Ainslie et al. 2023,
grouped-query attention), R = H / G, K = D / H head size, M distances.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midifactory.models.blockwise import blockwise_attention
from midifactory.models.layers import linear_step
from midifactory.models.positions import Span, rotate

_FEW = 1024  # tokens, up to which a CPU keeps the weights of a training step: 17 MB of a row and 8 heads at 1024
AttentionStep = Callable[[Tensor, Span, Tensor, Tensor], Tensor]


class Attention(nn.Module):
    """Multi-head attention. distances: M, vectors of relative positions for each head, 0 for none."""

    def __init__(self, d_model: int, heads: int, kv_heads: int, distances: int, dropout: float, bias: bool):
        super().__init__()
        self.heads, self.kv_heads, self.size, self.dropout = heads, kv_heads, d_model // heads, dropout
        self.qkv = nn.Linear(d_model, (heads + 2 * kv_heads) * self.size, bias)
        self.residual = nn.Linear(d_model, d_model, bias)
        self.distances = nn.Embedding(distances, d_model) if distances else None

    def forward(self, x: Tensor, span: Span, cache: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """x (B, T, D) -> (B, T, D). cache: keys and values (B, G, L, K), of which T columns are filled here."""
        qkv = self.qkv(x).view(*x.shape[:2], -1, self.size)  # (B, T, H + 2 G, K)
        blockwise, dropped_share = self._blockwise(x, span, cache is not None), self.dropout if self.training else 0.0
        if cache is not None or not blockwise:
            query, key, value = self._project(qkv, span)
        if cache is not None:
            for stored, new in zip(cache, (key, value), strict=True):
                if span.columns is None:
                    stored[:, :, -x.shape[1] :].copy_(new)
                else:
                    stored[_rows(x)[:, None], :, span.columns] = new.transpose(1, 2).to(stored.dtype)  # (B, T, G, K)
            key, value = cache
        if blockwise:
            table = self._table(x.shape[1])
            return self.residual(blockwise_attention(qkv, self.heads, span.rotation, table, dropped_share))
        key, value = self._for_all_heads(key), self._for_all_heads(value)  # (B, H, L, K)
        mask = self._mask(query, span)
        plain = mask is None and x.shape[1] > 1
        mixed = F.scaled_dot_product_attention(query, key, value, mask, dropped_share, is_causal=plain)
        return self.residual(mixed.transpose(1, 2).reshape(x.shape))  # (B, H, T, K) -> (B, T, D)

    def _blockwise(self, x: Tensor, span: Span, cached: bool) -> bool:
        """Whether blockwise.py lets the tokens x (B, T, D) attend to each other: where it must, or is fastest."""
        if self.distances is not None:
            return span.distances is None  # the first tokens, so that a cache holds nothing else
        if cached or span.mask is not None or x.device.type != "cpu" or torch.compiler.is_compiling():
            return False
        # With dropout torch would make all T x T weights.
        return (self.training and self.dropout > 0) or (torch.is_grad_enabled() and x.shape[1] <= _FEW)

    def weights(self, x: Tensor, span: Span) -> Tensor:
        """The weights (B, H, T, T) that `forward` gives the values; `span` must be explicit."""
        query, key, _ = self._project(self.qkv(x).view(*x.shape[:2], -1, self.size), span)
        scores = query @ self._for_all_heads(key).mT * self.size**-0.5  # (B, H, T, T)
        mask = self._mask(query, span)
        assert mask is not None
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        return scores.softmax(-1)

    def step(self) -> AttentionStep:
        """`forward` for one more token of each row: a function of x (B, D), span, keys and values (B, G, L, K)."""
        qkv, out = linear_step(self.qkv), linear_step(self.residual)
        heads, shared, turned = self.heads, self.kv_heads, self.heads + self.kv_heads

        def attend(x: Tensor, span: Span, keys: Tensor, values: Tensor) -> Tensor:
            split = qkv(x).view(len(x), turned + shared, -1)  # (B, H + 2 G, K)
            query_key = split[:, :turned] if span.rotation is None else rotate(split[:, :turned], *span.rotation)
            query = query_key[:, :heads]  # (B, H, K)
            if span.columns is None:
                keys.select(2, -1).copy_(query_key[:, heads:])
                values.select(2, -1).copy_(split[:, turned:])
            else:
                keys[_rows(x), :, span.columns] = query_key[:, heads:].to(keys.dtype)
                values[_rows(x), :, span.columns] = split[:, turned:].to(values.dtype)
            mask = span.mask if span.distances is None else self._mask(query.unsqueeze(2), span)
            if mask is not None and mask.shape[1] > 1:
                mask = mask.view(len(mask), shared, -1, mask.shape[-1])  # (B or 1, H, 1, L) -> (B or 1, G, R, L)
            # The heads of a group as so many queries, so that no key is copied.
            query = query.reshape(len(x), shared, -1, query.shape[-1])  # (B, G, R, K)
            mixed = F.scaled_dot_product_attention(query, keys, values, mask)  # (B, G, R, K)
            return out(mixed.reshape(x.shape))

        return attend

    def _project(self, qkv: Tensor, span: Span) -> tuple[Tensor, Tensor, Tensor]:
        """qkv (B, T, H + 2 G, K) -> queries (B, H, T, K), keys and values (B, G, T, K), rotated where positions are."""
        query_key, value = qkv.split((self.heads + self.kv_heads, self.kv_heads), 2)
        if span.rotation is not None:
            query_key = rotate(query_key, *span.rotation)  # (B, T, H + G, K)
        query, key = query_key.split((self.heads, self.kv_heads), 2)
        return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)

    def _for_all_heads(self, x: Tensor) -> Tensor:
        """(B, G, L, K) -> (B, H, L, K)."""
        if self.kv_heads == self.heads:
            return x
        batch, shared, length, size = x.shape
        repeated = x[:, :, None].expand(batch, shared, self.heads // shared, length, size)
        return repeated.reshape(batch, self.heads, length, size)

    def _table(self, length: int) -> Tensor | None:
        """The vectors of the distances `length` - 1 to 0, (H, length, K), of relative positions."""
        if self.distances is None:
            return None
        greatest = self.distances.num_embeddings - 1
        distances = torch.arange(length - 1, -1, -1, device=self.distances.weight.device).clamp(max=greatest)
        return self.distances(distances).view(length, self.heads, self.size).transpose(0, 1)

    def _mask(self, query: Tensor, span: Span) -> Tensor | None:
        """The span's mask, with what queries (B, H, T, K) have to say of distances: (B or 1, H or 1, T, L)."""
        mask = span.mask
        if self.distances is None or span.distances is None:
            return mask if mask is None or mask.dtype == torch.bool else mask.to(query.dtype)
        batch, heads, new, size = query.shape
        table = self.distances.weight[: span.distances.shape[-1]].to(query.dtype)  # (M, D)
        table = table.view(len(table), heads, size).permute(1, 2, 0)  # (H, K, M)
        by_distance = torch.bmm(query.transpose(0, 1).reshape(heads, -1, size), table)  # (H, B T, M)
        by_distance = by_distance.view(heads, batch, new, -1).transpose(0, 1) * size**-0.5  # (B, H, T, M)
        biases = by_distance.gather(3, span.distances[:, None].expand(batch, heads, -1, -1))  # (B, H, T, L)
        return biases if mask is None else biases.masked_fill(~mask, -torch.inf)


def _rows(x: Tensor) -> Tensor:
    return torch.arange(len(x), device=x.device)
