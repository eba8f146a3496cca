"""Names of instruments, and the General MIDI programs they mean (-1 for drums)."""

import difflib
from collections.abc import Sequence

import pretty_midi
from symusic import Track

from midifactory.errors import UserError

DRUMS = -1


def parse_instruments(names: Sequence[str | int], preferred: Sequence[int] = ()) -> tuple[int, ...]:
    """The program of each name: a number from 0 to 127, -1 or "drums", a General MIDI name, or a part of one.

    Of several that a part fits, the first of `preferred` is meant, else the one with the lowest number. Raises
    UserError for a name that fits none, with the nearest one.
    """
    return tuple(dict.fromkeys(_parse_instrument(name, preferred) for name in names))


def _parse_instrument(name: str | int, preferred: Sequence[int]) -> int:
    if isinstance(name, int):
        if not DRUMS <= name <= 127:
            raise UserError(f"instruments: {name} is no program; give 0 to 127, or -1 for drums")
        return name
    wanted = name.strip().lower()
    if wanted in {"drums", "drum", "percussion"}:
        return DRUMS
    known = [known.lower() for known in pretty_midi.INSTRUMENT_MAP]
    families = [family.lower() for family in pretty_midi.INSTRUMENT_CLASSES]  # of eight programs each
    fitting = [program for program in range(128) if wanted == known[program]]
    fitting = fitting or [program for program in range(128) if wanted == families[program // 8]]
    fitting = fitting or [program for program in range(128) if wanted and wanted in known[program]]
    if not fitting:
        near = difflib.get_close_matches(wanted, [*families, *known, "drums"], n=1, cutoff=0.0)[0]
        raise UserError(
            f"instruments: {name!r} is no General MIDI name (nearest: {near}); or give its program, 0 to 127"
        )
    return next((program for program in preferred if program in fitting), fitting[0])


def listed(text: object) -> list[str]:
    """The words of a free text that is a list, in brackets or not: `Acoustic Bass, 3` and `[Acoustic Bass, 3]`."""
    return [part.strip().strip("'\"") for part in str(text).strip().strip("[]").split(",")]


def track_label(track: Track) -> str:
    """The track's name, else the General MIDI name of its program, in at most 32 printable characters."""
    name = "".join(letter if letter.isprintable() else " " for letter in track.name)
    name = " ".join(name.split())
    if not name:
        name = "Drums" if track.is_drum else pretty_midi.program_to_instrument_name(min(127, max(0, track.program)))
    return name if len(name) <= 32 else name[:31] + "…"
