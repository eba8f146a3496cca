"""Augmentation of token ids while training: transposed, louder or softer, faster or slower, by lookup tables.

The tables are over the base vocabulary, so a learned one (BPE) is applied after them. Only the training split may be
augmented: a validation loss is that of the music as it is.

Legend: T tokens in a segment, V the base vocabulary, S the shifts that a setting allows.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from midifactory.errors import UserError

MAX_SEMITONES = 12
_PITCHED = re.compile(r"(Pitch|NoteOn|NoteOff)_(\d+)")  # not PitchDrum, DrumOn, DrumOff, nor the relative PitchInterval
_ROOTED_CHORD = re.compile(r"Chord_([A-G]#?):(.+)")
_KEY = re.compile(r"KeySig_(-?\d+):(\d)")
_PITCH_CLASSES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]
_SHARPS_PER_SEMITONE = 7  # a semitone up is seven fifths up, less octaves


class BaseVocabulary(Protocol):
    """What is asked of a tokenizer: its base tokens by id, as MidiTok writes them."""

    @property
    def tokens(self) -> Sequence[str]:
        """The base tokens; a token's place is its id."""


@dataclass(frozen=True)
class Augmentation:
    """How far a training segment may be moved; 0 leaves that side of it as it is. Raises UserError outside the limits.

    semitones: transposed by a uniform whole number in [-semitones, semitones], at most 12. velocity_steps: shifted by
    up to so many of the tokenizer's velocity bins. tempo_share: the tempo is scaled by exp(u), u uniform in
    ±log(1 + share), and moved to the nearest tempo bin.
    """

    semitones: int = 0
    velocity_steps: int = 0
    tempo_share: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("semitones", MAX_SEMITONES), ("velocity_steps", 127)):
            value = getattr(self, name)
            if not isinstance(value, int) or not 0 <= value <= most:
                raise UserError(f"data.augment.{name}={value}: give a whole number from 0 (off) to {most}")
        if not isinstance(self.tempo_share, (int, float)) or not 0 <= self.tempo_share < math.inf:
            raise UserError(f"data.augment.tempo_share={self.tempo_share}: give 0 (off) or more, such as 0.1 for 10 %")


@dataclass(frozen=True)
class Moved:
    """A segment of base ids as augmentation left it, (T,) int64, and how far: log_tempo is the log of the factor."""

    ids: np.ndarray
    semitones: int
    log_tempo: float


