"""How much of a piece stands in the training set: the longest copies, and the share of its n-grams that are known.

A piece is compared as a line: its notes by onset and then by pitch, each onset and pitch once, whatever instrument
plays it; drums are left out where there is anything else. Two notes in turn are a step: an interval and the time
between their onsets. A copy is a run of notes with the same steps, exact where it has the same pitches too, else
transposed. Durations, velocities, instruments, tempo and the place in the bar do not count, so that another
articulation is no disguise.

Reports of originality as a measure of generation are due to Yin, Reuben, Stepney and Collins 2021, who compare by a
similarity score; here whole runs of notes are compared, which can be looked up in all of a large corpus.

Times are in quarter notes, in both what is compared and what it is compared with as tokens can tell them.

Legend: N notes of the training set, M of a piece, L lines, S kinds of steps.
"""

import json
import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from symusic import Score

from midifactory import files
from midifactory.music.score import bar_starts, note_arrays
from midifactory.music.suffixes import Found, all_longest_prefixes, prefix_ranges, suffix_order

FORMAT = 1  # raise it when the meaning of the files changes: indexes are then built anew
TICKS = 480  # per quarter note, of all onsets here: a multiple of every grid used in tokens
NGRAM = 8
_DRUMS = 128  # added to the pitch of a drum
_DRUM_STEP = 1 << 15
_DELTA_SHIFT = 16
# Places that n-grams are counted at to find the nearest piece, the rarest n-grams first.
_MOST_PLACES = 1_000_000


@dataclass(frozen=True, eq=False)
class NoteLine:
    """onset (M,) in TICKS, rising; note (M,): the pitch, of drums 128 more; bar (M,), from 0."""

    onset: np.ndarray
    note: np.ndarray
    bar: np.ndarray

    @classmethod
    def of(cls, score: Score, drums: bool, since_tick: int = 0) -> "NoteLine":
        """The drums of a Score, or all else, from `since_tick` on."""
        notes = note_arrays(score)
        kept = ((notes["program"] < 0) == drums) & (notes["onset"] >= since_tick)
        ticks, pitch = notes["onset"][kept], notes["pitch"][kept]
        both = np.unique(ticks << 7 | pitch)  # by onset, then by pitch, each once
        ticks = both >> 7
        bar = np.searchsorted(bar_starts(score, int(ticks.max(initial=0)) + 1), ticks, side="right") - 1
        onset = (2 * TICKS * ticks + score.ticks_per_quarter) // (2 * score.ticks_per_quarter)
        return cls(onset, (both & 127) + _DRUMS * drums, bar)

    @property
    def steps(self) -> np.ndarray:
        """(M - 1,) int64: from each note to the next, the ticks and what they do not change under transposition."""
        first, second = self.note[:-1], self.note[1:]
        drums = _DRUM_STEP | (first & 127) << 7 | second & 127  # nobody transposes a drum kit
        return np.diff(self.onset) << _DELTA_SHIFT | np.where(first < _DRUMS, second - first + 128, drums)


@dataclass(frozen=True)
class Copy:
    """The longest run of notes that stands in a training piece.

    beats: quarter notes from its first onset to its last. bar, piece_bar: where it begins, counted from 1.
    transposition: semitones from the training piece to here.
    """

    notes: int
    beats: float
    piece: str
    bar: int
    piece_bar: int
    transposition: int = 0


@dataclass(frozen=True)
class Report:
    """What of a piece's `notes` stands in the training set, exactly and transposed by any interval (or none).

    exact, transposed: the longest copies in notes, None where there are no notes at all. exact_beats, transposed_beats:
    the most beats of any copy of NGRAM notes or more. ngrams, ngrams_transposed: the share of its runs of NGRAM notes
    that are found. nearest: the training piece that holds the most of these, transposed or not, and their share.
    """

    notes: int
    exact: Copy | None
    transposed: Copy | None
    exact_beats: float
    transposed_beats: float
    ngrams: float
    ngrams_transposed: float
    nearest: str | None
    nearest_share: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def line(self) -> str:
        """One line for people."""
        if self.exact is None or self.transposed is None:
            return "originality: nothing to compare"
        text = f"originality: longest copy {_length(self.exact)} of {_place(self.exact)}"
        if self.transposed.notes > self.exact.notes:
            text += f", transposed {_length(self.transposed)} of {_place(self.transposed)}"
        text += f"; {self.ngrams:.0%} of its {NGRAM}-note n-grams stand in the training set"
        text += f" ({self.ngrams_transposed:.0%} transposed)"
        if self.nearest_share:
            text += f"; nearest piece: {self.nearest} ({self.nearest_share:.0%})"
        return text


def _length(copy: Copy) -> str:
    return f"{copy.notes} notes ({copy.beats:.1f} beats)" if copy.notes else "0 notes"


def _place(copy: Copy) -> str:
    return f"{copy.piece} (its bar {copy.piece_bar}, here {copy.bar})" if copy.notes else "any piece"


