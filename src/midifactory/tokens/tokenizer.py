"""MidiTok behind one door: a Score becomes ids whose place in time is known, ids become a Score.

Ids on disk and in an `Encoding` are base ids, one per MidiTok token. A model reads model ids: the same, or with
byte-pair encoding (tokens/bpe.py) fewer and larger ones.

Legend: N tokens in a piece, G onset groups in it, B the base vocabulary, V the model's vocabulary.
"""

import hashlib
import inspect
import json
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import miditok
import numpy as np
from miditok import MusicTokenizer, TokenizerConfig, TokSequence
from symusic import Note, Score, Tempo, Track

from midifactory.errors import UserError
from midifactory.music.score import DEFAULT_TEMPO_BPM, bar_starts, seconds_at
from midifactory.tokens import bpe
from midifactory.tokens.fast_remi import FastRemi
from midifactory.tokens.places import Places

CONFIG_FIELDS = tuple(name for name in inspect.signature(TokenizerConfig).parameters if name != "kwargs")
SCHEMES = ("REMI", "TSD", "MIDILike", "Structured", "PerTok", "MMM")
SPECIAL_TOKENS = ("PAD", "BOS", "EOS")
# Those of a model that learns to infill (tokens/infill.py), and of no other.
INFILL_TOKENS = ("Infill", "Gap", "GapEnd", "Fill", "FillEnd")
NOTE_TYPES = frozenset({"Pitch", "PitchDrum"})
ONSET_TYPES = NOTE_TYPES | {"NoteOn", "DrumOn", "PitchIntervalTime", "PitchIntervalChord"}
# What tokens/grammar.py has rules for: not pedals, pitch bends, keys, or pitches told as intervals.
_LAWFUL_TYPES = ONSET_TYPES - {"PitchIntervalTime", "PitchIntervalChord"} | {
    *(*SPECIAL_TOKENS, *INFILL_TOKENS, "Track", "Bar", "Position", "TimeShift", "Rest", "TimeSig", "Tempo"),
    *("Program", "Chord", "NoteOff", "DrumOff", "Velocity", "Duration", "MicroTiming"),
}
_TIME_TYPES = frozenset({"Bar", "Position", "Rest", "TimeShift"})
# A time token right after one of these belongs to the group that one opened.
_OPENING_TYPES = frozenset({"BOS", "Bar", "TimeSig", "Position", "Rest", "TimeShift"})
# What MidiTok takes without a word and then does wrong; what it switches off by itself is found by comparing.
_REFUSED = {
    "PerTok": {
        "use_rests": "it never writes a Rest, pauses are Bar and TimeShift tokens",
        "use_tempos": "it writes no time before a Tempo, so a change would move to the note before it",
        "use_time_signatures": "it takes a bar of 6/8 for twelve quarters, so its Bar tokens would be wrong",
    }
}
# What a type of tokens tells: models of tokenizers that keep different fields are not to be ranked.
_FIELDS = {
    "duration": {"Duration", "NoteOff", "DrumOff"},
    "velocity": {"Velocity"},
    "tempo": {"Tempo"},
    "metre": {"TimeSig"},
    "programs": {"Program"},
    "drums": {"PitchDrum", "DrumOn"},
    "pedal": {"Pedal"},
    "pitch_bend": {"PitchBend"},
    "microtiming": {"MicroTiming"},
}
_BPE_KEYS = ("_vocab_base", "_model", "_vocab_base_byte_to_token")
_SIZE_KEY = "bpe_vocab_size"


@dataclass(frozen=True)
class Encoding:
    """One piece as ids, and its onset groups: where a cut between notes may fall.

    ids: (N,) int64, BOS first and EOS last. The other arrays have shape (G,): `group_token` is the index in
    `ids` of a group's first token, `group_seconds` and `group_bar` its onset on the Score, `group_notes` the
    notes before it, `group_opens_bar` whether its first token is a Bar. The first group starts at the first
    token after BOS. Seconds and bars never fall, except in MMM, where they begin anew with every track (see
    `Tokenizer.monotonic`). In MIDILike a note may sound over a group's border: its NoteOff then stands in a later
    group, at a time no later than the last onset's where nothing begins any more.
    """

    ids: np.ndarray
    group_token: np.ndarray
    group_seconds: np.ndarray
    group_bar: np.ndarray
    group_notes: np.ndarray
    group_opens_bar: np.ndarray
    notes: int