class Augmenter:
    """The tables of one tokenizer and one Augmentation.

    What has no token is left alone: `velocity_steps` does nothing to a stream without velocities. Raises UserError
    for semitones where drums have the same tokens as pitches, since transposition would change the instrument struck.
    """

    def __init__(self, tokenizer: BaseVocabulary, settings: Augmentation):
        tokens, self.settings = tokenizer.tokens, settings
        numbers = {token: number for number, token in enumerate(tokens)}
        semitones, steps = settings.semitones, settings.velocity_steps
        if semitones and not any(token.startswith(("PitchDrum_", "DrumOn_")) for token in tokens):
            programs = {token for token in tokens if token.startswith("Program_")}
            voices_only = "Silence_None" in tokens  # tokens/grid.py, which leaves drums out
            if not voices_only and (not programs or "Program_-1" in programs):
                raise UserError(
                    f"data.augment.semitones={semitones}: this tokenizer writes drums as pitches, which must not move; "
                    "set tokenizer.use_pitchdrum_tokens=true, or data.augment.semitones=0"
                )
        # (S, V) each: row i is the shift of i - semitones (or steps). A pitch out of range is never asked for.
        self._transposed = np.array(
            [
                [numbers.get(_transpose(token, shift), number) for number, token in enumerate(tokens)]
                for shift in range(-semitones, semitones + 1)
            ]
        )
        pitches = np.array([int(match[2]) if (match := _PITCHED.fullmatch(token)) else -1 for token in tokens])
        pitched = pitches >= 0
        self._lowest = int(pitches[pitched].min(initial=127))
        self._highest = int(pitches.max(initial=0))
        # (V,) each: by how many semitones a token can move down and up.
        self._room_down = np.where(pitched, np.minimum(pitches - self._lowest, semitones), semitones)
        self._room_up = np.where(pitched, np.minimum(self._highest - pitches, semitones), semitones)
        self._tokens = tokens if any(token.startswith("PitchInterval") for token in tokens) else None

        velocities, _ = _bins(tokens, "Velocity")
        self._louder = np.tile(np.arange(len(tokens)), (2 * steps + 1, 1))
        for row, shift in enumerate(range(-steps, steps + 1)):
            moved = np.clip(np.arange(len(velocities)) + shift, 0, len(velocities) - 1)
            self._louder[row, velocities] = velocities[moved]
        self._tempos, tempos_bpm = _bins(tokens, "Tempo")
        self._log_tempos = np.log(tempos_bpm)
        self._tempo_edges = (self._log_tempos[1:] + self._log_tempos[:-1]) / 2

    def apply(self, ids: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """What `move` makes of a segment: (T,) int64, a copy."""
        return self.move(ids, generator).ids

    def move(self, ids: np.ndarray, generator: np.random.Generator) -> Moved:
        """A segment of base ids, (T,), moved by one draw per setting.

        A shift is drawn uniformly among those with which all pitches of this segment stay in the tokenizer's range.
        Drums never move; the roots of chords and the key signatures move with the pitches.
        """
        settings = self.settings
        result = np.array(ids, dtype=np.int64)
        shift, log_tempo = 0, 0.0
        if settings.semitones:
            down = int(self._room_down[result].min(initial=settings.semitones))
            up = int(self._room_up[result].min(initial=settings.semitones))
            if self._tokens is not None:
                down, up = self._room_of_intervals(result.tolist(), down, up)
            shift = int(generator.integers(-down, up + 1))
            result = self._transposed[settings.semitones + shift][result]
        if settings.velocity_steps:
            result = self._louder[generator.integers(len(self._louder))][result]
        if settings.tempo_share:
            reach = math.log1p(settings.tempo_share)
            log_tempo = float(generator.uniform(-reach, reach))
            table = np.arange(self._transposed.shape[1])
            table[self._tempos] = self._tempos[self._scaled(self._log_tempos, log_tempo)]
            result = table[result]
        return Moved(result, shift, log_tempo)

    def tempo_bpm(self, bpm: float, log_tempo: float) -> float:
        """The tempo that a token of `bpm` became; `bpm` itself where there are no such tokens."""
        if not len(self._tempos):
            return bpm
        return float(np.exp(self._log_tempos[self._scaled(np.log(bpm), log_tempo)]))

    def _scaled(self, log_bpm: np.ndarray | float, log_tempo: float) -> np.ndarray:
        """The places, among the tempo bins, of tempos that are scaled."""
        return np.searchsorted(self._tempo_edges, log_bpm + log_tempo)

    def _room_of_intervals(self, ids: list[int], down: int, up: int) -> tuple[int, int]:
        """`down` and `up`, less where a pitch that is only written as an interval would leave the range.

        Follows MidiTok's decoder: a PitchIntervalTime starts from the program's last onset, a PitchIntervalChord from
        its last note. An interval from a pitch before the segment is unknown and bounds nothing.
        """
        assert self._tokens is not None
        program, last_onset, last_note = "", dict[str, int](), dict[str, int]()
        for number in ids:
            type_, _, value = self._tokens[number].partition("_")
            if type_ == "Program":
                program = value
            elif type_ in {"Pitch", "NoteOn"}:
                last_onset[program] = last_note[program] = int(value)
            elif type_ in {"PitchIntervalTime", "PitchIntervalChord"}:
                before = (last_onset if type_ == "PitchIntervalTime" else last_note).get(program)
                if before is None:
                    continue
                pitch = last_note[program] = before + int(value)
                if type_ == "PitchIntervalTime":
                    last_onset[program] = pitch
                # A pitch of the source may itself lie outside the range where a cut hid its true predecessor.
                down, up = min(down, max(0, pitch - self._lowest)), min(up, max(0, self._highest - pitch))
        return down, up


def _transpose(token: str, semitones: int) -> str:
    """The token of the same music `semitones` higher; a token without a place in the scale as it is."""
    if match := _PITCHED.fullmatch(token):
        return f"{match[1]}_{int(match[2]) + semitones}"
    if match := _ROOTED_CHORD.fullmatch(token):
        return f"Chord_{_PITCH_CLASSES[(_PITCH_CLASSES.index(match[1]) + semitones) % 12]}:{match[2]}"
    if semitones and (match := _KEY.fullmatch(token)):
        sharps = (int(match[1]) + _SHARPS_PER_SEMITONE * semitones + 5) % 12 - 5  # of enharmonic keys the simpler one
        return f"KeySig_{sharps}:{match[2]}"
    return token


def _bins(tokens: Sequence[str], type_: str) -> tuple[np.ndarray, np.ndarray]:
    """The ids of a type's tokens in ascending order of their values, and the values, (B,) int64 and float64."""
    pairs = sorted(
        (float(token.partition("_")[2]), i) for i, token in enumerate(tokens) if token.startswith(f"{type_}_")
    )
    return np.array([i for _, i in pairs], dtype=np.int64), np.array([value for value, _ in pairs], dtype=np.float64)
