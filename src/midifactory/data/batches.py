"""Batches of segments: grouped by length, in an order that is a pure function of seed and epoch, and resumable.

Legend: B rows, T tokens, C conditions.
"""

import math
import signal
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from midifactory.data.segments import Segment, SegmentTable
from midifactory.tokens.augment import Augmenter
from midifactory.tokens.store import TokenStore
from midifactory.tokens.tokenizer import Tokenizer

IGNORED = -100  # torch's own label for positions without a target
# Lengths are sorted within this many batches at a time: little padding, and still a shuffled order.
_BATCHES_SORTED_TOGETHER = 16


Row = tuple[np.ndarray, int, np.ndarray]  # ids (T,), notes, conditions (C,)


class SegmentDataset(Dataset[Row]):
    """Segments read from a token store's memory map when they are asked for.

    augmenter: changes base ids before they are merged (training only); what it draws depends on `seed`, the epoch
    and the segment alone. tokenizer: merges base ids where it has learnt to (byte-pair encoding). conditions: each
    piece's, (C,) int64, which all of its segments share.
    """

    def __init__(
        self,
        store: TokenStore,
        segments: Sequence[Segment],
        tokenizer: Tokenizer | None = None,
        augmenter: Augmenter | None = None,
        seed: int = 0,
        conditions: Mapping[str, np.ndarray] | None = None,
    ):
        self.segments = segments if isinstance(segments, SegmentTable) else SegmentTable(segments)
        offsets = np.array([store.pieces[piece].first for piece in self.segments.pieces], dtype=np.int64)
        self._first = offsets[self.segments.piece] + self.segments.start
        self._last = offsets[self.segments.piece] + self.segments.end
        self._ids = store.all_ids
        self._tokenizer = tokenizer
        self._augmenter, self._seed = augmenter, seed
        nothing = np.zeros(0, dtype=np.int64)
        # (P, C), in the order of the table's pieces
        self._conditions = [conditions[piece] if conditions else nothing for piece in self.segments.pieces]

    def __getstate__(self) -> dict[str, Any]:
        # A pickled memory map would become a copy in every worker process.
        return self.__dict__ | {"_ids": (self._ids.filename, self._ids.dtype)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        path, dtype = state["_ids"]
        self.__dict__ |= state | {"_ids": np.memmap(path, dtype=dtype, mode="r")}

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, key: int | tuple[int, int]) -> Row:
        """The ids of a segment, (T,) int64, its notes, and its conditions. `key` is its index, or epoch and index."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        ids = self._ids[self._first[index] : self._last[index]].astype(np.int64)
        if self._augmenter is not None:
            ids = self._augmenter.apply(ids, np.random.default_rng([self._seed, epoch, index]))
        if self._tokenizer is not None:
            ids = self._tokenizer.to_model_ids(ids)
        return ids, int(self.segments.notes[index]), self._conditions[self.segments.piece[index]]


class BatchPlan:
    """Which segments form which batch, per epoch; every segment once an epoch."""

    def __init__(self, lengths: Sequence[int] | np.ndarray, batch_size: int, seed: int, shuffle: bool):
        self.lengths = np.asarray(lengths)
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle

    def batches(self, epoch: int) -> list[list[int]]:
        """The batches of an epoch as lists of segment indices."""
        size = self.batch_size
        if not self.shuffle:
            order = np.argsort(-self.lengths, kind="stable")
            return [order[i : i + size].tolist() for i in range(0, len(order), size)]
        generator = np.random.default_rng([self.seed, epoch])
        order = generator.permutation(len(self.lengths))
        chunk = size * _BATCHES_SORTED_TOGETHER
        batches = []
        for start in range(0, len(order), chunk):
            part = order[start : start + chunk]
            part = part[np.argsort(self.lengths[part], kind="stable")]
            batches += [part[i : i + size].tolist() for i in range(0, len(part), size)]
        return [batches[i] for i in generator.permutation(len(batches))]


class _RemainingBatches:
    """The batch sampler of one pass: the plan's epoch from the batch at which the pass starts."""

    def __init__(self, plan: BatchPlan):
        self.plan, self.epoch, self.done = plan, 0, 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for batch in self.plan.batches(self.epoch)[self.done :]:
            yield [(self.epoch, index) for index in batch]

    def __len__(self) -> int:
        return math.ceil(len(self.plan.lengths) / self.plan.batch_size)


class SegmentLoader(DataLoader[Any]):
    """A DataLoader that goes on in the middle of an epoch.

    Lightning stores `state_dict` in its checkpoints and hands it to `load_state_dict` before it asks for the first
    batch. Each finished pass moves on to the next epoch's order.
    """

    def __init__(self, dataset: Dataset[Any], plan: BatchPlan, pad_id: int, workers: int):
        self.plan = plan
        # Batches of a pass: fewer than there are where a training takes only so many (limit_train_batches).
        self.pass_length = len(_RemainingBatches(plan))
        self._position = _RemainingBatches(plan)
        self._restored = False
        super().__init__(
            dataset,
            batch_sampler=self._position,
            num_workers=workers,
            collate_fn=partial(collate, pad_id),
            worker_init_fn=leave_signals_to_the_parent,
            persistent_workers=workers > 0,
        )

    def __iter__(self) -> Iterator[dict[str, Tensor]]:  # type: ignore[override]
        # Lightning takes as many batches as there are and never asks for the end, so a pass ends when the next begins.
        if self._position.done and not self._restored:
            self._position.epoch, self._position.done = self._position.epoch + 1, 0
        self._restored = False
        for batch in super().__iter__():
            self._position.done += 1
            yield batch

    def collate(self, batch: Sequence[int]) -> dict[str, Tensor]:
        """The batch of the segments with these indices."""
        return self.collate_fn([self.dataset[index] for index in batch])

    def state_dict(self) -> dict[str, Any]:
        """Epoch and batches of it that were handed out; after a whole pass, the next epoch's beginning."""
        epoch, done = self._position.epoch, self._position.done
        return {"epoch": epoch, "done": done} if done < self.pass_length else {"epoch": epoch + 1, "done": 0}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the batches that `state` counts."""
        self._position.epoch, self._position.done = state["epoch"], state["done"]
        self._restored = state["done"] < self.pass_length


def leave_signals_to_the_parent(worker: int) -> None:
    """A terminal and SLURM signal every process of a training: a worker serves on until its parent has saved.

    A second SIGTERM ends it, as the parent sends where a worker does not answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def collate(pad_id: int, rows: Sequence[Row]) -> dict[str, Tensor]:
    """Rows as one batch, padded at the end of each row.

    `inputs` (B, T) with `pad_id` at padding, `labels` (B, T), the inputs' successors, with IGNORED at padding,
    `notes` (B,), and `conditions` (B, C) where there are any. Padding stands at the end, where a causal model cannot
    see it from any real token.
    """
    longest = max(len(ids) for ids, _, _ in rows) - 1
    inputs = np.full((len(rows), longest), pad_id, dtype=np.int64)
    labels = np.full((len(rows), longest), IGNORED, dtype=np.int64)
    for row, (ids, _, _) in enumerate(rows):
        inputs[row, : len(ids) - 1] = ids[:-1]
        labels[row, : len(ids) - 1] = ids[1:]
    notes = torch.tensor([notes for _, notes, _ in rows])
    batch = {"inputs": torch.from_numpy(inputs), "labels": torch.from_numpy(labels), "notes": notes}
    conditions = torch.from_numpy(np.stack([row for _, _, row in rows]))  # (B, C)
    return batch | {"conditions": conditions} if conditions.shape[1] else batch
