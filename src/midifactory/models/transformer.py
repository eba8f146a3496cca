"""Decoder-only transformers: pre-norm blocks of causal attention and a feed-forward or a mixture of experts.

Vaswani et al. 2017 for the block, Radford et al. 2019 (GPT-2) for pre-norm and initialisation.

Legend: B rows, T new tokens, L columns in all, C prefix columns, V vocabulary, D d_model, H heads, G heads of keys and
values, K = D / H head size, k experts of a token.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from midifactory.models.attention import Attention
from midifactory.models.cache import Columns, KeyValueCache, after_prefix
from midifactory.models.inputs import TokenInput
from midifactory.models.interface import PAD, Conditions, Output, PlaceReader, SequenceModel, check_length, dropout
from midifactory.models.layers import (
    FEED_FORWARDS,
    NORMS,
    FeedForward,
    default_width,
    make_norm,
    norm_step,
)
from midifactory.models.moe import Experts, Routing, router_losses
from midifactory.models.native import native_step
from midifactory.models.positions import POSITIONS, Positions, Span
from midifactory.models.quantise import Int8Linear

INITIALISATIONS = ("gpt2", "xavier")
BlockStep = Callable[[Tensor, Span, Tensor, Tensor], Tensor]


class Block(nn.Module):
    """Pre-norm attention and feed-forward, each added to the residual stream."""

    def __init__(
        self,
        norm_attention: nn.LayerNorm | nn.RMSNorm,
        attention: Attention,
        norm_feed_forward: nn.LayerNorm | nn.RMSNorm,
        feed_forward: FeedForward | Experts,
        dropout: float,
    ):
        super().__init__()
        self.norm_attention, self.attention = norm_attention, attention
        self.norm_feed_forward, self.feed_forward = norm_feed_forward, feed_forward
        self.dropout = dropout

    def forward(
        self, x: Tensor, span: Span, cache: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Routing | None]:
        """x (B, T, D) -> (B, T, D), and which way a mixture of experts sent its tokens."""
        x = x + dropout(self.attention(self.norm_attention(x), span, cache), self.dropout, self.training)
        hidden, routing = self.norm_feed_forward(x), None
        if isinstance(self.feed_forward, Experts):
            hidden, routing = self.feed_forward(hidden)
        else:
            hidden = self.feed_forward(hidden)
        return x + dropout(hidden, self.dropout, self.training), routing

    def step(self) -> BlockStep:
        """`forward` for one more token of each row: a function of x (B, D), span, keys and values (B, G, L, K)."""
        norm_attention, norm_feed_forward = norm_step(self.norm_attention), norm_step(self.norm_feed_forward)
        attend, feed_forward = self.attention.step(), self.feed_forward.step()

        def step(x: Tensor, span: Span, keys: Tensor, values: Tensor) -> Tensor:
            x = x + attend(norm_attention(x), span, keys, values)
            return x + feed_forward(norm_feed_forward(x))

        return step


class Transformer(SequenceModel):
    """The default model. Memory of a cached row: 2 x layers x capacity x d_model numbers, or kv_heads / heads of that.

    positions: see models/positions.py; max_distance: beyond it, relative positions share one vector; None for
    `context`. kv_heads: None for `heads`. d_ff: None for four times d_model, or two thirds of that with swiglu.
    bias: of linear layers and LayerNorms. embedding_dropout, residual_dropout: None for `dropout`; attention_dropout
    is apart from it. activation_checkpointing: compute a block anew in the backward pass instead of keeping what it
    computed (Chen et al. 2016). experts: 0 for a plain feed-forward; the keywords after it are those of a mixture
    (models/moe.py), whose losses come weighted and summed over the layers, in training alone; padding is routed like
    music, but not counted there. The last four keywords are those of TokenInput.

    Raises ValueError where sizes do not fit together, for unknown options, and for more tokens than `context`.
    """

    context: int

    def __init__(
        self,
        vocab_size: int,
        d_model: int = 128,
        heads: int = 4,
        layers: int = 4,
        d_ff: int | None = None,
        context: int = 1024,
        positions: Literal["rotary", "relative", "alibi", "sinusoidal", "learned", "none"] = "rotary",
        rotary_base: float = 10_000.0,
        max_distance: int | None = None,
        kv_heads: int | None = None,
        norm: Literal["layer", "rms"] = "layer",
        feed_forward: Literal["gelu", "swiglu"] = "gelu",
        bias: bool = True,
        initialisation: Literal["gpt2", "xavier"] = "gpt2",
        tie_embeddings: bool = True,
        dropout: float = 0.1,
        embedding_dropout: float | None = None,
        residual_dropout: float | None = None,
        attention_dropout: float = 0.0,
        activation_checkpointing: bool = False,
        experts: int = 0,
        experts_per_token: int = 2,
        capacity_factor: float | None = None,
        balance_loss: float = 0.01,
        router_z_loss: float = 0.001,
        places: PlaceReader | None = None,
        condition_sizes: Sequence[int] = (),
        condition_mode: Literal["added", "prefix"] = "added",
        latent_size: int = 0,
    ):
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        embedding_dropout = dropout if embedding_dropout is None else embedding_dropout
        residual_dropout = dropout if residual_dropout is None else residual_dropout
        for name, value, known in (
            ("positions", positions, POSITIONS),
            ("norm", norm, NORMS),
            ("feed_forward", feed_forward, FEED_FORWARDS),
            ("initialisation", initialisation, INITIALISATIONS),
        ):
            if value not in known:
                raise ValueError(f"{name}={value}: unknown; choose one of {', '.join(known)}")
        d_ff = default_width(d_model, feed_forward) if d_ff is None else d_ff
        sizes = {"d_model": d_model, "layers": layers, "d_ff": d_ff, "context": context, "max_distance": max_distance}
        for name, size in (*sizes.items(), ("rotary_base", rotary_base)):
            if size is not None and size < 1:
                raise ValueError(f"{name}={size}: must be at least 1")
        for name, share in (
            ("dropout", dropout),
            ("embedding_dropout", embedding_dropout),
            ("residual_dropout", residual_dropout),
            ("attention_dropout", attention_dropout),
        ):
            if not 0 <= share < 1:
                raise ValueError(f"{name}={share}: must be at least 0 and below 1")
        check_heads(d_model, heads, kv_heads, positions)
        _check_experts(experts, experts_per_token, capacity_factor)
        self.vocab_size, self.context, self.heads, self.kv_heads = vocab_size, context, heads, kv_heads
        self.embedding_dropout, self.activation_checkpointing = embedding_dropout, activation_checkpointing
        self.balance_loss, self.router_z_loss = balance_loss, router_z_loss
        self.inputs = TokenInput(vocab_size, d_model, places, condition_sizes, condition_mode, latent_size)
        prefix = self.inputs.prefix_length
        longest = prefix + context - 1
        greatest = longest if max_distance is None else min(max_distance, longest)
        self.positions = Positions(positions, context, prefix, d_model, heads, rotary_base, greatest)

        expert = partial(FeedForward, d_model, d_ff, feed_forward, bias)
        distances = greatest + 1 if positions == "relative" else 0
        self.blocks = nn.ModuleList(
            Block(
                make_norm(norm, d_model, bias),
                Attention(d_model, heads, kv_heads, distances, attention_dropout, bias),
                make_norm(norm, d_model, bias),
                Experts(expert, d_model, experts, experts_per_token, capacity_factor) if experts else expert(),
                residual_dropout,
            )
            for _ in range(layers)
        )
        self.norm = make_norm(norm, d_model, bias)
        self.head = nn.Linear(d_model, vocab_size, bias=False)
        self.initialise(layers)
        if initialisation == "xavier":
            xavier(self.blocks)
        if tie_embeddings:
            self.head.weight = self.inputs.tokens.weight

    def new_state(self, batch_size: int, capacity: int, padding: Tensor | None = None) -> KeyValueCache:
        """An empty cache; capacity at most `context`."""
        check_length(capacity, self.context, "context", "ask for a smaller capacity")
        like, ignored = self.inputs.tokens.weight, [0] * batch_size if padding is None else padding.tolist()
        shape = len(self.blocks), batch_size, self.kv_heads, capacity, like.shape[1] // self.heads
        native, readers = native_step(self), self.inputs.start(batch_size)
        # The native step alone reads 8 bits faster.
        eight = native is not None and isinstance(self.head, Int8Linear)
        state = KeyValueCache(like, shape, self.inputs.prefix_length, ignored, readers, eight)
        state.native = native
        if state.native is None:
            state.steps = [block.step() for block in cast(list[Block], self.blocks)], norm_step(self.norm)
        return state

    def forward(self, ids: Tensor, state: KeyValueCache | None = None, conditions: Conditions | None = None) -> Output:
        """ids (B, T) -> logits (B, T, V); with a cache the T tokens are appended to it in place.

        A mixture of experts names those chosen in its statistics, but for a single token that is appended to a cache.
        """
        fresh = state is None or not any(state.lengths)
        prefix = self.inputs.prefix(len(ids), conditions) if fresh else None  # (B, C, D)
        readers = self.inputs.start(len(ids)) if state is None else state.readers
        logits, routings = self._read(self.inputs(ids, readers, conditions), state, prefix, to_logits=True)
        output = Output(logits, state)
        if routings:
            output.statistics["experts"] = torch.stack([routing.chosen for routing in routings])[:, :, -ids.shape[1] :]
        if routings and self.training:
            real = torch.ones_like(routings[0].chosen[..., 0], dtype=torch.bool)  # (B, C + T)
            real[:, -ids.shape[1] :] = ids != PAD
            balance, z = zip(*(router_losses(routing, real) for routing in routings), strict=True)
            output.losses = {
                "balance_loss": self.balance_loss * torch.stack(balance).sum(),
                "router_z_loss": self.router_z_loss * torch.stack(z).sum(),
            }
        return output

    def trunk(self, x: Tensor, state: KeyValueCache | None = None) -> tuple[Tensor, KeyValueCache | None]:
        """Inputs (B, T, D), embedded -> what the head reads, (B, T, D), and the cache: for models around this one.

        The losses of a mixture of experts are not handed out: it cannot be trained in this way.
        """
        return self._read(x, state, None)[0], state

    @torch.no_grad()
    def attention_maps(self, ids: Tensor, conditions: Conditions | None = None) -> list[Tensor]:
        """ids (B, T) -> the attention weights of each layer, (B, H, T, T): rows look, columns are looked at.

        Those that `forward` uses in eval mode, of any kind of positions. A row adds up to 1, or to less where it looks
        at prefix positions, which are cut off.
        """
        training, maps = self.training, list[Tensor]()
        self.eval()
        try:
            x = self.inputs(ids, self.inputs.start(len(ids)), conditions)  # (B, T, D)
            self._read(x, None, self.inputs.prefix(len(ids), conditions), maps)
        finally:
            self.train(training)
        return [weights[..., -ids.shape[1] :, -ids.shape[1] :] for weights in maps]

    def _read(
        self,
        x: Tensor,
        state: KeyValueCache | None,
        prefix: Tensor | None,
        maps: list[Tensor] | None = None,
        to_logits: bool = False,
    ) -> tuple[Tensor, list[Routing]]:
        """Embedded tokens x (B, T, D) -> the same after all blocks, or logits, and routings; `maps` takes weights."""
        new, before = x.shape[1], 0 if prefix is None else prefix.shape[1]
        columns = range(before, before + new) if state is None else state.place(new, before)
        end = columns.stop if isinstance(columns, range) else int(columns.max()) + 1
        tokens = end - self.inputs.prefix_length
        if state is not None:
            check_length(tokens, state.capacity, "cache", "ask new_state for a greater capacity")
        else:
            check_length(tokens, self.context, "context", f"give fewer, or set model.context={tokens} and train anew")
        added = self.positions.added(columns, x.device)
        x = x if added is None else x + added
        if state is not None and new == 1 and prefix is None and not (self.training or torch.is_grad_enabled()):
            x = self._step(x[:, 0], state, columns, end, to_logits)[:, None]
            state.advance(1, 0)
            return x, []
        if prefix is not None:
            x = torch.cat((prefix, x), 1)  # (B, C + T, D)
            columns = after_prefix(columns, before)
        x = dropout(x, self.embedding_dropout, self.training)
        span = self.positions.span(columns, end, x.device, explicit=maps is not None)
        routings = []
        for index, block in enumerate(cast(list[Block], self.blocks)):
            if maps is not None:
                maps.append(block.attention.weights(block.norm_attention(x), span))
            if state is not None:
                keys_values = state.opened(index, end)
                x, routing = block(x, span, keys_values)
                state.close(index, keys_values, columns)
            elif self.activation_checkpointing and self.training:
                x, routing = checkpoint(block, x, span, use_reentrant=False)
            else:
                x, routing = block(x, span)
            if routing is not None:
                routings.append(routing)
        if state is not None:
            state.advance(new, before)
        x = self.norm(x)[:, -new:]
        return self.head(x) if to_logits else x, routings

    def _step(self, x: Tensor, state: KeyValueCache, columns: Columns, end: int, to_logits: bool) -> Tensor:
        """One more token of each row, (B, D) -> (B, D) or (B, V): `_read`'s arithmetic without its modules."""
        if state.native is not None:
            return state.native(x, state, to_logits)
        span, (steps, norm) = self.positions.span_of_one(columns, end, x.device), state.steps
        for step, (keys, values) in zip(steps, state.layers, strict=True):
            x = step(x, span, keys.narrow(2, 0, end), values.narrow(2, 0, end))
        return self.head(norm(x)) if to_logits else norm(x)