def build_index(folder: str | os.PathLike[str], pieces: Iterable[tuple[str, Score]]) -> None:
    """Write the index of training `pieces` (id, Score) as `folder`, whole or not at all.

    While it is built, about 130 bytes of memory are used for each note; on disk it takes 13.
    """
    ids: list[str] = []
    piece_of_line: list[int] = []
    lines: list[NoteLine] = []
    for piece_id, score in pieces:
        for drums in (False, True):
            line = NoteLine.of(score, drums)
            if len(line.note):
                piece_of_line.append(len(ids))
                lines.append(line)
        ids.append(piece_id)
    lengths = np.array([len(line.note) for line in lines], dtype=np.int64)
    ends = np.cumsum(lengths)
    note = np.concatenate([np.zeros(0, np.int64), *(line.note for line in lines)]).astype(np.uint8)
    bar = np.concatenate([np.zeros(0, np.int64), *(line.bar for line in lines)])
    steps = [np.append(line.steps, -1) for line in lines]  # the last note of a line steps nowhere
    del lines
    symbols, codes = np.unique(np.concatenate([np.array([-1]), *steps])[1:], return_inverse=True)
    del steps
    # -1 is the first of the symbols: it becomes the greatest code.
    symbols, codes = symbols[1:], (codes - 1) % max(1, len(symbols))
    order = suffix_order(codes, len(symbols))
    place = np.min_scalar_type(max(1, len(codes)))
    with files.replacing_folder(folder) as new:
        arrays = {
            "symbols": symbols,
            "codes": codes.astype(np.min_scalar_type(len(symbols))),
            "order": order.astype(place),
            # Stable, so that suffixes of the same first pitch keep their order.
            "exact": order[np.argsort(note[order], kind="stable")].astype(place),
            "notes": note,
            "bars": bar.astype(np.min_scalar_type(int(bar.max(initial=0)))),
            "line_ends": ends,
            "line_pieces": np.array(piece_of_line, dtype=np.int64),
        }
        for name, array in arrays.items():
            np.save(new / f"{name}.npy", array)
        (new / "index.json").write_text(json.dumps({"format": FORMAT, "pieces": ids}, ensure_ascii=False))


@dataclass(frozen=True, eq=False)
class _Matches:
    """For each note of a line, how many notes from it on stand somewhere, and the place: (M,) each."""

    notes: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, found: Found) -> "_Matches":
        return cls(found.lengths + 1, found.places)  # so many steps lead to one note more


