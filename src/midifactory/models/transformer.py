"""A decoder-only transformer: pre-norm, GELU, rotary positions, causal attention.

Vaswani et al. 2017 for the block, Radford et al. 2019 (GPT-2) for pre-norm and initialisation, Su et al. 2021
(RoFormer) for rotary positions. Legend: B rows, T new tokens, L tokens in all, V vocabulary, D d_model, H heads,
K = D / H head size.
"""

from dataclasses import dataclass, field
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midifactory.models.inputs import TokenInput
from midifactory.models.interface import Conditions, Output, SequenceModel, causal_check, dropout


@dataclass
class KeyValueCache:
    """Keys and values in static buffers, and how much of them is filled.

    keys, values: one (B, H, capacity, K) per layer. `padding` (B,) or None: tokens at the start of each row that
    are no music and are not attended to. `weights`: each block's, in the order in which a decoding step uses them.
    """

    keys: list[Tensor]
    values: list[Tensor]
    length: int = 0
    padding: Tensor | None = None
    weights: list[tuple[Tensor, ...]] = field(default_factory=list)

    @property
    def capacity(self) -> int:
        """Tokens a row can hold."""
        return self.keys[0].shape[2]


class Transformer(SequenceModel):
    """The default model. Memory of a cached row: 2 x layers x capacity x d_model numbers.

    attention_dropout is apart from `dropout` (embedding and residual branches) and off, since with it torch's CPU
    attention materialises all T x T weights. Raises ValueError where the sizes do not
    fit together or ids exceed `context`.
    """

    context: int
    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        vocab_size: int,
        d_model: int = 128,
        heads: int = 4,
        layers: int = 4,
        d_ff: int | None = None,
        context: int = 1024,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        tie_embeddings: bool = True,
        rotary_base: float = 10_000.0,
    ):
        super().__init__()
        if d_model % heads or (d_model // heads) % 2:
            raise ValueError(
                f"d_model={d_model} does not divide into {heads} heads of an even size; "
                "set model.d_model to a multiple of 2 x model.heads"
            )
        self.vocab_size, self.context = vocab_size, context
        self.heads, self.dropout = heads, dropout
        self.inputs = TokenInput(vocab_size, d_model)
        self.blocks = nn.ModuleList(
            Block(d_model, heads, d_ff or 4 * d_model, dropout, attention_dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, vocab_size, bias=False)
        self.initialise(layers)
        if tie_embeddings:
            self.head.weight = self.inputs.tokens.weight
        cos, sin = rotary_table(context, d_model // heads, rotary_base)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def new_state(self, batch_size: int, capacity: int, padding: Tensor | None = None) -> KeyValueCache:
        """An empty cache; capacity at most `context`."""
        causal_check(capacity, self.context, "context")
        width = self.inputs.tokens.embedding_dim
        shape = (batch_size, self.heads, capacity, width // self.heads)
        like = self.inputs.tokens.weight
        keys, values = ([like.new_zeros(shape) for _ in self.blocks] for _ in range(2))
        weights = [block.weights() for block in cast(list[Block], self.blocks)]
        return KeyValueCache(keys, values, padding=padding, weights=weights)

    def forward(self, ids: Tensor, state: KeyValueCache | None = None, conditions: Conditions | None = None) -> Output:
        """ids (B, T) -> logits (B, T, V); with a cache the T tokens are appended to it in place."""
        start = state.length if state else 0
        end = start + ids.shape[1]
        causal_check(end, state.capacity if state else self.context, "cache" if state else "context")
        rotation = self.cos[start:end], self.sin[start:end]  # (T, 1, 1, K) each
        mask = _padding_mask(state, start, end) if state else None
        if state and ids.shape[1] == 1 and not (self.training or torch.is_grad_enabled()):
            return Output(self.next(ids[:, 0], state, mask)[:, None], state)
        x = dropout(self.inputs(ids, [], conditions), self.dropout, self.training)  # (B, T, D)
        for index, block in enumerate(self.blocks):
            x = block(x, rotation, state, index, mask)
        if state:
            state.length = end
        return Output(self.head(self.norm(x)), state)

    def next(self, ids: Tensor, state: KeyValueCache, mask: Tensor | None) -> Tensor:
        """One more token per row, ids (B,) -> logits (B, V): `forward`'s arithmetic without its modules.

        While decoding, calling some forty modules and finding their weights costs as much as their small products.
        """
        position, width = state.length, (self.inputs.tokens.embedding_dim,)
        rotation = self.cos[position], self.sin[position]  # (1, 1, K) each
        x = F.embedding(ids, self.inputs.tokens.weight)  # (B, D)
        for weights, keys, values in zip(state.weights, state.keys, state.values, strict=True):
            scale, shift, qkv, qkv_bias, out, out_bias, *feed_forward = weights
            hidden = torch.layer_norm(x, width, scale, shift)
            split = affine(hidden, qkv, qkv_bias).view(len(x), 3, self.heads, -1)  # (B, 3, H, K)
            qk = rotate(split[:, :2], *rotation)  # (B, 2, H, K)
            keys.select(2, position).copy_(qk[:, 1])
            values.select(2, position).copy_(split[:, 2])
            heads = F.scaled_dot_product_attention(
                qk[:, 0].unsqueeze(2), keys.narrow(2, 0, position + 1), values.narrow(2, 0, position + 1), mask
            )  # (B, H, 1, K)
            x = x + affine(heads.reshape(x.shape), out, out_bias)
            scale, shift, rise, rise_bias, fall, fall_bias = feed_forward
            hidden = F.gelu(affine(torch.layer_norm(x, width, scale, shift), rise, rise_bias))
            x = x + affine(hidden, fall, fall_bias)
        state.length = position + 1
        return F.linear(torch.layer_norm(x, width, self.norm.weight, self.norm.bias), self.head.weight)


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """F.linear of x (B, D); for a single row as the product of a matrix and a vector, which is faster on a CPU."""
    return torch.addmv(bias, weight, x[0])[None] if len(x) == 1 else F.linear(x, weight, bias)


class Block(nn.Module):
    """Pre-norm attention and feed-forward, each added to the residual stream."""

    def __init__(self, d_model: int, heads: int, d_ff: int, dropout: float, attention_dropout: float):
        super().__init__()
        self.heads, self.dropout, self.attention_dropout = heads, dropout, attention_dropout
        self.norm_attention = nn.LayerNorm(d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.attention_residual = nn.Linear(d_model, d_model)
        self.norm_feed_forward = nn.LayerNorm(d_model)
        self.feed_forward = nn.Linear(d_model, d_ff)
        self.feed_forward_residual = nn.Linear(d_ff, d_model)

    def forward(
        self,
        x: Tensor,
        rotation: tuple[Tensor, Tensor],
        cache: KeyValueCache | None,
        layer: int,
        mask: Tensor | None,
    ) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        x = x + dropout(self.attend(self.norm_attention(x), rotation, cache, layer, mask), self.dropout, self.training)
        hidden = F.gelu(self.feed_forward(self.norm_feed_forward(x)))
        return x + dropout(self.feed_forward_residual(hidden), self.dropout, self.training)

    def weights(self) -> tuple[Tensor, ...]:
        """Scale and shift or matrix and bias of each part, in the order of `forward`."""
        parts = (
            *(self.norm_attention, self.qkv, self.attention_residual),
            *(self.norm_feed_forward, self.feed_forward, self.feed_forward_residual),
        )
        return tuple(weight for part in parts for weight in (part.weight, part.bias))

    def attend(
        self,
        x: Tensor,
        rotation: tuple[Tensor, Tensor],
        cache: KeyValueCache | None,
        layer: int,
        mask: Tensor | None,
    ) -> Tensor:
        """Causal self-attention of x (B, T, D), over the cache too where there is one."""
        batch, new, width = x.shape
        qkv = self.qkv(x).view(batch, new, 3, self.heads, width // self.heads)  # (B, T, 3, H, K)
        qk = rotate(qkv[:, :, :2], *rotation)  # (B, T, 2, H, K)
        query, key = qk.permute(2, 0, 3, 1, 4)  # (B, H, T, K) each
        value = qkv[:, :, 2].transpose(1, 2)  # (B, H, T, K)
        causal = new > 1
        if cache is not None:
            start, end = cache.length, cache.length + new
            keys, values = cache.keys[layer], cache.values[layer]
            keys.narrow(2, start, new).copy_(key)
            values.narrow(2, start, new).copy_(value)
            # Attention over the filled part only: a full static buffer would cost its whole capacity each step.
            key, value = keys.narrow(2, 0, end), values.narrow(2, 0, end)
        drop = self.attention_dropout if self.training else 0.0
        heads = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=drop, is_causal=causal and mask is None
        )  # (B, H, T, K)
        return self.attention_residual(heads.transpose(1, 2).reshape(batch, new, width))


def rotary_table(length: int, head_size: int, base: float) -> tuple[Tensor, Tensor]:
    """cos and signed sin of position x frequency, (length, 1, 1, head_size) each (Su et al. 2021, eq. 34).

    Both halves of a head turn by the same angles; the first half's sine is negative, see `rotate`.
    """
    frequencies = base ** (-torch.arange(0, head_size, 2, dtype=torch.float64) / head_size)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), frequencies)
    cos, sin = angles.cos().float(), angles.sin().float()
    return torch.cat((cos, cos), -1)[:, None, None], torch.cat((-sin, sin), -1)[:, None, None]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (x[i], x[i + K/2]) of x (..., H, K) by the angle of their position."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


def _padding_mask(cache: KeyValueCache, start: int, end: int) -> Tensor | None:
    """(B, 1, T, L) bool, True where attention may look; None where plain causal attention says it all."""
    if cache.padding is None and (start == 0 or end - start == 1):
        return None
    device = cache.keys[0].device
    keys = torch.arange(end, device=device)
    causal = keys[None, :] <= torch.arange(start, end, device=device)[:, None]  # (T, L)
    if cache.padding is None:
        return causal[None, None]
    real = keys[None, :] >= cache.padding[:, None].to(device)  # (B, L)
    # A padding position may see itself: a row of nothing but -inf would be NaN.
    itself = keys[None, :] == torch.arange(start, end, device=device)[:, None]
    return ((causal[None] & real[:, None]) | itself[None])[:, None]
