"""The LightningDataModule: a corpus, tokenised once, cut into segments, in batches."""

import logging
import os
from dataclasses import dataclass, field
from typing import Any, Protocol

import lightning

from midifactory.data.batches import BatchPlan, SegmentDataset, SegmentLoader
from midifactory.data.segments import Segment, SegmentCount, Unit, count_padding, cut_segments
from midifactory.errors import UserError
from midifactory.music.corpora import Corpus
from midifactory.tokens.store import TokenStore, build_store
from midifactory.tokens.tokenizer import Tokenizer

log = logging.getLogger(__name__)
SPLITS = ("train", "validation", "test")


class CorpusSource(Protocol):
    """What conf/data's `source` builds: anything that can collect a Corpus."""

    def collect(self, progress: bool = True) -> Corpus:
        """The pieces, split, and the files refused."""


@dataclass
class Segmentation:
    """How pieces are cut: see data/segments.py."""

    unit: Unit = "seconds"
    length: float = 16.0
    align_to_bars: bool = True


@dataclass
class _Split:
    segments: list[Segment] = field(default_factory=list)
    count: SegmentCount = field(default_factory=SegmentCount)


class MidiDataModule(lightning.LightningDataModule):
    """Tokenised, segmented data for any sequence model.

    `batch_size` counts segments; `max_tokens` is the model's context, longer segments are divided. `prepare_data`
    does the slow work once, `setup` opens the result. Raises UserError where a split has no segment.
    """

    def __init__(
        self,
        source: CorpusSource,
        tokenizer: Tokenizer,
        name: str,
        segment: Segmentation | None = None,
        batch_size: int = 16,
        max_tokens: int = 1024,
        store_root: str | os.PathLike[str] = "outputs/prepared",
        prepare_workers: int | None = None,
        loader_workers: int = 0,
        seed: int = 0,
        progress: bool = True,
    ):
        super().__init__()
        if batch_size < 1:
            raise UserError(f"data.batch_size={batch_size}: it must be at least 1")
        self.source, self.tokenizer, self.corpus_name = source, tokenizer, name
        self.segment = segment or Segmentation()
        self.batch_size, self.max_tokens, self.seed = batch_size, max_tokens, seed
        self.store_root, self.prepare_workers = store_root, prepare_workers
        self.loader_workers, self.progress = loader_workers, progress
        self._corpus: Corpus | None = None
        self._store: TokenStore | None = None
        self._splits: dict[str, _Split] = {}

    @property
    def corpus(self) -> Corpus:
        """The collected corpus; `prepare_data` or `setup` first."""
        assert self._corpus is not None, "call setup() first"
        return self._corpus

    @property
    def store(self) -> TokenStore:
        """The opened token store; `setup` first."""
        assert self._store is not None, "call setup() first"
        return self._store

    def prepare_data(self) -> None:
        """Collect and tokenise; what was done before is only opened."""
        if self._store is not None:
            return
        self._corpus = self.source.collect(self.progress)
        self._store = build_store(
            [(piece.id, piece.path) for piece in self._corpus.pieces],
            self.tokenizer,
            self.store_root,
            self.corpus_name,
            self.prepare_workers,
            self.progress,
        )

    def setup(self, stage: str | None = None) -> None:
        """Cut every split into segments."""
        if self._splits:
            return
        self.prepare_data()
        for split in SPLITS:
            self._splits[split] = self._cut(split)
        if not self._splits["train"].segments or not self._splits["validation"].segments:
            raise UserError(
                f"data: {len(self.store.pieces)} pieces give {len(self._splits['train'].segments)} training and "
                f"{len(self._splits['validation'].segments)} validation segments; add files, or set data.fractions"
            )

    def pieces(self, split: str) -> list[str]:
        """Ids of the tokenised pieces of a split."""
        return [piece.id for piece in self.corpus.of(split) if piece.id in self.store.pieces]

    def _cut(self, split: str) -> _Split:
        result = _Split()
        for piece_id in self.pieces(split):
            piece = self.store.pieces[piece_id]
            result.segments += cut_segments(
                piece_id,
                self.store.groups(piece_id),
                piece.tokens,
                piece.notes,
                self.segment.unit,
                self.segment.length,
                self.max_tokens,
                result.count,
                self.segment.align_to_bars,
            )
        return result

    @property
    def longest_segment(self) -> int:
        """Tokens of the longest training segment: the span the model learns to attend over."""
        return max(map(len, self._splits["train"].segments))

    def segments(self, split: str) -> list[Segment]:
        """The segments of a split."""
        return self._splits[split].segments

    def plan(self, split: str) -> BatchPlan:
        """The batches of a split; only training is shuffled."""
        lengths = [len(segment) for segment in self._splits[split].segments]
        return BatchPlan(lengths, self.batch_size, self.seed, shuffle=split == "train")

    def report(self) -> list[str]:
        """Lines for people: pieces, refused files, segments, padding, per split."""
        lines = []
        for split in SPLITS:
            part = self._splits[split]
            plan = self.plan(split)
            padding = count_padding(plan.lengths.tolist(), plan.batches(0)) if part.segments else 0.0
            lines.append(f"{split}: {len(self.pieces(split))} pieces, {part.count.line(padding)}")
        if self.store.refused:
            lines.append(f"{len(self.store.refused)} pieces could not be tokenised:")
            lines += [f"  {piece}: {reason}" for piece, reason in self.store.refused.items()]
        return lines

    def _loader(self, split: str) -> SegmentLoader:
        dataset = SegmentDataset(self.store, self._splits[split].segments)
        return SegmentLoader(dataset, self.plan(split), self.tokenizer.pad_id, self.loader_workers)

    def train_dataloader(self) -> Any:
        """Shuffled by seed and epoch."""
        return self._loader("train")

    def val_dataloader(self) -> Any:
        """In a fixed order."""
        return self._loader("validation")

    def test_dataloader(self) -> Any:
        """In a fixed order."""
        return self._loader("test")
