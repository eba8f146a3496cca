"""The LightningDataModule: a corpus, tokenised once, cut into segments, in batches."""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol, get_args

import lightning
import numpy as np

from midifactory import files
from midifactory.data.attributes import SegmentConditions, measure_segments
from midifactory.data.batches import BatchPlan, SegmentDataset, SegmentLoader, share_of
from midifactory.data.conditions import NOT_GIVEN, ConditionCodec, check_names, piece_labels
from midifactory.data.infilling import Infilling
from midifactory.data.segments import Segment, SegmentCount, SegmentTable, Unit, count_padding, cut_segments
from midifactory.errors import UserError
from midifactory.music import attributes
from midifactory.music.corpora import SPLITS, Corpus
from midifactory.music.score import Limits
from midifactory.tokens.augment import Augmentation, Augmenter
from midifactory.tokens.engines import Preparation
from midifactory.tokens.store import TokenStore, build_store
from midifactory.tokens.tokenizer import Tokenizer

log = logging.getLogger(__name__)

# What augmentation changes: a label of the corpus would no longer be true, nor seconds, which no token tells. Measured
# attributes change with their segment.
_CHANGED_BY = {"semitones": attributes.TRANSPOSED, "tempo_share": ("tempo_bpm", "seconds")}
_MOVED = ("mean_pitch", "key", "tempo_bpm")
# Whole pieces have other extents than the segments that a model was told of.
_EXTENTS = ("seconds", "bars")
_VALUES_REPORTED = 8


class CorpusSource(Protocol):
    """What conf/data's `source` builds: anything that can collect a Corpus."""

    def collect(self, progress: bool = True) -> Corpus:
        """The pieces, split, and the files refused."""


@dataclass
class Segmentation:
    """How pieces are cut: see data/segments.py. Raises UserError for a unit or length that cannot be.

    with_next: the token after a segment is its last label, so that a model learns where segments end.
    """

    unit: Unit = "seconds"
    length: float = 16.0
    align_to_bars: bool = True
    with_next: bool = False

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise UserError(f"data.segment.unit={self.unit}: choose one of {', '.join(get_args(Unit))}")
        if not isinstance(self.length, (int, float)) or not self.length > 0:
            raise UserError(f"data.segment.length={self.length}: it must be above 0; the default is 16 (seconds)")


@dataclass
class _Split:
    """lengths: ids of each segment as the model reads it, (S,)."""

    segments: SegmentTable
    count: SegmentCount
    lengths: np.ndarray
    told: SegmentConditions | None = None


