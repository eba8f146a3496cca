"""A model that is run by a function of tensors: a program of another runtime behind models/interface.py.

Rows may have read differently much: each column of what was read has its place in its row, and -1 where it is padding,
which nothing looks at.

Legend: B rows, T new tokens, P columns that were read before, C prefix columns, N layers, G heads of keys and values,
K head size, V vocabulary, F place features, R hidden size.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midifactory.models.interface import (
    Conditions,
    Output,
    PlaceReader,
    SequenceModel,
    State,
    check_joined,
    check_length,
    copied,
)

Run = Callable[[dict[str, Tensor]], list[Tensor]]  # Layout's inputs by name -> its outputs in their order

# The axis of the rows in what comes in; the other sizes that change are P and T.
ROWS = {"ids": 0, "positions": 0, "past_positions": 0, "past": 2, "hidden": 1, "cell": 1, "places": 0, "labels": 0}


@dataclass(frozen=True)
class Layout:
    """What goes into a program and comes out of it, in this order, as far as the model has it.

    In: `ids` (B, T) int64; `positions` (B, T) int64, the place of each in its row; `past_positions` (B, P) int64 and
    `past` (N, 2, B, G, P, K), keys and values, both with P = 0 for rows that have read nothing; `hidden` and `cell`
    (N, B, R), zeros for these; `places` (B, T, F) int64; `labels` (B, conditions) int64.
    Out: `logits` (B, T, V), `present` (N, 2, B, G, P + T, K), `hidden` and `cell`.

    past: N, G, K. span: how many columns before it a token looks at, None for all. hidden: N, R; cell: whether there
    is one. conditions: values of each. prefix: with so many columns a row begins, whose ids are `vocab_size`, plus the
    values of the conditions before it, plus its label; their places are 0, their logits nobody's.
    """

    vocab_size: int
    context: int | None
    past: tuple[int, int, int] | None
    span: int | None
    hidden: tuple[int, int] | None
    cell: bool
    place_features: int
    conditions: tuple[int, ...]
    prefix: int

    @property
    def inputs(self) -> list[str]:
        """Their names."""
        has = {
            "past": self.past is not None,
            "hidden": self.hidden is not None,
            "cell": self.cell,
            "places": self.place_features > 0,
            "labels": bool(self.conditions) and not self.prefix,
        }
        has["positions"] = has["past_positions"] = has["past"]
        return [name for name in ROWS if has.get(name, True)]

    @property
    def outputs(self) -> list[str]:
        """Their names."""
        named = {"past": "present", "hidden": "new_hidden", "cell": "new_cell"}
        return ["logits", *(new for name, new in named.items() if name in self.inputs)]

    def empty(self, rows: int) -> dict[str, Tensor]:
        """What rows that have read nothing bring along: the inputs that are not about the new tokens."""
        found = {}
        if self.past is not None:
            layers, heads, size = self.past
            found["past_positions"] = torch.zeros(rows, 0, dtype=torch.int64)
            found["past"] = torch.zeros(layers, 2, rows, heads, 0, size)
        for name in ("hidden", "cell"):
            if name in self.inputs and self.hidden is not None:
                found[name] = torch.zeros(self.hidden[0], rows, self.hidden[1])
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Layout":
        """What `to_json` gave, through JSON."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**fields)


@dataclass
class ProgramState(State):
    """read: Layout's inputs that are not about the new tokens. lengths: columns of each row, its prefix included.

    padding: how many of each row's next tokens are no music. readers: of the places (models/inputs.py).
    """

    read: dict[str, Tensor]
    lengths: list[int]
    padding: list[int]
    readers: list[Any] = field(default_factory=list)

    def select(self, rows: Sequence[int] | Tensor) -> None:
        """As State says."""
        rows = [int(row) for row in rows]
        index = torch.tensor(rows)
        self.read = {name: value.index_select(ROWS[name], index) for name, value in self.read.items()}
        self.lengths, self.padding = [self.lengths[row] for row in rows], [self.padding[row] for row in rows]
        self.readers = copied(self.readers, rows)
        if "past" in self.read:
            used = (self.read["past_positions"] >= 0).any(0)  # (P,)
            self._keep_from(int(used.int().argmax()) if bool(used.any()) else len(used))

    def join(self, other: "ProgramState") -> None:
        """As State says."""
        check_joined(min(self.lengths) > 0, min(other.lengths) > 0)
        if "past" in self.read:
            longest = max(state.read["past_positions"].shape[1] for state in (self, other))
            self._widen(longest)
            other._widen(longest)
        self.read = {name: torch.cat((value, other.read[name]), ROWS[name]) for name, value in self.read.items()}
        self.lengths, self.padding = self.lengths + other.lengths, self.padding + other.padding
        self.readers = self.readers + other.readers

    def _widen(self, columns: int) -> None:
        """Padding before what was read, so that the last columns are the newest of every row."""
        missing = columns - self.read["past_positions"].shape[1]
        if missing:
            self.read["past_positions"] = F.pad(self.read["past_positions"], (missing, 0), value=-1)
            self.read["past"] = F.pad(self.read["past"], (0, 0, missing, 0))

    def _keep_from(self, column: int) -> None:
        if column > 0:
            self.read["past_positions"] = self.read["past_positions"][:, column:]
            self.read["past"] = self.read["past"][..., column:, :]


