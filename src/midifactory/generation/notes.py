"""Composing with models of note features: note by note, each feature drawn from its head.

Legend: B samples, N notes, F the columns of tokens/notes.py, I and O a codec's sequence lengths.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from symusic import Score
from torch import Tensor

from midifactory.errors import UserError
from midifactory.generation.guide import Length
from midifactory.generation.pieces import Composition
from midifactory.generation.sampling import Sampling, Settings, sample
from midifactory.models.notes import NoteModel
from midifactory.music.profile import tessitura
from midifactory.music.score import DEFAULT_TEMPO_BPM, cut, first_bars, first_notes
from midifactory.tokens.notes import DRUMS, FEATURES, NoteCodec, Scaler

_OFFSET, _TIME_DELTA = FEATURES.index("offset_s"), FEATURES.index("time_delta_s")
_WHOLE = [FEATURES.index("pitch"), FEATURES.index("velocity")]
_BEATS_PER_BAR = 4  # NoteCodec.to_score writes no metre, which is 4/4
# A row of which so many notes bring no later onset is given up: nothing else stops a model that stays in one place.
_PATIENCE = 1024


class TrainedNoteModel(Protocol):
    """What composing needs of training.notes.TrainedNotes."""

    model: NoteModel
    codec: NoteCodec
    scaler: Scaler
    profile: dict[str, Any]


def compose_notes(
    trained: TrainedNoteModel,
    prompt: "Score | None",
    length: Length,
    sampling: Sampling,
    samples: int = 1,
    seed: int = 0,
    pitch_range: Sequence[int] | None = None,
    on_step: Callable[[], None] | None = None,
) -> list[Composition]:
    """`samples` pieces that go on from the prompt's last onset, or begin, each from its own random stream of `seed`.

    A length in tokens counts notes; bars are those of the Score that NoteCodec.to_score writes, at 120 bpm in 4/4.
    pitch_range: for all but drums; None takes the corpus' tessitura. Raises UserError for pitches that are no range.
    """
    codec = trained.codec
    before = codec.features(prompt) if prompt is not None else np.zeros((0, len(codec.columns)))
    begin = float(before[-1, _OFFSET]) if len(before) else 0.0
    beats_per_second = DEFAULT_TEMPO_BPM / 60
    beats_per_unit = beats_per_second if codec.time_unit == "seconds" else 1.0
    end = None
    if length.bars is not None:
        end = begin + length.bars * _BEATS_PER_BAR / beats_per_unit
    elif length.seconds is not None:
        end = begin + length.seconds * beats_per_second / beats_per_unit
    found = continue_notes(
        trained.model,
        codec,
        trained.scaler,
        before,
        length.tokens,
        end,
        sampling,
        samples,
        seed,
        _allowed_pitches(codec, trained.profile, pitch_range),
        on_step,
    )
    ticks_per_unit = beats_per_unit * codec.ticks_per_quarter
    pieces = []
    for notes in found:
        score = codec.to_score(np.concatenate((before, notes)))
        if end is not None:
            score = cut(score, round(end * ticks_per_unit))
        pieces.append(Composition(score, (), round(begin * ticks_per_unit) + 1 if len(before) else 0))
    return pieces


def opening_notes(score: Score, bars: int | None, notes: int | None) -> Score:
    """The first `bars` bars or `notes` notes of a prompt, all of it for neither. Raises UserError for both at once."""
    if bars is not None and notes is not None:
        raise UserError(f"prompt_bars={bars} and prompt_notes={notes}: set one of them")
    part = first_bars(score, bars) if bars is not None else first_notes(score, notes) if notes is not None else score
    if part.note_num() == 0:
        raise UserError(f"prompt_bars={bars}: these bars of the prompt hold no note; take more bars")
    return part


@torch.inference_mode()
def continue_notes(
    model: NoteModel,
    codec: NoteCodec,
    scaler: Scaler,
    before: np.ndarray,
    count: int | None,
    end: float | None,
    sampling: Sampling,
    samples: int = 1,
    seed: int = 0,
    allowed: np.ndarray | None = None,
    on_step: Callable[[], None] | None = None,
) -> list[np.ndarray]:
    """The (N, F) rows of `samples` continuations of the rows `before`, (N, F) too, without those; nothing is scaled.

    Each ends after `count` notes, or before the first note whose offset is not below `end`. allowed: (instruments, 128)
    bool, None for all. As in training the model reads I notes, and the O that follow one by one; then it begins
    anew with the I notes before the next one. Sample i draws from its own generator, seeded by (seed, i).
    """
    model.eval()
    device = next(model.parameters()).device
    generators = [np.random.default_rng([seed, index]) for index in range(samples)]
    pitches = torch.from_numpy(allowed).to(device) if allowed is not None else None
    settings = Settings([sampling] * samples, device)

    def choose(name: str, logits: Tensor, chosen: dict[str, Tensor]) -> Tensor:
        if name == "pitch" and pitches is not None:
            logits = logits.masked_fill(~pitches[chosen["track"]], -torch.inf)
        uniforms = torch.tensor([generator.random() for generator in generators], dtype=torch.float32)
        return sample(logits, settings, uniforms.to(device))

    def read(rows: np.ndarray, state: Any) -> tuple[Tensor, Any]:
        known, state = model(torch.from_numpy(rows.astype(np.float32)).to(device), state)
        return known[:, -1], state

    inputs, targets = codec.sequence_length_i, codec.sequence_length_o
    window = np.zeros((samples, inputs, len(codec.columns)))  # (B, I, F), scaled; rows of 0 are no notes
    recent = scaler.transform(before[-inputs:])
    window[:, inputs - len(recent) :] = recent
    offsets = np.full(samples, before[-1, _OFFSET] if len(before) else 0.0)
    standing = np.zeros(samples, dtype=int)
    notes: list[list[np.ndarray]] = [[] for _ in range(samples)]
    going = np.ones(samples, dtype=bool)
    while True:
        known, state = read(window, model.new_state(samples, inputs + targets))
        for _ in range(targets):
            rows = scaler.inverse(model.draw(known, choose).cpu().double().numpy())  # (B, F)
            # Single precision is a little off what it stands for, also off 0.
            rows = rows.round(6)
            rows[:, _WHOLE] = rows[:, _WHOLE].round()
            rows[:, _TIME_DELTA] = np.maximum(rows[:, _TIME_DELTA], 0.0)
            standing = np.where(rows[:, _TIME_DELTA] > 0, 0, standing + 1)
            offsets = rows[:, _OFFSET] = offsets + rows[:, _TIME_DELTA]
            if end is not None:
                going &= (offsets < end) & (standing < _PATIENCE)
            for index in np.flatnonzero(going):
                notes[index].append(rows[index])
            if count is not None:
                going &= np.array([len(taken) for taken in notes]) < count
            if on_step:
                on_step()
            if not going.any():
                return [np.array(taken).reshape(-1, len(codec.columns)) for taken in notes]
            scaled = scaler.transform(rows)[:, None]  # (B, 1, F)
            window = np.concatenate((window[:, 1:], scaled), 1)
            known, state = read(scaled, state)


def _allowed_pitches(codec: NoteCodec, profile: dict[str, Any], asked: Sequence[int] | None) -> np.ndarray:
    """(instruments, 128) bool: the pitches asked, or the tessitura of each instrument's program; drums are free.

    Without `codec.programs` an instrument may be any of the corpus' programs, drums too where it has them.
    """
    if asked is not None and not (len(asked) == 2 and 0 <= asked[0] <= asked[1] <= 127):
        raise UserError(f"pitch_range={list(asked)}: give the lowest and the highest MIDI pitch, such as [21,108]")
    overall, by_program = tessitura(profile)
    has_drums = any(row["program"] == DRUMS for row in profile["programs"])
    allowed = np.ones((codec.num_instruments, 128), dtype=bool)
    for instrument, row in enumerate(allowed):
        program = codec.programs[instrument] if codec.programs is not None else None
        if program == DRUMS:
            continue
        span = tuple(asked) if asked is not None else overall
        if asked is None and program is not None:
            span = by_program.get(program, overall)
        elif asked is None and has_drums:
            continue
        if span is not None:
            row[:] = False
            row[span[0] : span[1] + 1] = True
    return allowed
