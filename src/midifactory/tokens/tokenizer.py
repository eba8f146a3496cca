"""MidiTok behind one door: a Score becomes ids whose place in time is known, ids become a Score.

Legend: N tokens in a piece, G onset groups in it, V the vocabulary.
"""

import hashlib
import inspect
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import miditok
import numpy as np
from miditok import MusicTokenizer, TokenizerConfig, TokSequence
from symusic import Score, Tempo

from midifactory.errors import UserError
from midifactory.music.score import DEFAULT_TEMPO_BPM, bar_starts, seconds_at

CONFIG_FIELDS = tuple(name for name in inspect.signature(TokenizerConfig).parameters if name != "kwargs")
SPECIAL_TOKENS = ("PAD", "BOS", "EOS")
NOTE_TYPES = frozenset({"Pitch", "PitchDrum"})
TIME_TYPES = frozenset({"Bar", "Position", "Rest"})
# A Bar, TimeSig or Position token right after one of these belongs to the group that one opened.
_OPENING_TYPES = frozenset({"BOS", "Bar", "TimeSig", "Position", "Rest"})


@dataclass(frozen=True)
class Encoding:
    """One piece as ids, and its onset groups: where a cut between notes may fall.

    ids: (N,) int64, BOS first and EOS last. The other arrays have shape (G,): `group_token` is the index in
    `ids` of a group's first token, `group_seconds` and `group_bar` its onset on the Score, `group_notes` the
    notes before it, `group_opens_bar` whether its first token is a Bar. Groups are ordered; the first starts at
    the first token after BOS.
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
    keys in MidiTok are written "0-4". Raises UserError for an unknown scheme or field, or settings that MidiTok
    refuses.
    """

    def __init__(self, scheme: str = "REMI", additional_params: Mapping[str, Any] | None = None, **fields: Any):
        if scheme != "REMI":
            raise UserError(f"tokenizer.scheme={scheme}: only REMI is supported; set tokenizer.scheme=REMI")
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
        if not given.get("one_token_stream_for_programs", True) or not given.get("use_programs", False):
            raise UserError(
                "tokenizer: use_programs and one_token_stream_for_programs must both be true, since one model "
                "reads one stream; leave them as conf/tokenizer/remi_plus.yaml has them"
            )
        try:
            config = TokenizerConfig(**given, **dict(additional_params or {}))
            self._adopt(getattr(miditok, scheme)(config))
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise UserError(f"tokenizer: MidiTok refuses these settings: {error}") from error

    def _adopt(self, inner: MusicTokenizer) -> None:
        self.miditok = inner
        self.vocab_size = len(inner)
        self.pad_id, self.bos_id, self.eos_id = (inner[f"{name}_None"] for name in SPECIAL_TOKENS)
        self.tokens: list[str] = [inner[i] for i in range(self.vocab_size)]
        self.types: list[str] = [token.split("_")[0] for token in self.tokens]
        self.fingerprint = hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """All that is needed to make this tokenizer again, as JSON."""
        state = self.miditok.to_dict()
        # Versions are recorded beside a run; they would make equal tokenizers look different here.
        for key in ("miditok_version", "symusic_version", "hf_tokenizers_version"):
            state.pop(key, None)
        # Unsorted on purpose: MidiTok numbers its vocabulary in the order of these keys.
        return json.dumps(state)

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """The tokenizer that `to_json` described."""
        state = json.loads(text)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tokenizer.json"
            path.write_text(text, encoding="utf-8")
            self = cls.__new__(cls)
            self._adopt(getattr(miditok, state["tokenization"])(params=path))
        return self

    def quantise(self, score: Score) -> Score:
        """The Score as its tokens can say it: MidiTok's grid, velocity and tempo bins, without what it drops."""
        score = score.copy()
        if not any(tempo.time == 0 for tempo in score.tempos):
            # MidiTok would write its own default into the tokens; the MIDI standard's is what the file means.
            score.tempos.append(Tempo(0, DEFAULT_TEMPO_BPM))
            score.tempos.sort(key=lambda tempo: tempo.time, inplace=True)
        return self.miditok.preprocess_score(score)

    def encode(self, score: Score) -> Encoding:
        """A Score as ids with its onset groups. Bars and seconds are the Score's own, never counted in tokens.

        Raises UserError when no note of the Score survives the tokenizer's ranges.
        """
        quantised = self.quantise(score)
        if quantised.note_num() == 0:
            raise UserError(f"none of its {score.note_num()} notes lies in the tokenizer's pitch and program ranges")
        sequence = self.miditok.encode(quantised, no_preprocess_score=True)
        ids = np.array([self.bos_id, *sequence.ids, self.eos_id], dtype=np.int64)
        types = [self.types[i] for i in ids]
        ticks = np.array([event.time for event in sequence.events], dtype=np.int64)
        starts = np.array(
            [
                index
                for index in range(1, len(ids) - 1)
                if index == 1 or (types[index] in TIME_TYPES and types[index - 1] not in _OPENING_TYPES)
            ],
            dtype=np.int64,
        )
        is_note = np.array([type_ in NOTE_TYPES for type_ in types])
        notes_before = np.concatenate([[0], np.cumsum(is_note)])
        # A group sounds at its last tick: its Rest tokens stand at the earlier time from which they wait.
        ends = np.append(starts[1:], len(ids) - 1)
        scale = score.ticks_per_quarter / quantised.ticks_per_quarter
        group_ticks = np.round(ticks[ends - 2] * scale).astype(np.int64)
        return Encoding(
            ids=ids,
            group_token=starts,
            group_seconds=seconds_at(score, group_ticks),
            group_bar=np.searchsorted(bar_starts(score, int(group_ticks[-1]) + 1), group_ticks, side="right") - 1,
            group_notes=notes_before[starts],
            group_opens_bar=np.array([types[start] == "Bar" for start in starts]),
            notes=int(is_note.sum()),
        )

    def decode(self, ids: Sequence[int] | np.ndarray) -> Score:
        """The Score that MidiTok reads in `ids`; special tokens are skipped."""
        special = {self.pad_id, self.bos_id, self.eos_id}
        kept = [int(i) for i in ids if int(i) not in special]
        return self.miditok.decode(TokSequence(ids=kept))


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