class ProgramModel(SequenceModel):
    """Behaves as the model whose program `run` calls does in eval mode, on the CPU; it cannot be trained."""

    def __init__(self, layout: Layout, run: Run, places: PlaceReader | None = None):
        super().__init__()
        self.layout, self.vocab_size, self.context = layout, layout.vocab_size, layout.context
        self.reader, self._run = places, run
        # Callers ask a model's weights where it runs; those of a program are its own.
        self.here = nn.Parameter(torch.zeros(0), requires_grad=False)

    def new_state(self, batch_size: int, capacity: int, padding: Tensor | None = None) -> ProgramState:
        """Rows that have read nothing; capacity at most `context`."""
        if self.context is not None:
            check_length(capacity, self.context, "context", "ask for a smaller capacity")
        if padding is not None and self.layout.hidden is not None:
            raise ValueError("a recurrent state cannot ignore padding at the start of a row")
        ignored = [0] * batch_size if padding is None else padding.tolist()
        readers = [self.reader.start() for _ in range(batch_size)] if self.reader is not None else []
        return ProgramState(self.layout.empty(batch_size), [0] * batch_size, ignored, readers)

    @torch.no_grad()
    def forward(self, ids: Tensor, state: ProgramState | None = None, conditions: Conditions | None = None) -> Output:
        """ids (B, T) -> logits (B, T, V); a state is moved on in place."""
        rows, new = ids.shape
        rows_read = self.new_state(rows, new) if state is None else state
        labels = self._labels(rows, conditions)
        prefix = self.layout.prefix if not any(rows_read.lengths) else 0
        skipped = torch.tensor([min(padding, new) for padding in rows_read.padding])  # (B,)
        before = torch.tensor(rows_read.lengths) + prefix
        at = torch.arange(new) - skipped[:, None]  # (B, T)
        positions = torch.where(at < 0, -1, at + before[:, None])
        if self.context is not None:
            longest = int((before + new - skipped).max()) - self.layout.prefix
            check_length(longest, self.context, "context", "give fewer tokens")
        feeds = {"ids": ids, "labels": labels, **rows_read.read}
        if self.reader is not None:
            feeds["places"] = F.pad(self.reader.read(ids, rows_read.readers), (0, 0, prefix, 0))  # (B, C + T, F)
        if prefix:
            firsts = torch.tensor([self.vocab_size, *self.layout.conditions[:-1]]).cumsum(0)  # (C,)
            feeds["ids"] = torch.cat((firsts + labels, ids), 1)
            positions = torch.cat((torch.arange(prefix).expand(rows, -1), positions), 1)
        feeds["positions"] = positions
        found = dict(
            zip(self.layout.outputs, self._run({name: feeds[name] for name in self.layout.inputs}), strict=True)
        )
        if state is not None:
            self._move_on(state, found, positions)
            state.lengths = (before + new - skipped).tolist()
            state.padding = [padding - gone for padding, gone in zip(state.padding, skipped.tolist(), strict=True)]
        return Output(found["logits"][:, prefix:], state)

    def _move_on(self, state: ProgramState, found: dict[str, Tensor], positions: Tensor) -> None:
        if "past" in state.read:
            state.read["past_positions"] = torch.cat((state.read["past_positions"], positions), 1)
            state.read["past"] = found["present"]
            if self.layout.span is not None:
                state._keep_from(state.read["past_positions"].shape[1] - self.layout.span)
        for name in ("hidden", "cell"):
            if name in state.read:
                state.read[name] = found[f"new_{name}"]

    def _labels(self, rows: int, conditions: Conditions | None) -> Tensor:
        """(B, conditions), 0 where nothing is given."""
        count = len(self.layout.conditions)
        if conditions is not None and conditions.latent is not None:
            raise ValueError("this program takes no latent")
        if conditions is None or conditions.labels is None:
            return torch.zeros(rows, count, dtype=torch.int64)
        if conditions.labels.shape[1] != count:
            raise ValueError(f"{conditions.labels.shape[1]} labels a row, but the model was made for {count}")
        return conditions.labels