class OriginalityIndex:
    """An index that `build_index` wrote, opened without reading it. Raises OSError and ValueError where none is."""

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)
        record = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))
        if record.get("format") != FORMAT:
            raise ValueError(f"format {record.get('format')}, not {FORMAT}")
        self.pieces: list[str] = record["pieces"]
        self._symbols, self._codes, self._order, self._exact, self._notes, self._bars = (
            np.asarray(np.load(self.folder / f"{name}.npy", mmap_mode="r"))
            for name in ("symbols", "codes", "order", "exact", "notes", "bars")
        )
        self._line_ends, self._line_pieces = (
            np.load(self.folder / f"{name}.npy") for name in ("line_ends", "line_pieces")
        )
        # (257,): where the suffixes that begin with each note lie in the exact order.
        self._buckets = np.concatenate([[0], np.cumsum(np.bincount(self._notes, minlength=256))])

    @property
    def has_pitches(self) -> bool:
        """Whether any of its notes is no drum."""
        return bool(self._buckets[_DRUMS])

    def encode(self, steps: np.ndarray) -> np.ndarray:
        """steps (M,) as its codes; what it does not know becomes one that is greater than all of them."""
        place = np.searchsorted(self._symbols, steps)
        known = place < len(self._symbols)
        known[known] = self._symbols[place[known]] == steps[known]
        return np.where(known, place, len(self._symbols) + 1)

    def matches(self, line: NoteLine, exact: bool) -> _Matches:
        """The longest copy from each note on."""
        query = np.append(self.encode(line.steps), len(self._symbols) + 1)
        if exact:
            low, high = self._buckets[line.note], self._buckets[line.note + 1]
            return _Matches.of(all_longest_prefixes(self._codes, self._exact, query, low, high))
        high = np.full(len(query), len(self._order))
        return _Matches.of(all_longest_prefixes(self._codes, self._order, query, np.zeros_like(high), high))

    def piece_at(self, places: np.ndarray) -> np.ndarray:
        """The number of the piece at each place."""
        return self._line_pieces[np.searchsorted(self._line_ends, places, side="right")]

    def copy_at(self, line: NoteLine, start: int, notes: int, place: int) -> Copy:
        """The copy of so many notes from `start` on."""
        if not notes:
            return Copy(0, 0.0, "", int(line.bar[start]) + 1, 0)
        return Copy(
            notes,
            int(line.onset[start + notes - 1] - line.onset[start]) / TICKS,
            self.pieces[int(self.piece_at(np.array(place)))],
            int(line.bar[start]) + 1,
            int(self._bars[place]) + 1,
            int(line.note[start]) - int(self._notes[place]),
        )

    def shared_ngrams(self, line: NoteLine, starts: np.ndarray) -> tuple[str, int]:
        """The piece with the most of the n-grams from `starts` (K,) on, in any transposition, and how many it has."""
        windows = self.encode(line.steps)[starts[:, None] + np.arange(NGRAM - 1)]  # (K, W)
        low, high = prefix_ranges(self._codes, self._order, windows)
        rare = np.argsort(high - low, kind="stable")
        rare = rare[: max(1, int(np.searchsorted(np.cumsum((high - low)[rare]), _MOST_PLACES, side="right")))]
        sizes = (high - low)[rare]
        window = np.repeat(np.arange(len(rare)), sizes)
        inside = np.arange(len(window)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        piece = self.piece_at(self._order[low[rare][window] + inside])
        counts = np.bincount(np.unique(piece + window * len(self.pieces)) % len(self.pieces))
        best = int(counts.argmax())
        return self.pieces[best], int(counts[best])

    def follows(self, line: NoteLine) -> tuple[np.ndarray, np.ndarray]:
        """What follows in training wherever the whole `line` (one note at least) stands, transposed or not.

        Returns the ticks to the next note and that note, transposed likewise: two arrays, without the same twice.
        """
        codes, width = self._ordered_bytes, len(line.note) - 1
        window = self.encode(line.steps).astype(codes.dtype).tobytes()

        def text(place: Any) -> bytes:
            return codes[int(place) : int(place) + width].tobytes()

        low = bisect_left(self._order, window, key=text)
        high = bisect_right(self._order, window, lo=low, key=text)
        after = np.unique(codes[self._order[low:high].astype(np.int64) + width])
        steps = self._symbols[after[after < len(self._symbols)].astype(np.int64)]
        kind = steps & (1 << _DELTA_SHIFT) - 1
        last = int(line.note[-1])
        follows = (kind & _DRUM_STEP > 0) == (last >= _DRUMS)
        if last >= _DRUMS and not width:
            follows &= (kind >> 7 & 127) == last - _DRUMS
        note = np.where(kind & _DRUM_STEP > 0, (kind & 127) + _DRUMS, last + kind - 128)
        return (steps >> _DELTA_SHIFT)[follows], note[follows]

    @cached_property
    def _ordered_bytes(self) -> np.ndarray:
        """The codes, so stored that their bytes are ordered as they are."""
        return self._codes.astype(np.min_scalar_type(len(self._symbols) + 1).newbyteorder(">"))


class Originality:
    """Compares pieces with all that a model was trained on: one index, or several where it was fine-tuned."""

    def __init__(self, indexes: Sequence[OriginalityIndex]):
        if not indexes:
            raise ValueError("no index")
        self.indexes = list(indexes)

    def of(self, score: Score, since_tick: int = 0) -> Report:
        """The report on a Score from `since_tick` on: earlier notes, such as those of a prompt, do not count."""
        line = NoteLine.of(score, False, since_tick)
        if not len(line.note):
            line = NoteLine.of(score, True, since_tick)
        count = len(line.note)
        if not count:
            return Report(0, None, None, 0.0, 0.0, 0.0, 0.0, None, 0.0)
        exact, exact_notes = self._longest(line, True)
        transposed, transposed_notes = self._longest(line, False)
        if transposed.notes == exact.notes:
            transposed = exact
        grams = count - NGRAM + 1
        starts = np.flatnonzero(transposed_notes >= NGRAM)
        nearest, shared = transposed.piece or None, 0
        if len(starts):
            found = [index.shared_ngrams(line, starts) for index in self.indexes]
            nearest, shared = max(found, key=lambda pair: pair[1])
        return Report(
            count,
            exact,
            transposed,
            _most_beats(line, exact_notes),
            _most_beats(line, transposed_notes),
            int((exact_notes >= NGRAM).sum()) / grams if grams > 0 else 0.0,
            len(starts) / grams if grams > 0 else 0.0,
            nearest,
            shared / grams if grams > 0 else 0.0,
        )

    def _longest(self, line: NoteLine, exact: bool) -> tuple[Copy, np.ndarray]:
        """The longest copy, and how many notes stand somewhere from each note on, (M,)."""
        matches = [index.matches(line, exact) for index in self.indexes]
        copies = []
        for index, match in zip(self.indexes, matches, strict=True):
            start = int(match.notes.argmax())
            copies.append(index.copy_at(line, start, int(match.notes[start]), int(match.places[start])))
        best = max(copies, key=lambda copy: copy.notes)
        return best, np.max([match.notes for match in matches], axis=0)


def _most_beats(line: NoteLine, notes: np.ndarray) -> float:
    """The most quarter notes that a copy of NGRAM notes or more covers, of those of `notes` (M,) from each note on."""
    starts = np.flatnonzero(notes >= NGRAM)
    return int((line.onset[starts + notes[starts] - 1] - line.onset[starts]).max(initial=0)) / TICKS
