"""How a piece starts when no prompt file is given: each style is a small class and a YAML in conf/style."""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from symusic import Note, Score, Tempo, TimeSignature, Track

from midifactory.errors import UserError
from midifactory.generation.wishes import Wishes, parse_metre
from midifactory.music.ranges import playable_range
from midifactory.music.theory import C_MAJOR, Chord, parse_chords, voice
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.tokens.walk import Controls

TICKS = 480  # per quarter note, of the scores made here
_PITCHED = ("Pitch_", "NoteOn_")  # how the tokens of pitches begin, those of drums aside
_OCTAVE = 12


@dataclass(frozen=True)
class ForcedNote:
    """A note that is to begin at the bar line: its ids, and those that say so first where nothing else did."""

    program: int
    pitch: int
    ids: tuple[int, ...]
    lead: tuple[int, ...]


@dataclass
class Opening:
    """What the engine starts from.

    prompt: ids with BOS first. closing: ids forced after it. downbeats: see guide.MusicGuide. bars_before,
    seconds_before: how much of it is a prompt file's and does not count in the length asked for. not_before: the
    walk's tick before which the model adds no note. end_tick: where a prompt file's part ends in the finished Score.
    wish: makes what else is wished of a row, a guide.Wish.
    """

    prompt: list[int]
    controls: Controls
    closing: list[int] = field(default_factory=list)
    downbeats: Callable[[int], Sequence[ForcedNote]] | None = None
    bars_before: int = 0
    seconds_before: float = 0.0
    not_before: int = 0
    end_tick: int = 0
    wish: Callable[[], Any] | None = None


class Style(ABC):
    """Turns wishes into an opening."""

    takes_chords = False

    @abstractmethod
    def opening(self, wishes: Wishes, tokenizer: Tokenizer) -> Opening:
        """The opening under `wishes`; UserError where they cannot be met."""


class Free(Style):
    """The model starts by itself, in the tempo and metre asked."""

    def opening(self, wishes: Wishes, tokenizer: Tokenizer) -> Opening:
        """BOS, and with a tempo or metre the first bar's head, where the tokens have one."""
        prompt = [tokenizer.bos_id]
        if wishes.tempo_bpm is not None or wishes.metre is not None:
            prompt += piece_head(tokenizer, wishes)
        return Opening(prompt, Controls(metre=wishes.metre, keep_tempo=wishes.tempo_bpm is not None))


class Chords(Style):
    """The first bar sounds the first chord, each later bar begins with the progression's next one.

    chords: symbols, or Roman numerals in the key that is asked (C major where none is); minor_chords: those of a minor
    key, None for the same.
    """

    takes_chords = True

    def __init__(self, chords: str = "I V vi IV", minor_chords: str | None = None):
        self.chords, self.minor_chords = chords, minor_chords

    def opening(self, wishes: Wishes, tokenizer: Tokenizer) -> Opening:
        """A held chord in bar 1, closed, and one beat of the bar's chord in each following bar."""
        progression = chords_asked(wishes, self.chords, self.minor_chords)
        wishes = settled(wishes, tokenizer)
        numerator, denominator = parse_metre(wishes.metre)
        beat = TICKS * 4 // denominator
        voices = chord_voices(wishes.profile, wishes.programs)
        rooms = [room(wishes, program, tokenizer) for program, _ in voices]
        first = chord_notes(progression[0], voices, beat * numerator, rooms)
        groups = [
            [forced_note(tokenizer, wishes, *note) for note in chord_notes(chord, voices, beat, rooms)]
            for chord in progression
        ]
        controls = Controls(metre=wishes.metre, keep_tempo=True, every_bar=True)
        return one_bar(tokenizer, wishes, first, controls, lambda bar: groups[bar % len(groups)])


