"""From a music21 score of a four-part chorale to a symusic Score, without music21's slow MIDI writer."""

from fractions import Fraction
from typing import Any

from symusic import KeySignature, Note, Score, Tempo, TimeSignature, Track

from midifactory.music.score import UnreadableMidi

VOICES = ("Soprano", "Alto", "Tenor", "Bass")
# Violin, viola, cello and contrabass: strings doubled the voices in Bach's churches, each program reaches its
# voice's range, and four different ones keep the voices apart where a tokenizer merges tracks by program.
PROGRAMS = (40, 41, 42, 43)
TICKS_PER_QUARTER = 480
TEMPO_BPM = 80.0
VELOCITY = 80


def chorale_score(source: Any) -> Score:
    """A symusic Score of a music21 one: four tracks, one tempo, constant velocity, bar lines where the source has them.

    Repeats stay as written, ties are merged, grace notes and fermatas go, of a chord in one part the top note stays. A
    pickup stands at the end of a first whole bar. Raises UnreadableMidi unless the parts are Soprano, Alto, Tenor
    and Bass, each with notes.
    """
    parts = list(source.parts)
    names = [(part.partName or "").strip() for part in parts]
    if tuple(names) != VOICES:
        raise UnreadableMidi(f"parts: {', '.join(' '.join(name.split()) or 'unnamed' for name in names)}")
    bars = _bars(parts[0])
    pickup_shift = -bars[0][0]
    score = Score(TICKS_PER_QUARTER)
    for part, name, program in zip(parts, VOICES, PROGRAMS, strict=True):
        track = Track(name, program, False)
        for onset, duration, pitch in _voice(part):
            start = _ticks(onset + pickup_shift)
            track.notes.append(Note(start, _ticks(onset + pickup_shift + duration) - start, pitch, VELOCITY))
        if not track.notes:
            raise UnreadableMidi(f"{name} is silent")
        score.tracks.append(track)
    last: tuple[int, int] | None = None
    for onset, numerator, denominator in bars:
        if (numerator, denominator) != last:
            score.time_signatures.append(TimeSignature(_ticks(onset + pickup_shift), numerator, denominator))
            last = (numerator, denominator)
    for key in parts[0].recurse().getElementsByClass("KeySignature"):
        onset = Fraction(key.getOffsetInHierarchy(parts[0]))
        time = _ticks(onset + pickup_shift) if onset else 0
        score.key_signatures.append(KeySignature(time, key.sharps, int(getattr(key, "mode", None) == "minor")))
    score.tempos.append(Tempo(0, TEMPO_BPM))
    return score


def _ticks(quarters: Fraction) -> int:
    return round(quarters * TICKS_PER_QUARTER)


def _voice(part: Any) -> list[tuple[Fraction, Fraction, int]]:
    """(onset, duration, MIDI pitch), times in quarters; tied notes are one, of a chord the top note counts."""
    notes: list[tuple[Fraction, Fraction, int]] = []
    open_tie = False
    for element in part.flatten().notes:
        if element.duration.isGrace:
            continue
        onset, length = Fraction(element.offset), Fraction(element.quarterLength)
        pitch = max(int(each.midi) for each in element.pitches)
        tie = element.tie.type if element.tie else None
        if open_tie and tie in ("stop", "continue") and notes[-1][2] == pitch and sum(notes[-1][:2]) == onset:
            notes[-1] = (notes[-1][0], notes[-1][1] + length, pitch)
        else:
            notes.append((onset, length, pitch))
        open_tie = tie in ("start", "continue")
    return notes


def _bars(part: Any) -> list[tuple[Fraction, int, int]]:
    """(onset in quarters, numerator, denominator) of every bar, the first one whole, so before 0 with a pickup.

    Around repeats the encodings break one bar into two measures: these are joined. Where a whole measure follows
    an incomplete bar, that bar gets a metre of its own
    length (in 7 chorales), or all later bar lines would be off.
    """
    bars: list[tuple[Fraction, int, int]] = []
    start, metre = Fraction(0), (4, 4)
    for index, measure in enumerate(part.getElementsByClass("Measure")):
        onset, length = Fraction(measure.offset), Fraction(measure.duration.quarterLength)
        signature = measure.timeSignature
        whole = Fraction(4 * metre[0], metre[1])
        if signature or length == whole:
            if index and onset > start:  # an incomplete bar before this one
                bars.append((start, *_metre_of(onset - start, metre[1])))
            start = onset
        if signature:
            metre = (signature.numerator, signature.denominator)
            whole = Fraction(4 * metre[0], metre[1])
        if index == 0:
            start = onset + min(length - whole, Fraction(0))
        while onset + length - start >= whole:
            bars.append((start, *metre))
            start += whole
    if onset + length > start:
        bars.append((start, *metre))
    return bars


def _metre_of(quarters: Fraction, denominator: int) -> tuple[int, int]:
    """The metre of one bar of this length, in the given note value or the first finer one that divides it."""
    while (quarters * denominator / 4).denominator > 1:
        denominator *= 2
    return int(quarters * denominator / 4), denominator
