"""Notes as numbers: any trunk of this package between an input of features and a head for each feature of a note.

A note is foretold feature by feature, each given those before it (as WaveNet does with samples, van den Oord et al.
2016, every number is a class of its own): what is drawn fits together, and several good continuations stay several
instead of melting into their mean, as they do under a squared error.

Legend: B rows, T notes, F = 5 + I columns (pitch, duration, offset, time delta, velocity, one-hot track of I
instruments; tokens/notes.py), all scaled, D d_model, K levels.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midifactory.models.interface import SequenceModel
from midifactory.models.moe import Experts

PITCHES = 128
# The order in which a note is foretold; its offset follows from its time delta.
ORDER = ("track", "time_delta", "pitch", "duration", "velocity")
_COLUMNS = {"pitch": 0, "duration": 1, "offset": 2, "time_delta": 3, "velocity": 4}
_LEVELS = {"duration": 0, "offset": 1, "time_delta": 2, "velocity": 3}  # rows of `levels`
_FIRST_TRACK = 5
# Scaled values are cut off here: an offset beyond all that training had shall not drown the rest.
_GREATEST = 5.0


class NoteModel(nn.Module):
    """Foretells the next note from those before it.

    trunk: a model of PITCHES tokens that has `trunk(x, state)`; its token table embeds pitches, its head foretells
    them. bins: K. `levels` (4, K), part of the weights' state: the values of duration, offset, time delta and velocity
    that it tells apart, rising, inf where there are fewer than K; a number counts as the level that is nearest.
    Raises ValueError where the trunk has other tokens, cannot be given embedded inputs, or is a mixture of experts,
    whose losses would be lost.
    """

    levels: Tensor
    trunk: Any
    tables: Any

    def __init__(self, trunk: SequenceModel, instruments: int = 1, bins: int = 64):
        super().__init__()
        if not hasattr(trunk, "trunk") or trunk.vocab_size != PITCHES:
            raise ValueError(f"{type(trunk).__name__} takes no note features; set model=gru, lstm or transformer")
        if any(isinstance(module, Experts) for module in trunk.modules()):
            raise ValueError(f"{type(trunk).__name__} with experts takes no note features; set model.experts=0")
        self.trunk = trunk
        self.instruments = instruments
        width = self.trunk.inputs.tokens.embedding_dim
        sizes = dict.fromkeys(_LEVELS, bins) | {"pitch": PITCHES, "track": instruments}
        self.features = nn.Linear(_FIRST_TRACK + instruments, width)
        self.tables = nn.ModuleDict({name: nn.Embedding(sizes[name], width) for name in ORDER if name != "pitch"})
        self.mixers = nn.ModuleDict({name: nn.Linear(width, width) for name in sizes})
        self.heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items() if name != "pitch"})
        for table in self.tables.values():
            nn.init.normal_(table.weight, std=0.02)
        self.register_buffer("levels", torch.zeros(len(_LEVELS), bins))

    @property
    def sizes(self) -> dict[str, int]:
        """How many classes each feature of ORDER has; levels that are inf are none."""
        used = (~self.levels.isinf()).sum(1).tolist()
        levels = {name: used[level] for name, level in _LEVELS.items() if name in ORDER}
        return {"track": self.instruments, "pitch": PITCHES, **levels}

    @property
    def parameters_count(self) -> int:
        """Number of trained scalars; tied weights once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def anneal(self, step: int) -> None:
        """Hand the step on to the trunk."""
        self.trunk.anneal(step)

    def new_state(self, batch_size: int, capacity: int) -> Any:
        """An empty state of the trunk for up to `capacity` notes."""
        return self.trunk.new_state(batch_size, capacity)

    def forward(self, rows: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """rows (B, T, F) -> (B, T, D), what is known at each note of the one after it; and the state, as the trunk's.

        A row without a track (all 0) stands for "no note", before the first one.
        """
        pitches, classes = self.trunk.inputs.tokens, self.classes(rows)
        x = pitches(classes["pitch"])  # (B, T, D)
        for name, table in self.tables.items():
            x = x + table(classes[name])
        x = x * pitches.embedding_dim**0.5 + self.features(rows.clamp(-_GREATEST, _GREATEST))
        return self.trunk.trunk(x, state)

    def classes(self, rows: Tensor) -> dict[str, Tensor]:
        """rows (..., F) -> the class of each feature, (...) int64."""
        found = {
            "pitch": (rows[..., 0] * (PITCHES - 1)).round().long().clamp(0, PITCHES - 1),
            "track": rows[..., _FIRST_TRACK:].argmax(-1),
        }
        between = (self.levels[:, 1:] + self.levels[:, :-1]) / 2  # (4, K - 1)
        for name, level in _LEVELS.items():
            found[name] = torch.searchsorted(between[level], rows[..., _COLUMNS[name]].contiguous())
        return found

    def logits(self, name: str, known: Tensor) -> Tensor:
        """The head `name` given what is known, (..., D) -> (..., K or pitches or instruments)."""
        mixed = F.gelu(self.mixers[name](known))
        logits = (self.trunk.head if name == "pitch" else self.heads[name])(mixed).float()
        if name in _LEVELS:
            logits = logits.masked_fill(self.levels[_LEVELS[name]].isinf(), -torch.inf)
        return logits

    def nats(self, known: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """known (..., D) before, and the notes that came, (..., F) -> nats of each feature, (...).

        Those of ORDER add up to the nats of the whole note, up to the distance of its numbers from their levels.
        `offset`, which says no more than the time delta does, is apart.
        """
        classes, found = self.classes(rows), {}
        found["offset"] = _nats(self.logits("offset", known), classes["offset"])
        for name in ORDER:
            found[name] = _nats(self.logits(name, known), classes[name])
            known = self._with(known, name, classes[name])
        return found

    def draw(self, known: Tensor, choose: Callable[[str, Tensor, dict[str, Tensor]], Tensor]) -> Tensor:
        """known (B, D) -> one note for each row, (B, F), but for its offset, which is left 0.

        choose: given a feature's name, its logits (B, ...) and the classes (B,) of the features chosen before it, the
        classes to take.
        """
        chosen: dict[str, Tensor] = {}
        for name in ORDER:
            chosen[name] = choose(name, self.logits(name, known), chosen)
            known = self._with(known, name, chosen[name])
        rows = known.new_zeros(len(known), _FIRST_TRACK + self.instruments)
        rows[:, 0] = chosen["pitch"] / (PITCHES - 1)
        for name, level in _LEVELS.items():
            if name in chosen:
                rows[:, _COLUMNS[name]] = self.levels[level][chosen[name]]
        rows[:, _FIRST_TRACK:] = F.one_hot(chosen["track"], self.instruments)
        return rows

    def _with(self, known: Tensor, name: str, classes: Tensor) -> Tensor:
        table = self.trunk.inputs.tokens if name == "pitch" else self.tables[name]
        return known + table(classes) * table.embedding_dim**0.5


def _nats(logits: Tensor, classes: Tensor) -> Tensor:
    """(..., K), (...) -> (...)."""
    return F.cross_entropy(logits.flatten(0, -2), classes.flatten(), reduction="none").view(classes.shape)
