"""What a player plays becomes phrases, and a phrase becomes a Score that a model can go on from."""

import threading
from dataclasses import dataclass

from symusic import Note, Score, Tempo, TimeSignature, Track

_TICKS = 480  # per quarter note
_MOST_NOTES = 512


@dataclass(frozen=True)
class Played:
    """A note that was played, in seconds of the clock."""

    pitch: int
    velocity: int
    begin_seconds: float
    end_seconds: float


Phrase = tuple[Played, ...]


class Listener:
    """Collects what is played until it falls silent; may be told of it by another thread."""

    def __init__(self, silence_seconds: float = 0.8):
        """silence_seconds: so long after the end of the last note, a phrase is over."""
        self.silence_seconds = silence_seconds
        self._lock = threading.Lock()
        self._held: dict[int, tuple[int, float]] = {}  # pitch -> velocity, since when
        self._notes: list[Played] = []
        self._last_end = 0.0

    def note_on(self, pitch: int, velocity: int, at_seconds: float) -> None:
        """A key goes down; with velocity 0 it goes up, as MIDI has it."""
        if velocity == 0:
            self.note_off(pitch, at_seconds)
            return
        self.note_off(pitch, at_seconds)
        with self._lock:
            self._held[pitch] = velocity, at_seconds

    def note_off(self, pitch: int, at_seconds: float) -> None:
        """A key goes up; nothing happens where it was not down."""
        with self._lock:
            if pitch in self._held:
                velocity, since = self._held.pop(pitch)
                self._notes.append(Played(pitch, velocity, since, at_seconds))
                del self._notes[:-_MOST_NOTES]
                self._last_end = at_seconds

    def phrase(self, now_seconds: float) -> Phrase | None:
        """What was played since the last phrase, by onset, once it is over; None before that."""
        with self._lock:
            if self._held or not self._notes or now_seconds - self._last_end < self.silence_seconds:
                return None
            notes = tuple(sorted(self._notes, key=lambda note: (note.begin_seconds, note.pitch)))
            self._notes.clear()
            return notes


def phrase_score(phrase: Phrase, tempo_bpm: float, metre: tuple[int, int], program: int) -> Score:
    """The phrase as one track that begins on a bar line with its first note; program: -1 for drums."""
    score, track = Score(_TICKS), Track(program=max(0, program), is_drum=program < 0)
    score.tempos.append(Tempo(0, tempo_bpm))
    score.time_signatures.append(TimeSignature(0, *metre))
    per_second, begin = tempo_bpm / 60.0 * _TICKS, phrase[0].begin_seconds
    for note in phrase:
        onset = round((note.begin_seconds - begin) * per_second)
        end = round((note.end_seconds - begin) * per_second)
        track.notes.append(Note(onset, max(1, end - onset), note.pitch, note.velocity))
    score.tracks.append(track)
    return score