class Tokenizer:
    """A MidiTok tokenizer, its settings, and a fingerprint of both.

    Every field of `miditok.TokenizerConfig` is a keyword; None keeps MidiTok's own default. Ranges that are
    keys in MidiTok are written "0-4". vocab_size: the size of a vocabulary with byte pairs, to be learnt by
    `learn_bpe`; None for none. Raises UserError for an unknown scheme or field, for settings that MidiTok refuses or
    would silently change, and for a vocab_size that leaves no room for byte pairs.
    """

    def __init__(
        self,
        scheme: str = "REMI",
        vocab_size: int | None = None,
        additional_params: Mapping[str, Any] | None = None,
        **fields: Any,
    ):
        if scheme not in SCHEMES:
            raise UserError(f"tokenizer.scheme={scheme}: unknown; choose one of {', '.join(SCHEMES)}")
        unknown = sorted(set(fields) - set(CONFIG_FIELDS))
        if unknown:
            raise UserError(
                f"tokenizer has no field {unknown[0]!r}; MidiTok's TokenizerConfig takes: {', '.join(CONFIG_FIELDS)}"
            )
        given: dict[str, Any] = {}
        for name, value in fields.items():
            try:
                if value is not None:
                    given[name] = _miditok_value(name, value)
            except (ValueError, TypeError, AttributeError) as error:
                raise UserError(f"tokenizer.{name}={value}: {error}; see conf/tokenizer/remi_plus.yaml") from error
        given["special_tokens"] = list(SPECIAL_TOKENS)
        given["encode_ids_split"] = "no"  # byte pairs keep within onset groups anyway, see tokens/bpe.py
        if not given.get("use_programs", False) or (
            scheme != "MMM" and not given.get("one_token_stream_for_programs", True)
        ):
            raise UserError(
                "tokenizer: use_programs and one_token_stream_for_programs must both be true, since one model "
                "reads one stream; leave them as conf/tokenizer/remi_plus.yaml has them"
            )
        for name, reason in _REFUSED.get(scheme, {}).items():
            if given.get(name):
                raise UserError(f"tokenizer.{name}=true: not with {scheme}: {reason}; set tokenizer.{name}=false")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what MidiTok warns of is an error below
                config = TokenizerConfig(**given, **dict(additional_params or {}))
                inner = getattr(miditok, scheme)(config)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise UserError(f"tokenizer: MidiTok refuses these settings: {error}") from error
        for name, value in given.items():
            computed = not (name.startswith("ac_") and value is True)  # Tokenizer.encode computes no such controls
            if isinstance(value, bool) and (getattr(inner.config, name) != value or not computed):
                raise UserError(
                    f"tokenizer.{name}={str(value).lower()}: {scheme} has {'no such tokens' if value else 'it on'} "
                    f"here, whatever is asked; set tokenizer.{name}={str(not value).lower()}"
                )
        self._adopt(inner, vocab_size)

    def _adopt(self, inner: MusicTokenizer, wanted_size: int | None) -> None:
        self.miditok = inner
        self.scheme = type(inner).__name__
        self.base_vocab_size = len(inner.vocab)
        if wanted_size is not None and (type(wanted_size) is not int or wanted_size <= self.base_vocab_size):
            raise UserError(
                f"tokenizer.vocab_size={wanted_size}: the tokens without byte pairs are {self.base_vocab_size} "
                "already; set a whole number above that, such as 2000, or null for no byte pairs"
            )
        self._wanted_size = wanted_size
        self._bpe = bpe.BytePairs(inner) if inner.is_trained else None
        self.vocab_size = self._bpe.size if self._bpe else self.base_vocab_size
        self.pad_id, self.bos_id, self.eos_id = (inner[f"{name}_None"] for name in SPECIAL_TOKENS)
        self.tokens: list[str] = [inner[i] for i in range(self.base_vocab_size)]
        self.types: list[str] = [token.split("_")[0] for token in self.tokens]
        # In Structured every note has a TimeShift, 0 within a chord.
        self._starts_group = np.array(
            [
                (type_ in _TIME_TYPES and token != "TimeShift_0.0.1") or token == "Track_Start"
                for token, type_ in zip(self.tokens, self.types, strict=True)
            ]
        )
        opening = _OPENING_TYPES | ({"Program"} if self.scheme == "MMM" else set())
        self._opens = np.array(
            [type_ in opening or token == "Track_Start" for token, type_ in zip(self.tokens, self.types, strict=True)]
        )
        self._is_onset = np.isin(self.types, list(ONSET_TYPES))
        self._is_bar = np.array(self.types) == "Bar"
        self._ends_track = np.array(self.tokens) == "Track_End"
        self._fast = FastRemi(inner) if FastRemi.unsupported(inner) is None else None
        self.fingerprint = _hash(self.to_json())
        self.base_fingerprint = _hash(self.to_json(with_bpe=False))

    @property
    def monotonic(self) -> bool:
        """Whether seconds and bars of successive groups never fall, so that a piece can be cut by them."""
        return self.scheme != "MMM"

    @property
    def special_tokens(self) -> list[str]:
        """Those of `tokens` that are no music."""
        return list(self.miditok.special_tokens)

    @property
    def special_ids(self) -> list[int]:
        """The ids of PAD, BOS, EOS and the tokens of infilling; those of MMM's tracks are part of its music."""
        infill = [f"{name}_None" for name in INFILL_TOKENS] if self.infills else []
        return [self.pad_id, self.bos_id, self.eos_id, *(self.tokens.index(token) for token in infill)]

    @property
    def infills(self) -> bool:
        """Whether the vocabulary has the special tokens of tokens/infill.py."""
        return f"{INFILL_TOKENS[0]}_None" in self.tokens

    def with_infill(self) -> "Tokenizer":
        """This tokenizer with the special tokens of tokens/infill.py, before any byte pairs are learnt."""
        state = json.loads(self.to_json(with_bpe=False))
        state["config"]["special_tokens"] = [*self.miditok.special_tokens, *(f"{name}_None" for name in INFILL_TOKENS)]
        if self._wanted_size is not None:
            state[_SIZE_KEY] = self._wanted_size
        return Tokenizer.from_json(json.dumps(state))

    @property
    def without_grammar(self) -> str | None:
        """Why tokens/grammar.py cannot say what may follow what; None where it can, as for all of conf/tokenizer."""
        unknown = sorted(set(self.types) - _LAWFUL_TYPES)
        if unknown:
            return f"its tokens of type {unknown[0]} have no grammar"
        if {*self.miditok.config.programs} - {*self.miditok.config.use_note_duration_programs}:
            return "notes of some of its programs have no length"
        if self.scheme != "MMM" and self.miditok.config.program_changes:
            return "program_changes leaves out the program of most notes"
        if any(type_ == "Bar" and token != "Bar_None" for type_, token in zip(self.types, self.tokens, strict=True)):
            return "its Bar tokens have numbers or ends"
        if self.scheme == "MMM" and type(self.miditok.base_tokenizer).__name__ != "REMI":
            return "MMM has a grammar over REMI alone"
        return None

    @property
    def has_grammar(self) -> bool:
        """Whether tokens/grammar.py knows what may follow what."""
        return self.without_grammar is None

    @property
    def is_fast(self) -> bool:
        """Whether tokens/fast_remi.py encodes, in milliseconds a piece, rather than MidiTok."""
        return self._fast is not None

    @property
    def pitch_range(self) -> tuple[int, int]:
        """The lowest pitch that has tokens, and the one above the highest."""
        return self.miditok.config.pitch_range

    @property
    def drums_pitch_range(self) -> tuple[int, int]:
        """The same of drums."""
        return self.miditok.config.drums_pitch_range

    @property
    def wants_bpe(self) -> bool:
        """Byte pairs are asked for and not yet learnt: call `learn_bpe` before a model is made."""
        return self._wanted_size is not None and self._bpe is None

    def to_json(self, with_bpe: bool = True) -> str:
        """All that is needed to make this tokenizer again, as JSON; `with_bpe=False` leaves byte pairs out."""
        state = self.miditok.to_dict()
        # Versions are recorded beside a run; they would make equal tokenizers look different here.
        for key in ("miditok_version", "symusic_version", "hf_tokenizers_version"):
            state.pop(key, None)
        if not with_bpe:
            for key in _BPE_KEYS:
                state.pop(key, None)
        elif self._wanted_size is not None:
            state[_SIZE_KEY] = self._wanted_size
        # Unsorted on purpose: MidiTok numbers its vocabulary in the order of these keys.
        return json.dumps(state)

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """The tokenizer that `to_json` described."""
        state = json.loads(text)
        wanted_size = state.pop(_SIZE_KEY, None)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tokenizer.json"
            path.write_text(json.dumps(state), encoding="utf-8")
            self = cls.__new__(cls)
            self._adopt(getattr(miditok, state["tokenization"])(params=path), wanted_size)
        return self

    def learn_bpe(self, ids: Iterable[np.ndarray]) -> "Tokenizer":
        """A new Tokenizer with byte pairs up to `vocab_size`, learnt from the base ids (N,) of the training pieces.

        Fewer where the pieces hold no further pairs. Equal ids give equal merges. Raises UserError where this
        tokenizer asks for no vocab_size.
        """
        if self._wanted_size is None:
            raise UserError("tokenizer.vocab_size=null: nothing to learn; set tokenizer.vocab_size=2000")
        learnt = Tokenizer.from_json(self.to_json(with_bpe=False))
        bpe.train(learnt.miditok, ids, self._starts_group, self._opens, self._wanted_size)
        learnt._adopt(learnt.miditok, self._wanted_size)
        return learnt

    def to_model_ids(self, base_ids: np.ndarray | Sequence[int]) -> np.ndarray:
        """Base ids (N,) as the model reads them: unchanged without byte pairs. Special tokens stay."""
        ids = np.asarray(base_ids, dtype=np.int64)
        return self._bpe.merge(ids) if self._bpe else ids

    def to_base_ids(self, model_ids: np.ndarray | Sequence[int]) -> np.ndarray:
        """Model ids as base ids (N,): the exact inverse of `to_model_ids`, for any ids that a model may emit."""
        ids = np.asarray(model_ids, dtype=np.int64)
        return self._bpe.expand(ids) if self._bpe else ids

    def places(self) -> Places:
        """A reader of the place of each model id in the music, for models that embed it."""
        return Places(self.miditok, self._bpe)

    def starting_with(self, type_: str) -> np.ndarray:
        """Model ids whose first token is of `type_`."""
        first = self._bpe.base_ids[self._bpe.starts] if self._bpe else np.arange(self.base_vocab_size)
        return np.flatnonzero(np.array(self.types)[first] == type_)

    def summed_parts(self, base_values: np.ndarray) -> np.ndarray:
        """(V,) from (B,): for every model id the sum over its tokens."""
        return base_values if self._bpe is None else np.add.reduceat(base_values[self._bpe.base_ids], self._bpe.starts)

    @property
    def model_types(self) -> list[str]:
        """The type of every model id, (V,); "merged" for those of several tokens."""
        parts = self.summed_parts(np.ones(self.base_vocab_size, dtype=np.int64))
        first = range(self.base_vocab_size) if self._bpe is None else self._bpe.base_ids[self._bpe.starts]
        return [self.types[base] if part == 1 else "merged" for base, part in zip(first, parts, strict=True)]

    @property
    def keeps(self) -> list[str]:
        """What of the music its vocabulary can tell beside pitches and onsets: velocity, tempo, metre, ..."""
        return [field for field, types in _FIELDS.items() if not types.isdisjoint(self.types)]

    def worst_part(self, base_values: np.ndarray) -> np.ndarray:
        """(V,) from (B,): for every model id the least value among its tokens."""
        if self._bpe is None:
            return base_values
        return np.minimum.reduceat(base_values[self._bpe.base_ids], self._bpe.starts)

    def quantise(self, score: Score) -> Score:
        """The Score as its tokens can say it: MidiTok's grid, velocity and tempo bins, without what it drops.

        PerTok alone leaves onsets and durations off its grid here and rounds them while encoding. In MIDILike, where
        notes of one pitch overlap, each NoteOff ends the oldest.
        """
        score = score.copy()
        if not any(tempo.time == 0 for tempo in score.tempos):
            # MidiTok would write its own default into the tokens; the MIDI standard's is what the file means.
            score.tempos.append(Tempo(0, DEFAULT_TEMPO_BPM))
            score.tempos.sort(key=lambda tempo: tempo.time, inplace=True)
        quantised = self.miditok.preprocess_score(score)
        if self.miditok._note_on_off:
            for track in quantised.tracks:
                _pair_first_in_first_out(track)
        return quantised

    def encode(self, score: Score) -> Encoding:
        """A Score as ids with its onset groups. Bars and seconds are the Score's own, never counted in tokens.

        Raises UserError when no note of the Score survives the tokenizer's ranges, and for a pause that Structured
        cannot say.
        """
        ids, ticks, ticks_per_quarter = self._ids_and_ticks(score)
        is_onset = self._is_onset[ids]
        if not is_onset.any():
            raise UserError(f"none of its {score.note_num()} notes lies in the tokenizer's pitch and program ranges")
        if self.scheme == "Structured":
            self._check_pauses(ids, ticks)
        begins = bpe.group_starts(ids, self._starts_group, self._opens)
        begins[1], begins[[0, -1]] = True, False
        starts = np.flatnonzero(begins)
        notes_before = np.concatenate([[0], np.cumsum(is_onset)])
        # A group sounds at its last tick: its Rest tokens stand at the earlier time from which they wait. MMM's
        # Track_End is no music, and in MIDILike notes end after the last one began.
        last = np.append(starts[1:], len(ids) - 1) - 1
        last -= self._ends_track[ids[last]]
        scale = score.ticks_per_quarter / ticks_per_quarter
        group_ticks = np.round(np.minimum(ticks[last], ticks[is_onset].max()) * scale).astype(np.int64)
        return Encoding(
            ids=ids,
            group_token=starts,
            group_seconds=seconds_at(score, group_ticks),
            group_bar=np.searchsorted(bar_starts(score, int(group_ticks.max()) + 1), group_ticks, side="right") - 1,
            group_notes=notes_before[starts],
            group_opens_bar=self._is_bar[ids[starts]],
            notes=int(is_onset.sum()),
        )

    def _ids_and_ticks(self, score: Score) -> tuple[np.ndarray, np.ndarray, int]:
        """Base ids with BOS and EOS (N,), the tick of each (N,), and the ticks per quarter in which these are."""
        if self._fast is not None:
            try:
                fast = self._fast.encode(score)
            except ValueError:  # a strange score: MidiTok decides
                pass
            else:
                ids = np.concatenate([[self.bos_id], fast.ids, [self.eos_id]])
                return ids, np.concatenate([[0], fast.event_ticks, [0]]), fast.ticks_per_quarter
        quantised = self.quantise(score)
        if quantised.note_num() == 0:
            return np.array([self.bos_id, self.eos_id]), np.zeros(2, np.int64), quantised.ticks_per_quarter
        sequence = self.miditok.encode(quantised, encode_ids=False, no_preprocess_score=True)
        ids = np.array([self.bos_id, *sequence.ids, self.eos_id], dtype=np.int64)
        ticks = np.array([0, *(event.time for event in sequence.events), 0], dtype=np.int64)
        return ids, ticks, quantised.ticks_per_quarter

    def _check_pauses(self, ids: np.ndarray, ticks: np.ndarray) -> None:
        """One TimeShift stands before a note, so a pause longer than the longest one would move all that follows."""
        inner = self.miditok
        values = inner._tpb_tokens_to_ticks[inner.time_division]
        shift = np.array(
            [
                values.get(token.partition("_")[2], 0) if type_ == "TimeShift" else 0
                for token, type_ in zip(self.tokens, self.types, strict=True)
            ]
        )
        onset = self._is_onset[ids]
        wrong = np.cumsum(shift[ids])[onset] != ticks[onset]
        if wrong.any():
            index = int(np.argmax(wrong))
            pause = np.diff(ticks[onset], prepend=0)[index] / inner.time_division
            longest = max(max(inner.config.beat_res))
            raise UserError(
                f"a pause of {pause:g} beats is no TimeShift of Structured (up to {longest} beats, on the grid of "
                f"tokenizer.beat_res); extend it, such as +tokenizer.beat_res={{{longest}-{4 * longest}:12}}"
            )

    def decode(self, ids: Sequence[int] | np.ndarray) -> Score:
        """The Score that MidiTok reads in the model ids `ids`; special tokens are skipped.

        In MIDILike, notes that still sound where the ids end are ended a beat later.
        """
        special = set(self.special_ids)
        kept = [i for i in self.to_base_ids(ids).tolist() if i not in special]
        if self.miditok._note_on_off:
            kept += self._note_ends(kept)
        return self.miditok.decode(TokSequence(ids=kept))

    def _note_ends(self, ids: list[int]) -> list[int]:
        """Tokens that end what still sounds after `ids`: MidiTok would drop a NoteOn without its NoteOff."""
        sounding: list[tuple[int | None, int]] = []
        program = None
        for i in ids:
            type_ = self.types[i]
            if type_ == "Program":
                program = i
            elif type_ in {"NoteOn", "DrumOn"}:
                sounding.append((program, self.miditok.vocab[self.tokens[i].replace("On_", "Off_")]))
            elif type_ in {"NoteOff", "DrumOff"} and (program, i) in sounding:
                sounding.remove((program, i))
        if not sounding:
            return []
        beat = next(i for i, token in enumerate(self.tokens) if token.startswith("TimeShift_1.0."))
        return [beat, *(i for pair in sounding for i in pair if i is not None)]


