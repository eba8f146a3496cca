"""A transformer over frames: one position for each step of a grid of voices, and a small network for its cells.

A frame is K tokens that stand for one moment. Attention sees one position for each frame, a quarter of the tokens for
four voices; within a frame each cell is foretold from what attention found and from the cells before it, as in
RQ-Transformer (Lee et al. 2022) and MEGABYTE (Yu et al. 2023). What the pitches are to each other is read by the
places (tokens/grid.py), and logits are added up by pitch, by interval from the voice's last pitch and by interval from
each cell of the frame, so that what is learnt in one key holds in the others.

Legend: B rows, T tokens, S frames, K cells of a frame, F features of which M are of the frame, D d_model, V vocabulary,
P pitches, R pitches that intervals are counted from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midifactory.models.cache import KeyValueCache
from midifactory.models.inputs import TokenInput
from midifactory.models.interface import (
    Conditions,
    Output,
    PlaceReader,
    SequenceModel,
    State,
    check_joined,
    check_length,
    copied,
    dropout,
)
from midifactory.models.layers import FeedForward
from midifactory.models.transformer import Transformer, xavier

_FIRST_CAPACITY = 256  # frames that a cache has room for at first


class FramePlaces(PlaceReader, Protocol):
    """A reader of places that knows frames.

    frame: K. frame_features: M, the last ones. The first R = `references` features are pitches, 0 .. P - 1, or more
    where there is none. Ids from `first_cell` on are cells, those from `first_pitch` on the P `pitches`, rising.
    """

    frame: int
    frame_features: int
    references: int
    first_cell: int
    first_pitch: int
    pitches: int


@dataclass
class FrameState(State):
    """Rows may be at different cells of their frames.

    trunk: the cache of the frames. known: (B, 1, D), what attention found for the frame that is being written. read:
    (B,) cells so far.
    """

    readers: list[Any]
    trunk: KeyValueCache
    known: Tensor | None = None
    read: Tensor | None = None

    def select(self, rows: Sequence[int] | Tensor) -> None:
        """As State says."""
        rows = [int(row) for row in rows]
        self.readers = copied(self.readers, rows)
        self.trunk.select(rows)
        if self.known is not None and self.read is not None:
            self.known, self.read = self.known[rows], self.read[rows]

    def join(self, other: "FrameState") -> None:
        """As State says."""
        check_joined(self.known is not None, other.known is not None)
        self.readers = self.readers + other.readers
        self.trunk.join(other.trunk)
        self.known = torch.cat((self.known, other.known))  # type: ignore[arg-type]
        self.read = torch.cat((self.read, other.read))  # type: ignore[arg-type]


class FrameTransformer(SequenceModel):
    """For `tokenizer=voice_grid`, whose places it needs.

    Pieces are read whole: `context` is None, the keyword of that name the most cells of a row, `longest`. heads and
    layers are those of the Transformer over frames, d_model and dropout its and the cells'. cell_layers: feed-forwards
    for each cell. feature_dropout: the share of places that a position is not told of in training. condition_sizes and
    latent_size are those of TokenInput. A row may begin with one special token (BOS) and then holds cells; what follows
    the cells is padding. Rows of one state that are at different cells of their frames are read token by token. Raises
    ValueError for places without frames, prefix conditions and longer rows.
    """

    context: None
    longest: int

    def __init__(
        self,
        vocab_size: int,
        d_model: int = 128,
        heads: int = 4,
        layers: int = 2,
        cell_layers: int = 1,
        context: int = 16_384,
        dropout: float = 0.1,
        feature_dropout: float = 0.1,
        places: Any = None,
        condition_sizes: Sequence[int] = (),
        condition_mode: Literal["added", "prefix"] = "added",
        latent_size: int = 0,
    ):
        super().__init__()
        if not hasattr(places, "frame_features"):
            raise ValueError("it needs a grid of voices; set tokenizer=voice_grid and model.musical_embeddings=true")
        if condition_mode != "added":
            raise ValueError(f"condition_mode={condition_mode}: frames take no prefix; set it to added")
        if not 0 <= feature_dropout < 1:
            raise ValueError(f"feature_dropout={feature_dropout}: must be at least 0 and below 1")
        self.vocab_size, self.context, self.dropout = vocab_size, None, dropout
        self.longest = context
        self.reader: FramePlaces = places
        split = len(places.sizes) - places.frame_features
        # Its table of one token is the frame that stands before the first one.
        self.trunk = Transformer(
            1,
            d_model,
            heads,
            layers,
            context=context // places.frame + 2,  # one more for what stands behind a row that begins no frame
            initialisation="xavier",
            dropout=dropout,
            condition_sizes=condition_sizes,
            latent_size=latent_size,
        )
        self.of_frame = Tables(places.sizes[split:], d_model, feature_dropout)
        self.of_cell = Tables(places.sizes[:split] * places.frame, d_model, feature_dropout)
        self.cells = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(d_model), FeedForward(d_model, 4 * d_model, "gelu", True))
            for _ in range(cell_layers)
        )
        xavier(self.cells)
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, vocab_size)
        self.intervals = nn.Linear(d_model, places.references * (2 * places.pitches - 1))
        for layer in (self.head, self.intervals):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    @property
    def inputs(self) -> TokenInput:
        """What holds the embeddings of conditions."""
        return self.trunk.inputs

    def new_state(self, batch_size: int, capacity: int, padding: Tensor | None = None) -> FrameState:
        """An empty state, which grows as it must, whatever the capacity."""
        if padding is not None:
            raise ValueError("frames cannot be told of padding at the start of a row")
        readers = [self.reader.start() for _ in range(batch_size)]
        return FrameState(readers, self.trunk.new_state(batch_size, min(_FIRST_CAPACITY, self.trunk.context)))

    def forward(self, ids: Tensor, state: FrameState | None = None, conditions: Conditions | None = None) -> Output:
        """ids (B, T) -> logits (B, T, V)."""
        rows, length = ids.shape
        frame, column = self.reader.frame, torch.arange(length, device=ids.device)
        before = (ids[:, 0] >= self.reader.first_cell).long() - 1 if state is None or state.read is None else state.read
        read = before[:, None] + 1 + column  # (B, T) cells that are read
        # The trunk would count frames, and a cache that grows would lead beyond its positions.
        tokens = int(read[:, -1].max())
        check_length(tokens, self.longest, "context", f"give fewer, or set model.context={tokens} and train anew")
        first = -read[:, 0] % frame  # (B,) the column that begins a frame
        if state is not None and bool((first != first[0]).any()):
            if length > 1:
                parts = [self.forward(ids[:, t : t + 1], state, conditions).logits for t in range(length)]
                return Output(torch.cat(parts, 1), state)
            state.trunk.padding = (first > 0).long().tolist()  # of these rows no frame is to be read

        readers = [self.reader.start() for _ in range(rows)] if state is None else state.readers
        places = self.reader.read(ids.cpu(), readers).to(ids.device)  # (B, T, F)
        split = places.shape[-1] - self.reader.frame_features
        opening = self.trunk.inputs(ids.new_zeros(rows, 1), [], conditions)  # (B, 1, D)
        count = max(0, (length - int(first.min()) + frame - 1) // frame)
        known = opening if state is None or state.known is None else state.known  # (B, 1, D)
        if count:
            # A row that begins later may have one frame less: its last column stands in, which no cell of it reads.
            begins = (first[:, None] + frame * torch.arange(count, device=ids.device)).clamp(max=length - 1)  # (B, S)
            features = places[..., split:].gather(1, begins[..., None].expand(-1, -1, self.reader.frame_features))
            x = self.of_frame(features) + opening  # (B, S, D)
            found = self.trunk.trunk(x, None if state is None else self._room(state.trunk, count))[0]
            known = torch.cat((known, found), 1)  # (B, 1 + S, D)
        which = (column - first[:, None] + frame) // frame  # (B, T)
        x = known.gather(1, which[..., None].expand(-1, -1, known.shape[-1]))  # (B, T, D)
        if state is not None:
            state.known, state.read = x[:, -1:], read[:, -1]
        voice = read % frame
        return Output(self._cells(x, places[..., :split], voice), state)

    def _cells(self, x: Tensor, places: Tensor, voice: Tensor) -> Tensor:
        """x (B, T, D) known of the frames, the cells' own features (B, T, F - M), voice (B, T) -> (B, T, V)."""
        x = dropout(x + self.of_cell(places, voice), self.dropout, self.training)
        for layer in self.cells:
            x = x + dropout(layer(x), self.dropout, self.training)
        x = dropout(self.norm(x), self.dropout, self.training)
        reader = self.reader
        pitches = torch.arange(reader.pitches, device=x.device)
        sums = x.new_zeros(*x.shape[:2], reader.pitches)  # (B, T, P)
        for index, part in enumerate(self.intervals(x).chunk(reader.references, -1)):  # (B, T, 2 P - 1)
            origin = places[..., index, None]  # (B, T, 1)
            interval = pitches - origin.clamp(max=reader.pitches - 1) + reader.pitches - 1
            sums = sums + part.gather(-1, interval) * (origin < reader.pitches)
        beyond = self.vocab_size - reader.first_pitch - reader.pitches
        return self.head(x) + F.pad(sums, (reader.first_pitch, beyond))

    def _room(self, cache: KeyValueCache, count: int) -> KeyValueCache:
        """The cache, made longer where `count` more frames do not fit."""
        wanted = max(cache.lengths) + count
        if wanted > cache.capacity:
            cache.grow(max(wanted, min(2 * cache.capacity, self.trunk.context)))
        return cache


