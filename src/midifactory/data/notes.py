"""Windows of notes for models of numbers: so many notes in, the notes that follow as the target.

Legend: I = sequence_length_i, O = sequence_length_o, F the columns of tokens/notes.py, B a batch.
"""

import os
from collections.abc import Sequence

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from midifactory.data.datamodule import CorpusSource
from midifactory.errors import UserError
from midifactory.music.corpora import SPLITS, Corpus
from midifactory.music.score import Limits
from midifactory.tokens.notes import NoteCodec, NoteStore, Scaler, build_note_store


class NoteWindows(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Every window of I + O notes within one of `piece_ids`, one each `stride` notes.

    An item is (inputs (I, F), targets (O, F)), float32, scaled. `too_short` counts the pieces with fewer notes than
    I + O, which give none.
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
        windows = np.maximum((notes - self.length) // stride + 1, 0)
        self.too_short = int((notes < self.length).sum())
        self._ends = np.cumsum(windows)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        place = int(np.searchsorted(self._ends, index, side="right"))
        start = (index - (int(self._ends[place - 1]) if place else 0)) * self.stride
        rows = self.store.features(self.piece_ids[place])[start : start + self.length]
        scaled = torch.from_numpy(self.scaler.transform(rows).astype(np.float32))
        return scaled[: self.inputs], scaled[self.inputs :]


class NoteDataModule(lightning.LightningDataModule):
    """The note windows of a corpus, scaled by its training pieces; batches are (inputs (B, I, F), targets (B, O, F)).

    The lengths and the stride are the codec's. `prepare_data` reads the files once, `setup` opens the result and fits
    the scaler. Raises UserError where training or validation has no piece that is long enough.
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
        inputs, targets = codec.sequence_length_i, codec.sequence_length_o
        for split in ("train", "validation"):
            longest = max((self.store.pieces[piece].notes for piece in self.pieces(split)), default=0)
            if longest < inputs + targets:
                raise UserError(
                    f"data: the longest of {len(self.pieces(split))} {split} pieces has {longest} notes, a window "
                    f"takes {inputs} + {targets}; lower tokenizer.sequence_length_i or add files"
                )
        self._scaler = Scaler.fit(self.store.features(piece) for piece in self.pieces("train"))
        self._windows = {
            split: NoteWindows(self.store, self.pieces(split), self._scaler, inputs, targets, codec.stride)
            for split in SPLITS
        }

    def pieces(self, split: str) -> list[str]:
        """Ids of the pieces of a split that could be read."""
        return [piece.id for piece in self.corpus.of(split) if piece.id in self.store.pieces]

    def windows(self, split: str) -> NoteWindows:
        """The windows of a split; `setup` first."""
        return self._windows[split]

    def report(self) -> list[str]:
        """Lines for people: pieces, notes, windows and what was left out per split, folded notes, the scaling."""
        codec, lines = self.codec, []
        inputs, targets = codec.sequence_length_i, codec.sequence_length_o
        for split in SPLITS:
            windows, pieces = self._windows[split], [self.store.pieces[piece] for piece in self.pieces(split)]
            lines.append(
                f"{split}: {len(pieces)} pieces, {sum(piece.notes for piece in pieces)} notes, {len(windows)} windows "
                f"of {inputs} + {targets} notes, {windows.too_short} pieces with fewer than {inputs + targets} left out"
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

    def _loader(self, split: str) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
        return DataLoader(
            self._windows[split],
            self.batch_size,
            shuffle=split == "train",
            generator=torch.Generator().manual_seed(self.seed),
            num_workers=self.loader_workers,
        )

    def train_dataloader(self) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
        """Shuffled by the seed, anew each epoch."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
        """In a fixed order."""
        return self._loader("validation")

    def test_dataloader(self) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
        """In a fixed order."""
        return self._loader("test")
