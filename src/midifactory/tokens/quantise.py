"""A Score on a REMI tokenizer's grid, as arrays: what `miditok.MusicTokenizer.preprocess_score` (3.1) makes of it.

Metres and resampling are MidiTok's and symusic's own calls; what MidiTok does note by note or tempo by tempo is done
on whole arrays here.

Legend: N notes, M metres, T tempo changes, P programs.
"""

from dataclasses import dataclass
from typing import NamedTuple

import miditok
import numpy as np
from miditok.constants import TIME_SIGNATURE
from miditok.utils import compute_ticks_per_bar, compute_ticks_per_beat, get_score_ticks_per_beat
from miditok.utils.utils import np_get_closest
from symusic import Score, Tempo, TimeSignature
from symusic.core import TimeSignatureTickList

from midifactory.music.score import DEFAULT_TEMPO_BPM

# Later ticks could overflow MidiTok's int32 note ends, and what it does then is not worth repeating.
MAX_TICK = 2**30


class Metres(NamedTuple):
    """Time signatures by section, all (M,): first tick and bar of it, ticks per bar, per beat and per position."""

    tick: np.ndarray
    bar: np.ndarray
    per_bar: np.ndarray
    per_beat: np.ndarray
    per_position: np.ndarray

    def bar_at(self, metre: np.ndarray, tick: np.ndarray) -> np.ndarray:
        """Bar of each tick, as counted in the metre with this index, also where that metre has ended."""
        return self.bar[metre] + (tick - self.tick[metre]) // self.per_bar[metre]

    def tick_of(self, metre: np.ndarray, bar: np.ndarray) -> np.ndarray:
        """First tick of each bar, as counted in the metre with this index."""
        return self.tick[metre] + (bar - self.bar[metre]) * self.per_bar[metre]


class Notes(NamedTuple):
    """Notes ordered by program, onset and pitch, all (N,). Ticks per beat are those of the metre at the onset."""

    program: np.ndarray  # index in `Grid.programs`
    tick: np.ndarray
    pitch: np.ndarray
    duration: np.ndarray
    velocity_bin: np.ndarray
    ticks_per_beat: np.ndarray


@dataclass(frozen=True)
class Grid:
    """A quantised piece. `metre_names` (M,) such as "6/8"; `tempo_ticks` and `tempo_bins` (T,), bins of mspq;
    `programs` (P,), -1 for drums, in the order of their first tracks."""

    ticks_per_quarter: int
    metres: Metres
    metre_names: list[str]
    tempo_ticks: np.ndarray
    tempo_bins: np.ndarray
    notes: Notes
    programs: list[int]


