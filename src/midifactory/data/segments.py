"""Pieces cut into segments: spans of ids that begin and end between notes."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, overload

import numpy as np
from symusic import Score

from midifactory.tokens.engines import group_table
from midifactory.tokens.tokenizer import Tokenizer

Unit = Literal["seconds", "bars", "tokens"]


@dataclass(frozen=True)
class Segment:
    """ids[start:end] of a piece; `notes` of them are notes."""

    piece: str
    start: int
    end: int
    notes: int

    def __len__(self) -> int:
        return self.end - self.start


class SegmentTable(Sequence[Segment]):
    """Many segments in a few bytes each: arrays (S,) of start, end, notes and the index of the piece in `pieces`."""

    def __init__(self, segments: Iterable[Segment] = ()):
        numbers: dict[str, int] = {}
        rows = array("q")
        for segment in segments:
            rows.extend((numbers.setdefault(segment.piece, len(numbers)), segment.start, segment.end, segment.notes))
        self.pieces = list(numbers)
        self.piece, self.start, self.end, self.notes = np.array(rows, dtype=np.int64).reshape(-1, 4).T.copy()

    @property
    def lengths(self) -> np.ndarray:
        """Base tokens of each segment, (S,)."""
        return self.end - self.start

    def __len__(self) -> int:
        return len(self.start)

    @overload
    def __getitem__(self, index: int) -> Segment: ...
    @overload
    def __getitem__(self, index: slice) -> list[Segment]: ...
    def __getitem__(self, index: int | slice) -> Segment | list[Segment]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        piece, start, end, notes = (int(c[index]) for c in (self.piece, self.start, self.end, self.notes))
        return Segment(self.pieces[piece], start, end, notes)


@dataclass
class SegmentCount:
    """What became of the tokens: shown before training, so that nothing is lost in silence.

    bars: those in which anything begins; cut_bars: those of them in which a segment ends; long_bars: those of more
    tokens than a segment may have, the longest of them `longest_bar_tokens`.
    """

    segments: int = 0
    tokens: int = 0
    divided: int = 0
    left_out_tokens: int = 0
    bars: int = 0
    cut_bars: int = 0
    long_bars: int = 0
    longest_bar_tokens: int = 0

    def line(self, padding_share: float) -> str:
        """One line for people; `padding_share` of the batches' positions are padding."""
        total = self.tokens + self.left_out_tokens
        return (
            f"{self.segments} segments, {self.tokens} tokens; {self.divided} segments divided because they exceed the "
            f"context; {self.cut_bars} of {self.bars} bars cut; "
            f"left out {self.left_out_tokens} tokens ({self.left_out_tokens / max(1, total):.2%}); "
            f"padding {padding_share:.1%} of positions"
        )


