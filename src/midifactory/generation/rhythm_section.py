"""Styles that go with others: a bass line and drums."""

from collections.abc import Sequence
from dataclasses import replace

from symusic import Note

from midifactory.errors import UserError
from midifactory.generation.presence import WithinBars
from midifactory.generation.styles import (
    TICKS,
    Opening,
    Style,
    chords_asked,
    forced_note,
    moved_into,
    nearest_pitch,
    one_bar,
    pitched_rows,
    program_row,
    room,
    settled,
)
from midifactory.generation.wishes import Wishes, parse_metre
from midifactory.music.instruments import DRUMS
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.tokens.walk import Controls

_BASSES = range(32, 40)
_FINGERED_BASS = 33
# General MIDI's percussion.
KICK, SNARE, CLOSED_HAT = 36, 38, 42


class Bass(Style):
    """One voice beneath: each bar begins with the bass note of the progression's next chord.

    chords, minor_chords: as in styles.Chords.
    """

    takes_chords = True

    def __init__(self, program: int | None = None, chords: str = "I V vi IV", minor_chords: str | None = "i VII VI v"):
        self.program, self.chords, self.minor_chords = program, chords, minor_chords

    def opening(self, wishes: Wishes, tokenizer: Tokenizer) -> Opening:
        """A bar of the first chord's bass note in beats, its fifth on the middle one; no note lasts over a bar line."""
        progression = chords_asked(wishes, self.chords, self.minor_chords)
        wishes = settled(wishes, tokenizer)
        numerator, denominator = parse_metre(wishes.metre)
        row = program_row(wishes, self._program(wishes), highest=False)
        program, beat, velocity = row["program"], TICKS * 4 // denominator, wishes.profile["velocity"]
        bounds = room(wishes, program, tokenizer)
        roots = [moved_into(bounds, [nearest_pitch(chord.bass, row["middle"])])[0] for chord in progression]
        fifth = progression[0].pitch_classes[min(2, len(progression[0].pitch_classes) - 1)]
        (middle,) = moved_into(bounds, [nearest_pitch(fifth, roots[0])])
        pitches = [middle if index and index == numerator // 2 else roots[0] for index in range(numerator)]
        notes = [(program, Note(index * beat, beat, pitch, velocity)) for index, pitch in enumerate(pitches)]
        groups = [[forced_note(tokenizer, wishes, program, Note(0, beat, root, velocity))] for root in roots]
        controls = Controls(wishes.metre, True, programs=(program,), polyphony=1, every_bar=True)
        opening = one_bar(tokenizer, wishes, notes, controls, lambda bar: groups[bar % len(groups)])
        return replace(opening, wish=WithinBars)

    def _program(self, wishes: Wishes) -> int:
        """What was asked, else the corpus' commonest bass, else its lowest program, else a fingered bass."""
        if self.program is not None:
            return self.program
        rows = pitched_rows(wishes.profile, wishes.programs)
        basses = [row["program"] for row in rows if row["program"] in _BASSES]
        lowest = min(rows, key=lambda row: row["middle"])["program"] if rows else _FINGERED_BASS
        return int(basses[0] if basses else lowest)


class Drums(Style):
    """Drums alone. beats: what is struck on each beat of the first bar, over again; between: in the middle of each."""

    def __init__(
        self,
        beats: Sequence[Sequence[int]] = ((KICK, CLOSED_HAT), (SNARE, CLOSED_HAT)),
        between: Sequence[int] = (CLOSED_HAT,),
    ):
        self.beats, self.between = beats, between

    def opening(self, wishes: Wishes, tokenizer: Tokenizer) -> Opening:
        """A bar of the pattern, as far as the tokenizer has its drums; a triple metre has one strong beat."""
        if f"Program_{DRUMS}" not in tokenizer.tokens:
            raise UserError("style=drums: this model's tokens have no drums; take another style")
        wishes = settled(wishes, tokenizer)
        numerator, denominator = parse_metre(wishes.metre)
        beat, velocity = TICKS * 4 // denominator, wishes.profile["velocity"]
        low, high = tokenizer.drums_pitch_range
        notes = []
        for index in range(numerator):
            triple = numerator % 3 == 0
            place = min(index % 3, len(self.beats) - 1) if triple else index % len(self.beats)
            struck = [(index * beat, pitch) for pitch in self.beats[place]]
            struck += [(index * beat + beat // 2, pitch) for pitch in self.between]
            notes += [(DRUMS, Note(tick, beat // 2, pitch, velocity)) for tick, pitch in struck if low <= pitch < high]
        if not notes:
            raise UserError(f"style.beats: none of these drums is among this model's, {low} to {high - 1}")
        controls = Controls(wishes.metre, True, programs=(DRUMS,), every_bar=True)
        return one_bar(tokenizer, wishes, notes, controls)
