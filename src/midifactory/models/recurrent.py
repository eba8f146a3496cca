"""LSTM and GRU language models (Hochreiter & Schmidhuber 1997; Cho et al. 2014), with attention over the past if asked.

Legend: B rows, T new tokens, C prefix positions, D d_model, R hidden size, H attention heads, K = R / H head size,
S attention span, M remembered positions (M <= S).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midifactory.models.inputs import TokenInput
from midifactory.models.interface import (
    Conditions,
    Output,
    PlaceReader,
    SequenceModel,
    State,
    check_joined,
    copied,
    dropout,
)

Hidden = Tensor | tuple[Tensor, Tensor]
_KINDS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class Memory(NamedTuple):
    """keys, values: (B, H, M, K) of the last positions. missing: (B,) how many of these each row has not read yet.

    None where no row misses any.
    """

    keys: Tensor
    values: Tensor
    missing: Tensor | None = None

    def select(self, rows: list[int]) -> "Memory":
        """These rows."""
        return Memory(self.keys[rows], self.values[rows], _unless_zero(self._missing()[rows]))

    def join(self, other: "Memory") -> "Memory":
        """The rows of both."""
        length = max(self.keys.shape[2], other.keys.shape[2])
        short = [length - part.keys.shape[2] for part in (self, other)]
        keys, values = (
            torch.cat([F.pad(part, (0, 0, gap, 0)) for part, gap in zip(parts, short, strict=True)])
            for parts in ((self.keys, other.keys), (self.values, other.values))
        )
        missing = torch.cat((self._missing() + short[0], other._missing() + short[1]))
        return Memory(keys, values, _unless_zero(missing))

    def _missing(self) -> Tensor:
        if self.missing is not None:
            return self.missing
        return torch.zeros(len(self.keys), dtype=torch.int64, device=self.keys.device)


def _unless_zero(missing: Tensor) -> Tensor | None:
    return missing if bool(missing.any()) else None


@dataclass
class RecurrentState(State):
    """Its size does not grow with the rows, but for the attention's memory up to its span.

    hidden: each layer's own state; empty before the first token. readers: of the places (models/inputs.py).
    """

    readers: list[Any]
    hidden: list[Hidden] = field(default_factory=list)
    memory: Memory | None = None

    def select(self, rows: Sequence[int] | Tensor) -> None:
        """As State says."""
        rows = [int(row) for row in rows]
        self.readers = copied(self.readers, rows)
        self.hidden = [_each(lambda part: part[:, rows], hidden) for hidden in self.hidden]
        self.memory = None if self.memory is None else self.memory.select(rows)

    def join(self, other: "RecurrentState") -> None:
        """As State says."""
        check_joined(bool(self.hidden), bool(other.hidden))
        self.readers = self.readers + other.readers
        self.hidden = [
            _each(lambda *parts: torch.cat(parts, 1), mine, theirs)
            for mine, theirs in zip(self.hidden, other.hidden, strict=True)
        ]
        if self.memory is not None and other.memory is not None:
            self.memory = self.memory.join(other.memory)


def _each(change: Callable[..., Tensor], *hidden: Hidden) -> Hidden:
    """`change` of the tensors (1, B, R) of layers' states: of a GRU's one, or an LSTM's two."""
    if isinstance(hidden[0], Tensor):
        return change(*hidden)
    cell, memory = zip(*hidden, strict=True)
    return change(*cell), change(*memory)


