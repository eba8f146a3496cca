"""Names of keys and chords, Roman numerals among them, and the pitch classes they mean (0 = C)."""

import difflib
import re
from dataclasses import dataclass, replace

from midifactory.errors import UserError

_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1, "##": 2, "bb": -2}
MAJOR = (0, 2, 4, 5, 7, 9, 11)
_NATURAL_MINOR = (0, 2, 3, 5, 7, 8, 10)
# Natural minor with the raised sixth and seventh of the melodic form, as tonal music uses them.
MINOR = (0, 2, 3, 5, 7, 8, 9, 10, 11)

CHORD_INTERVALS: dict[str, tuple[int, ...]] = {
    "": (0, 4, 7),
    "maj": (0, 4, 7),
    "m": (0, 3, 7),
    "min": (0, 3, 7),
    "-": (0, 3, 7),
    "dim": (0, 3, 6),
    "°": (0, 3, 6),
    "aug": (0, 4, 8),
    "+": (0, 4, 8),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
    "sus": (0, 5, 7),
    "5": (0, 7),
    "6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "M7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "min7": (0, 3, 7, 10),
    "-7": (0, 3, 7, 10),
    "mM7": (0, 3, 7, 11),
    "dim7": (0, 3, 6, 9),
    "°7": (0, 3, 6, 9),
    "m7b5": (0, 3, 6, 10),
    "ø": (0, 3, 6, 10),
    "ø7": (0, 3, 6, 10),
    "aug7": (0, 4, 8, 10),
    "7sus4": (0, 5, 7, 10),
    "add9": (0, 4, 7, 14),
    "madd9": (0, 3, 7, 14),
    "9": (0, 4, 7, 10, 14),
    "maj9": (0, 4, 7, 11, 14),
    "m9": (0, 3, 7, 10, 14),
}


_NUMERALS = ("I", "II", "III", "IV", "V", "VI", "VII")
_NUMERAL = r"([#b♯♭]?)(VII|VI|IV|V|III|II|I)"
# Figures of inversions: the quality that is meant, and which of the chord's notes is the bass.
_FIGURES = {"6": ("", 1), "64": ("", 2), "65": ("7", 1), "43": ("7", 2), "42": ("7", 3)}


@dataclass(frozen=True)
class Chord:
    """A chord symbol: its name, bass pitch class, and pitch classes from the root up."""

    name: str
    root: int
    bass: int
    pitch_classes: tuple[int, ...]


@dataclass(frozen=True)
class Key:
    """A tonic pitch class and a mode."""

    name: str
    tonic: int
    minor: bool

    @property
    def scale(self) -> tuple[int, ...]:
        """The pitch classes of the key, ascending from the tonic."""
        return tuple((self.tonic + step) % 12 for step in (MINOR if self.minor else MAJOR))

    @property
    def degrees(self) -> tuple[int, ...]:
        """The pitch classes of the seven degrees; of a minor key the natural ones."""
        return tuple((self.tonic + step) % 12 for step in (_NATURAL_MINOR if self.minor else MAJOR))

    @property
    def triad(self) -> Chord:
        """The tonic chord."""
        third = 3 if self.minor else 4
        classes = (self.tonic, (self.tonic + third) % 12, (self.tonic + 7) % 12)
        return Chord(self.name, self.tonic, self.tonic, classes)


C_MAJOR = Key("C major", 0, False)


def parse_chord(text: str, key: Key | None = None) -> Chord:
    """A chord symbol such as C, F#m, Bb7 or D/F#, or a Roman numeral such as ii7 or V in `key` (C major for None).

    Raises UserError with the nearest known quality.
    """
    if re.match(_NUMERAL, text.strip(), re.IGNORECASE):
        return _parse_numeral(text.strip(), key or C_MAJOR)
    match = re.fullmatch(r"([A-Ga-g])(##|bb|[#b♯♭]?)([^/]*)(?:/([A-Ga-g](?:##|bb|[#b♯♭]?)))?", text.strip())
    if not match:
        raise UserError(
            f"chords={text!r}: no chord symbol; write a root A-G with # or b, such as C, F#m, Bb7 or D/F#, or a "
            "Roman numeral, such as ii7 or V"
        )
    letter, accidental, quality, bass = match.groups()
    if quality not in CHORD_INTERVALS:
        near = difflib.get_close_matches(quality, CHORD_INTERVALS, n=1, cutoff=0.0)[0]
        known = ", ".join(name for name in CHORD_INTERVALS if name)
        raise UserError(
            f"chords: {text!r} has the unknown quality {quality!r} (nearest: {letter}{accidental}{near}); "
            f"known: none (major), {known}"
        )
    root = pitch_class(letter + accidental)
    classes = tuple((root + interval) % 12 for interval in CHORD_INTERVALS[quality])
    return Chord(text.strip(), root, pitch_class(bass) if bass else root, classes)


