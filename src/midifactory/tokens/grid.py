"""A grid of voices: one token for each voice at each sixteenth, as the JSB chorales are modelled in the literature.

Boulanger-Lewandowski et al. 2012 and Huang et al. 2017 (Coconet) model what sounds at each step: a held note and a
repeated one look alike. Voices speak in a fixed order within a step, and every voice always speaks, be it of silence.

Legend: B rows, T tokens, N cells that a row has read, S steps, F features.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from symusic import Score
from torch import Tensor

from midifactory.errors import UserError
from midifactory.music.registry import grid_score
from midifactory.music.score import bar_starts, seconds_at
from midifactory.tokens.tokenizer import SPECIAL_TOKENS, Encoding, Tokenizer, _hash

VOICES = 4
STEPS_PER_BEAT = 4
_KIND = "VoiceGrid"
_PAD, _BOS, _EOS, _SILENCE = range(4)
_FIRST_PITCH = 4
_CELLS_PER_BEAT = VOICES * STEPS_PER_BEAT


class VoiceGrid(Tokenizer):
    """A tokenizer for up to four voices, each a track: ids are PAD, BOS, EOS, silence, then the pitches.

    order: the voices 0 (the first track) to 3 in the order in which they speak within a step; by default soprano, bass,
    alto, tenor, as one harmonises a tune. pitch_range: the lowest pitch, and the one above the highest. Raises
    UserError for values that are no such order or range.

    Tempo, metre, velocities and programs are not told; decoding writes those of the built-in chorales. A voice sings
    one note at a time: a later one ends it, and of two that begin together the higher counts.
    """

    def __init__(self, order: Sequence[int] = (0, 3, 1, 2), pitch_range: Sequence[int] = (36, 82)):
        if sorted(order) != list(range(VOICES)):
            raise UserError(f"tokenizer.order={list(order)}: give each of 0, 1, 2, 3 once, such as [0, 3, 1, 2]")
        if len(pitch_range) != 2 or not 0 <= pitch_range[0] < pitch_range[1] <= 128:
            raise UserError(
                f"tokenizer.pitch_range={list(pitch_range)}: give the lowest pitch and the one above the highest, "
                "such as [36, 82]"
            )
        self.order = tuple(int(voice) for voice in order)
        self.lowest, self.end = (int(pitch) for pitch in pitch_range)
        self.scheme = _KIND
        self.tokens = [f"{name}_None" for name in (*SPECIAL_TOKENS, "Silence")]
        self.tokens += [f"Pitch_{pitch}" for pitch in range(self.lowest, self.end)]
        self.types = [token.split("_")[0] for token in self.tokens]
        self.pad_id, self.bos_id, self.eos_id = _PAD, _BOS, _EOS
        self.base_vocab_size = self.vocab_size = len(self.tokens)
        self._bpe, self._wanted_size = None, None
        self.fingerprint = self.base_fingerprint = _hash(self.to_json())

    @property
    def special_tokens(self) -> list[str]:
        """Those of `tokens` that are no music."""
        return [f"{name}_None" for name in SPECIAL_TOKENS]

    @property
    def without_grammar(self) -> str | None:
        """It has one: tokens/grid_walk.py."""
        return None

    @property
    def is_fast(self) -> bool:
        """Milliseconds a piece."""
        return True

    @property
    def pitch_range(self) -> tuple[int, int]:
        """The lowest pitch, and the one above the highest."""
        return self.lowest, self.end

    @property
    def drums_pitch_range(self) -> tuple[int, int]:
        """Drums have no tokens."""
        return 0, 0

    def to_json(self, with_bpe: bool = True) -> str:
        """All that is needed to make this tokenizer again."""
        return json.dumps({"tokenization": _KIND, "order": self.order, "pitch_range": self.pitch_range})

    @classmethod
    def from_json(cls, text: str) -> "VoiceGrid":
        """The tokenizer that `to_json` described."""
        state = json.loads(text)
        return cls(state["order"], state["pitch_range"])

    def places(self) -> "GridPlaces":  # type: ignore[override]
        """The reader of what a grid shows of each cell to come."""
        return GridPlaces(self.end - self.lowest)

    def quantise(self, score: Score) -> Score:
        """The Score on the grid, each voice a track, equal neighbours joined."""
        return grid_score(self.cells(score).tolist())

    def cells(self, score: Score) -> np.ndarray:
        """(S, 4) MIDI pitches of the voices in the order of their tracks, -1 for silence.

        Notes outside the pitch range are left out. Raises UserError for more than four tracks with notes.
        """
        tracks = [track for track in score.tracks if not track.is_drum]
        if len(tracks) > VOICES:
            tracks = [track for track in tracks if len(track.notes)]
        if len(tracks) > VOICES:
            raise UserError(f"{len(tracks)} tracks hold notes, a voice grid takes up to {VOICES}")
        ticks = score.ticks_per_quarter / STEPS_PER_BEAT
        rows = []
        for track in tracks:
            notes = track.notes.numpy()
            inside = (notes["pitch"] >= self.lowest) & (notes["pitch"] < self.end)
            start = np.floor(notes["time"][inside] / ticks + 0.5).astype(np.int64)
            end = np.floor((notes["time"] + notes["duration"])[inside] / ticks + 0.5).astype(np.int64)
            rows.append((start, np.maximum(end, start + 1), notes["pitch"][inside]))
        steps = max((int(end.max(initial=0)) for _, end, _ in rows), default=0)
        cells = np.full((steps, VOICES), -1, dtype=np.int64)
        for voice, (start, end, pitch) in enumerate(rows):
            for note in np.lexsort((pitch, start)):
                cells[start[note] :, voice] = -1  # what still sounds ends here
                cells[start[note] : end[note], voice] = pitch[note]
        sounding = np.flatnonzero((cells >= 0).any(1))
        return cells[: sounding.max(initial=-1) + 1]

    def encode(self, score: Score) -> Encoding:
        """BOS, the cells step by step, EOS. An onset group is a beat, so that a cut keeps to the beats.

        Raises UserError when no note lies in the pitch range, and for more than four voices.
        """
        cells = self.cells(score)
        if not (cells >= 0).any():
            raise UserError(f"none of its {score.note_num()} notes lies in the pitches {self.lowest} to {self.end - 1}")
        classes = np.where(cells < 0, _SILENCE, cells - self.lowest + _FIRST_PITCH)[:, self.order]  # (S, 4)
        ids = np.concatenate([[_BOS], classes.ravel(), [_EOS]])
        begins = (cells >= 0) & (cells != np.concatenate([np.full((1, VOICES), -1), cells[:-1]]))
        notes_before = np.concatenate([[0], np.cumsum(begins.sum(1))])
        beats = np.arange(0, len(cells), STEPS_PER_BEAT)  # (G,) the first step of each group
        group_ticks = np.round(beats * score.ticks_per_quarter / STEPS_PER_BEAT).astype(np.int64)
        bars = bar_starts(score, int(group_ticks[-1]) + 1)
        return Encoding(
            ids=ids,
            group_token=1 + VOICES * beats,
            group_seconds=seconds_at(score, group_ticks),
            group_bar=np.searchsorted(bars, group_ticks, side="right") - 1,
            group_notes=notes_before[beats],
            group_opens_bar=np.isin(group_ticks, bars),
            notes=int(notes_before[-1]),
        )

    def silence(self, steps: int) -> list[int]:
        """The ids of so many silent steps."""
        return [_SILENCE] * (VOICES * steps)

    def decode(self, ids: Sequence[int] | np.ndarray) -> Score:
        """The Score of ids, special tokens skipped; voices that the last step does not name are silent in it."""
        classes = np.asarray(ids, dtype=np.int64)
        classes = classes[classes >= _SILENCE]
        classes = np.append(classes, np.full(-len(classes) % VOICES, _SILENCE)).reshape(-1, VOICES)  # (S, 4)
        cells = np.empty_like(classes)
        cells[:, self.order] = np.where(classes == _SILENCE, -1, classes - _FIRST_PITCH + self.lowest)
        return grid_score(cells.tolist())


def read_tokenizer(text: str) -> Tokenizer:
    """The tokenizer of either kind that its `to_json` described."""
    kind: type[Tokenizer] = VoiceGrid if json.loads(text)["tokenization"] == _KIND else Tokenizer
    return kind.from_json(text)


# --- what a grid shows of each cell to come ---

_HELD = 32  # a longer note counts as one of so many steps
_BAR_STEPS = (4, 16, 12)  # a beat, a bar of 4/4, a bar of 3/4
_BEATS = 33
# How many steps of the past are compared with what came before them, longest first.
_PASTS = (32, 24, 16, 12, 8, 4, 1)
_MOTION, _INTERVAL, _CHORD = 14, 30, 24  # the widest steps that are told apart


@dataclass(slots=True)
class GridPlace:
    """What a row has read: `GridPlaces` alone knows what the numbers mean.

    cells: all of them. held, before: of each step, how long each voice has held its pitch, and the one before. copies:
    of each step to come, what followed the longest equal past, and how long that was: of all voices together, of each
    alone. seen: where each past was met last.
    """

    cells: list[int] = field(default_factory=list)
    held: list[list[int]] = field(default_factory=list)
    before: list[list[int]] = field(default_factory=list)
    copies: list[list[int]] = field(default_factory=list)
    seen: dict[tuple[int, int, bytes], int] = field(default_factory=dict)
    histories: list[bytearray] = field(default_factory=lambda: [bytearray() for _ in range(VOICES + 1)])


class GridPlaces:
    """The PlaceReader of models/interface.py for a grid of `pitches` pitches; what it tells is of the cell to come.

    A row begins with a step's first voice, on a beat. Features, in this order:

    - `references` of them: the voice's last pitch, then those of the voices that have spoken in this step, 0 .. P - 1,
      P for silence, P + 1 for none; then the voice, 0 .. 3;
    - of the cell: what has spoken, as motions and as intervals from the voice's last pitch, all last pitches as such
      intervals, its held steps, its last motion, the place in a bar of four beats, and what followed the longest equal
      past: of all voices together, with whether this step has kept to it so far, and of this voice alone;
    - the last `frame_features`, the same for the four cells of a step: pitches, held steps, last motions, the six
      intervals between voices, the place in a beat, in bars of four and three beats and in the piece, and for each
      voice what followed the longest equal past, of all voices together and of it alone.

    All intervals but the pitches themselves stay under transposition.
    """

    frame = VOICES
    references = VOICES
    first_cell = _SILENCE
    first_pitch = _FIRST_PITCH

    def __init__(self, pitches: int):
        self.pitches = pitches
        motion, interval, chord = (2 * reach + 3 for reach in (_MOTION, _INTERVAL, _CHORD))
        copy = motion * (len(_PASTS) + 1)
        cell = [pitches + 2] * VOICES + [VOICES] + [motion, interval] * (VOICES - 1) + [interval] * VOICES
        cell += [_HELD + 1, motion, 16, 3 * copy, copy]
        step = [pitches + 2] * VOICES + [_HELD + 1] * VOICES + [motion] * VOICES
        step += [chord] * (VOICES * (VOICES - 1) // 2) + [*_BAR_STEPS, _BEATS] + [copy] * (2 * VOICES)
        self.sizes = (*cell, *step)
        self.frame_features = len(step)

    def start(self) -> GridPlace:
        """A row that has read nothing."""
        return GridPlace(copies=[[self.pitches + 1, 0] * (VOICES + VOICES)])

    def read(self, ids: Tensor, states: list[Any]) -> Tensor:
        """ids (B, T) -> (B, T, F)."""
        rows = [self._read_row(row, state) for row, state in zip(ids.numpy(), states, strict=True)]
        return torch.from_numpy(np.stack(rows))

    def _read_row(self, ids: np.ndarray, state: GridPlace) -> np.ndarray:
        """ids (T,) -> (T, F)."""
        is_cell = ids >= _SILENCE
        count = len(state.cells) + np.cumsum(is_cell)  # (T,) cells read, this one included
        new = ids[is_cell] - _FIRST_PITCH
        state.cells += np.where(new < 0, self.pitches, new).tolist()
        while len(state.held) < len(state.cells) // VOICES:
            self._close_step(state)
        return self._features(state, int(count[0]), int(count[-1]))[count - count[0]]

    def _close_step(self, state: GridPlace) -> None:
        """Bring what is kept of the steps up to the next one whose cells are all read."""
        step = len(state.held)
        now = state.cells[step * VOICES : (step + 1) * VOICES]
        if step:
            last = state.cells[(step - 1) * VOICES : step * VOICES]
            same = [a == b for a, b in zip(now, last, strict=True)]
            state.held.append([1 + held if s else 0 for s, held in zip(same, state.held[-1], strict=True)])
            state.before.append([b if s else a for s, b, a in zip(same, state.before[-1], last, strict=True)])
        else:
            state.held.append([0] * VOICES)
            state.before.append([self.pitches + 1] * VOICES)
        copies = []
        coming = step + 1
        for voices, history in enumerate(state.histories):  # 0 to 3: a voice alone, 4: all of them
            history.extend(now if voices == VOICES else [now[voices]])
            width = len(history) // coming
            found, length = -1, 0
            for rank, past in enumerate(_PASTS):
                if past <= coming:
                    key = (voices, coming % STEPS_PER_BEAT, bytes(history[-past * width :]))
                    earlier = state.seen.get(key, -1)
                    if found < 0 <= earlier:
                        found, length = earlier, len(_PASTS) - rank
                    state.seen[key] = coming
            followed = state.cells[found * VOICES : (found + 1) * VOICES] if found >= 0 else [self.pitches + 1] * VOICES
            for voice in range(VOICES) if voices == VOICES else [voices]:
                copies += [followed[voice], length]
        state.copies.append(copies[2 * VOICES :] + copies[: 2 * VOICES])  # of all, then of each

    def _features(self, state: GridPlace, first: int, last: int) -> np.ndarray:
        """What is told of the cells number `first` to `last`, (last - first + 1, F) int64."""
        number = np.arange(first, last + 1)
        begin = first // VOICES  # the first step told of
        step, voice = number // VOICES, number % VOICES  # (N,)
        steps = np.arange(begin, last // VOICES + 1)  # (S,)
        row = step - begin
        none, motion = self.pitches + 1, 2 * _MOTION + 3
        cells = np.array(state.cells[max(0, begin - 1) * VOICES :], dtype=np.int64)
        if begin == 0:
            cells = np.concatenate([np.full(VOICES, none), cells])
        cells = np.append(cells, np.full((len(steps) + 1) * VOICES - len(cells), none)).reshape(-1, VOICES)
        pitch, spoken = cells[:-1], cells[1:]  # (S, 4): the step before, and this one as far as it is read

        def kept(rows: list[list[int]], start: list[int]) -> np.ndarray:
            """Of the step before each."""
            return np.array(([start] if begin == 0 else []) + rows[max(0, begin - 1) : steps[-1]], dtype=np.int64)

        held = np.minimum(kept(state.held, [-1] * VOICES) + 1, _HELD)  # (S, 4)
        moved = self._distance(pitch, kept(state.before, [none] * VOICES), _MOTION)
        copies = np.array(state.copies[begin : steps[-1] + 1], dtype=np.int64).reshape(len(steps), 2, VOICES, 2)
        target, length = copies[..., 0], copies[..., 1]  # (S, 2, 4)
        copied = self._distance(target, pitch[:, None], _MOTION) + motion * length
        high, low = np.triu_indices(VOICES, 1)
        chord = self._distance(pitch[:, high], pitch[:, low], _CHORD)
        clock = [steps % size for size in _BAR_STEPS] + [np.minimum(steps // STEPS_PER_BEAT, _BEATS - 1)]
        of_step = np.concatenate([pitch, held, moved, chord, np.stack(clock, 1), copied.reshape(len(steps), -1)], 1)

        own = pitch[row, voice][:, None]  # (N, 1)
        others = np.arange(VOICES - 1)
        heard = np.where(others < voice[:, None], spoken[row, : VOICES - 1], none)  # (N, 3)
        motions = self._distance(heard, pitch[row, : VOICES - 1], _MOTION)
        intervals = self._distance(heard, own, _INTERVAL)
        around = self._distance(pitch[row], own, _INTERVAL)  # (N, 4)
        left = ((heard != target[row, 0, : VOICES - 1]) & (others < voice[:, None])).any(1)
        whole = copied[row, 0, voice] + motion * (len(_PASTS) + 1) * np.where(voice == 0, 2, left)
        of_cell = [own, heard, voice[:, None], np.stack([motions, intervals], 2).reshape(len(number), -1), around]
        of_cell += [held[row, voice][:, None], moved[row, voice][:, None], (step % 16)[:, None]]
        of_cell += [whole[:, None], copied[row, 1, voice][:, None]]
        return np.concatenate([*of_cell, of_step[row]], 1)

    def _distance(self, pitch: np.ndarray, other: np.ndarray, reach: int) -> np.ndarray:
        """From `other` up to `pitch`, cut to ±reach: 0 .. 2 reach; 2 reach + 1 with silence, 2 reach + 2 with none."""
        distance = np.clip(pitch - other, -reach, reach) + reach
        distance = np.where((pitch == self.pitches) | (other == self.pitches), 2 * reach + 1, distance)
        return np.where((pitch > self.pitches) | (other > self.pitches), 2 * reach + 2, distance)
