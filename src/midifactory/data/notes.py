"""Windows of notes for models of numbers: so many notes in, the notes that follow as the target.

Legend: I = sequence_length_i, O = sequence_length_o, F the columns and K the bins of tokens/notes.py, B a batch.
"""

import os
from collections.abc import Sequence

import lightning
import numpy as np
import torch
from torch.utils.data import Dataset

from midifactory.data.batches import BatchPlan, SegmentLoader, share_of
from midifactory.data.datamodule import CorpusSource
from midifactory.errors import UserError
from midifactory.music.corpora import SPLITS, Corpus
from midifactory.music.score import Limits
from midifactory.tokens.notes import NoteCodec, NoteStore, Scaler, build_note_store, quantile_levels


class NoteWindows(Dataset[torch.Tensor]):
    """Windows of I + O notes of `piece_ids`: window k of a piece has the O notes from its note k x stride on, and the
    I notes before them.

    An item is (I + O, F) float32, scaled. Where the piece has no note, before its first and after its last one, the row
    is 0 in all columns; no note is, since one of its track columns is 1. With a stride of O each note is in the
    second part of one window, exactly once.
    """

    def __init__(
        self,
        store: NoteStore,
        piece_ids: Sequence[str],
        scaler: Scaler,
        sequence_length_i: int = 30,
        sequence_length_o: int = 10,
        stride: int = 1,
    ):
        for name, value in (("i", sequence_length_i), ("o", sequence_length_o)):
            if value < 1:
                raise UserError(f"tokenizer.sequence_length_{name}={value}: give a whole number of at least 1")
        if stride < 1:
            raise UserError(f"tokenizer.stride={stride}: give a whole number of at least 1")
        self.store, self.piece_ids, self.scaler = store, list(piece_ids), scaler
        self.inputs, self.length, self.stride = sequence_length_i, sequence_length_i + sequence_length_o, stride
        notes = np.array([store.pieces[piece].notes for piece in self.piece_ids], dtype=np.int64)
        self._ends = np.cumsum(-(-notes // stride))

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, key: int | tuple[int, int]) -> torch.Tensor:
        """The window with this index, or with the index of an (epoch, index) pair, as data/batches.py asks for."""
        index = key[1] if isinstance(key, tuple) else key
        if not 0 <= index < len(self):
            raise IndexError(index)
        place = int(np.searchsorted(self._ends, index, side="right"))
        start = (index - (int(self._ends[place - 1]) if place else 0)) * self.stride - self.inputs
        piece = self.store.features(self.piece_ids[place])
        rows = self.scaler.transform(piece[max(start, 0) : start + self.length])
        window = torch.zeros(self.length, piece.shape[1])
        first = max(-start, 0)
        window[first : first + len(rows)] = torch.from_numpy(rows)
        return window


class NoteLoader(SegmentLoader):
    """Batches of windows, {"rows": (B, I + O, F)}, that go on in the middle of an epoch."""

    def __init__(self, windows: NoteWindows, plan: BatchPlan, workers: int):
        super().__init__(windows, plan, pad_id=0, workers=workers)
        self.collate_fn = collate_windows


def collate_windows(windows: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Windows as one batch."""
    return {"rows": torch.stack(list(windows))}


class NoteDataModule(lightning.LightningDataModule):
    """The note windows of a corpus, scaled by its training pieces; batches are NoteLoader's.

    The lengths are the codec's, and so is the stride of training; validation and test have each note in the second part
    of one window. `prepare_data` reads the files once, `setup` opens the result and fits the scaler. Raises UserError
    where training or validation has no piece.
    """

    def __init__(
        self,
        source: CorpusSource,
        codec: NoteCodec,
        name: str,
        batch_size: int = 16,
        store_root: str | os.PathLike[str] = "outputs/prepared",
        loader_workers: int = 0,
        seed: int = 0,
        limits: Limits | None = None,
        progress: bool = True,
    ):
        super().__init__()
        if type(batch_size) is not int or batch_size < 1:
            raise UserError(f"data.batch_size={batch_size}: give a whole number of at least 1")
        self.limits = limits
        self.source, self.codec, self.corpus_name = source, codec, name
        self.batch_size, self.store_root, self.loader_workers = batch_size, store_root, loader_workers
        self.seed, self.progress = seed, progress
        self._corpus: Corpus | None = None
        self._store: NoteStore | None = None
        self._scaler: Scaler | None = None
        self._windows: dict[str, NoteWindows] = {}

    @property
    def corpus(self) -> Corpus:
        """The collected corpus; `prepare_data` or `setup` first."""
        assert self._corpus is not None, "call setup() first"
        return self._corpus

    @property
    def store(self) -> NoteStore:
        """The opened store; `prepare_data` or `setup` first."""
        assert self._store is not None, "call setup() first"
        return self._store

    @property
    def scaler(self) -> Scaler:
        """Fitted on the training pieces; `setup` first."""
        assert self._scaler is not None, "call setup() first"
        return self._scaler

    def prepare_data(self) -> None:
        """Collect and read; what was done before is only opened."""
        if self._store is not None:
            return
        self._corpus = self.source.collect(self.progress)
        pieces = [(piece.id, piece.path) for piece in self._corpus.pieces]
        self._store = build_note_store(
            pieces, self.codec, self.store_root, self.corpus_name, self.progress, self.limits
        )

    def setup(self, stage: str | None = None) -> None:
        """Fit the scaler and count the windows of every split."""
        if self._windows:
            return
        self.prepare_data()
        codec = self.codec
        for split in ("train", "validation"):
            if not self.pieces(split):
                raise UserError(
                    f"data: {len(self.store.pieces)} pieces give none for {split}; add files, or set data.fractions"
                )
        self._scaler = Scaler.fit(self.store.features(piece) for piece in self.pieces("train"))
        self._windows = {
            split: NoteWindows(
                self.store,
                self.pieces(split),
                self._scaler,
                codec.sequence_length_i,
                codec.sequence_length_o,
                codec.stride if split == "train" else codec.sequence_length_o,
            )
            for split in SPLITS
        }

    def pieces(self, split: str) -> list[str]:
        """Ids of the pieces of a split that could be read."""
        return [piece.id for piece in self.corpus.of(split) if piece.id in self.store.pieces]

    def windows(self, split: str) -> NoteWindows:
        """The windows of a split; `setup` first."""
        return self._windows[split]

    def report(self) -> list[str]:
        """Lines for people: pieces, notes and windows per split, folded notes, the scaling, what was refused."""
        codec, lines = self.codec, []
        inputs, targets = codec.sequence_length_i, codec.sequence_length_o
        for split in SPLITS:
            windows, pieces = self._windows[split], [self.store.pieces[piece] for piece in self.pieces(split)]
            lines.append(
                f"{split}: {len(pieces)} pieces, {sum(piece.notes for piece in pieces)} notes, {len(windows)} windows "
                f"of {inputs} + {targets} notes"
            )
        folded = sum(piece.folded for piece in self.store.pieces.values())
        if folded:
            lines.append(
                f"{folded} notes of further instruments are folded into the last one "
                f"(tokenizer.num_instruments={codec.num_instruments})"
            )
        scaled = zip(codec.columns[:5], self.scaler.shift, self.scaler.scale, strict=False)
        lines.append(
            "scaled by: " + ", ".join(f"({name} - {shift:.4g}) / {scale:.4g}" for name, shift, scale in scaled)
        )
        if self.store.refused:
            lines.append(f"{len(self.store.refused)} pieces could not be read:")
            lines += [f"  {piece}: {reason}" for piece, reason in self.store.refused.items()]
        return lines

    def levels(self) -> np.ndarray:
        """(4, K) scaled values that a model tells apart, of the training pieces (tokens/notes.py)."""
        pieces = (self.scaler.transform(self.store.features(piece)) for piece in self.pieces("train"))
        return quantile_levels(pieces, self.codec.bins)

    def plan(self, split: str) -> BatchPlan:
        """The batches of a split, in a training of several processes this one's share; only training is shuffled."""
        windows = self._windows[split]
        lengths = np.full(len(windows), windows.length)
        share = share_of(self.trainer)
        return BatchPlan(lengths, self.batch_size, self.seed, shuffle=split == "train", **share)

    def _loader(self, split: str) -> NoteLoader:
        return NoteLoader(self._windows[split], self.plan(split), self.loader_workers)

    def train_dataloader(self) -> NoteLoader:
        """Shuffled by seed and epoch."""
        return self._loader("train")

    def val_dataloader(self) -> NoteLoader:
        """In a fixed order."""
        return self._loader("validation")

    def test_dataloader(self) -> NoteLoader:
        """In a fixed order."""
        return self._loader("test")
