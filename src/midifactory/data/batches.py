"""Batches of segments: grouped by length, in an order that is a pure function of seed and epoch, and resumable.

Legend: B rows, T tokens, C conditions.
"""

import atexit
import signal
import weakref
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from midifactory.data.attributes import SegmentConditions
from midifactory.data.infilling import Infilling
from midifactory.data.segments import Segment, SegmentTable
from midifactory.errors import UserError
from midifactory.tokens.augment import Augmenter
from midifactory.tokens.store import TokenStore
from midifactory.tokens.tokenizer import Tokenizer

IGNORED = -100  # torch's own label for positions without a target
# Lengths are sorted within this many batches at a time: little padding, and still a shuffled order.
_BATCHES_SORTED_TOGETHER = 16
# Its draws have a stream of their own, so that augmentation draws the same with it and without.
_INFILLS = 1


Row = tuple[np.ndarray, int, np.ndarray]  # ids (T,), notes, conditions (C,)


class SegmentDataset(Dataset[Row]):
    """Segments read from a token store's memory map when they are asked for.

    augmenter: changes base ids before they are merged (training only); what it draws depends on `seed`, the epoch
    and the segment alone. infilling: rearranges some segments, likewise. tokenizer: merges base ids where it has learnt
    to (byte-pair encoding). conditions: what a model is told of each segment.
    """

    def __init__(
        self,
        store: TokenStore,
        segments: Sequence[Segment],
        tokenizer: Tokenizer | None = None,
        augmenter: Augmenter | None = None,
        seed: int = 0,
        conditions: SegmentConditions | None = None,
        infilling: Infilling | None = None,
    ):
        self.segments = segments if isinstance(segments, SegmentTable) else SegmentTable(segments)
        offsets = np.array([store.pieces[piece].first for piece in self.segments.pieces], dtype=np.int64)
        self._first = offsets[self.segments.piece] + self.segments.start
        self._last = offsets[self.segments.piece] + self.segments.end
        self._ids = store.all_ids
        self._tokenizer = tokenizer
        self._augmenter, self._infilling, self._seed = augmenter, infilling, seed
        self._conditions = conditions

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
        moved = None
        if self._augmenter is not None:
            moved = self._augmenter.move(ids, np.random.default_rng([self._seed, epoch, index]))
            ids = moved.ids
        notes = int(self.segments.notes[index])
        if self._infilling is not None:
            ids, notes = self._infilling.apply(ids, notes, np.random.default_rng([self._seed, epoch, index, _INFILLS]))
        if self._tokenizer is not None:
            ids = self._tokenizer.to_model_ids(ids)
        told = self._conditions.of(index, moved) if self._conditions else np.zeros(0, dtype=np.int64)
        return ids, notes, told


class BatchPlan:
    """Which segments form which batch, per epoch; every segment once an epoch.

    Of several `processes`, each takes every so-manieth row of a batch of `batch_size` rows for each of them, beginning
    with row number `rank`: together they do what one process with that large batch would. Rows of a batch are of like
    length, so none waits for the others. All have equally many batches and none is empty: a last batch with fewer rows
    than there are processes joins the one before it. Raises UserError for fewer segments than processes.
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        batch_size: int,
        seed: int,
        shuffle: bool,
        processes: int = 1,
        rank: int = 0,
    ):
        self.lengths = np.asarray(lengths)
        self.rows, self.seed, self.shuffle = batch_size * processes, seed, shuffle
        self.processes, self._rank = processes, rank
        if 0 < len(self.lengths) < processes:
            raise UserError(
                f"{len(self.lengths)} segments cannot be shared by {processes} processes; add files, or lower "
                "trainer.devices"
            )

    def __len__(self) -> int:
        """The batches of an epoch."""
        whole, rest = divmod(len(self.lengths), self.rows)
        return whole + (rest >= self.processes or (rest > 0 and not whole))

    def batches(self, epoch: int) -> list[list[int]]:
        """The batches of an epoch as lists of segment indices: this process's rows of each."""
        batches = self._shuffled(epoch) if self.shuffle else self._by_length()
        return [batch[self._rank :: self.processes] for batch in batches]

    def _joined(self, batches: list[list[int]]) -> list[list[int]]:
        if len(batches) > 1 and len(batches[-1]) < self.processes:
            rest = batches.pop()
            batches[-1] += rest
        return batches

    def _by_length(self) -> list[list[int]]:
        order = np.argsort(-self.lengths, kind="stable")
        return self._joined([order[i : i + self.rows].tolist() for i in range(0, len(order), self.rows)])

    def _shuffled(self, epoch: int) -> list[list[int]]:
        size = self.rows
        generator = np.random.default_rng([self.seed, epoch])
        order = generator.permutation(len(self.lengths))
        chunk = size * _BATCHES_SORTED_TOGETHER
        batches = []
        for start in range(0, len(order), chunk):
            part = order[start : start + chunk]
            part = part[np.argsort(self.lengths[part], kind="stable")]
            batches += [part[i : i + size].tolist() for i in range(0, len(part), size)]
        batches = self._joined(batches)
        return [batches[i] for i in generator.permutation(len(batches))]


