"""Which note each token says.

Legend: N base tokens of a piece, T tokens as a model reads them, M notes, P pairs of a token and a note.
"""

from collections import defaultdict, deque
from dataclasses import dataclass

import numpy as np

from midifactory.errors import UserError
from midifactory.tokens.grid import STEPS_PER_BEAT, VOICES, VoiceGrid
from midifactory.tokens.tokenizer import ONSET_TYPES, Tokenizer

# What a note's tokens are, right before and right after the one that strikes or ends it.
_BEFORE_TYPES = frozenset({"Program", "MicroTiming"})
_AFTER_TYPES = frozenset({"Velocity", "Duration", "MicroTiming"})
_OFF_TYPES = frozenset({"NoteOff", "DrumOff"})


@dataclass(frozen=True, eq=False)
class NoteTokens:
    """The notes that a piece's tokens decode to, in the order in which these begin them.

    onset_beats, duration_beats (in quarter notes from the start of the piece), pitch, program (-1 for drums): (M,).
    begins: (M,), the index of the token that strikes each note. token, note: (P,), every pair of a token and the note
    that it says something of: instrument, pitch, velocity, duration or end; in a voice grid, that it sounds.
    """

    onset_beats: np.ndarray
    duration_beats: np.ndarray
    pitch: np.ndarray
    program: np.ndarray
    begins: np.ndarray
    token: np.ndarray
    note: np.ndarray


def note_tokens(tokenizer: Tokenizer, base_ids: np.ndarray) -> NoteTokens:
    """The notes of a whole piece, base_ids (N,), and their tokens.

    Decoded once: MidiTok's decoders append a program's notes in the order of their tokens, and where these are struck
    and released by tokens of their own (MIDILike), those of one pitch in that order. Raises UserError where a release
    does not name its pitch.
    """
    if isinstance(tokenizer, VoiceGrid):
        return _grid_notes(tokenizer, base_ids)
    types = [tokenizer.types[i] for i in base_ids]
    # In MMM a program is said once, at the head of its track.
    before = _BEFORE_TYPES - ({"Program"} if tokenizer.scheme == "MMM" else set())
    by_pitch = tokenizer.miditok._note_on_off
    if by_pitch and tokenizer.miditok.config.use_pitch_intervals:
        raise UserError(
            "tokenizer.use_pitch_intervals=true: with note offs it cannot be told which note a token ends; "
            "take a checkpoint of another tokenizer, such as remi_plus"
        )
    decoded: dict[tuple[int, int], deque[tuple[int, int, int]]] = defaultdict(deque)
    score = tokenizer.decode(tokenizer.to_model_ids(base_ids))
    for track in score.tracks:
        program = -1 if track.is_drum else track.program
        for note in track.notes:
            decoded[program, note.pitch if by_pitch else 0].append((note.time, note.duration, note.pitch))

    program = 0
    notes: list[tuple[int, ...]] = []
    pairs: list[tuple[int, int]] = []
    sounding: dict[tuple[int, int], deque[int]] = defaultdict(deque)
    for index, type_ in enumerate(types):
        value = tokenizer.tokens[base_ids[index]].partition("_")[2]
        if type_ == "Program":
            program = int(value)
        if type_ in ONSET_TYPES:
            key = (program, int(value) if by_pitch else 0)
            sounding[key].append(len(notes))
            pairs += [(token, len(notes)) for token in _around(types, index, before)]
            notes.append((*decoded[key].popleft(), program, index))
        elif type_ in _OFF_TYPES and sounding[program, int(value)]:
            note = sounding[program, int(value)].popleft()
            pairs += [(token, note) for token in _around(types, index, before)]
    onset, duration, pitch, programs, begins = np.array(notes, dtype=np.int64).reshape(-1, 5).T
    token, note = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    quarter = score.ticks_per_quarter
    return NoteTokens(onset / quarter, duration / quarter, pitch, programs, begins, token, note)


def model_pairs(
    tokenizer: Tokenizer, model_ids: np.ndarray, notes: NoteTokens, first: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (P,) of `notes` for the model's ids (T,), which are the base tokens from `first` on.

    A token of byte pairs is a pair with each note that any of its parts says something of.
    """
    sizes = [len(tokenizer.to_base_ids([i])) for i in model_ids]
    model_token = np.repeat(np.arange(len(model_ids)), sizes)  # of each base token
    inside = (notes.token >= first) & (notes.token < first + len(model_token))
    pairs = np.stack([model_token[notes.token[inside] - first], notes.note[inside]], 1)
    token, note = np.unique(pairs, axis=0).T
    return token, note


def _grid_notes(tokenizer: VoiceGrid, base_ids: np.ndarray) -> NoteTokens:
    """Equal neighbours of a voice are one note; a grid tells no instruments, so all are programs 0."""
    first = 1  # after BOS
    cells = np.asarray(base_ids)[first:-1].reshape(-1, VOICES)
    sounds = np.array(tokenizer.types)[cells] == "Pitch"
    begins = sounds & np.concatenate([np.ones((1, VOICES), dtype=bool), cells[1:] != cells[:-1]])
    step, voice = np.nonzero(begins)
    number = np.full(cells.shape, -1)
    number[step, voice] = np.arange(len(step))
    number = np.where(sounds, np.maximum.accumulate(number, axis=0), -1)
    token = np.flatnonzero(number.ravel() >= 0)
    note = number.ravel()[token]
    names = [tokenizer.tokens[i].partition("_")[2] for i in cells[step, voice]]
    return NoteTokens(
        onset_beats=step / STEPS_PER_BEAT,
        duration_beats=np.bincount(note, minlength=len(step)) / STEPS_PER_BEAT,
        pitch=np.array(names, dtype=np.int64),
        program=np.zeros(len(step), dtype=np.int64),
        begins=first + VOICES * step + voice,
        token=first + token,
        note=note,
    )


def _around(types: list[str], index: int, before: frozenset[str]) -> range:
    """The tokens from the first of `before` that leads up to `index` to the last one of its details."""
    first, last = index, index
    while first and types[first - 1] in before:
        first -= 1
    while last + 1 < len(types) and types[last + 1] in _AFTER_TYPES:
        last += 1
    return range(first, last + 1)
