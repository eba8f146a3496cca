"""Cached decoding of rows that may come and go, each in its own way: ids in, ids out, no music.

Every step feeds one new token per row; nothing that was computed is computed again, until a row fills the window that
the model was trained on: then its newer part, from a good place on, is read once into a fresh cache.

Legend: B rows, T tokens, V vocabulary, C conditions, Z latent size, L lanes: the rows of the model's state.
"""

import sys
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from midifactory.errors import UserError
from midifactory.generation.sampling import Sampling, Settings, sample
from midifactory.models.interface import PAD, Conditions, SequenceModel, State

# When the window is full, at most this share of it is read again: a new cache then lasts for the rest.
_KEPT_SHARE = 0.75
# Rows at least so long as this share of the longest are padded to be read with it; a recurrent state takes no padding.
_LIKE_LENGTH = 0.75


class Guide(Protocol):
    """What one row may say next, and when it is done. It sees every token of the row, the prompt excepted."""

    @property
    def opens_bar(self) -> bool:
        """Whether the token just taken opened a bar: a good place from which to read a row anew."""

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
        self.window = min(window, model.context) if model.context is not None else model.longest
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
        """Decode the rows as `steps` does; returns what is `new` in each.

        on_step: told after each step how many rows have taken a token.
        """
        for taken in self.steps(rows, at_once):
            if on_step:
                on_step(len(taken))
        return [row.new for row in rows]

    def steps(self, rows: Sequence[Row], at_once: int | None = None) -> Iterator[list[Row]]:
        """Decode the rows until every guide is done; yields after each step the rows that have taken a token.

        at_once: how many rows are decoded together at most, None for all; the others join as rows end. Raises
        ValueError for a prompt that is empty or leaves no room in the window.
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
            yield batch.rows

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

    full_at: the batch's step at which it fills its window. anchors: places in the row where it may be started anew.
    token: taken last, not read yet. ended: it goes along, unheard, until the batch is next put in order.
    """

    __slots__ = ("anchors", "ended", "full_at", "guide", "random", "row", "token")

    def __init__(self, row: Row, anchors: frozenset[int]):
        self.row, self.guide, self.random = row, row.guide, np.random.default_rng(list(row.seed)).random
        self.token, self.ended, self.full_at = row.prompt[-1], False, sys.maxsize
        self.anchors = [place for place, token in enumerate(row.prompt) if token in anchors]


class _Lane(NamedTuple):
    """A row of the state: a row that is told its labels, or the second reading of it, without labels."""

    running: _Running
    told: bool

    def labels(self) -> list[int] | None:
        """What this reading is told: all of them, or none."""
        labels = self.running.row.labels
        return None if labels is None else [int(label) if self.told else 0 for label in labels]