def _pair_first_in_first_out(track: Track) -> None:
    """Let every NoteOff end the oldest note of its pitch, as the decoder will: nested notes swap their ends."""
    notes = track.notes.numpy()
    if not len(notes["time"]):
        return
    ends = notes["time"] + notes["duration"]
    by_onset, by_end = np.lexsort((notes["time"], notes["pitch"])), np.lexsort((ends, notes["pitch"]))
    notes["duration"][by_onset] = ends[by_end] - notes["time"][by_onset]
    track.notes = Note.from_numpy(**notes)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _miditok_value(name: str, value: Any) -> Any:
    """A YAML value in the shape MidiTok wants: "0-4" keys as tuples, lists as tuples where it compares so."""
    if name in {"beat_res", "beat_res_rest"}:
        return {tuple(int(part) for part in str(key).split("-")): int(size) for key, size in value.items()}
    if name == "time_signature_range":
        return {int(denominator): list(numerators) for denominator, numerators in value.items()}
    if name == "chord_maps":
        return {quality: tuple(intervals) for quality, intervals in value.items()}
    if name in {"pitch_range", "tempo_range", "drums_pitch_range", "chord_unknown", "pitch_bend_range"}:
        return tuple(value)
    return list(value) if isinstance(value, (list, tuple)) else value
