"""Notes as rows of numbers instead of tokens, after djalgo's djai: the codec, the scaler, and rows on disk.

Legend: N notes, F = 5 + num_instruments columns, K bins. The columns are FEATURES (in beats where `time_unit` says
so), then one column per instrument, 1.0 for the note's and 0.0 for the others.

`offset` is what music21 (and djalgo) call so: the note's onset from the start of the piece, not its end.
"""

import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from symusic import Note, Score, Tempo, Track
from tqdm import tqdm

from midifactory import files
from midifactory.errors import UserError
from midifactory.music.score import DEFAULT_TEMPO_BPM, Limits, UnreadableMidi, load_score, note_arrays, seconds_at

FORMAT = 1  # raise it when the meaning of the numbers changes: old builds are then made anew
FEATURES = ("pitch", "duration_s", "offset_s", "time_delta_s", "velocity")
_PITCH, _DURATION, _OFFSET, _TIME_DELTA, _VELOCITY = range(5)
# What a model foretells of a note, and may weigh.
HEADS = ("pitch", "duration", "offset", "time_delta", "velocity", "track")
DRUMS = -1


@dataclass(frozen=True)
class NoteCodec:
    """A Score as notes in rows, and back. Raises UserError for settings outside their limits.

    num_instruments: the columns of the one-hot track. A note's instrument is the index of its track among the tracks
    with notes, or, where `programs` is given, the index of its program there (-1 drums); what is beyond the last
    is folded into it. time_unit: "seconds" or "beats" (quarter notes). ticks_per_quarter: the grid of `to_score`,
    whose tempo is 120 bpm. sequence_length_i, sequence_length_o, stride: the notes that a model reads, the notes that
    follow as its target, and the notes from one window to the next; data/notes.py reads them. bins: K of
    `quantile_levels`, by which a model tells times and velocities apart. loss_weights: of HEADS, 1 where not given.
    """

    num_instruments: int = 1
    time_unit: Literal["seconds", "beats"] = "seconds"
    programs: Sequence[int] | None = None
    ticks_per_quarter: int = 960
    sequence_length_i: int = 30
    sequence_length_o: int = 10
    stride: int = 1
    bins: int = 64
    loss_weights: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(HEADS, 1.0))

    def __post_init__(self) -> None:
        counts = ("num_instruments", "sequence_length_i", "sequence_length_o", "stride", "ticks_per_quarter", "bins")
        for name in counts:
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise UserError(f"tokenizer.{name}={value}: give a whole number of at least 1")
        for name, weight in self.loss_weights.items():
            if name not in HEADS:
                raise UserError(f"tokenizer.loss_weights has {name}: choose from {', '.join(HEADS)}")
            if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
                raise UserError(f"tokenizer.loss_weights.{name}={weight}: give a number of at least 0")
        if self.ticks_per_quarter > 32767:
            raise UserError(f"tokenizer.ticks_per_quarter={self.ticks_per_quarter}: MIDI knows at most 32767")
        if self.time_unit not in ("seconds", "beats"):
            raise UserError(f"tokenizer.time_unit={self.time_unit}: choose seconds or beats")
        if self.programs is not None and len(self.programs) != self.num_instruments:
            raise UserError(
                f"tokenizer.programs names {len(self.programs)} instruments, tokenizer.num_instruments="
                f"{self.num_instruments}; make them equal"
            )
        for program in self.programs or ():
            if not isinstance(program, int) or not DRUMS <= program <= 127:
                raise UserError(f"tokenizer.programs has {program}: give numbers from 0 to 127, or -1 for drums")

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the F columns."""
        unit = "s" if self.time_unit == "seconds" else "beats"
        continuous = tuple(f"{name[:-2]}_{unit}" if name.endswith("_s") else name for name in FEATURES)
        return continuous + tuple(f"track_{index}" for index in range(self.num_instruments))

    @property
    def fingerprint(self) -> str:
        """Of the settings that the rows depend on."""
        settings = (FORMAT, self.num_instruments, self.time_unit, list(self.programs) if self.programs else None)
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """All settings, for a checkpoint; `NoteCodec(**json.loads(text))` is the same codec."""
        return json.dumps(asdict(self))

    def features(self, score: Score) -> np.ndarray:
        """(N, F) float64, ordered by onset, then pitch, then instrument; exact, nothing is quantised.

        The first note's time delta is 0; where it begins is its offset.
        """
        notes = note_arrays(score)
        instrument = np.minimum(self._places(notes), self.num_instruments - 1)
        rows = np.zeros((len(instrument), len(FEATURES) + self.num_instruments))
        onset = self._times(score, notes["onset"])
        rows[:, _PITCH], rows[:, _VELOCITY] = notes["pitch"], notes["velocity"]
        rows[:, _DURATION] = self._times(score, notes["onset"] + notes["duration"]) - onset
        rows[:, _OFFSET] = onset
        rows[np.arange(len(rows)), len(FEATURES) + instrument] = 1.0
        rows = rows[np.lexsort((notes["duration"], instrument, notes["pitch"], notes["onset"]))]
        rows[1:, _TIME_DELTA] = np.diff(rows[:, _OFFSET])
        return rows

    def folded_notes(self, score: Score) -> int:
        """How many notes have no instrument of their own and sound on the last one."""
        return int((self._places(note_arrays(score)) >= self.num_instruments).sum())

    def to_score(self, features: np.ndarray) -> Score:
        """The Score of (N, F) rows: one track per instrument that has a note; the inverse of `features` to a tick.

        Onsets are the first note's offset and then the sum of the time deltas, so that rows out of a model, whose
        offsets may contradict their deltas, never run backwards. Values are moved to the nearest that MIDI can say: a
        pitch in 0-127, a velocity in 1-127, a duration of at least one tick, a time delta of at least 0. The
        instrument is the greatest of the one-hot columns, its program that of `programs`, else 0 (piano).
        """
        score = Score(self.ticks_per_quarter)
        score.tempos.append(Tempo(0, DEFAULT_TEMPO_BPM))
        if len(features) == 0:
            return score
        ticks_per_unit = self.ticks_per_quarter * (DEFAULT_TEMPO_BPM / 60 if self.time_unit == "seconds" else 1)
        deltas = np.maximum(features[:, _TIME_DELTA], 0.0)
        deltas[0] = max(features[0, _OFFSET], 0.0)
        onsets = np.cumsum(deltas)
        ends = np.rint((onsets + features[:, _DURATION]) * ticks_per_unit).astype(np.int64)
        starts = np.rint(onsets * ticks_per_unit).astype(np.int64)
        durations = np.maximum(ends - starts, 1)
        pitches = np.clip(np.rint(features[:, _PITCH]), 0, 127).astype(np.int64)
        velocities = np.clip(np.rint(features[:, _VELOCITY]), 1, 127).astype(np.int64)
        instruments = features[:, len(FEATURES) :].argmax(axis=1)
        for index in np.unique(instruments).tolist():
            program = self.programs[index] if self.programs is not None else 0
            track = Track(program=max(program, 0), is_drum=program == DRUMS)
            of_track = instruments == index
            columns = (values[of_track].tolist() for values in (starts, durations, pitches, velocities))
            track.notes.extend([Note(*values) for values in zip(*columns, strict=True)])
            score.tracks.append(track)
        return score

    def _places(self, notes: dict[str, np.ndarray]) -> np.ndarray:
        """(N,) the index of each note's instrument, also beyond `num_instruments`."""
        if self.programs is None:
            return np.unique(notes["track"], return_inverse=True)[1]
        places = {program: index for index, program in reversed(list(enumerate(self.programs)))}
        return np.array([places.get(program, len(self.programs)) for program in notes["program"].tolist()], np.int64)

    def _times(self, score: Score, ticks: np.ndarray) -> np.ndarray:
        return seconds_at(score, ticks) if self.time_unit == "seconds" else ticks / score.ticks_per_quarter


