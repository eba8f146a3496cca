"""Cached decoding of rows that may come and go, each in its own way: ids in, ids out, no music.

Every step feeds one new token per row; nothing that was computed is computed again, until a row fills the window that
the model was trained on: then its newer part, from a good place on, is read once into a fresh cache.

Legend: B rows, T tokens, V vocabulary, C conditions, Z latent size, L lanes: the rows of the model's state.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from midifactory.errors import UserError
from midifactory.generation.sampling import Sampling, Settings, sample
from midifactory.models.interface import Conditions, SequenceModel, State

# When the window is full, at most this share of it is read again: a new cache then lasts for the rest.
_KEPT_SHARE = 0.75


class Guide(Protocol):
    """What one row may say next, and when it is done. It sees every token of the row, the prompt excepted."""

    opens_bar: bool  # whether the token just taken opened a bar: a good place from which to read a row anew

    def forced(self) -> int | None:
        """A token to be taken instead of a sampled one; the guide is then not asked what it allows."""

    def allowed(self) -> np.ndarray | None:
        """(V,) bool of permitted tokens, one at least; None permits all."""

    def bias(self) -> np.ndarray | None:
        """(V,) float added to the logits."""

    def take(self, token: int) -> int | None:
        """Take note of `token` and return it, or the one to be taken instead; None when the row is done without it."""


class Free:
    """A guide that permits everything and stops after `max_new_tokens` or at `eos_id`."""

    opens_bar = False

    def __init__(self, max_new_tokens: int, eos_id: int | None = None):
        self.left, self.eos_id = max_new_tokens, eos_id

    def forced(self) -> int | None:
        """Nothing."""
        return None

    def allowed(self) -> np.ndarray | None:
        """Everything."""
        return None

    def bias(self) -> np.ndarray | None:
        """Nothing."""
        return None

    def take(self, token: int) -> int | None:
        """Count."""
        self.left -= 1
        return None if self.left < 0 or token == self.eos_id else token


@dataclass(eq=False)
class Row:
    """One row to be decoded, and what came of it. Its music depends on what stands here alone.

    guide: used up by the row. seed: of its own generator, which gives one number for each step. labels (C,) and latent
    (Z,) are those of models.interface.Conditions; either is for all rows of a VAE's batch or for none.

    guidance: how strongly the labels are followed: 1 as trained, 0 not at all, above 1 more (classifier-free guidance,
    Ho and Salimans 2022; Sanchez et al. 2023). The logits are those without labels plus `guidance` times what the
    labels change, so a row that has labels is read twice, but at 1. temperatures: (V,), see sampling.Settings.

    new: the tokens after the prompt. nats: if `scored`, minus the log-likelihood of those that were drawn and taken,
    under what the model says of what the guide allows, at temperature 1 and without bias and guidance.
    """

    prompt: Sequence[int]
    guide: Guide
    sampling: Sampling = field(default_factory=Sampling)
    seed: tuple[int, ...] = (0,)
    labels: Tensor | None = None
    latent: Tensor | None = None
    guidance: float = 1.0
    temperatures: Tensor | None = None
    scored: bool = False
    new: list[int] = field(default_factory=list)
    nats: float = 0.0


class Engine:
    """Decodes with one model. `window` bounds the tokens attended to; a recurrent model needs none."""

    def __init__(self, model: SequenceModel, window: int, anchors: frozenset[int] = frozenset()):
        """anchors: ids at which a row may be started anew (bar tokens), beside the places that guides tell of."""
        self.model = model.eval()
        self.window = min(window, model.context) if model.context is not None else None
        self.anchors = anchors
        self.device = next(model.parameters()).device
        self._longest = window

    def batch(self) -> "Batch":
        """An empty batch."""
        return Batch(self)

    def run(
        self,
        rows: Sequence[Row],
        on_step: Callable[[int], None] | None = None,
        at_once: int | None = None,
    ) -> list[list[int]]:
        """Decode the rows until every guide is done; returns what is `new` in each.

        on_step: told after each step how many rows have taken a token. at_once: how many rows are decoded together at
        most, None for all; the others join as rows end. Raises ValueError for a prompt that is empty or leaves no room
        in the window.
        """
        if at_once is not None and at_once < 1:
            raise ValueError(f"at_once={at_once}: must be at least 1")
        for row in rows:
            self.check(row.prompt)
        batch, waiting = self.batch(), deque(rows)
        while waiting or batch.rows:
            room = len(waiting) if at_once is None else at_once - len(batch.rows)
            if waiting and room:
                batch.join([waiting.popleft() for _ in range(min(room, len(waiting)))])
            batch.step()
            if on_step:
                on_step(len(batch.rows))
        return [row.new for row in rows]

    def check(self, prompt: Sequence[int]) -> None:
        """Raise ValueError for a prompt that cannot be read."""
        if not len(prompt):
            raise ValueError("the prompt is empty; start with BOS")
        if self.window is not None and len(prompt) >= self.window:
            raise ValueError(f"{len(prompt)} tokens exceed the window of {self.window}")

    @torch.inference_mode()
    def bytes_per_row(self) -> int:
        """Memory of the state of one row that fills the window, and of no row's more.

        What grows with the tokens that were read is taken to grow up to the window.
        """
        conditions = None
        if (size := getattr(self.model, "latent_size", None)) is not None:
            conditions = Conditions(latent=torch.zeros(1, size, device=self.device))
        state = self.model.new_state(1, self.window or self._longest)
        weights = {part.untyped_storage().data_ptr() for part in (*self.model.parameters(), *self.model.buffers())}
        sizes = []
        for _ in range(3):  # the first one's state may share memory with what else was computed
            token = torch.full((1, 1), self.model.vocab_size - 1, device=self.device)
            state = self.model(token, state, conditions).state
            storages = {part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in _tensors(state)}
            sizes.append(sum(size for address, size in storages.items() if address not in weights))
        return sizes[1] + (sizes[2] - sizes[1]) * max(0, self._longest - 2)

    def refuse_too_many(self, rows: int) -> None:
        """Raise UserError where the states of so many rows, those read twice counted twice, do not fit into memory.

        Nothing is refused on a device whose free memory is not known.
        """
        free = free_bytes(self.device)
        if free is None:
            return
        needed = rows * self.bytes_per_row()
        if needed > free:
            raise UserError(
                f"num_samples={rows}: the states of {rows} rows take about {needed / 1e9:.2f} GB, "
                f"{free / 1e9:.2f} GB are free; set a smaller num_samples or a smaller window"
            )


def free_bytes(device: torch.device) -> int | None:
    """Memory that can still be had on the device; None where that is not known."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type != "cpu":
        return None
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(kilobytes[0]) * 1024 if kilobytes else None