class Recurrent(SequenceModel):
    """An embedding, a stack of LSTM or GRU layers, and a (by default tied) output layer.

    Its state has a bounded size however long the piece is, so `context` is None. Embeddings are scaled by sqrt(D)
    (Vaswani et al. 2017, 3.4), and what each layer says is normalised (Ba et al. 2016): as every layer made the signal
    smaller, an LSTM stayed at the level of a unigram model for its first hundreds of steps.

    hidden: the layers' size, None for d_model; another one is projected to d_model before the output. dropout:
    variational (Gal and Ghahramani 2016): what is dropped of the input, between layers and before the output is the
    same at all positions of a row; recurrent connections are kept, since torch's layers let nothing in there.
    layer_dropout: drawn for every position, between layers only. attention_heads: the last layer's state at each
    position attends to itself and the `attention_span` states before it, and what it finds is added to it; 0 for none.
    The other keywords are those of TokenInput. Raises ValueError for sizes and shares that make no model.
    """

    context: None

    def __init__(
        self,
        vocab_size: int,
        cell: Literal["lstm", "gru"] = "lstm",
        d_model: int = 256,
        hidden: int | None = None,
        layers: int = 2,
        dropout: float = 0.2,
        layer_dropout: float = 0.0,
        tie_embeddings: bool = True,
        attention_heads: int = 0,
        attention_span: int = 256,
        places: PlaceReader | None = None,
        condition_sizes: Sequence[int] = (),
        condition_mode: Literal["added", "prefix"] = "added",
        latent_size: int = 0,
    ):
        super().__init__()
        width = d_model if hidden is None else hidden
        if cell not in _KINDS:
            raise ValueError(f"cell={cell}: choose one of {', '.join(_KINDS)}")
        for name, size in (("d_model", d_model), ("hidden", width), ("layers", layers)):
            if size < 1:
                raise ValueError(f"{name}={size}: must be at least 1")
        for name, share in (("dropout", dropout), ("layer_dropout", layer_dropout)):
            if not 0 <= share < 1:
                raise ValueError(f"{name}={share}: must be at least 0 and below 1")
        if attention_heads < 0 or (attention_heads and width % attention_heads):
            raise ValueError(
                f"attention_heads={attention_heads}: {width} hidden units do not divide into them; "
                "set model.attention_heads to a divisor, or 0 for none"
            )
        if attention_span < 1:
            raise ValueError(f"attention_span={attention_span}: must be at least 1; model.attention_heads=0 is none")
        self.vocab_size, self.context = vocab_size, None
        self.dropout, self.layer_dropout = dropout, layer_dropout
        self.inputs = TokenInput(vocab_size, d_model, places, condition_sizes, condition_mode, latent_size)
        self.layers = nn.ModuleList(
            _KINDS[cell](width if index else d_model, width, batch_first=True) for index in range(layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.attention = PastAttention(width, attention_heads, attention_span) if attention_heads else None
        self.projection = nn.Linear(width, d_model) if width != d_model else nn.Identity()
        self.head = nn.Linear(d_model, vocab_size)
        self.initialise(layers)
        if tie_embeddings:
            self.head.weight = self.inputs.tokens.weight

    def new_state(self, batch_size: int, capacity: int, padding: Tensor | None = None) -> RecurrentState:
        """The state of rows that have read nothing; any number of tokens may follow."""
        if padding is not None:
            raise ValueError("a recurrent state cannot ignore padding at the start of a row")
        return RecurrentState(self.inputs.start(batch_size))

    def forward(self, ids: Tensor, state: RecurrentState | None = None, conditions: Conditions | None = None) -> Output:
        """ids (B, T) -> logits (B, T, V); a state is moved on in place."""
        readers = self.inputs.start(len(ids)) if state is None else state.readers
        x = self.inputs(ids, readers, conditions)  # (B, T, D)
        prefix = self.inputs.prefix(len(ids), conditions) if state is None or not state.hidden else None
        if prefix is not None:
            x = torch.cat((prefix, x), 1)  # (B, C + T, D)
        x, state = self.trunk(x * self.inputs.tokens.embedding_dim**0.5, state)
        return Output(self.head(x[:, -ids.shape[1] :]), state)

    def trunk(self, x: Tensor, state: RecurrentState | None = None) -> tuple[Tensor, RecurrentState | None]:
        """Inputs (B, T, D), embedded -> what the head reads, (B, T, D), and the state, moved on in place."""
        before = state.hidden if state is not None else []
        after = []
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = self._same_dropout(x)
            if index:
                x = dropout(x, self.layer_dropout, self.training)
            x, hidden = layer(x, before[index] if before else None)  # (B, T, R)
            x = norm(x)
            after.append(hidden)
        memory = None
        if self.attention is not None:
            x, memory = self.attention(x, state.memory if state is not None else None)
        if state is not None:
            state.hidden, state.memory = after, memory
        return self.projection(self._same_dropout(x)), state

    def _same_dropout(self, x: Tensor) -> Tensor:
        """Variational dropout of x (B, T, D): one mask for all positions of a row, anew with every call."""
        if not self.training or self.dropout == 0:
            return x
        return x * dropout(x.new_ones(len(x), 1, x.shape[2]), self.dropout, training=True)


class PastAttention(nn.Module):
    """Each position attends to itself and the `span` positions before it; the result is added to it.

    Dot products of heads as in Vaswani et al. 2017, over a recurrent layer's states, which know their own place: there
    are no positions. It costs T x 2 span, not T x T, in time and memory.
    """

    def __init__(self, width: int, heads: int, span: int):
        super().__init__()
        self.heads, self.span = heads, span
        self.query_key_value = nn.Linear(width, 3 * width)
        self.residual = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        """x (B, T, R) after the remembered positions -> (B, T, R), and keys and values of the last S positions."""
        batch, new, width = x.shape
        split = self.query_key_value(x).view(batch, new, 3, self.heads, width // self.heads)  # (B, T, 3, H, K)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (B, H, T, K) each
        missing = None
        if memory is not None:
            missing = memory.missing
            key, value = torch.cat((memory.keys, key), 2), torch.cat((memory.values, value), 2)  # (B, H, M + T, K)
        past = key.shape[2] - new
        parts = []
        for first in range(0, new, self.span):
            last = min(first + self.span, new)
            start, end = max(0, past + first - self.span), past + last
            here, keys, values = query[:, :, first:last], key[:, :, start:end], value[:, :, start:end]
            mask = self._band(past + first, past + last, start, end, missing, x.device)
            parts.append(F.scaled_dot_product_attention(here, keys, values, mask))
        heads = torch.cat(parts, 2).transpose(1, 2).reshape(batch, new, width)  # (B, T, R)
        if missing is not None:
            missing = _unless_zero((missing - max(0, key.shape[2] - self.span)).clamp(min=0))
        return x + self.residual(heads), Memory(key[:, :, -self.span :], value[:, :, -self.span :], missing)

    def _band(
        self, first: int, last: int, start: int, end: int, missing: Tensor | None, device: torch.device
    ) -> Tensor | None:
        """(B or 1, 1, positions first..last, positions start..end) bool, True where attention may look.

        None for everywhere.
        """
        if last - first == 1 and missing is None:
            return None
        there = torch.arange(start, end, device=device)
        distance = torch.arange(first, last, device=device)[:, None] - there
        seen = ((distance >= 0) & (distance <= self.span))[None, None]
        return seen if missing is None else seen & (there >= missing[:, None])[:, None, None]
