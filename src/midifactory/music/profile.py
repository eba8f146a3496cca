"""What a corpus sounds like, in the few numbers that generation takes its defaults from."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from symusic import Score

from midifactory.music.score import DEFAULT_TEMPO_BPM, Limits, UnreadableMidi, load_score, note_arrays

_MAX_FILES = 500  # enough for a median; keeps the start of a run short on a large corpus
# A tessitura leaves out the outermost notes up to this share at either end: one stray key-switch or a slip of a
# transcription among thousands of notes would otherwise open an octave that nobody plays in.
_STRAY_SHARE = 0.00025
# With fewer notes a program's own range says little, and generation gives it the whole corpus' range.
_FEW_NOTES = 100


@dataclass
class ProfileTally:
    """Counts over scores from which a profile is made; tallies of parts of a corpus can be merged.

    `pitches` holds (128,) counts of notes by program, -1 for drums; `files_with` the files by program.
    """

    files: int = 0
    tempos_bpm: list[float] = field(default_factory=list)
    velocities: list[float] = field(default_factory=list)
    metres: Counter[str] = field(default_factory=Counter)
    files_with: Counter[int] = field(default_factory=Counter)
    pitches: dict[int, np.ndarray] = field(default_factory=dict)

    def add(self, score: Score) -> None:
        """Count one score, which has notes."""
        notes = note_arrays(score)
        tempo_bpm = float(score.tempos[0].qpm) if len(score.tempos) else DEFAULT_TEMPO_BPM
        signature = score.time_signatures[0] if len(score.time_signatures) else None
        pitches = {
            int(program): np.bincount(notes["pitch"][notes["program"] == program], minlength=128)
            for program in np.unique(notes["program"])
        }
        self.merge(
            ProfileTally(
                1,
                # Zero microseconds per quarter note is no tempo, and JSON has no infinity.
                [tempo_bpm if math.isfinite(tempo_bpm) else DEFAULT_TEMPO_BPM],
                [float(np.median(notes["velocity"]))],
                Counter([f"{signature.numerator}/{signature.denominator}" if signature else "4/4"]),
                Counter(pitches.keys()),
                pitches,
            )
        )

    def merge(self, other: "ProfileTally") -> None:
        """Add the counts of `other`."""
        self.files += other.files
        self.tempos_bpm += other.tempos_bpm
        self.velocities += other.velocities
        self.metres.update(other.metres)
        self.files_with.update(other.files_with)
        for program, counts in other.pitches.items():
            self.pitches[program] = self.pitches.get(program, 0) + counts

    def profile(self) -> dict[str, Any]:
        """Plain values.

        tempo_bpm: median of the files' first tempos. metre: the commonest first time signature, as "4/4". velocity:
        median of the files' medians. programs: by falling share of notes, each {program (-1 drums), share, lowest,
        highest, middle} with the 5th, 95th and 50th percentile of its pitches; only those in at least a tenth of the
        files. tessitura: {lowest, highest, programs}, see `tessitura`; None without pitched notes.
        """
        total = sum(int(counts.sum()) for counts in self.pitches.values())
        programs = []
        for program, counts in self.pitches.items():
            if self.files_with[program] * 10 < self.files:
                continue
            lowest, middle, highest = (_quantile(counts, share) for share in (0.05, 0.5, 0.95))
            programs.append(
                {
                    "program": program,
                    "share": round(int(counts.sum()) / total, 4),
                    "lowest": lowest,
                    "middle": middle,
                    "highest": highest,
                }
            )
        programs.sort(key=lambda row: (-row["share"], row["program"]))
        return {
            "tempo_bpm": float(np.median(self.tempos_bpm)) if self.files else DEFAULT_TEMPO_BPM,
            "metre": self.metres.most_common(1)[0][0] if self.files else "4/4",
            "velocity": int(np.median(self.velocities)) if self.files else 80,
            "programs": programs,
            "tessitura": self._tessitura(),
        }

    def _tessitura(self) -> dict[str, Any] | None:
        pitched = {program: counts for program, counts in sorted(self.pitches.items()) if program >= 0}
        if not pitched:
            return None
        lowest, highest = _range(np.sum(list(pitched.values()), axis=0))
        rows = [
            dict(zip(("program", "lowest", "highest"), (program, *_range(counts)), strict=True))
            for program, counts in pitched.items()
            if counts.sum() >= _FEW_NOTES
        ]
        return {"lowest": lowest, "highest": highest, "programs": rows}


def corpus_profile(paths: Sequence[Path], limits: Limits | None = None) -> dict[str, Any]:
    """The profile (`ProfileTally.profile`) of at most 500 evenly spaced files.

    Files that cannot be read, or are beyond `limits`, do not count.
    """
    tally = ProfileTally()
    for path in paths[:: max(1, -(-len(paths) // _MAX_FILES))]:
        try:
            tally.add(load_score(path, limits))
        except UnreadableMidi:
            continue
    return tally.profile()


def tessitura(profile: dict[str, Any]) -> tuple[tuple[int, int] | None, dict[int, tuple[int, int]]]:
    """(lowest, highest) MIDI pitch of all pitched notes of a profile's corpus, and of each program with enough notes.

    Up to 0.025 % of the notes at either end are taken for strays and left out: with fewer than 4,000 notes none. A
    program of fewer than 100 notes has no range of its own. None and no programs for a profile without tessitura:
    those of older checkpoints, and of drums alone.
    """
    found = profile.get("tessitura")
    if not found:
        return None, {}
    programs = {row["program"]: (row["lowest"], row["highest"]) for row in found["programs"]}
    return (found["lowest"], found["highest"]), programs


def _range(counts: np.ndarray) -> tuple[int, int]:
    strays = int(counts.sum() * _STRAY_SHARE)
    low = np.searchsorted(np.cumsum(counts), strays, side="right")
    high = len(counts) - 1 - np.searchsorted(np.cumsum(counts[::-1]), strays, side="right")
    return int(low), int(high)


def _quantile(counts: np.ndarray, share: float) -> int:
    """The pitch at or just below which `share` of the notes lie."""
    return int(np.searchsorted(np.cumsum(counts), int(share * (counts.sum() - 1)), side="right"))
