"""Where in the music each token stands: type, bar, position in the bar, and who is speaking.

Computed as MidiTok's decoder moves, token by token, so that a row's places are the same whether it is read whole in
training or one token at a time while composing; bars are bars of the Score that comes out. What a token says counts
once it is read: a Bar's place is in its bar, a Program's voice is its own.

Legend: B rows, T tokens, N base tokens of a row, F features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from miditok import MusicTokenizer, PerTok
from miditok.constants import TIME_SIGNATURE
from miditok.utils import compute_ticks_per_bar
from symusic import TimeSignature
from torch import Tensor

from midifactory.tokens.bpe import BytePairs

_BARS = 16
_MOST_POSITIONS = 1024


@dataclass(slots=True)
class Place:
    """Where the decoder stands in one row; `Places` alone knows what the numbers mean.

    awaited: what a note still lacks before it is one: 2 a velocity, 1 a duration. known: whether the row has shown
    where its bars begin. gap_bar: the bar before which a row that is to be filled has its Gap.
    """

    bar: int
    program: int = 0
    bar_tick: int = 0
    tick: int = 0
    metre: int = 0
    bar_at_metre: int = 0
    tick_at_metre: int = 0
    note_end: int = 0
    awaited: int = 0
    known: bool = False
    tracks: int = 0
    metre_of_first_track: int = 0
    gap_bar: int = 0
    features: int = 0


class Places:
    """The PlaceReader of models/interface.py, for one tokenizer. F = 4 features, of these values:

    - type: 0 PAD, then the types of the vocabulary; of byte pairs, that of their first token;
    - bar: modulo 16, from the row's begin (in MMM from the track's);
    - position in the bar: 0 as long as the row has not shown where its bars begin (by BOS, or a Bar token; without Bar
      tokens a TimeSig), then 1 + ticks of the decoder's grid, of the tokenizer's finest beat in PerTok;
    - voice: the last Program token's, 0 before any; drums are one of them.

    In a row that is rearranged for infilling (tokens/infill.py) time goes back after Fill: the bars that follow have
    the numbers of those that they fill.

    In the middle of a piece a row knows what stands in it and no more: its metre is 4/4 until it says otherwise, and
    a rest waits for its own notes alone. A pitch interval that leaves the pitch range is no note to the decoder, but is
    one here; only a rest right after it would notice.

    To read 3,000 tokens takes 2 ms of plain Python; the tables that a model has for them, forward and backward, 3 ms
    more at d_model 128: together 1 to 2 % of a training step of the default transformer (CPU time). On a GPU each call
    waits for the ids to be copied to the CPU.
    """

    def __init__(self, inner: MusicTokenizer, byte_pairs: BytePairs | None = None):
        """inner: MidiTok's tokenizer; byte_pairs: what its merges stand for, where it has any."""
        tokens = [inner[i] for i in range(len(inner.vocab))]
        words = [token.split("_", 1) for token in tokens]
        base = getattr(inner, "base_tokenizer", inner)  # MMM writes each track as another scheme does
        scheme, config = type(base).__name__, inner.config
        self._has_bars = scheme == "REMI"
        ticks_per_quarter = inner.tpq if isinstance(inner, PerTok) else inner.time_division
        self._ticks_per_position = max(1, ticks_per_quarter // config.max_num_pos_per_beat) if scheme == "PerTok" else 1
        self._byte_pairs, self._pad_id = byte_pairs, inner["PAD_None"]
        lowest, highest = config.pitch_range

        names = ["PAD", *(name for name in dict.fromkeys(name for name, _ in words) if name != "PAD")]
        types = np.array([names.index(name) for name, _ in words], dtype=np.int64)
        self._types = types[byte_pairs.base_ids[byte_pairs.starts]] if byte_pairs else types  # (V,)
        voices = {program: 1 + index for index, program in enumerate(sorted(config.programs))}
        metres = {TIME_SIGNATURE: 0}
        for name, value in words:
            if name == "TimeSig":
                metres.setdefault(inner._parse_token_time_signature(value), len(metres))

        self._values = [0] * len(words)  # a program's voice, a metre's number
        for index, (name, value) in enumerate(words):
            if name == "Program":
                self._values[index] = voices[int(value)]
            elif name == "TimeSig":
                self._values[index] = metres[inner._parse_token_time_signature(value)]
        # Decoding leaves these three out; but BOS says that a bar begins there.
        actions = {"PAD": None, "EOS": None, "BOS": Places._begin, "Program": Places._program, **_ACTIONS[scheme]}
        actions |= {"Gap": Places._gap, "Fill": Places._fill}
        self._actions = [actions.get(name, Places._other) for name, _ in words]
        for index, (name, value) in enumerate(words):
            if (name, value) == ("Track", "Start"):
                self._actions[index] = Places._track
            elif name == "Bar" and value != "None":
                self._actions[index] = Places._other  # the decoder passes over bar ends and numbered bars,
            elif name in {"Pitch", "PitchDrum"} and not lowest <= int(value) <= highest:
                self._actions[index] = Places._other  # and over such pitches
        self.metre_names = [f"{numerator}/{denominator}" for numerator, denominator in metres]
        self.bar_ticks = [compute_ticks_per_bar(TimeSignature(0, *metre), ticks_per_quarter) for metre in metres]
        self.ticks_per_quarter = ticks_per_quarter
        self._ticks = [[_ticks(inner, metre[1], *word) for word in words] for metre in metres]
        self._has_velocities = config.use_velocities
        self._last_position = min(max(self.bar_ticks) // self._ticks_per_position, _MOST_POSITIONS) - 1
        self.sizes = (len(names), _BARS, self._last_position + 2, 1 + len(voices))

    def start(self) -> Place:
        """A row that has read nothing."""
        return Place(bar=-1 if self._has_bars else 0)

    def advance(self, token: int, state: Place) -> None:
        """Move a row's state over one base token."""
        action = self._actions[token]
        if action is not None:
            action(self, state, token)

    def ticks_of(self, token: int, metre: int) -> int:
        """How far a base token moves time or lets a note last in the metre of that number; a Position's distance."""
        return self._ticks[metre][token]

    def metre_of(self, token: int) -> int:
        """The number of the metre that a TimeSig token names; `bar_ticks` has the length of its bars."""
        return self._values[token]

    def read(self, ids: Tensor, states: list[Place]) -> Tensor:
        """ids (B, T) on the CPU, after what `states` have read -> (B, T, F) int64; the states are moved on.

        PAD leaves a state as it is and has the features 0.
        """
        places: list[int] = []
        rows = ids.numpy()
        for row, state in zip(rows, states, strict=True):
            if self._byte_pairs is None:
                places += self._read(row.tolist(), state)
            else:
                ends = np.cumsum(self._byte_pairs.lengths[row]) - 1
                base = self._read(self._byte_pairs.expand(row).tolist(), state)
                places += np.array(base, dtype=np.int64)[ends].tolist()
        numbers = np.array(places, dtype=np.int64).reshape(rows.shape)  # (B, T)
        voices, positions, bars = np.unravel_index(numbers, (self.sizes[3], self.sizes[2], _BARS))
        return torch.from_numpy(np.stack((self._types[rows], bars, positions, voices), -1))  # (B, T, F)

    def _read(self, ids: Sequence[int], state: Place) -> list[int]:
        """One number for each of the base ids (N,): voice, position and bar in one, as np.unravel_index takes apart."""
        places = []
        for token in ids:
            action = self._actions[token]
            if action is not None:
                action(self, state, token)
            places.append(state.features if token != self._pad_id else 0)
        return places

    def _stand(self, state: Place) -> None:
        """A token that is no part of a note was read: note the place."""
        state.awaited, position = 0, 0
        if state.known:
            ticks = max(0, state.tick - state.bar_tick)
            position = 1 + min(ticks // self._ticks_per_position, self._last_position)
        state.features = (state.program * self.sizes[2] + position) * _BARS + max(0, state.bar) % _BARS

    # What single tokens do; MidiTok's decoders of each scheme, `_tokens_to_score`, are the law.

    def _other(self, state: Place, token: int) -> None:
        state.awaited = 0

    def _begin(self, state: Place, token: int) -> None:
        state.known = True
        self._stand(state)

    def _gap(self, state: Place, token: int) -> None:
        state.gap_bar = state.bar + 1
        self._stand(state)

    def _fill(self, state: Place, token: int) -> None:
        state.bar, state.program = state.gap_bar - 1, 0
        self._stand(state)

    def _program(self, state: Place, token: int) -> None:
        state.program = self._values[token]
        self._stand(state)

    def _bar(self, state: Place, token: int) -> None:
        state.bar += 1
        if state.bar > 0:
            state.tick = state.bar_tick + self.bar_ticks[state.metre]
        state.bar_tick, state.known = state.tick, True
        self._stand(state)

    def _position(self, state: Place, token: int) -> None:
        state.bar, state.tick = max(state.bar, 0), state.bar_tick + self._ticks[state.metre][token]
        self._stand(state)

    def _shift_in_bar(self, state: Place, token: int) -> None:
        state.tick += self._ticks[state.metre][token]
        self._stand(state)

    def _shift(self, state: Place, token: int) -> None:
        state.tick += self._ticks[state.metre][token]
        length = self.bar_ticks[state.metre]
        bar = state.bar_at_metre + (state.tick - state.tick_at_metre) // length
        if bar > state.bar:
            state.bar_tick += (bar - max(state.bar, 0)) * length
            state.bar = bar
        self._stand(state)

    def _rest(self, state: Place, token: int) -> None:
        state.tick = max(state.tick, state.note_end)
        self._shift(state, token)

    def _metre_of_bar(self, state: Place, token: int) -> None:
        if self._values[token] != state.metre:
            state.metre, state.bar_at_metre, state.tick_at_metre = self._values[token], state.bar, state.bar_tick
            if state.tracks <= 1:
                state.metre_of_first_track = state.metre
        self._stand(state)

    def _metre(self, state: Place, token: int) -> None:
        state.bar += state.tick > state.bar_tick  # without Bar tokens, a bar begins here
        state.bar_tick, state.known = state.tick, True
        state.metre, state.bar_at_metre, state.tick_at_metre = self._values[token], state.bar, state.tick
        self._stand(state)

    def _track(self, state: Place, token: int) -> None:
        # As MidiTok's REMI does: later tracks begin in the metre in which the first one ended. What stands before the
        # first Track_Start is no track to it.
        metre = state.metre_of_first_track if self._has_bars and state.tracks else 0
        fresh = Place(self.start().bar, metre=metre, known=True, tracks=state.tracks + 1, metre_of_first_track=metre)
        for name in Place.__slots__:
            setattr(state, name, getattr(fresh, name))
        self._stand(state)

    def _mark(self, state: Place, token: int) -> None:
        state.note_end = max(state.note_end, state.tick)
        state.awaited = 0

    def _pitch(self, state: Place, token: int) -> None:
        state.awaited = 2 if self._has_velocities else 1

    def _velocity(self, state: Place, token: int) -> None:
        state.awaited = 1 if state.awaited == 2 else 0

    def _duration(self, state: Place, token: int) -> None:
        if state.awaited == 1:
            state.note_end = max(state.note_end, state.tick + self._ticks[state.metre][token])
        state.awaited = 0


_Action = Callable[[Places, Place, int], None]
_NOTES: dict[str, _Action] = {
    **dict.fromkeys(("Pitch", "PitchDrum", "PitchIntervalTime", "PitchIntervalChord"), Places._pitch),
    **{"Velocity": Places._velocity, "Duration": Places._duration},
}
# Notes matter where a Rest waits for their end; MidiTok has no rests where a program has no Duration tokens.
_ACTIONS: dict[str, dict[str, _Action]] = {
    "REMI": {
        **_NOTES,
        **{"Bar": Places._bar, "Position": Places._position, "Rest": Places._rest, "TimeSig": Places._metre_of_bar},
        **{"Tempo": Places._mark, "KeySig": Places._mark},
    },
    "TSD": {**_NOTES, "TimeShift": Places._shift, "Rest": Places._rest, "TimeSig": Places._metre},
    "MIDILike": {"TimeShift": Places._shift, "Rest": Places._shift, "TimeSig": Places._metre},
    "Structured": {"TimeShift": Places._shift},
    "PerTok": {"Bar": Places._bar, "Position": Places._position, "TimeShift": Places._shift_in_bar},
}


def _ticks(inner: Any, denominator: int, type_: str, value: str) -> int:
    """How far a token moves the decoder or lets a note last, in a metre of that denominator; a Position's distance."""
    if isinstance(inner, PerTok):
        if type_ in {"TimeShift", "Duration"}:
            return inner._convert_durations_to_ticks(value)
        return int(value) if type_ == "Position" else 0
    per_beat = inner._tpb_per_ts[denominator]
    if type_ == "Position":
        return int(value) * (per_beat // inner.config.max_num_pos_per_beat)
    if type_ == "Rest":
        return int(inner._tpb_rests_to_ticks[per_beat][value])
    if type_ in {"Duration", "TimeShift"}:
        return int(inner._tpb_tokens_to_ticks[per_beat].get(value, 0))  # Structured's shift of 0 is in no table
    return 0