@dataclass(frozen=True)
class Scaler:
    """What is subtracted from each column, and by what it is then divided: both (F,) float64.

    The three times are standardised (mean 0, standard deviation 1), pitch and velocity divided by 127, the one-hot
    columns left. A column that never changes is only shifted.
    """

    shift: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, pieces: Iterable[np.ndarray]) -> "Scaler":
        """From the (N, F) rows of the training pieces, and of no others. Raises UserError without any note."""
        pieces = list(pieces)
        count = sum(len(rows) for rows in pieces)
        if count == 0:
            raise UserError(f"{len(pieces)} training pieces hold no note to fit the scaling on; add files")
        times = slice(_DURATION, _TIME_DELTA + 1)
        mean = sum(rows[:, times].sum(axis=0) for rows in pieces) / count
        deviation = np.sqrt(sum(((rows[:, times] - mean) ** 2).sum(axis=0) for rows in pieces) / count)
        shift, scale = np.zeros(pieces[0].shape[1]), np.ones(pieces[0].shape[1])
        shift[times] = mean
        # A constant column's deviation is a rounding error of its mean, not always 0.
        scale[times] = np.where(deviation > 1e-12 * np.maximum(np.abs(mean), 1.0), deviation, 1.0)
        scale[[_PITCH, _VELOCITY]] = 127.0
        return cls(shift, scale)

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Scaled rows, (..., F) float64."""
        return (features - self.shift) / self.scale

    def inverse(self, scaled: np.ndarray) -> np.ndarray:
        """The rows that `transform` scaled, (..., F) float64."""
        return scaled * self.scale + self.shift

    def to_dict(self) -> dict[str, list[float]]:
        """Plain values, for a checkpoint."""
        return {"shift": self.shift.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_dict(cls, state: dict[str, list[float]]) -> "Scaler":
        """The scaler that `to_dict` described."""
        return cls(np.array(state["shift"], dtype=np.float64), np.array(state["scale"], dtype=np.float64))


def quantile_levels(pieces: Iterable[np.ndarray], bins: int) -> np.ndarray:
    """(4, K) float64: values that stand for all durations, offsets, time deltas and velocities of `pieces` (N, F).

    Row by row the K evenly spaced quantiles of the column, each value once and rising, the rest inf. Every level
    is a value of the pieces: what is drawn from them lies on the music's own grid where it has one (chords have a time
    delta of 0), and close together where most notes are. Raises ValueError without any note.
    """
    rows = np.concatenate(list(pieces))
    shares = (np.arange(bins) + 0.5) / bins
    levels = np.full((4, bins), np.inf)
    for level, column in zip(levels, (_DURATION, _OFFSET, _TIME_DELTA, _VELOCITY), strict=True):
        values = np.unique(np.quantile(rows[:, column], shares, method="inverted_cdf"))
        level[: len(values)] = values
    return levels


@dataclass(frozen=True)
class StoredNotes:
    """Where one piece's rows lie; `folded` of its notes have no instrument of their own."""

    id: str
    first: int
    notes: int
    folded: int