class Quantiser:
    """Settings of a REMI tokenizer as tables. Its bins of durations must rise (see `FastRemi.unsupported`)."""

    def __init__(self, inner: miditok.REMI):
        self._inner, self._config = inner, inner.config
        self._velocity_bins = np.zeros(256, dtype=np.int64)
        if self._config.use_velocities:
            closest = np_get_closest(inner.velocities, np.arange(-128, 128).astype(np.int8))
            self._velocity_bins = np.searchsorted(inner.velocities, closest)
        # By ticks per beat: the closest duration in the vocabulary to each number of ticks.
        self._durations = {
            per_beat: np_get_closest(bins, np.arange(bins[-1] + 1, dtype=np.int32))
            for per_beat, bins in inner._tpb_to_time_array.items()
            if per_beat > 0
        }

    def __call__(self, score: Score) -> Grid:
        """The source Score on the grid, with a tempo of 120 at tick 0 where none stands there.

        Raises ValueError for what MidiTok refuses, or what it reads differently from section to section: ticks
        below 0 or above MAX_TICK, negative pitches, tempos or (with several metres) notes out of order. KeyError for
        ticks per beat that the tokenizer has no durations for, ZeroDivisionError for 0 ticks per quarter.
        """
        if not np.any(score.tempos.numpy()["time"] == 0):
            score = score.copy()
            score.tempos.append(Tempo(0, DEFAULT_TEMPO_BPM))
            score.tempos.sort(key=lambda tempo: tempo.time, inplace=True)
        inner, config = self._inner, self._config
        signatures = TimeSignatureTickList([TimeSignature(0, *TIME_SIGNATURE)])
        ticks_per_quarter = config.max_num_pos_per_beat
        if config.use_time_signatures:
            known = score.time_signatures.copy()
            inner._filter_unsupported_time_signatures(known)
            if len(known) == 0 or known[0].time != 0:
                known.insert(0, signatures[0])
            signatures = known
            ticks_per_quarter = int(ticks_per_quarter * max(metre.denominator for metre in signatures) / 4)
        score = inner._resample_score(score, ticks_per_quarter, signatures)
        sections, steps = np.array([[0, inner.time_division]]), None
        if config.use_time_signatures:
            inner._preprocess_time_signatures(score.time_signatures, ticks_per_quarter)
            sections = get_score_ticks_per_beat(score)
            if len({metre.denominator for metre in score.time_signatures}) > 1:
                steps = inner._get_score_resampling_factor(score)
        return Grid(
            ticks_per_quarter,
            self._metres(score.time_signatures, ticks_per_quarter),
            [f"{metre.numerator}/{metre.denominator}" for metre in score.time_signatures],
            *self._tempos(score, steps),
            *self._notes(score, steps, sections),
        )

    def _metres(self, signatures: TimeSignatureTickList, ticks_per_quarter: int) -> Metres:
        rows: list[tuple[int, int, int, int, int]] = []
        bar = 0
        for metre in signatures:
            bars, rest = divmod(metre.time - rows[-1][0], rows[-1][2]) if rows else (0, metre.time)
            if rest != 0 or bars < len(rows[-1:]) or metre.time > MAX_TICK:
                raise ValueError(f"a metre off the bar lines, or after tick {MAX_TICK}")
            per_beat = compute_ticks_per_beat(metre.denominator, ticks_per_quarter)
            per_bar = compute_ticks_per_bar(metre, ticks_per_quarter)
            per_position = self._inner._compute_ticks_per_pos(per_beat)
            if per_bar <= 0 or per_position <= 0:
                raise ValueError("a metre finer than the grid")
            bar += bars
            rows.append((metre.time, bar, per_bar, per_beat, per_position))
        return Metres(*np.array(rows, dtype=np.int64).T)

    def _tempos(self, score: Score, steps: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Ticks and bins of the changes that MidiTok keeps: the last one at a tick, the first of equal ones."""
        if not self._config.use_tempos:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        arrays = score.tempos.numpy()
        ticks = arrays["time"]
        if ticks[0] != 0 or np.any(np.diff(ticks) < 0) or ticks[-1] > MAX_TICK:
            raise ValueError(f"tempos out of order, or after tick {MAX_TICK}")
        if steps is not None:
            self._inner._adjust_time_to_tpb(ticks, steps)
        mspq = np_get_closest(self._inner._tempos_mspq, arrays["mspq"])
        last = np.append(np.diff(ticks) != 0, True)
        ticks, mspq = ticks[last], mspq[last]
        if self._config.delete_equal_successive_tempo_changes:
            first = np.append(True, np.diff(mspq) != 0)
            ticks, mspq = ticks[first], mspq[first]
        return ticks.astype(np.int64), np.searchsorted(self._inner._tempos_mspq, mspq)

    def _notes(self, score: Score, steps: np.ndarray | None, sections: np.ndarray) -> tuple[Notes, list[int]]:
        """Notes without duplicates, and the programs. steps, sections: MidiTok's end tick and value by section."""
        config = self._config
        places: dict[int, int] = {}
        tracks = []
        for track in score.tracks:
            number = -1 if track.is_drum else int(track.program)
            # An empty track, too, gives its program a place in the order.
            place = places.setdefault(number, len(places))
            if number not in config.programs:
                continue
            arrays = track.notes.numpy()
            onset, pitch = arrays["time"], arrays["pitch"]
            if np.any(pitch < 0) or (len(sections) > 1 and np.any(np.diff(onset) < 0)):
                raise ValueError("a negative pitch, or notes out of order")
            drums = number == -1 and config.use_pitchdrum_tokens
            lowest, highest = config.drums_pitch_range if drums else config.pitch_range
            kept = np.flatnonzero((pitch >= lowest) & (pitch <= highest))
            values = (np.full(len(onset), place), onset, pitch, arrays["duration"], arrays["velocity"])
            tracks.append([value[kept] for value in values])
        if not any(len(columns[0]) for columns in tracks):
            return Notes(*np.zeros((6, 0), dtype=np.int64)), list(places)
        program, onset, pitch, duration, velocity = map(np.concatenate, zip(*tracks, strict=True))
        if onset.min() < 0 or onset.max() > MAX_TICK:
            raise ValueError(f"a note before tick 0 or after tick {MAX_TICK}")
        if steps is not None:
            self._inner._adjust_time_to_tpb(onset, steps, sorted_times=False)
        section = np.searchsorted(sections[:-1, 0], onset, side="right")
        for index, per_beat in enumerate(sections[:, 1].tolist()):
            closest = self._durations[per_beat]
            here = section == index if len(sections) > 1 else slice(None)
            duration[here] = closest[np.clip(duration[here], 0, len(closest) - 1)]
        velocity_bin = self._velocity_bins[velocity.astype(np.int64) + 128]

        # Of notes with equal onset and pitch MidiTok keeps the shortest, then the softest. One number per note makes
        # this a plain sort, several times faster than sorting by five columns.
        columns = [program, onset, pitch, duration, velocity_bin]
        bits = [int(column.max()).bit_length() for column in columns]
        if sum(bits) > 63:
            raise ValueError("notes too many-sided to pack into 63 bits")
        key = program.astype(np.int64)
        for column, width in zip(columns[1:], bits[1:], strict=True):
            key = (key << width) | column
        key.sort()
        key = key[np.append(True, np.diff(key >> (bits[3] + bits[4])) != 0)]
        for index in (4, 3, 2, 1):
            columns[index] = key & ((1 << bits[index]) - 1)
            key = key >> bits[index]
        _, onset, pitch, duration, velocity_bin = columns
        section = np.searchsorted(sections[:-1, 0], onset, side="right")
        return Notes(key, onset, pitch, duration, velocity_bin, sections[section, 1].astype(np.int64)), list(places)