def _parse_numeral(text: str, key: Key) -> Chord:
    """A Roman numeral: upper case for a major third, lower case for a minor one.

    A sign before it counts from the major scale of the tonic (bVII is B flat in C major and in C minor); without one,
    degrees are those of the key, in minor the natural ones, but vii° and viiø on the leading note. After it: the
    qualities of chord symbols, or the figures of an inversion (6, 64, 65, 43, 42). V/V: of the degree's own key.
    """
    name, slash, target = text.partition("/")
    match = re.fullmatch(_NUMERAL + "(.*)", name, re.IGNORECASE)
    if match is None or (numeral := match[2]) not in (match[2].upper(), match[2].lower()):
        raise UserError(f"chords: {text!r} is no Roman numeral; write it in upper or in lower case, such as ii7 or V")
    if slash:
        if re.fullmatch(_NUMERAL + ".*", target, re.IGNORECASE) is None:
            raise UserError(f"chords: {text!r}: after the slash comes a degree, such as V/V; write V6 for an inversion")
        goal = _parse_numeral(target, key)
        minor = goal.pitch_classes[1] == (goal.root + 3) % 12
        return replace(_parse_numeral(name, Key(target, goal.root, minor)), name=text)
    accidental, quality, small = match[1], match[3], numeral.islower()
    quality, inversion = _FIGURES.get(quality, (quality, 0))
    quality = _minor_form(quality) if small else quality
    if quality not in CHORD_INTERVALS:
        near = difflib.get_close_matches(quality, CHORD_INTERVALS, n=1, cutoff=0.0)[0]
        raise UserError(f"chords: {text!r} has the unknown quality {match[3]!r} (nearest: {numeral}{near})")
    degree = _NUMERALS.index(numeral.upper())
    if accidental:
        root = key.tonic + MAJOR[degree] + _ACCIDENTALS[accidental]
    elif key.minor and degree == 6 and quality.startswith(("dim", "°", "ø", "m7b5")):
        root = key.tonic + MAJOR[degree]
    else:
        root = key.degrees[degree]
    classes = tuple((root + interval) % 12 for interval in CHORD_INTERVALS[quality])
    return Chord(text, root % 12, classes[inversion], classes)


def _minor_form(quality: str) -> str:
    """The quality that a numeral in lower case means."""
    if quality.startswith(("dim", "°", "ø", "m", "-")) and not quality.startswith("maj"):
        return quality
    return {"": "m", "maj7": "mM7", "M7": "mM7", "7": "m7", "9": "m9"}.get(quality, f"m{quality}")


def parse_chords(text: str, key: Key | None = None) -> tuple[Chord, ...]:
    """Chords separated by spaces, commas, bars or dashes between spaces: "C G Am F", "C | G | Am", "I vi IV V".

    Roman numerals are those of `key`.
    """
    names = [name for name in re.split(r"[\s,|]+", text.strip()) if name and name != "-"]
    if not names:
        raise UserError('chords is empty; write at least one chord, such as chords="C G Am F"')
    return tuple(parse_chord(name, key) for name in names)


def parse_key(text: str) -> Key:
    """A key such as "C", "F# minor", "Bbm", "eb major". Raises UserError for anything else."""
    match = re.fullmatch(
        r"([A-Ga-g])([#b♯♭]?)\s*(maj|major|M|m|min|minor)?", text.strip().replace(":", " ").replace("-", " ").strip()
    )
    if not match:
        raise UserError(f"key={text!r}: no key of that name; write a tonic and a mode, such as C, F# minor or Bbm")
    letter, accidental, mode = match.groups()
    minor = (mode or "").startswith("m") and not (mode or "").startswith("maj")
    name = f"{letter.upper()}{accidental} {'minor' if minor else 'major'}"
    return Key(name, pitch_class(letter + accidental), minor)


def pitch_class(name: str) -> int:
    """0 to 11 for a note name such as C, F# or Bb."""
    return (_LETTERS[name[0].upper()] + _ACCIDENTALS[name[1:]]) % 12


def voice(chord: Chord, ranges: list[tuple[int, int, int]]) -> list[int]:
    """One pitch for each voice (lowest, middle, highest), given from the lowest voice up.

    The lowest voice takes the bass, each further one the chord tone nearest to its middle that is not yet sounding
    and lies above the voice below where that can be; tones that no voice has yet come first.
    """
    pitches: list[int] = []
    missing = list(chord.pitch_classes)
    for index, (lowest, middle, highest) in enumerate(ranges):
        wanted = [chord.bass] if index == 0 else (missing or list(chord.pitch_classes))
        candidates = [pitch for pitch in range(lowest, highest + 1) if pitch % 12 in wanted]
        candidates = candidates or [pitch for pitch in range(lowest, lowest + 12) if pitch % 12 in wanted]
        above = [pitch for pitch in candidates if not pitches or pitch > pitches[-1]]
        pitch = min(above or candidates, key=lambda value: abs(value - middle))
        pitches.append(pitch)
        if pitch % 12 in missing:
            missing.remove(pitch % 12)
    return pitches