def xavier(module: nn.Module) -> None:
    """Uniform with the variance 2 / (inputs + outputs) for every linear layer (Glorot and Bengio 2010).

    Queries, keys and values are one matrix here, as in torch.nn.MultiheadAttention.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)


def check_heads(d_model: int, heads: int, kv_heads: int, positions: str) -> None:
    """Raise ValueError where the width does not divide into heads, or these into groups."""
    even, factor = (" of an even size", "2 x ") if positions == "rotary" else ("", "")
    if heads < 1 or d_model % heads or (even and (d_model // heads) % 2):
        raise ValueError(
            f"d_model={d_model} does not divide into {heads} heads{even}; "
            f"set model.d_model to a multiple of {factor}model.heads"
        )
    if kv_heads < 1 or heads % kv_heads:
        fitting = ", ".join(str(number) for number in range(1, heads + 1) if heads % number == 0)
        raise ValueError(f"kv_heads={kv_heads} does not divide heads={heads}; set model.kv_heads to one of {fitting}")


def _check_experts(experts: int, per_token: int, capacity_factor: float | None) -> None:
    if experts < 0:
        raise ValueError(f"experts={experts}: must be at least 1, or 0 for a plain feed-forward")
    if experts and not 1 <= per_token <= experts:
        raise ValueError(f"experts_per_token={per_token}: must be between 1 and model.experts={experts}")
    if capacity_factor is not None and capacity_factor <= 0:
        raise ValueError(f"capacity_factor={capacity_factor}: must be above 0, or null to drop no token")