def share_of(trainer: Any) -> dict[str, int]:
    """Which part of each batch the process of this Lightning Trainer takes; all of it without one."""
    return {} if trainer is None else {"processes": trainer.world_size, "rank": trainer.global_rank}


class _RemainingBatches:
    """The batch sampler of one pass: the plan's epoch from the batch at which the pass starts."""

    def __init__(self, plan: BatchPlan):
        self.plan, self.epoch, self.done = plan, 0, 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for batch in self.plan.batches(self.epoch)[self.done :]:
            yield [(self.epoch, index) for index in batch]

    def __len__(self) -> int:
        return len(self.plan)


class SegmentLoader(DataLoader[Any]):
    """A DataLoader that goes on in the middle of an epoch.

    Lightning stores `state_dict` in its checkpoints and hands it to `load_state_dict` before it asks for the first
    batch. Each finished pass moves on to the next epoch's order.
    """

    def __init__(self, dataset: Dataset[Any], plan: BatchPlan, pad_id: int, workers: int):
        self.plan = plan
        # Batches of a pass: fewer than there are where a training takes only so many (limit_train_batches).
        self.pass_length = len(plan)
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
        if workers:
            atexit.register(end_workers, weakref.ref(self))

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
        """Epoch and batches of it that were handed out; after a whole pass, the next epoch's beginning.

        `rows` are those of a batch, of all processes together.
        """
        epoch, done = self._position.epoch, self._position.done
        at = {"epoch": epoch, "done": done} if done < self.pass_length else {"epoch": epoch + 1, "done": 0}
        return at | {"rows": self.plan.rows, "processes": self.plan.processes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the batches that `state` counts. Raises UserError in the middle of an epoch of other batches."""
        plan = self.plan
        rows, processes = state.get("rows", plan.rows), state.get("processes", plan.processes)
        # Other processes can have another last batch, though a batch has as many rows.
        if state["done"] and (rows, processes) != (plan.rows, plan.processes):
            raise UserError(
                f"resume: this checkpoint is of the middle of an epoch in batches of {rows} rows shared by {processes} "
                f"processes, not of {plan.rows} by {plan.processes}; give as many processes and the same "
                "data.batch_size, or resume from the end of an epoch"
            )
        self._position.epoch, self._position.done = state["epoch"], state["done"]
        self._restored = state["done"] < self.pass_length


def leave_signals_to_the_parent(worker: int) -> None:
    """A terminal and SLURM signal every process of a training: a worker serves on until its parent has saved.

    A second SIGTERM ends it, as the parent sends where a worker does not answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def end_workers(loader: "weakref.ref[SegmentLoader]") -> None:
    """End the workers of a loader that is in use when its process ends.

    Before multiprocessing does, which sends the one SIGTERM that they do not notice and waits for them without an end.
    """
    iterator = getattr(loader(), "_iterator", None)
    if iterator is not None:
        iterator._shutdown_workers()


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
