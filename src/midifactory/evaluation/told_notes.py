"""The notes of a file, and the tokens by which a model reads each of them.

Legend: T tokens as the model reads them, M notes, P pairs of a token and a note.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from symusic import Score

from midifactory.music.score import note_arrays
from midifactory.tokens.note_tokens import NoteTokens, model_pairs, note_tokens
from midifactory.tokens.tokenizer import Tokenizer

# Tokens round onsets to their grid; a note further away is another one.
_NEAREST_BEATS = 0.5


@dataclass(frozen=True, eq=False)
class ToldNotes:
    """A file as a model reads it: ids (T,), BOS first, and its notes in the order in which the tokens strike them.

    track, program (-1 for drums), pitch, velocity, onset_beats, duration_beats: (M,), as they stand in the file, which
    tokens tell less exactly. strikes: (M,), the token that strikes each note; parts: (M,), the place of that among the
    base tokens of a merged one. token, note: (P,), which tokens say something of which note. skipped: what of the file
    the ids do not tell, in words.
    """

    ids: np.ndarray
    track: np.ndarray
    program: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    onset_beats: np.ndarray
    duration_beats: np.ndarray
    strikes: np.ndarray
    parts: np.ndarray
    token: np.ndarray
    note: np.ndarray
    skipped: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pitch)

    def tokens_of(self) -> list[np.ndarray]:
        """The tokens of each note, in order."""
        by_note = np.argsort(self.note, kind="stable")
        return np.split(self.token[by_note], np.searchsorted(self.note[by_note], np.arange(1, len(self))))


def read_notes(tokenizer: Tokenizer, score: Score, most_tokens: int) -> ToldNotes:
    """A Score as at most `most_tokens` ids, cut between notes. Raises UserError for what the tokenizer cannot tell."""
    encoding = tokenizer.encode(score)
    ids, said = tokenizer.to_model_ids(encoding.ids), note_tokens(tokenizer, encoding.ids)
    sizes = np.array([len(tokenizer.to_base_ids([i])) for i in ids])
    begins = np.cumsum(sizes) - sizes  # (T,) the first base token of each
    skipped = list[str]()
    token, note = model_pairs(tokenizer, ids, said)
    if len(ids) > most_tokens:
        # A note is left out with the first of its tokens that is: what follows is not read.
        left_out = np.unique(note[token >= most_tokens])
        skipped.append(f"all after the first {most_tokens} tokens: the last {len(left_out)} notes")
        inside = (token < most_tokens) & ~np.isin(note, left_out)
        ids, token, note = ids[:most_tokens], token[inside], note[inside]
    source = note_arrays(score)
    found = _found_in(source, score.ticks_per_quarter, said)
    kept = np.flatnonzero((found >= 0) & np.isin(np.arange(len(found)), note))
    untold = len(source["pitch"]) - int((found >= 0).sum())
    if untold:
        skipped.append(f"{untold} of {len(source['pitch'])} notes: this model's tokens do not tell them")
    rows, own = found[kept], np.isin(note, kept)
    strikes = np.searchsorted(begins, said.begins[kept], side="right") - 1
    return ToldNotes(
        ids=ids,
        **{name: source[name][rows] for name in ("track", "program", "pitch", "velocity")},
        onset_beats=source["onset"][rows] / score.ticks_per_quarter,
        duration_beats=source["duration"][rows] / score.ticks_per_quarter,
        strikes=strikes,
        parts=said.begins[kept] - begins[strikes],
        token=token[own],
        note=np.searchsorted(kept, note[own]),
        skipped=tuple(skipped),
    )


def _found_in(source: dict[str, np.ndarray], ticks_per_quarter: int, said: NoteTokens) -> np.ndarray:
    """(M,): which note of the file each note of the tokens is, -1 for none.

    Of one instrument and pitch the nearest that is not another's; then, for tokens that know no instruments or fewer,
    of the pitch alone.
    """
    onset = source["onset"] / ticks_per_quarter
    found = np.full(len(said.pitch), -1)
    free = np.ones(len(onset), dtype=bool)
    for by_program in (True, False):
        theirs = defaultdict(list)
        for index in np.flatnonzero(free):
            theirs[_key(source["pitch"], source["program"], int(index), by_program)].append(int(index))
        for note in np.argsort(said.onset_beats, kind="stable"):
            if found[note] >= 0:
                continue
            near = theirs[_key(said.pitch, said.program, int(note), by_program)]
            nearest = _nearest(near, onset, float(said.onset_beats[note]))
            if nearest is not None:
                near.remove(nearest)
                found[note], free[nearest] = nearest, False
    return found


def _key(pitch: np.ndarray, program: np.ndarray, index: int, by_program: bool) -> tuple[int, int]:
    return int(pitch[index]), int(program[index]) if by_program else 0


def _nearest(candidates: Iterable[int], onset: np.ndarray, beats: float) -> int | None:
    """The candidate whose onset is nearest, the first of several; None where none is near."""
    best = min(candidates, key=lambda index: abs(onset[index] - beats), default=None)
    return best if best is not None and abs(onset[best] - beats) <= _NEAREST_BEATS else None