class Tables(nn.Module):
    """The sum of an embedding of each feature. sizes: of the features of all groups, group after group.

    dropout: in training, so many of the features of each position are left out and the others scaled up.
    """

    offsets: Tensor

    def __init__(self, sizes: Sequence[int], d_model: int, dropout: float):
        super().__init__()
        self.dropout = dropout
        # No nn.Embedding, so that its rows decay: most combinations of features are too rare to be trusted far.
        self.rows = nn.EmbeddingBag(sum(sizes), d_model, mode="sum")
        nn.init.normal_(self.rows.weight, std=0.04)
        self.register_buffer("offsets", torch.tensor([0, *sizes[:-1]]).cumsum(0), persistent=False)

    def forward(self, features: Tensor, group: Tensor | None = None) -> Tensor:
        """features (B, T, F), of the first group or of `group` (B, T) -> (B, T, D)."""
        offsets = self.offsets.view(-1, features.shape[-1])  # (groups, F)
        index = features + (offsets[0] if group is None else offsets[group])
        kept = None
        if self.training and self.dropout:
            kept = dropout(self.rows.weight.new_ones(features.shape), self.dropout, True).flatten(0, 1)
        return self.rows(index.flatten(0, 1), per_sample_weights=kept).view(*features.shape[:2], -1)
