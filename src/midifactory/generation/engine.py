"""Cached decoding of several rows at once, under guidance where it is asked for: ids in, ids out, no music.

Every step feeds one new token per row; nothing that was computed is computed again, until the window that the model
was trained on is full: then the newer part of each row, from a good place on, is read once into a fresh cache.

Legend: B rows, T tokens, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from midifactory.generation.sampling import Sampling, sample
from midifactory.models.interface import Conditions, SequenceModel

# When the window is full, at most this share of it is read again: a new cache then lasts for the rest.
_KEPT_SHARE = 0.75


class Guide(Protocol):
    """What one row may say next, and when it is done. It sees every token of the row, the prompt excepted."""

    def forced(self) -> int | None:
        """A token to be taken instead of a sampled one."""

    def allowed(self) -> np.ndarray | None:
        """(V,) bool of permitted tokens; None permits all."""

    def bias(self) -> np.ndarray | None:
        """(V,) float added to the logits."""

    def take(self, token: int) -> int | None:
        """Take note of `token` and return it, or the one to be taken instead; None when the row is done without it."""


class Free:
    """A guide that permits everything and stops after `max_new_tokens` or at `eos_id`."""

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


class _Reader:
    """The model, told `conditions`, under classifier-free guidance (Ho and Salimans 2022; Sanchez et al. 2023).

    The logits are those without labels plus `guidance` times what the labels change. So each row is read twice, in one
    batch of (2B, T), the second time with no labels; a latent stays in both. At a guidance of 1 it is read once.
    """

    def __init__(self, model: SequenceModel, conditions: Conditions | None, guidance: float, device: torch.device):
        self.model, self.guidance, self.copies = model, guidance, 1
        self.conditions = conditions
        if conditions is None:
            return
        labels, latent = (part if part is None else part.to(device) for part in (conditions.labels, conditions.latent))
        if labels is not None and guidance != 1 and bool(labels.any()):
            self.copies = 2
            labels = torch.cat((labels, torch.zeros_like(labels)))  # (2B, C)
            latent = latent.repeat(2, 1) if latent is not None else None  # (2B, Z)
        self.conditions = Conditions(labels, latent)

    def new_state(self, rows: int, capacity: int, padding: torch.Tensor | None) -> Any:
        """An empty state for `rows` rows."""
        padding = padding.repeat(self.copies) if padding is not None else None
        return self.model.new_state(self.copies * rows, capacity, padding)

    def read(self, ids: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        """ids (B, T) after what the state has seen -> the last position's logits (B, V), and the new state."""
        output = self.model(ids.repeat(self.copies, 1), state, self.conditions)
        logits = output.logits[:, -1]
        if self.copies == 2:
            given, not_given = logits.float().chunk(2)
            logits = not_given + self.guidance * (given - not_given)
        return logits, output.state


class Engine:
    """Decodes with one model. `window` bounds the tokens attended to; a recurrent model needs none."""

    def __init__(self, model: SequenceModel, window: int, anchors: frozenset[int] = frozenset(), pad_id: int = 0):
        """anchors: ids at which a row may be started anew (bar tokens); pad_id fills rows that start later."""
        self.model = model.eval()
        self.window = min(window, model.context) if model.context is not None else None
        self.anchors, self.pad_id = anchors, pad_id
        self.device = next(model.parameters()).device

    @torch.inference_mode()
    def run(
        self,
        prompt: Sequence[int],
        guides: Sequence[Guide],
        sampling: Sampling,
        seed: int = 0,
        on_step: Callable[[], None] | None = None,
        conditions: Conditions | None = None,
        guidance: float = 1.0,
    ) -> list[list[int]]:
        """One continuation of `prompt` per guide, without the prompt. conditions: of as many rows as there are guides.

        guidance: how strongly the labels are followed: 1 as trained, 0 not at all, above 1 more, at twice the cost.

        Row i draws from its own generator, seeded by (seed, i). Ends when every guide is done. Raises ValueError
        where the prompt leaves no room in the window.
        """
        if not prompt:
            raise ValueError("the prompt is empty; start with BOS")
        if self.window is not None and len(prompt) >= self.window:
            raise ValueError(f"{len(prompt)} tokens exceed the window of {self.window}")
        size = len(guides)
        generators = [np.random.default_rng([seed, row]) for row in range(size)]
        rows = [list(prompt) for _ in range(size)]
        alive = [True] * size
        reader = _Reader(self.model, conditions, guidance, self.device)
        logits, state = self._read(rows, reader)
        length = len(prompt)  # tokens in the state
        while True:
            self._constrain(logits, guides, alive)
            uniforms = torch.tensor([generator.random() for generator in generators], dtype=torch.float32)
            tokens = sample(logits, sampling, uniforms.to(self.device)).tolist()
            for row, guide in enumerate(guides):
                if not alive[row]:
                    continue
                forced = guide.forced()
                token = guide.take(tokens[row] if forced is None else forced)
                if token is None:
                    alive[row] = False
                else:
                    rows[row].append(token)
                    tokens[row] = token
            if on_step:
                on_step()
            if not any(alive):
                return [row[len(prompt) :] for row in rows]
            if self.window is not None and length >= self.window:
                logits, state, length = self._read_again(rows, reader)
            else:
                step = torch.tensor(tokens, device=self.device)[:, None]
                logits, state = reader.read(step, state)
                length += 1

    def _read(
        self, rows: list[list[int]], reader: _Reader, padding: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Any]:
        """Feed equally long rows into a fresh state: the last position's logits (B, V), and the state."""
        ids = torch.tensor(rows, device=self.device)
        capacity = self.window if self.window is not None else ids.shape[1]
        return reader.read(ids, reader.new_state(len(rows), capacity, padding))

    def _read_again(self, rows: list[list[int]], reader: _Reader) -> tuple[torch.Tensor, Any, int]:
        """Start every row anew at its first anchor within the kept share of the window, or there without one.

        All are padded to the whole share: when a row is read again must not depend on the other rows.
        """
        assert self.window is not None
        limit = max(1, int(self.window * _KEPT_SHARE))
        kept = []
        for row in rows:
            tail = row[-limit:]
            start = next((index for index, token in enumerate(tail[:-1]) if token in self.anchors), 0)
            kept.append(tail[start:])
        padded = [[self.pad_id] * (limit - len(row)) + row for row in kept]
        padding = torch.tensor([limit - len(row) for row in kept])
        return *self._read(padded, reader, padding if bool(padding.any()) else None), limit

    def _constrain(self, logits: torch.Tensor, guides: Sequence[Guide], alive: list[bool]) -> None:
        """Add biases to logits (B, V) and put -inf at what a guide forbids, in place."""
        for row, guide in enumerate(guides):
            if not alive[row]:
                continue
            bias, allowed = guide.bias(), guide.allowed()
            if bias is not None:
                logits[row] += torch.from_numpy(bias).to(logits)
            if allowed is not None:
                logits[row].masked_fill_(torch.from_numpy(~allowed).to(self.device), -torch.inf)