class Melody(Style):
    """One voice, one note at a time, starting on the key's first degrees."""

    def __init__(self, program: int | None = None, degrees: Sequence[int] = (1, 2, 3, 5)):
        self.program, self.degrees = program, degrees

    def opening(self, wishes: Wishes, tokenizer: Tokenizer) -> Opening:
        """A bar of `degrees` in quarter notes on the corpus' highest voice, or on `program`."""
        wishes = settled(wishes, tokenizer)
        numerator, denominator = parse_metre(wishes.metre)
        row = program_row(wishes, self.program, highest=True)
        scale = (wishes.key or C_MAJOR).degrees
        if not self.degrees or any(degree not in range(1, 8) for degree in self.degrees):
            raise UserError(f"style.degrees={list(self.degrees)}: give scale degrees from 1 to 7")
        beat = TICKS * 4 // denominator
        tonic = nearest_pitch(scale[0], row["middle"] - 4)
        degrees = [self.degrees[index % len(self.degrees)] - 1 for index in range(numerator)]
        pitches = [tonic + (scale[degree] - scale[0]) % 12 for degree in degrees]
        notes = [
            (row["program"], Note(index * beat, beat, pitch, wishes.profile["velocity"]))
            for index, pitch in enumerate(moved_into(room(wishes, row["program"], tokenizer), pitches))
        ]
        controls = Controls(wishes.metre, True, programs=(row["program"],), polyphony=1, every_bar=True)
        return one_bar(tokenizer, wishes, notes, controls)


class Arpeggio(Style):
    """The key's tonic chord broken in eighth notes, then the model on the same program."""

    def __init__(self, program: int | None = None):
        self.program = program

    def opening(self, wishes: Wishes, tokenizer: Tokenizer) -> Opening:
        """A bar of the tonic chord up and down, on the corpus' main program or on `program`."""
        wishes = settled(wishes, tokenizer)
        numerator, denominator = parse_metre(wishes.metre)
        row = program_row(wishes, self.program, highest=False)
        chord = (wishes.key or C_MAJOR).triad
        root = nearest_pitch(chord.root, row["middle"] - 6)
        up = [root + (value - chord.root) % 12 for value in chord.pitch_classes] + [root + 12]
        shape = moved_into(room(wishes, row["program"], tokenizer), up + up[-2:0:-1])
        step = TICKS // 2
        count = TICKS * 4 * numerator // denominator // step
        notes = [
            (row["program"], Note(index * step, step, shape[index % len(shape)], wishes.profile["velocity"]))
            for index in range(count)
        ]
        controls = Controls(wishes.metre, True, programs=(row["program"],), every_bar=True)
        return one_bar(tokenizer, wishes, notes, controls)


class Harmonise(Style):
    """A melody in the key's degrees, a chord under each of its notes: see `HARMONY` for which, unless they are given.

    degrees: a note for each beat of the first bar, and one on each later downbeat, over again.
    """

    takes_chords = True

    def __init__(self, degrees: Sequence[int] = (1, 2, 3, 4, 5, 6, 7, 1), chords: str | None = None):
        self.degrees, self.chords = degrees, chords

    def opening(self, wishes: Wishes, tokenizer: Tokenizer) -> Opening:
        """The melody on the highest voice, from the fourth below the middle of its range up, chords in the others."""
        if not self.degrees or any(degree not in range(1, 8) for degree in self.degrees):
            raise UserError(f"style.degrees={list(self.degrees)}: give scale degrees from 1 to 7")
        key = wishes.key or C_MAJOR
        own = HARMONY_MINOR if key.minor else HARMONY
        given = wishes.chords or self.chords
        chords = parse_chords(given or " ".join(own[degree - 1] for degree in self.degrees), key)
        wishes = settled(wishes, tokenizer)
        numerator, denominator = parse_metre(wishes.metre)
        beat = TICKS * 4 // denominator
        voices = chord_voices(wishes.profile, wishes.programs)
        rooms = [room(wishes, program, tokenizer) for program, _ in voices]
        program, (_, middle, _) = voices[-1]
        classes = [key.degrees[degree - 1] for degree in self.degrees]
        lowest = nearest_pitch(key.tonic, middle - 4)
        tune = moved_into(rooms[-1], [lowest + (value - key.tonic) % _OCTAVE for value in classes])

        def sung(number: int, tick: int) -> list[tuple[int, Note]]:
            pitch = tune[number % len(tune)]
            below = chord_notes(chords[number % len(chords)], voices[:-1], beat, rooms[:-1])
            # What would lie over the melody, or on it, goes an octave down, where that is in its room.
            placed = {(other, _below(note.pitch, pitch)): note.velocity for other, note in below}
            placed.pop((program, pitch), None)
            notes = [(other, Note(tick, beat, value, velocity)) for (other, value), velocity in placed.items()]
            return [*notes, (program, Note(tick, beat, pitch, wishes.profile["velocity"]))]

        first = [note for index in range(numerator) for note in sung(index, index * beat)]
        count = len(self.degrees)
        groups = [
            [forced_note(tokenizer, wishes, *note) for note in sung(numerator - 1 + bar, 0)] for bar in range(count)
        ]
        controls = Controls(metre=wishes.metre, keep_tempo=True, every_bar=True)
        return one_bar(tokenizer, wishes, first, controls, lambda bar: groups[bar % count])


