"""Finished pieces as answers: JSON notes, a MIDI file, sound or a picture, by what the client accepts."""

import base64
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from midifactory.music.joining import program_of
from midifactory.music.originality import Originality
from midifactory.music.scan import printable
from midifactory.music.score import bar_count, cut, duration_seconds, note_arrays, save_score, seconds_at
from midifactory.render.audio import save_wav
from midifactory.render.pianoroll import save_pianoroll
from midifactory.serve.asking import Result, Task
from midifactory.serve.problems import Problem
from midifactory.serve.reading import metres_of, tempos_of
from midifactory.serve.shelf import Progress, Served

JSON, MIDI, WAV, PNG = "application/json", "audio/midi", "audio/wav", "image/png"
FORMS = (JSON, MIDI, WAV, PNG)
_ALIASES = {"audio/x-midi": MIDI, "audio/mid": MIDI, "audio/x-wav": WAV, "audio/wave": WAV, "audio/vnd.wave": WAV}
_drawing = threading.Lock()  # matplotlib's caches are one thread's at a time


def form_of(accept: str | None, forms: Sequence[str] = FORMS) -> str:
    """The form that an Accept header prefers, the first of `forms` where it does not care. Raises Problem for none."""
    best, quality = None, 0.0
    for part in (accept or "*/*").split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        name = _ALIASES.get(name, name)
        fits = [form for form in forms if name in (form, "*/*", form.partition("/")[0] + "/*")]
        if fits and weight > quality:
            best, quality = fits[0], weight
    if best is None:
        known = ", ".join(forms)
        raise Problem(
            406, f"Accept={str(accept)[:100]}: answers are {known}; accept one of them", str(accept)[:100], known,
            "accept one of them", "Accept",
        )  # fmt: skip
    return best


def piece_json(result: Result, sample: int, originality: Originality | None, truncated: bool) -> dict[str, Any]:
    """A piece as plain values, see schema.Piece."""
    score = result.score
    notes, quarter = note_arrays(score), score.ticks_per_quarter
    ends = notes["onset"] + notes["duration"]
    begin_seconds, end_seconds = seconds_at(score, notes["onset"]), seconds_at(score, ends)
    columns = {
        "program": notes["program"],
        "pitch": notes["pitch"],
        "velocity": notes["velocity"],
        "onset_beats": notes["onset"] / quarter,
        "duration_beats": notes["duration"] / quarter,
        "onset_seconds": np.round(begin_seconds, 6),
        "duration_seconds": np.round(end_seconds - begin_seconds, 6),
        "track": notes["track"],
    }
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    report = None
    if originality is not None:
        start, end = result.region or (result.prompt_end_tick, None)
        report = originality.of(score if end is None else cut(score, end), start).to_dict()
    return {
        "sample": sample,
        "bars": bar_count(score),
        "seconds": round(duration_seconds(score), 6),
        "notes": [dict(zip(columns, row, strict=True)) for row in rows],
        "tempos": tempos_of(score),
        "metres": metres_of(score),
        "tracks": [{"name": printable(track.name)[:200], "program": program_of(track)} for track in score.tracks],
        "prompt_end_beats": result.prompt_end_tick / quarter,
        "new_beats": None if result.region is None else [tick / quarter for tick in result.region],
        "originality": report,
        "truncated": truncated,
        "midi": base64.b64encode(score.dumps_midi()).decode("ascii"),
    }


def rendered(result: Result, form: str, most_seconds: float) -> bytes:
    """A piece as a file. Raises Problem for one without notes, or too long to be rendered."""
    score = result.score
    if form == MIDI:
        return score.dumps_midi()
    if score.note_num() == 0:
        raise Problem(422, "the piece has 0 notes: there is nothing to hear or to see; take another seed", 0, 1)
    seconds = duration_seconds(score)
    if form == WAV and seconds > most_seconds:
        raise Problem(
            422, f"seconds={seconds:.0f}: sound is rendered up to {most_seconds:g} seconds; ask for audio/midi",
            *(round(seconds), most_seconds, "ask for audio/midi", "seconds"),
        )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="midifactory-") as folder:
        midi, made = Path(folder, "piece.mid"), Path(folder, "piece.wav" if form == WAV else "piece.png")
        if form == WAV:
            save_score(score, midi)
            save_wav(midi, made)
        else:
            with _drawing:
                save_pianoroll(score, made, None, result.prompt_end_tick or None, result.region)
        return made.read_bytes()


def pieces_json(served: Served, task: Task, progress: Progress, results: Sequence[Result]) -> dict[str, Any]:
    """What was composed, see schema.Pieces."""
    return {
        "model": served.name,
        "seed": task.seed,
        "tokens": progress.tokens,
        "said": task.said,
        "pieces": [
            piece_json(result, number, served.originality, number - 1 in progress.cut)
            for number, result in enumerate(results, start=1)
        ],
    }
