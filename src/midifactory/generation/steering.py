"""What is wished of the music beside the law, as numbers added to the logits: key, harmony, density, less repetition.

The law (tokens/walk.py) says what cannot be; here is what is rather not. All offsets are in nats.

Legend: V model ids, N notes within ids, S slots, P = 128 pitches.
"""

from dataclasses import dataclass

import numpy as np

from midifactory.generation.wishes import Wishes
from midifactory.music.theory import Chord, Key
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.tokens.walk import Walk
from midifactory.tokens.walker import Walker

_PITCHED = ("Pitch_", "NoteOn_")  # how the tokens of pitches begin, those of drums aside
# By the square of the notes too many or too few: a few are free, as phrases want it, many are not.
_DENSITY_NATS = 0.5
_DENSITY_MOST_NATS = 50.0


@dataclass
class Steering:
    """Implements guide.Wish for one row.

    key: (V,) what each id costs. chords: a (V,) row of costs for each bar in turn, over again. density: notes in a
    quarter note, of all voices together, counted from the first id on. repetition_penalty: above 1, by how much a note
    is less likely for each of the row's last notes (walk.recent) that had its pitch and program: CTRL's penalty (Keskar
    et al. 2019), but of notes instead of tokens.
    """

    key: np.ndarray | None = None
    chords: np.ndarray | None = None
    density: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        self._begin: tuple[int, int] | None = None

    @classmethod
    def of(cls, tokenizer: Tokenizer, wishes: Wishes, key_strength: float) -> "Steering | None":
        """What `wishes` ask for; None where that is nothing."""
        key = scale_bias(tokenizer, wishes.key, key_strength)
        chords = None
        if wishes.harmony:
            chords = np.stack([chord_bias(tokenizer, chord, wishes.harmony_strength) for chord in wishes.harmony])
        if key is None and chords is None and wishes.density is None and wishes.repetition_penalty == 1:
            return None
        return cls(key, chords, wishes.density, wishes.repetition_penalty)

    def bias(self, walk: Walker) -> np.ndarray | None:
        """(V,) float32 to be added to the logits of the next id."""
        parts = [part for part in (self.key, self._harmony(walk)) if part is not None]
        if isinstance(walk, Walk):
            parts += [part for part in (self._density(walk), self._repetition(walk)) if part is not None]
        return np.stack(parts).sum(0) if parts else None

    def _harmony(self, walk: Walker) -> np.ndarray | None:
        if self.chords is None:
            return None
        count = len(self.chords)
        if not isinstance(walk, Walk) or not walk.grammar.moving_notes:
            return self.chords[max(walk.bar, 0) % count]
        bars, _ = walk.landings()
        return self.chords[np.maximum(bars, 0) % count, np.arange(len(bars))]

    def _density(self, walk: Walk) -> np.ndarray | None:
        if self.density is None:
            return None
        if self._begin is None:
            self._begin = walk.tick, walk.begun
        if not walk.moves_on:
            return None
        _, ticks = walk.landings()
        due = self.density * (ticks - self._begin[0]) / walk.ticks_per_quarter
        there = walk.begun - self._begin[1] + walk.grammar.need
        cost = _DENSITY_NATS * (due - there) ** 2
        cost -= cost[walk.follow].min(initial=np.inf)  # so that a row that is far behind still catches up
        return -np.clip(cost, 0, _DENSITY_MOST_NATS).astype(np.float32)

    def _repetition(self, walk: Walk) -> np.ndarray | None:
        if self.repetition_penalty == 1:
            return None
        grammar = walk.grammar
        if not walk.recent:
            return None
        counts = np.zeros((1 + len(grammar.slots), 128), dtype=np.float32)
        np.add.at(counts, tuple(np.array(walk.recent).T), 1.0)
        slot = np.where(grammar.note_slot == 0, walk.place.program, grammar.note_slot)
        found = np.zeros(len(grammar.parts), dtype=np.float32)
        np.subtract.at(found, grammar.note_id, np.log(self.repetition_penalty) * counts[slot, grammar.note_pitch])
        return found


def chord_bias(tokenizer: Tokenizer, chord: Chord, strength_nats: float) -> np.ndarray:
    """(V,) of -strength at pitches outside a chord, drums aside, 0 elsewhere; of the worst note in an id of several."""
    inside = {pitch_class % 12 for pitch_class in (*chord.pitch_classes, chord.bass)}
    bias = np.zeros(tokenizer.base_vocab_size, dtype=np.float32)
    for token, name in enumerate(tokenizer.tokens):
        if name.startswith(_PITCHED) and int(name.partition("_")[2]) % 12 not in inside:
            bias[token] = -strength_nats
    return tokenizer.worst_part(bias)


def scale_bias(
    tokenizer: Tokenizer, key: Key | None, strength_nats: float, pitch_range: tuple[int, int] | None = None
) -> np.ndarray | None:
    """(V,) of -strength at pitches outside the key, 0 elsewhere; None without a key and a range.

    Pitches outside `pitch_range` get a value that none is sampled at: for tokenizers whose walk no grammar follows.
    So do all intervals between pitches, since nobody follows where they lead.
    """
    if key is None and pitch_range is None:
        return None
    bias = np.zeros(tokenizer.base_vocab_size, dtype=np.float32)
    for token, name in enumerate(tokenizer.tokens):
        if name.startswith("PitchInterval") and pitch_range is not None:
            bias[token] = -1e9
        elif name.startswith(_PITCHED):
            pitch = int(name.partition("_")[2])
            if pitch_range is not None and not pitch_range[0] <= pitch <= pitch_range[1]:
                bias[token] = -1e9
            elif key is not None and pitch % 12 not in key.scale:
                bias[token] = -strength_nats
    return tokenizer.worst_part(bias)