class Batch:
    """A running batch that rows may join and leave at any time."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._lanes: list[_Lane] = []
        self._running: list[_Running] = []  # those of the lanes that are told, in their order
        self._ended = 0  # how many of them have
        self._steps, self._full_at = 0, sys.maxsize  # tokens fed to each; the step at which the first fills its window
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
        window = self._engine.window
        fresh = [_Running(row, self._engine.anchors) for row in rows]
        for running in fresh:
            if window is not None:
                running.full_at = self._steps + window - len(running.row.prompt)
        self._read_anew([(running, running.row.prompt) for running in fresh])

    def leave(self, row: Row) -> None:
        """End a row; nothing happens where it has ended."""
        for running in self._running:
            if running.row is row and not running.ended:
                self._end(running)

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """One token for every row; returns those that ended with this step, without a token."""
        if self._ended == len(self._running):
            self._keep([])
            return []
        logits, self._logits = self._read_on(), None
        forced: list[int | None] = []
        uniforms, biases, masks = list[float](), dict[int, np.ndarray](), dict[int, np.ndarray]()
        for index, running in enumerate(self._running):
            if running.ended:
                forced.append(running.token)
                uniforms.append(0.0)
                continue
            guide = running.guide
            token = guide.forced()
            forced.append(token)
            uniforms.append(running.random())
            if token is None:
                if (bias := guide.bias()) is not None:
                    biases[index] = bias
                if (mask := guide.allowed()) is not None:
                    masks[index] = mask
        drawn: Sequence[int] = []
        nats: Sequence[float] = []
        if None in forced:
            drawn, nats = self._draw(logits, uniforms, biases, masks)
        anchors, ended = self._engine.anchors, list[Row]()
        for index, running in enumerate(self._running):
            if running.ended:
                continue
            offered = forced[index]
            token = running.guide.take(drawn[index] if offered is None else offered)
            row = running.row
            if token is None:
                self._end(running)
                ended.append(row)
                continue
            if running.guide.opens_bar or token in anchors:
                running.anchors.append(len(row.prompt) + len(row.new))
            row.new.append(token)
            running.token = token
            if row.scored and offered is None:
                row.nats += nats[index]
        return ended

    def _draw(
        self, logits: Tensor, uniforms: list[float], biases: dict[int, np.ndarray], masks: dict[int, np.ndarray]
    ) -> tuple[list[int], Sequence[float]]:
        """Logits (L, V) -> a token for each running row, and its nats where any row is scored.

        biases, masks: those that rows have, (V,) each.
        """
        plain = logits  # (B, V), of those told
        if self._twice is not None:
            told, untold, guidance = self._twice
            plain, without = logits[told], logits[untold]
            logits = without + guidance * (plain - without)
        if biases:
            added = np.zeros(logits.shape, dtype=np.float32)
            for index, bias in biases.items():
                added[index] = bias
            logits = logits + torch.from_numpy(added).to(logits.device)
        if masks:
            allowed = np.ones(logits.shape, dtype=bool)
            for index, mask in masks.items():
                allowed[index] = mask
            forbidden = torch.from_numpy(~allowed).to(logits.device)
            if self._scored and plain is not logits:
                plain = plain.masked_fill(forbidden, -torch.inf)
            logits.masked_fill_(forbidden, -torch.inf)
        drawn = sample(logits, self._settings, torch.tensor(uniforms, dtype=torch.float32).to(logits.device))
        tokens: list[int] = drawn.tolist()
        for index, mask in masks.items():
            if not mask[tokens[index]]:
                raise ValueError("a guide allows no token at all")
        nats = list[float]()
        if self._scored:
            nats = (plain.logsumexp(-1) - plain.gather(-1, drawn[:, None])[:, 0]).tolist()
        return tokens, nats

    def _end(self, running: _Running) -> None:
        running.ended = True
        self._ended += 1

    def _read_on(self) -> Tensor:
        """Feed the tokens that were taken last, and put the batch in order: (L, V) of the next ones."""
        if self._logits is not None:
            return self._logits
        full = list[_Running]()
        # To take rows out is to copy others, and to have another size of batch: not for each one that ends.
        if self._steps >= self._full_at or 2 * self._ended >= len(self._running):
            full = [running for running in self._running if running.full_at <= self._steps and not running.ended]
            lanes = enumerate(self._lanes)
            self._keep([i for i, (row, _) in lanes if row.full_at > self._steps and not row.ended])
        if self._lanes:
            tokens = torch.tensor([lane.running.token for lane in self._lanes], device=self._engine.device)
            self._logits = self._feed(tokens[:, None], self._state, self._conditions)
            self._steps += 1
        window = self._engine.window
        if full and window is not None:
            limit = max(1, int(window * _KEPT_SHARE))
            for running in full:
                # As if the share had been read in full: when a row is read again hangs on its length alone.
                running.full_at = self._steps + window - limit
            self._read_anew([(running, _tail(running, limit)) for running in full])
        assert self._logits is not None
        return self._logits

    def _read_anew(self, rows: Sequence[tuple[_Running, Sequence[int]]]) -> None:
        """Read ids into fresh states and add them to the batch; what is the same in several rows is read once."""
        by_text: dict[Any, list[_Lane]] = {}
        for running, ids in rows:
            row = running.row
            latent = None if row.latent is None else tuple(row.latent.tolist())
            twice = row.guidance != 1 and row.labels is not None and bool(row.labels.any())
            for told in (True, False) if twice else (True,):
                lane = _Lane(running, told)
                labels = lane.labels()
                by_text.setdefault((tuple(ids), labels and tuple(labels), latent), []).append(lane)
        model, window, device = self._engine.model, self._engine.window, self._engine.device
        parts: list[tuple[list[_Lane], State, Tensor]] = []
        for texts in _of_like_length([ids for ids, *_ in by_text], 1.0 if model.context is None else _LIKE_LENGTH):
            group = [(ids, lanes) for (ids, *_), lanes in by_text.items() if ids in texts]
            longest = max(map(len, texts))
            padding = torch.tensor([longest - len(ids) for ids, _ in group])
            state = model.new_state(len(group), window or longest, padding if bool(padding.any()) else None)
            padded = [[PAD] * (longest - len(ids)) + list(ids) for ids, _ in group]
            conditions = self._told([lanes[0] for _, lanes in group])
            logits = self._feed(torch.tensor(padded, device=device), state, conditions)
            copies = [index for index, (_, lanes) in enumerate(group) for _ in lanes]
            if len(copies) > len(group):
                state.select(copies)
                logits = logits[copies]
            parts.append(([lane for _, lanes in group for lane in lanes], state, logits))
        for lanes, state, _ in parts:
            self._lanes += lanes
            if self._state is None:
                self._state = state
            else:
                self._state.join(state)
        known = [] if self._logits is None else [self._logits]
        self._logits = torch.cat([*known, *(logits for *_, logits in parts)])
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
        self._ended = sum(running.ended for running in self._running)
        self._full_at = min((running.full_at for running in self._running), default=sys.maxsize)
        self._scored = any(row.scored for row in rows)
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


def _of_like_length(texts: Iterable[tuple[int, ...]], share: float) -> list[set[tuple[int, ...]]]:
    """Texts to be read together: none shorter than `share` of the longest beside it."""
    groups: list[set[tuple[int, ...]]] = []
    longest = 0
    for text in sorted(texts, key=len, reverse=True):
        if not groups or len(text) < share * longest:
            groups.append(set())
            longest = len(text)
        groups[-1].add(text)
    return groups


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