class MidiDataModule(lightning.LightningDataModule):
    """Tokenised, segmented data for any sequence model.

    `batch_size` counts segments; `max_tokens` is the model's context, longer segments are divided. `augment` changes
    training segments on the fly; `infill` is the share of them that is rearranged for infilling (data/infilling.py),
    for which the tokenizer has special tokens. `conditions` names what the model is told of each segment: labels of its
    piece, and attributes of its own notes (music/attributes.py; see ConditionCodec.fit for the two limits).
    `prepare_data` does the slow work once, `setup` opens the result; `tokenizer` is then the one that the model's ids
    are of, merges learnt where it was asked to, and `condition_codec` what the ids of the conditions are of, None
    without any. Raises UserError where a split has no segment, and for conditions that the corpus does not have or
    augmentation makes untrue.
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
        preparation: Preparation | None = None,
        limits: Limits | None = None,
        augment: Augmentation | None = None,
        infill: float = 0.0,
        conditions: Sequence[str] = (),
        condition_bins: int = 8,
        condition_values: int = 100,
        known_conditions: ConditionCodec | None = None,
        loader_workers: int = 0,
        seed: int = 0,
        progress: bool = True,
    ):
        super().__init__()
        for key, value, least in (
            ("batch_size", batch_size, 1),
            ("max_tokens", max_tokens, 2),
            ("condition_bins", condition_bins, 2),
            ("condition_values", condition_values, 1),
            ("loader_workers", loader_workers, 0),
        ):
            if type(value) is not int or value < least:
                raise UserError(f"data.{key}={value}: give a whole number of at least {least}")
        self.source, self.tokenizer, self.corpus_name = source, tokenizer, name
        self.segment = segment or Segmentation()
        if not tokenizer.monotonic and self.segment.unit != "tokens":
            raise UserError(
                f"data.segment.unit={self.segment.unit}: {tokenizer.scheme} writes one track after another, so a piece "
                "has no spans of seconds or bars; set data.segment.unit=tokens data.segment.length=512"
            )
        self.batch_size, self.max_tokens, self.seed = batch_size, max_tokens, seed
        self.store_root, self.preparation, self.limits = store_root, preparation, limits
        # Built at once, so that a wrong setting is told before an hour of preparing.
        self.augmenter = Augmenter(tokenizer, augment) if augment is not None and augment != Augmentation() else None
        self.infilling = Infilling(tokenizer, infill, max_tokens) if infill else None
        self.condition_names = tuple(conditions)
        self.condition_bins, self.condition_values = condition_bins, condition_values
        self.known_conditions = known_conditions or ConditionCodec(())
        self.condition_codec: ConditionCodec | None = None
        self.conditions: dict[str, np.ndarray] = {}
        self.measured_conditions: tuple[str, ...] = ()  # those of notes, not of the corpus' labels
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
        if self._told:
            self._check_conditions()  # before the tokens: a wrong name is told at once
        self._store = build_store(
            [(piece.id, piece.path) for piece in self._corpus.pieces],
            self.tokenizer,
            self.store_root,
            self.corpus_name,
            self.preparation,
            self.limits,
            {piece.id: piece.sha256 for piece in self._corpus.pieces},
            self.progress,
        )
        if self.tokenizer.wants_bpe:
            self.tokenizer = self._learn_merges()

    @property
    def _told(self) -> tuple[str, ...]:
        """The conditions, those of a model to be fine-tuned first."""
        return tuple(dict.fromkeys((*self.known_conditions.names, *self.condition_names)))

    def _labels(self) -> tuple[dict[str, dict[str, Any]], set[str]]:
        """The labels of each piece, and the names of all of them: a label takes the place of an attribute."""
        labels = piece_labels(self.corpus)
        return labels, {name for piece in labels.values() for name, value in piece.items() if value is not None}

    def _check_conditions(self) -> None:
        """Raise UserError for names that nothing has, labels that tell nothing, and augmentation that changes some."""
        labels, of_pieces = self._labels()
        training = [labels[piece.id] for piece in self.corpus.of("train")]
        check_names(self.condition_names, training)
        names = [name for name in self.condition_names if name in of_pieces and name not in self.known_conditions.names]
        ConditionCodec.fit(names, training, self.condition_bins, self.condition_values)
        augment = self.augmenter.settings if self.augmenter else Augmentation()
        for setting, changed in _CHANGED_BY.items():
            lost = [name for name in changed if name in self._told and (name in of_pieces or name not in _MOVED)]
            if getattr(augment, setting) and lost:
                raise UserError(
                    f"data.augment.{setting}={getattr(augment, setting)} changes the {lost[0]} that "
                    f"conditions={list(self._told)} would tell; leave one of the two out"
                )

    def _fit_conditions(self, splits: dict[str, _Split]) -> None:
        """The codec, and what it makes of every segment, and of whole pieces for those that no training has seen."""
        labels, of_pieces = self._labels()
        names = [name for name in self._told if name in attributes.NAMES and name not in of_pieces]
        self.measured_conditions = tuple(names)
        measured = {split: self._measure(part.segments, names) for split, part in splits.items()}
        training = [labels[piece.id] for piece in self.corpus.of("train")]
        self.condition_codec = codec = self.known_conditions.grown(
            self.condition_names, training, self.condition_bins, self.condition_values, measured["train"]
        )
        for split, part in splits.items():
            augmenter = self.augmenter if split == "train" else None
            part.told = SegmentConditions(codec, part.segments, labels, measured[split], augmenter)
        self.conditions = self.piece_conditions(codec, [piece for split in SPLITS[1:] for piece in self.pieces(split)])
        self.conditions |= {piece: codec.encode(labels[piece]) for piece in labels if piece not in self.conditions}

    def piece_conditions(
        self, codec: ConditionCodec, pieces: Sequence[str], measured: bool = True
    ) -> dict[str, np.ndarray]:
        """What a model of `codec` is told of whole pieces, (C,) by id; `prepare_data` first.

        Labels of the corpus, and if `measured` attributes of the piece's own notes but its extents: training told
        those of segments.
        """
        labels, of_pieces = self._labels()
        own = attributes.NAMES if measured else ()
        names = [name for name in codec.names if name in own and name not in {*of_pieces, *_EXTENTS}]
        found = self._measure(
            SegmentTable(Segment(piece, 0, self.store.pieces[piece].tokens, 0) for piece in pieces), names
        )
        return {
            piece: codec.encode(labels[piece] | {name: values[row] for name, values in found.items()})
            for row, piece in enumerate(pieces)
        }

    def _measure(self, segments: SegmentTable, names: Sequence[str]) -> dict[str, list[Any]]:
        if not names:
            return {}
        workers = self.preparation.workers if self.preparation else None
        found = measure_segments(self.store, segments, workers, self.progress)
        return {name: found[name] for name in names}

    def _learn_merges(self) -> Tokenizer:
        """Byte-pair encoding from the training split alone, once per store and split; then read from there."""
        training = self.pieces("train")
        wanted = f"{self.tokenizer.fingerprint} {' '.join(training)}"
        path = self.store.folder / f"bpe-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}.json"
        if path.is_file():
            return Tokenizer.from_json(path.read_text(encoding="utf-8"))
        tokenizer = self.tokenizer.learn_bpe(self.store.ids(piece) for piece in training)
        files.write_text(path, tokenizer.to_json())
        return tokenizer

    def model_ids(self, piece_id: str) -> np.ndarray:
        """A whole piece as the model reads it, (N,): base ids, merged where the tokenizer has learnt to."""
        return self.tokenizer.to_model_ids(self.store.ids(piece_id))

    def setup(self, stage: str | None = None) -> None:
        """Cut every split into segments."""
        if self._splits:
            return
        self.prepare_data()
        splits = {split: self._cut(split) for split in SPLITS}
        training, validation = (len(splits[split].segments) for split in ("train", "validation"))
        if not training or not validation:
            raise UserError(
                f"data: {len(self.store.pieces)} pieces give {training} training and {validation} validation "
                "segments; add files, or set data.fractions"
            )
        bars = splits["train"].count
        if bars.long_bars > bars.bars / 2:
            raise UserError(
                f"data.max_tokens={self.max_tokens}: {bars.long_bars} of the {bars.bars} bars of the training pieces "
                f"have more tokens, the longest {bars.longest_bar_tokens}; set data.max_tokens to that at least"
            )
        if self._told:
            self._fit_conditions(splits)
        self._splits = splits

    def pieces(self, split: str) -> list[str]:
        """Ids of the tokenised pieces of a split."""
        return [piece.id for piece in self.corpus.of(split) if piece.id in self.store.pieces]

    def _cut(self, split: str) -> _Split:
        count = SegmentCount()
        found = (segment for piece in self.pieces(split) for segment in self._cut_piece(piece, count))
        segments = SegmentTable(found)
        lengths = segments.lengths
        if self.tokenizer.vocab_size > self.tokenizer.base_vocab_size:
            dataset = SegmentDataset(self.store, segments, self.tokenizer)
            lengths = np.array([len(dataset[index][0]) for index in range(len(dataset))], dtype=np.int64)
        return _Split(segments, count, lengths)

    def _cut_piece(self, piece_id: str, count: SegmentCount) -> list[Segment]:
        piece, part = self.store.pieces[piece_id], self.segment
        segments = cut_segments(
            piece_id,
            self.store.groups(piece_id),
            piece.tokens,
            piece.notes,
            part.unit,
            part.length,
            self.max_tokens,
            count,
            part.align_to_bars,
        )
        if part.with_next:
            segments = [replace(segment, end=min(segment.end + 1, piece.tokens)) for segment in segments]
        return segments

    def segment_ids(self, piece_id: str) -> list[np.ndarray]:
        """The segments of a piece as the model reads them, each with the token after it."""
        ids = self.store.ids(piece_id)
        segments = self._cut_piece(piece_id, SegmentCount())
        ends = [min(segment.end + (not self.segment.with_next), len(ids)) for segment in segments]
        return [
            self.tokenizer.to_model_ids(ids[segment.start : end]) for segment, end in zip(segments, ends, strict=True)
        ]

    @property
    def segment_settings(self) -> dict[str, Any]:
        """What `segments.segment_score` needs to cut any Score as training pieces are cut."""
        part = self.segment
        return {
            "unit": part.unit,
            "length": part.length,
            "max_tokens": self.max_tokens,
            "align_to_bars": part.align_to_bars,
        }

    @property
    def longest_segment(self) -> int:
        """Ids of the longest training segment as the model reads it: the span it learns to attend over."""
        return int(self._splits["train"].lengths.max())

    def segments(self, split: str) -> SegmentTable:
        """The segments of a split."""
        return self._splits[split].segments

    def plan(self, split: str) -> BatchPlan:
        """The batches of a split, in a training of several processes this one's share; only training is shuffled."""
        share = share_of(self.trainer)
        return BatchPlan(self._splits[split].lengths, self.batch_size, self.seed, shuffle=split == "train", **share)

    def report(self) -> list[str]:
        """Lines for people: pieces, refused files, segments, padding, per split."""
        lines = []
        for split in SPLITS:
            part = self._splits[split]
            plan = self.plan(split)
            padding = count_padding(plan.lengths, plan.batches(0)) if len(part.segments) else 0.0
            lines.append(f"{split}: {len(self.pieces(split))} pieces, {part.count.line(padding)}")
        lines += self._condition_lines()
        if self.store.refused:
            lines.append(f"{len(self.store.refused)} pieces could not be tokenised (corpus.json has all):")
            lines += [f"  {piece}: {reason}" for piece, reason in islice(self.store.refused.items(), 10)]
        return lines

    def _condition_lines(self) -> list[str]:
        """For each condition its most frequent values or its ranges, and for how many it is known.

        Of labels pieces are counted, of attributes segments.
        """
        lines: list[str] = []
        if self.condition_codec is None:
            return lines
        _, of_pieces = self._labels()
        for column, field in enumerate(self.condition_codec.fields):
            what = "pieces" if field.name in of_pieces else "segments"
            ids = {split: self._condition_ids(split, column, what) for split in SPLITS}
            counts = Counter(ids["train"])
            values = range(1, field.size)
            shown = [f"{field.describe_id(value)}: {counts[value]}" for value in values[:_VALUES_REPORTED]]
            more = ", ..." if len(values) > len(shown) else ""
            known = [
                f"{sum(value != NOT_GIVEN for value in ids[split])} of {len(ids[split])} {split}" for split in SPLITS
            ]
            lines.append(
                f"condition {field.name}: {len(values)} values ({', '.join(shown)}{more}); "
                f"known for {', '.join(known)} {what}"
            )
        return lines

    def _condition_ids(self, split: str, column: int, what: str) -> list[int]:
        if what == "pieces":
            return [int(self.conditions[piece][column]) for piece in self.pieces(split)]
        told = self._splits[split].told
        return told.ids[:, column].tolist() if told else []

    def _loader(self, split: str) -> SegmentLoader:
        training, part = split == "train", self._splits[split]
        dataset = SegmentDataset(
            self.store,
            part.segments,
            self.tokenizer,
            self.augmenter if training else None,
            self.seed,
            part.told,
            self.infilling if training else None,
        )
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