class NoteStore:
    """A finished build, opened without reading it. float64, since float32 is off by milliseconds after an hour."""

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)
        index: dict[str, Any] = json.loads((self.folder / "pieces.json").read_text(encoding="utf-8"))
        self.columns: list[str] = index["columns"]
        self.pieces = {row["id"]: StoredNotes(**row) for row in index["pieces"]}
        self.refused: dict[str, str] = index["refused"]
        path = self.folder / "notes.bin"
        self._rows = np.memmap(path, dtype="<f8", mode="r").reshape(-1, len(self.columns))

    def __reduce__(self) -> tuple[type["NoteStore"], tuple[Path]]:
        return NoteStore, (self.folder,)  # numpy would send a memory map's whole content to a worker

    def features(self, piece_id: str) -> np.ndarray:
        """The unscaled rows of a piece, (N, F) float64, a view of the map."""
        piece = self.pieces[piece_id]
        return self._rows[piece.first : piece.first + piece.notes]


def build_note_store(
    pieces: Iterable[tuple[str, Path]],
    codec: NoteCodec,
    root: str | os.PathLike[str],
    name: str,
    progress: bool = True,
    limits: Limits | None = None,
) -> NoteStore:
    """Write the rows of `pieces` (id, MIDI path) once and open the result; an existing build is only opened.

    The folder `root/name-notes-<hash>` is named by the files' bytes and the codec, written beside its place and
    renamed whole. One process reads them, about a millisecond each. A file that cannot be read is recorded in
    `refused`. Raises UserError when none is left.
    """
    ordered = sorted(pieces)
    digest = hashlib.sha256(codec.fingerprint.encode())
    for piece_id, path in ordered:
        digest.update(piece_id.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    folder = Path(root) / f"{name}-notes-{digest.hexdigest()[:12]}"
    if not (folder / "pieces.json").is_file():
        temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
        temporary.mkdir(parents=True)
        try:
            _write_build(ordered, codec, temporary, progress, limits)
            if folder.exists():  # another process was faster, or a folder without its index lies there
                shutil.rmtree(folder)
            temporary.replace(folder)
            files.sync_directory(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return NoteStore(folder)


def _write_build(
    pieces: list[tuple[str, Path]], codec: NoteCodec, folder: Path, progress: bool, limits: Limits | None
) -> None:
    rows: list[dict[str, Any]] = []
    refused: dict[str, str] = {}
    first = 0
    with (folder / "notes.bin").open("wb") as file:
        for piece_id, path in tqdm(pieces, desc="notes", unit="file", disable=not progress):
            try:
                score = load_score(path, limits)
            except UnreadableMidi as error:
                refused[piece_id] = str(error)
                continue
            features = codec.features(score)
            file.write(features.astype("<f8").tobytes())
            rows.append({"id": piece_id, "first": first, "notes": len(features), "folded": codec.folded_notes(score)})
            first += len(features)
        file.flush()
        os.fsync(file.fileno())
    if not rows:
        reason = next(iter(refused.values()), "there are no pieces")
        raise UserError(f"none of {len(pieces)} pieces could be read (first reason: {reason}); add other files")
    index = {"format": FORMAT, "columns": list(codec.columns), "pieces": rows, "refused": refused}
    files.write_text(folder / "pieces.json", json.dumps(index, ensure_ascii=False, indent=1))