class _Running:
    """A row of a running batch.

    length: tokens that count as read, see Batch._read_anew. anchors: places in the row where it may be started anew.
    token: taken last, not read yet. ended: it goes along, unheard, until the batch is next put in order.
    """

    __slots__ = ("anchors", "ended", "generator", "length", "row", "token")

    def __init__(self, row: Row, anchors: frozenset[int]):
        self.row, self.generator = row, np.random.default_rng(list(row.seed))
        self.length, self.token, self.ended = len(row.prompt), row.prompt[-1], False
        self.anchors = [place for place, token in enumerate(row.prompt) if token in anchors]


class _Lane(NamedTuple):
    """A row of the state: a row that is told its labels, or the second reading of it, without labels."""

    running: _Running
    told: bool

    def labels(self) -> list[int] | None:
        labels = self.running.row.labels
        return None if labels is None else [int(label) if self.told else 0 for label in labels]


class Batch:
    """A running batch that rows may join and leave at any time."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._lanes: list[_Lane] = []
        self._running: list[_Running] = []  # those of the lanes that are told, in their order
        self._state: State | None = None
        self._logits: Tensor | None = None  # (L, V) after the last token of each lane; None while tokens are unread

    @property
    def rows(self) -> list[Row]:
        """Those that have not ended."""
        return [running.row for running in self._running if not running.ended]

    @torch.inference_mode()
    def join(self, rows: Sequence[Row]) -> None:
        """Read the prompts of `rows`; they take part from the next step on.

        Raises ValueError for a prompt that is empty or leaves no room in the window.
        """
        for row in rows:
            self._engine.check(row.prompt)
        if not rows:
            return
        self._keep([index for index, lane in enumerate(self._lanes) if not lane.running.ended])
        if self._lanes:
            self._read_on()
        self._read_anew([(_Running(row, self._engine.anchors), row.prompt) for row in rows])

    def leave(self, row: Row) -> None:
        """End a row; nothing happens where it has ended."""
        for running in self._running:
            if running.row is row:
                running.ended = True

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """One token for every row; returns those that ended with this step, without a token."""
        if all(running.ended for running in self._running):
            self._keep([])
            return []
        logits = self._read_on()
        forced = [0 if running.ended else running.row.guide.forced() for running in self._running]
        uniforms = [0.0 if running.ended else running.generator.random() for running in self._running]
        tokens, nats = self._draw(logits, forced, uniforms)
        self._logits = None
        ended = []
        for index, running in enumerate(self._running):
            if running.ended:
                continue
            row = running.row
            token = row.guide.take(tokens[index])
            if token is None:
                running.ended = True
                ended.append(row)
                continue
            if row.guide.opens_bar or token in self._engine.anchors:
                running.anchors.append(len(row.prompt) + len(row.new))
            row.new.append(token)
            running.token = token
            if row.scored and forced[index] is None:
                row.nats += nats[index]
        return ended

    def _draw(
        self, logits: Tensor, forced: list[int | None], uniforms: list[float]
    ) -> tuple[list[int], Sequence[float]]:
        """Logits (L, V) -> a token for each running row, forced ones included, and the nats of those to be scored."""
        free = [index for index, token in enumerate(forced) if token is None]
        if not free:
            return [token for token in forced if token is not None], []
        plain = logits if self._twice is None else logits[self._twice[0]]  # (B, V), of those told
        if self._twice is not None:
            _, untold, guidance = self._twice
            logits = logits[untold]
            logits = logits + guidance * (plain - logits)
        guides = [running.row.guide for running in self._running]
        biases = {index: bias for index in free if (bias := guides[index].bias()) is not None}
        if biases:
            added = np.zeros(logits.shape, dtype=np.float32)
            for index, bias in biases.items():
                added[index] = bias
            logits = logits + torch.from_numpy(added).to(logits.device)
        scored = any(self._running[index].row.scored for index in free)
        masked = {index: allowed for index in free if (allowed := guides[index].allowed()) is not None}
        if masked:
            forbidden = np.zeros(logits.shape, dtype=bool)
            for index, allowed in masked.items():
                np.logical_not(allowed, out=forbidden[index])
            closed = torch.from_numpy(forbidden).to(logits.device)
            if scored and plain is not logits:
                plain = plain.masked_fill(closed, -torch.inf)
            logits.masked_fill_(closed, -torch.inf)
        draws = torch.from_numpy(np.array(uniforms, dtype=np.float32)).to(logits.device)
        drawn = sample(logits, self._settings, draws)
        nats: Sequence[float] = []
        if scored:
            nats = (plain.logsumexp(-1) - plain.gather(-1, drawn[:, None])[:, 0]).tolist()
        tokens: list[int] = drawn.tolist()
        for index in masked:
            if forbidden[index, tokens[index]]:
                raise ValueError("a guide allows no token at all")
        return [mine if token is None else token for mine, token in zip(tokens, forced, strict=True)], nats

    def _read_on(self) -> Tensor:
        """Feed the tokens that were taken last, and put the batch in order: (L, V) of the next ones."""
        if self._logits is not None:
            return self._logits
        window = self._engine.window
        full = [] if window is None else [running for running in self._running if running.length >= window]
        ended = [running for running in self._running if running.ended]
        # To take rows out is to copy others, and to have another size of batch: not for each one that ends.
        if full or 2 * len(ended) >= len(self._running):
            out = {id(running) for running in (*full, *ended)}
            self._keep([index for index, lane in enumerate(self._lanes) if id(lane.running) not in out])
        if self._lanes:
            tokens = torch.tensor([[lane.running.token] for lane in self._lanes], device=self._engine.device)
            self._logits = self._feed(tokens, self._state, self._conditions)
            for running in self._running:
                running.length += 1
        again = [running for running in full if not running.ended]
        if again and window is not None:
            limit = max(1, int(window * _KEPT_SHARE))
            self._read_anew([(running, _tail(running, limit)) for running in again])
            for running in again:
                # As if the share had been read in full: when a row is read again hangs on its length alone.
                running.length = limit
        assert self._logits is not None
        return self._logits

    def _read_anew(self, rows: Sequence[tuple[_Running, Sequence[int]]]) -> None:
        """Read ids into fresh states and add them to the batch.

        Rows of one length together, so that no model has to know of padding; and what is the same in several rows once.
        """
        by_length: dict[int, dict[Any, list[_Lane]]] = {}
        for running, ids in rows:
            row = running.row
            latent = None if row.latent is None else tuple(row.latent.tolist())
            twice = row.guidance != 1 and row.labels is not None and bool(row.labels.any())
            for told in (True, False) if twice else (True,):
                lane = _Lane(running, told)
                labels = lane.labels()
                same = tuple(ids), labels and tuple(labels), latent
                by_length.setdefault(len(ids), {}).setdefault(same, []).append(lane)
        parts = [] if self._logits is None else [self._logits]
        for length, group in by_length.items():
            state = self._engine.model.new_state(len(group), self._engine.window or length)
            tokens = torch.tensor([ids for ids, *_ in group], device=self._engine.device)
            logits = self._feed(tokens, state, self._told([same[0] for same in group.values()]))
            copies = [index for index, same in enumerate(group.values()) for _ in same]
            if len(copies) > len(group):
                state.select(copies)
                logits = logits[copies]
            if self._state is None:
                self._state = state
            else:
                self._state.join(state)
            self._lanes += [lane for same in group.values() for lane in same]
            parts.append(logits)
        self._logits = torch.cat(parts) if len(parts) > 1 else parts[0]
        self._arrange()

    def _feed(self, ids: Tensor, state: State | None, conditions: Conditions | None) -> Tensor:
        """ids (L, T) after what the state has seen -> the last position's logits (L, V)."""
        return self._engine.model(ids, state, conditions).logits[:, -1].float()

    def _keep(self, lanes: list[int]) -> None:
        """Take all other lanes out of the batch."""
        if len(lanes) == len(self._lanes):
            return
        # The last ones into the places of those that go: states copy what changes its place.
        kept, count = set(lanes), len(lanes)
        movers = (index for index in reversed(lanes) if index >= count)
        order = [index if index in kept else next(movers) for index in range(count)]
        if not order:
            self._state = self._logits = None
        elif self._state is not None:
            self._state.select(order)
            self._logits = None if self._logits is None else self._logits[order]
        self._lanes = [self._lanes[index] for index in order]
        self._arrange()

    def _arrange(self) -> None:
        """Work out what stays the same for as long as the lanes do."""
        device = self._engine.device
        told = [index for index, lane in enumerate(self._lanes) if lane.told]
        self._running = [self._lanes[index].running for index in told]
        rows = [running.row for running in self._running]
        self._conditions = self._told(self._lanes)
        self._settings = Settings([row.sampling for row in rows], device, [row.temperatures for row in rows])
        # Where each row's readings with and without labels stand, and its guidance (B, 1); without a second reading 1.
        self._twice: tuple[Tensor, Tensor, Tensor] | None = None
        if len(told) < len(self._lanes):
            second = {id(lane.running): index for index, lane in enumerate(self._lanes) if not lane.told}
            untold = [second.get(id(self._lanes[index].running), index) for index in told]
            guidance = [
                row.guidance if first != other else 1.0 for row, first, other in zip(rows, told, untold, strict=True)
            ]
            self._twice = (
                torch.tensor(told, device=device),
                torch.tensor(untold, device=device),
                torch.tensor(guidance, device=device)[:, None],
            )

    def _told(self, lanes: Sequence[_Lane]) -> Conditions | None:
        labels, latents = [lane.labels() for lane in lanes], [lane.running.row.latent for lane in lanes]
        device = self._engine.device
        some_labels = next((part for part in labels if part is not None), None)
        some_latent = next((part for part in latents if part is not None), None)
        if some_labels is None and some_latent is None:
            return None
        return Conditions(
            None
            if some_labels is None
            else torch.tensor([[0] * len(some_labels) if part is None else part for part in labels], device=device),
            None
            if some_latent is None
            else torch.stack([torch.zeros_like(some_latent) if part is None else part for part in latents]).to(device),
        )


def _tail(running: _Running, limit: int) -> list[int]:
    """The row's last `limit` tokens, from the first anchor among them on where there is one before the newest token."""
    row = running.row
    end = len(row.prompt) + len(row.new)
    start = max(0, end - limit)
    place = bisect_left(running.anchors, start)
    if place < len(running.anchors) and running.anchors[place] < end - 1:
        start = running.anchors[place]
    return [*row.prompt, *row.new][start:]


def _tensors(part: Any) -> Iterable[Tensor]:
    """The tensors of a state and of what it is made of."""
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, (State, dict)) or is_dataclass(part):
        for inner in (part if isinstance(part, dict) else getattr(part, "__dict__", {})).values():
            yield from _tensors(inner)
    elif isinstance(part, (list, tuple)):
        for inner in part:
            yield from _tensors(inner)