# The chord that each degree of a melody gets.
HARMONY = ("I", "V", "I", "IV", "I", "IV", "V")
HARMONY_MINOR = ("i", "V", "i", "iv", "i", "iv", "VII")


def _below(pitch: int, limit: int) -> int:
    """A pitch moved down by octaves until it lies below `limit`."""
    return pitch if pitch < limit else pitch - _OCTAVE * ((pitch - limit) // _OCTAVE + 1)


def settled(wishes: Wishes, tokenizer: Tokenizer) -> Wishes:
    """The wishes with the corpus' tempo and metre where none was asked; 4/4 for a tokenizer without metres."""
    usual = wishes.profile["metre"] if "TimeSig" in tokenizer.types else "4/4"
    return replace(
        wishes,
        tempo_bpm=wishes.tempo_bpm if wishes.tempo_bpm is not None else wishes.profile["tempo_bpm"],
        metre=wishes.metre or usual,
    )


def check_metre(tokenizer: Tokenizer, metre: str) -> None:
    """Raise UserError for a metre that the tokenizer does not know."""
    parse_metre(metre)
    names = [name.removeprefix("TimeSig_") for name in tokenizer.tokens if name.startswith("TimeSig_")]
    if not names and metre != "4/4":
        raise UserError(f"metre={metre}: this model's tokens have no metres, all its bars are 4/4; leave it out")
    if names and metre not in names:
        near = difflib.get_close_matches(metre, names, n=1, cutoff=0.0)[0]
        raise UserError(f"metre={metre}: this model knows {', '.join(names)} (nearest: {near})")


def bar_head(tokenizer: Tokenizer, metre: str) -> list[int]:
    """The ids that open a bar; none where bars have no tokens. Raises UserError for an unknown metre."""
    check_metre(tokenizer, metre)
    if "Bar" not in tokenizer.types:
        return []
    head = [tokenizer.tokens.index("Bar_None")]
    return head + ([tokenizer.tokens.index(f"TimeSig_{metre}")] if "TimeSig" in tokenizer.types else [])


def piece_head(tokenizer: Tokenizer, wishes: Wishes) -> list[int]:
    """The ids after BOS that tell metre and tempo, as far as there are such tokens at the start of a row."""
    metre = settled(wishes, tokenizer).metre or "4/4"
    check_metre(tokenizer, metre)
    if not tokenizer.monotonic or not {"TimeSig", "Tempo"} & set(tokenizer.types):
        return []
    tempo = [] if wishes.tempo_bpm is None else tempo_tokens(tokenizer, wishes.tempo_bpm)
    if "Bar" in tokenizer.types:
        return bar_head(tokenizer, metre) + ([tokenizer.tokens.index("Position_0"), *tempo] if tempo else [])
    return ([tokenizer.tokens.index(f"TimeSig_{metre}")] if "TimeSig" in tokenizer.types else []) + tempo


def tempo_tokens(tokenizer: Tokenizer, tempo_bpm: float) -> list[int]:
    """The nearest tempo token; nothing where the tokenizer has no tempo."""
    tempos = [name for name in tokenizer.tokens if name.startswith("Tempo_")]
    if not tempos:
        return []
    nearest = min(tempos, key=lambda name: abs(float(name.removeprefix("Tempo_")) - tempo_bpm))
    return [tokenizer.tokens.index(nearest)]


def one_bar(
    tokenizer: Tokenizer,
    wishes: Wishes,
    notes: Sequence[tuple[int, Note]],
    controls: Controls,
    downbeats: Callable[[int], Sequence[ForcedNote]] | None = None,
) -> Opening:
    """An opening of one bar, closed: the model begins at the next bar line."""
    metre = wishes.metre or "4/4"
    numerator, denominator = parse_metre(metre)
    bar_quarters = 4 * numerator / denominator
    head = bar_head(tokenizer, metre)
    ids = tokenizer.to_model_ids(encode_notes(tokenizer, wishes, notes)).tolist()
    not_before = 0 if head else round(bar_quarters * tokenizer.miditok.time_division)
    return Opening(ids, controls, head, downbeats, not_before=not_before)


def encode_notes(tokenizer: Tokenizer, wishes: Wishes, notes: Sequence[tuple[int, Note]]) -> list[int]:
    """One bar of (program, note) as a prompt: BOS, bar, metre, tempo, notes."""
    numerator, denominator = parse_metre(wishes.metre)
    score = Score(TICKS)
    score.tempos.append(Tempo(0, wishes.tempo_bpm or 120.0))
    score.time_signatures.append(TimeSignature(0, numerator, denominator))
    tracks: dict[int, Track] = {}
    for program, note in notes:
        if program not in tracks:
            tracks[program] = Track(program=max(0, program), is_drum=program < 0)
        tracks[program].notes.append(note)
    for track in tracks.values():
        score.tracks.append(track)
    return tokenizer.encode(score).ids[:-1].tolist()


def forced_note(tokenizer: Tokenizer, wishes: Wishes, program: int, note: Note) -> ForcedNote:
    """A note at tick 0 of a bar as the ids that tell it."""
    told = {"BOS", "Bar", "TimeSig", "Tempo"}
    ids = [token for token in encode_notes(tokenizer, wishes, [(program, note)]) if tokenizer.types[token] not in told]
    begin = next(index for index, token in enumerate(ids) if tokenizer.types[token] == "Program")
    # In MIDI-like tokens the model ends the note itself.
    end = next((i for i in range(begin, len(ids)) if tokenizer.types[ids[i]] in {"TimeShift", "Rest"}), len(ids))
    return ForcedNote(program, note.pitch, tuple(tokenizer.to_model_ids(ids[begin:end]).tolist()), tuple(ids[:begin]))


def chords_asked(wishes: Wishes, chords: str, minor_chords: str | None) -> tuple[Chord, ...]:
    """The progression of the wishes, else the style's own, numerals in the key that is asked."""
    own = minor_chords if minor_chords and wishes.key is not None and wishes.key.minor else chords
    return parse_chords(wishes.chords or own, wishes.key)


def rows_of(profile: dict[str, Any], programs: Sequence[int]) -> list[dict[str, Any]]:
    """The profile's rows of `programs`; for those that it does not have, what the instruments can play."""
    known = {row["program"]: row for row in profile["programs"]}
    return [known.get(program) or _row_of_instrument(program) for program in programs]


def _row_of_instrument(program: int) -> dict[str, Any]:
    low, high = playable_range(program) if program >= 0 else (36, 60)
    lowest, highest = low + (high - low) // 4, high - (high - low) // 4
    return {"program": program, "share": 0.0, "lowest": lowest, "middle": (low + high) // 2, "highest": highest}


def program_row(wishes: Wishes, program: int | None, highest: bool) -> dict[str, Any]:
    """The profile's row of `program`, else of the highest or the commonest pitched program: of those asked, if any."""
    if program is not None:
        if not -1 <= program <= 127:
            raise UserError(f"style.program={program}: give a General MIDI program from 0 to 127, or -1 for drums")
        return rows_of(wishes.profile, [program])[0]
    rows = pitched_rows(wishes.profile, wishes.programs)
    if not rows:
        return {"program": 0, "share": 1.0, "lowest": 48, "middle": 64, "highest": 84}
    return max(rows, key=lambda row: row["middle"]) if highest else rows[0]


def pitched_rows(profile: dict[str, Any], programs: Sequence[int] | None) -> list[dict[str, Any]]:
    """The profile's rows but for drums; with `programs` theirs. Raises UserError where these are drums alone."""
    if programs is None:
        return [row for row in profile["programs"] if row["program"] >= 0]
    rows = rows_of(profile, [program for program in programs if program >= 0])
    if not rows:
        raise UserError("instruments: this style needs an instrument with pitches; add one, or set style=drums")
    return rows


def chord_voices(
    profile: dict[str, Any], programs: Sequence[int] | None = None
) -> list[tuple[int, tuple[int, int, int]]]:
    """(program, (lowest, middle, highest)) per voice of a chord, from the lowest up.

    A corpus of three or more pitched programs gets one voice on each of its commonest four; any other four voices
    on its main program. Where `programs` are asked these play: of two the lower one takes the bass.
    """
    rows = pitched_rows(profile, programs)
    if programs is None:
        rows = [row for row in rows if row["share"] >= 0.1]
    if len(rows) >= 3:
        rows = sorted(rows[:4], key=lambda row: row["middle"])
        return [(row["program"], (row["lowest"], row["middle"], row["highest"])) for row in rows]
    if programs is None:
        rows = pitched_rows(profile, None)[:1] or [{"program": 0, "lowest": 48, "middle": 64, "highest": 84}]
    rows = sorted(rows, key=lambda row: row["middle"])
    bass, row = rows[0], rows[-1]
    low, middle = row["lowest"], row["middle"]
    ranges = [(low, min(low + 7, middle), max(middle, low + 12))]
    ranges += [(middle - 8 + 4 * i, middle - 3 + 4 * i, middle + 4 + 4 * i) for i in range(3)]
    voices = [(row["program"], bounds) for bounds in ranges]
    if bass is not row:
        voices[0] = (bass["program"], (bass["lowest"], bass["middle"], bass["highest"]))
    return voices


def room(wishes: Wishes, program: int, tokenizer: Tokenizer) -> tuple[int, int] | None:
    """Lowest and highest pitch of what a style itself writes on a program; None where nothing binds it.

    That is the program's range, as far as the tokenizer has its pitches. It is widened to an octave where it is
    narrower: a chord or a degree that was asked for sounds in any case, as near to the range as can be.
    """
    bounds = None if program < 0 else wishes.program_ranges.get(program, wishes.pitch_range)
    if bounds is None:
        return None
    known = [int(name.partition("_")[2]) for name in tokenizer.tokens if name.startswith(_PITCHED)]
    low, high = max(bounds[0], min(known)), min(bounds[1], max(known))
    if low > high:
        return None
    missing = max(0, _OCTAVE - 1 - (high - low))
    low = max(min(known), min(low - missing // 2, max(known) - _OCTAVE + 1)) if missing else low
    return low, max(high, low + _OCTAVE - 1)


def moved_into(bounds: tuple[int, int] | None, pitches: Sequence[int]) -> list[int]:
    """`pitches` moved by octaves to lie within `bounds`: all alike where they fit, else each by itself."""
    if bounds is None:
        return list(pitches)
    low, high = bounds
    for shift in sorted(range(-10 * _OCTAVE, 11 * _OCTAVE, _OCTAVE), key=abs):
        if low <= min(pitches) + shift and max(pitches) + shift <= high:
            return [pitch + shift for pitch in pitches]
    inside = range(low, high + 1)
    return [
        min((other for other in inside if (other - pitch) % _OCTAVE == 0), key=lambda other: abs(other - pitch))
        for pitch in pitches
    ]


def chord_notes(
    chord: Chord,
    voices: Sequence[tuple[int, tuple[int, int, int]]],
    duration_ticks: int,
    rooms: Sequence[tuple[int, int] | None],
) -> list[tuple[int, Note]]:
    """The chord at tick 0, one note per voice in its room; equal pitches on one program once."""
    pitches = voice(chord, [bounds for _, bounds in voices])
    if any(bounds and not bounds[0] <= pitch <= bounds[1] for pitch, bounds in zip(pitches, rooms, strict=True)):
        moved = [_voice_in(bounds, wanted) for (_, wanted), bounds in zip(voices, rooms, strict=True)]
        # The bass keeps an octave above itself free for the others, where there is one.
        lowest, middle, highest = moved[0]
        moved[0] = (lowest, max(lowest, min(middle, highest - _OCTAVE)), highest)
        pitches = voice(chord, moved)
    placed = dict.fromkeys((program, pitch) for (program, _), pitch in zip(voices, pitches, strict=True))
    return [(program, Note(0, duration_ticks, pitch, 80)) for program, pitch in placed]


def _voice_in(bounds: tuple[int, int] | None, wanted: tuple[int, int, int]) -> tuple[int, int, int]:
    """A voice's (lowest, middle, highest) brought into bounds of an octave or more, with an octave left to it."""
    if bounds is None:
        return wanted
    low = max(bounds[0], min(wanted[0], bounds[1] - _OCTAVE + 1))
    high = min(bounds[1], max(wanted[2], low + _OCTAVE - 1))
    return low, max(low, min(wanted[1], high)), high


def nearest_pitch(pitch_class: int, around: int) -> int:
    """The MIDI pitch of a pitch class that lies nearest to `around`."""
    return min((pitch for pitch in range(128) if pitch % 12 == pitch_class), key=lambda pitch: abs(pitch - around))
