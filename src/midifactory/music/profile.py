"""What a corpus sounds like, in the few numbers that generation takes its defaults from."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from midifactory.music.score import DEFAULT_TEMPO_BPM, UnreadableMidi, load_score, note_arrays

_MAX_FILES = 500  # enough for a median; keeps the start of a run short on a large corpus


def corpus_profile(paths: Sequence[Path]) -> dict[str, Any]:
    """Plain values over at most _MAX_FILES evenly spaced files.

    tempo_bpm: median of the files' first tempos. metre: the commonest first time signature, as "4/4". velocity:
    median. programs: by falling share of notes, each {program (-1 drums), share, lowest, highest, middle} with the
    5th, 95th and 50th percentile of its pitches; only those in at least a tenth of the files.
    """
    step = max(1, len(paths) // _MAX_FILES)
    tempos, velocities, metres = [], [], Counter[str]()
    pitches: dict[int, list[np.ndarray]] = {}
    files_read = 0
    for path in paths[::step]:
        try:
            score = load_score(path)
        except UnreadableMidi:
            continue
        files_read += 1
        tempos.append(score.tempos[0].qpm if len(score.tempos) else DEFAULT_TEMPO_BPM)
        signature = score.time_signatures[0] if len(score.time_signatures) else None
        metres[f"{signature.numerator}/{signature.denominator}" if signature else "4/4"] += 1
        notes = note_arrays(score)
        velocities.append(float(np.median(notes["velocity"])))
        for program in np.unique(notes["program"]):
            pitches.setdefault(int(program), []).append(notes["pitch"][notes["program"] == program])
    total = sum(len(part) for parts in pitches.values() for part in parts)
    programs = []
    for program, parts in pitches.items():
        if len(parts) * 10 < files_read:
            continue
        lowest, middle, highest = np.percentile(np.concatenate(parts), [5, 50, 95])
        programs.append(
            {
                "program": program,
                "share": round(sum(map(len, parts)) / total, 4),
                "lowest": int(lowest),
                "middle": int(middle),
                "highest": int(highest),
            }
        )
    programs.sort(key=lambda row: (-row["share"], row["program"]))
    return {
        "tempo_bpm": float(np.median(tempos)) if tempos else DEFAULT_TEMPO_BPM,
        "metre": metres.most_common(1)[0][0] if metres else "4/4",
        "velocity": int(np.median(velocities)) if velocities else 80,
        "programs": programs,
    }