def cut_segments(
    piece: str,
    groups: np.ndarray,
    tokens: int,
    notes: int,
    unit: Unit,
    length: float,
    max_tokens: int,
    count: SegmentCount,
    align_to_bars: bool = True,
) -> list[Segment]:
    """Cut one piece into consecutive segments and add what happened to `count`.

    groups: (G,) of tokens.store.GROUP_DTYPE. The onsets of a segment lie within `length` seconds or bars from its
    first one, measured on the Score, or it has at most `length` tokens; it ends before an onset group, so never
    inside a note. With `align_to_bars` the cut moves back to the last group that opens a bar, as long as half of the
    length remains. BOS stays with the first segment, EOS with the last. A segment of more than `max_tokens`
    is divided between groups; only a single onset that is longer than that by itself is left out, counted.
    """
    measure = {"seconds": groups["seconds"], "bars": groups["bar"], "tokens": groups["token"]}[unit]
    starts = groups["token"].astype(np.int64)
    reach = np.append(starts[1:], tokens) - 1 if unit == "tokens" else measure  # a group's last token, or its onset
    cuts = _edges(measure, reach, groups["opens_bar"] & align_to_bars, length)
    notes_before = groups["notes"].astype(np.int64)
    total = len(groups)

    def first_token(group: int) -> int:
        return 0 if group == 0 else tokens if group == total else int(starts[group])

    def notes_until(group: int) -> int:
        return notes if group == total else int(notes_before[group])

    segments = []
    for cut, last in pairwise(cuts):
        parts, first = 0, cut
        while first < last:
            until = last
            if first_token(until) - first_token(first) > max_tokens:
                # The last group that still fits; at least one group, which is then too long by itself.
                limit = first_token(first) + max_tokens
                until = max(first + 1, int(np.searchsorted(starts, limit, side="right")) - 1)
                until = min(until, last)
            size = first_token(until) - first_token(first)
            if size > max_tokens or size < 2:  # a lone token predicts nothing
                count.left_out_tokens += size
            else:
                found = notes_until(until) - notes_until(first)
                segments.append(Segment(piece, first_token(first), first_token(until), found))
                parts += 1
            first = until
        count.divided += parts > 1
    count.segments += len(segments)
    count.tokens += sum(map(len, segments))
    # The first group of each bar; in a piece of one track after the other, of each track's bars.
    bars = np.append(starts[np.flatnonzero(np.diff(groups["bar"], prepend=-1))], tokens)
    sizes = np.diff(bars)
    edges = np.array([segment.start for segment in segments], dtype=np.int64)
    inside = edges[(edges > bars[0]) & ~np.isin(edges, bars)]
    count.bars += len(sizes)
    count.cut_bars += len(np.unique(np.searchsorted(bars, inside)))
    count.long_bars += int((sizes > max_tokens).sum())
    count.longest_bar_tokens = max(count.longest_bar_tokens, int(sizes.max(initial=0)))
    return segments


@dataclass(frozen=True)
class ScoreSegment:
    """ids (T,) as a model reads them, and the bars of the Score from its first token to the next segment's."""

    ids: np.ndarray
    bars: int


def segment_score(
    score: Score, tokenizer: Tokenizer, unit: Unit, length: float, max_tokens: int, align_to_bars: bool = True
) -> list[ScoreSegment]:
    """A Score cut as a training piece is; without EOS, which says nothing of the music.

    A segment that begins inside a bar counts that one, too. Raises UserError as Tokenizer.encode does.
    """
    encoding = tokenizer.encode(score)
    groups = group_table(encoding)
    total = len(encoding.ids)
    count = SegmentCount()
    segments = cut_segments("", groups, total, encoding.notes, unit, length, max_tokens, count, align_to_bars)
    first = np.searchsorted(groups["token"], [segment.start for segment in segments[1:]])
    # A group's bar is that of its onset; silent bars before it have their Bar tokens in the group, too.
    first_bars = np.where(groups["opens_bar"][first], groups["bar"][first - 1] + 1, groups["bar"][first])
    bars = np.diff([0, *first_bars, groups["bar"].max() + 1])
    ids = [encoding.ids[segment.start : min(segment.end, total - 1)] for segment in segments]
    return [ScoreSegment(tokenizer.to_model_ids(part), int(size)) for part, size in zip(ids, bars, strict=True)]


def _edges(measure: np.ndarray, reach: np.ndarray, opens_bar: np.ndarray, length: float) -> list[int]:
    """Indices of the groups at which segments start, and the number of groups at the end.

    Groups begin at `measure`; those with a `reach` below the first one's `measure` + `length` belong to its segment.
    """
    total = len(measure)
    edges = [0]
    while edges[-1] < total:
        first = edges[-1]
        # A hair's breadth, since 16.0 seconds of eighth notes should not depend on the last bit.
        cut = int(np.searchsorted(reach, measure[first] + length - 1e-6, side="left"))
        cut = max(cut, first + 1)
        if cut < total:
            bars = np.flatnonzero(opens_bar[first + 1 : cut + 1]) + first + 1
            if len(bars) and measure[bars[-1]] - measure[first] >= length / 2:
                cut = int(bars[-1])
        edges.append(cut)
    return edges


def count_padding(lengths: Sequence[int] | np.ndarray, batches: Sequence[list[int]]) -> float:
    """Share of positions that are padding when `batches` (indices into `lengths`) pad to their longest row."""
    sizes = np.asarray(lengths)
    positions = sum(int(sizes[batch].max()) * len(batch) for batch in batches)
    return 1 - sum(int(sizes[batch].sum()) for batch in batches) / max(1, positions)
