"""A corpus in numbers: one pass over each piece in worker processes, merged so that memory stays flat."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from symusic import Score, TimeSignature

from midifactory.music.corpora import Piece
from midifactory.music.profile import ProfileTally
from midifactory.music.score import (
    Limits,
    bar_starts,
    last_note_end,
    load_score,
    note_arrays,
    seconds_at,
    ticks_per_bar,
)
from midifactory.music.statistics import (
    bin_counts,
    corpus_statistics,
    key_estimate,
    panels_of,
    piece_histograms,
    piece_statistics,
    tempo_estimate,
)
from midifactory.music.theory import CHORD_INTERVALS, parse_key
from midifactory.music.workers import Failure, run_guarded

# Positions per beat whose rounding errors are measured; 6, 12 and 24 hold triplets, the others straight notes only.
GRIDS = (3, 4, 6, 8, 12, 16, 24)
HEARD_MS = 20.0  # an onset moved by more than this is counted as displaced
# Lengths in seconds whose notes are counted, to advise on segments.
SPANS_SECONDS = (4, 6, 8, 12, 16, 24, 32, 48, 64)
CHORD_QUALITIES = ("", "m", "dim", "aug", "7", "maj7", "m7")
CHORD_LEAST_LIKENESS = 0.8
_BASS_BONUS = 0.02  # settles only between chords of the same notes, such as augmented triads
_DEGREES = ("I", "bII", "II", "bIII", "III", "IV", "#IV", "V", "bVI", "VI", "bVII", "VII")
_TEMPO_TOLERANCE = 0.04  # Gouyon et al. 2006, "An experimental comparison of audio tempo induction algorithms"
# What is advised: segments of about so many bars, no longer than this context holds, ...
_BARS = 8
_CONTEXTS = (256, 512, 768, 1024, 1536, 2048)
# ... the first of these grids that moves onsets by this much on average, and few of them by more than HEARD_MS.
_ADVISED_GRIDS = (4, 8, 12, 16, 24)
_MEAN_ERROR_MS = 10.0
_DISPLACED_SHARE = 0.02
TOKENS_PER_NOTE = 4.5  # assumed where nobody counted: REMI+ writes 3.6 to 4.8
# What counting a piece may take of the limits for parsing it.
_TIMES_SECONDS, _TIMES_MEGABYTES = 10, 4
_PER_PIECE = ("tempo_bpm", "piece_duration_seconds", "polyphony_mean", "notes_per_second", "tempo_estimated_bpm")


@dataclass
class PieceAnalysis:
    """What `analyze_piece` found in one file, as plain values.

    statistics: piece_statistics, with tempo_mean_bpm (over the whole piece), tempo_changes and tempo_estimated_bpm.
    tempo_agreement: see `tempo_agreement`. metres: bars by time signature. programs: notes by program, -1 for drums.
    chords, degrees: see `chord_counts`. grid: (len(GRIDS), 2), summed rounding error in ms and displaced onsets.
    spans: for each of SPANS_SECONDS how many spans of that length hold how many notes.
    """

    statistics: dict[str, float]
    histograms: dict[str, np.ndarray]
    key: str
    tempo_agreement: str
    metres: Counter[str]
    programs: Counter[int]
    chords: Counter[str]
    degrees: Counter[str]
    grid: np.ndarray
    spans: dict[int, Counter[int]]
    tally: ProfileTally


@dataclass
class Analysis:
    """A whole corpus: sums over pieces, and one small row for each piece.

    `degrees` are by mode: {"major": {"I": 12, ...}, "minor": ...}. `grid_notes` onsets were measured in `grid`.
    failed: (id, reason) of pieces that could be collected but not analysed.
    """

    name: str
    pieces: list[dict[str, Any]] = field(default_factory=list)
    histograms: dict[str, np.ndarray] = field(default_factory=dict)
    metres: Counter[str] = field(default_factory=Counter)
    programs: Counter[int] = field(default_factory=Counter)
    programs_in_files: Counter[int] = field(default_factory=Counter)
    chords: Counter[str] = field(default_factory=Counter)
    degrees: dict[str, Counter[str]] = field(default_factory=lambda: {"major": Counter(), "minor": Counter()})
    grid: np.ndarray = field(default_factory=lambda: np.zeros((len(GRIDS), 2)))
    grid_notes: int = 0
    spans: dict[int, Counter[int]] = field(default_factory=lambda: {length: Counter() for length in SPANS_SECONDS})
    tally: ProfileTally = field(default_factory=ProfileTally)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def add(self, piece: str, found: PieceAnalysis) -> None:
        """Take in one piece."""
        row = {"id": piece, "key": found.key, "metre": next(iter(found.metres.most_common(1)), ("none", 0))[0]}
        self.pieces.append({**row, "tempo_agreement": found.tempo_agreement, **found.statistics})
        for name, counts in found.histograms.items():
            self.histograms[name] = self.histograms.get(name, 0) + counts
        for name in ("metres", "programs", "chords"):
            getattr(self, name).update(getattr(found, name))
        self.programs_in_files.update(found.programs.keys())
        if found.key != "unknown":
            self.degrees[found.key.split()[1]].update(found.degrees)
        self.grid += found.grid
        self.grid_notes += int(found.statistics["notes"])
        for length, counter in found.spans.items():
            self.spans[length].update(counter)
        self.tally.merge(found.tally)

    def statistics(self) -> dict[str, dict[str, float | None]]:
        """Count, min, p5, median, mean, p95 and max of every statistic over the pieces."""
        numbers = [{key: value for key, value in row.items() if not isinstance(value, str)} for row in self.pieces]
        return corpus_statistics(numbers)

    def panels(self) -> dict[str, dict[str, list]]:
        """All histograms with their bins, those over notes first, then those over pieces."""
        columns = {name: name.removeprefix("piece_") for name in _PER_PIECE}
        values = {name: np.array([row[column] for row in self.pieces]) for name, column in columns.items()}
        over_pieces = {name: bin_counts(name, found[np.isfinite(found)]) for name, found in values.items()}
        return panels_of({**self.histograms, **over_pieces})

    def grid_table(self) -> list[dict[str, Any]]:
        """For each of GRIDS the mean rounding error of onsets in ms, and the share moved by more than HEARD_MS."""
        notes = max(1, self.grid_notes)
        return [
            {
                "per_beat": grid,
                "kind": "with triplets" if grid % 3 == 0 else "straight",
                "mean_error_ms": round(float(error) / notes, 3),
                "displaced_share": round(float(displaced) / notes, 5),
            }
            for grid, (error, displaced) in zip(GRIDS, self.grid, strict=True)
        ]

    def span_notes(self, seconds: int, share: float = 0.95) -> int:
        """How many notes that `share` of the spans of so many seconds (one of SPANS_SECONDS) do not pass."""
        counts = sorted(self.spans[seconds].items())
        below = np.cumsum([count for _, count in counts])
        return counts[int(np.searchsorted(below, share * below[-1]))][0] if counts else 0

    def pitch_counts(self, drums: bool = False) -> np.ndarray:
        """(128,) notes by MIDI pitch, of the drums or of all others."""
        parts = [counts for program, counts in self.tally.pitches.items() if (program < 0) == drums]
        return np.sum(parts, axis=0) if parts else np.zeros(128, np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values for json.dumps; what a piece does not have is null."""
        agreement = Counter(row["tempo_agreement"] for row in self.pieces)
        return {
            "name": self.name,
            "statistics": self.statistics(),
            "histograms": self.panels(),
            "keys": dict(Counter(row["key"] for row in self.pieces).most_common()),
            "metres_in_bars": dict(self.metres.most_common()),
            "tempo_agreement": {kind: agreement[kind] for kind in ("same", "related", "other", "unknown")},
            "programs": [
                {"program": program, "notes": notes, "files": self.programs_in_files[program]}
                for program, notes in self.programs.most_common()
            ],
            "chords": dict(self.chords.most_common()),
            "degrees": {mode: dict(counts.most_common()) for mode, counts in self.degrees.items()},
            "grid": self.grid_table(),
            "notes_in_spans": {
                str(length): {"p50": self.span_notes(length, 0.5), "p95": self.span_notes(length)}
                for length in SPANS_SECONDS
            },
            "profile": self.tally.profile(),
            "pieces": [
                {
                    key: None if isinstance(value, float) and not math.isfinite(value) else value
                    for key, value in row.items()
                }
                for row in self.pieces
            ],
            "failed": [{"id": piece, "reason": reason} for piece, reason in self.failed],
        }


def analyze_corpus(
    name: str,
    pieces: Sequence[Piece],
    workers: int | None = None,
    limits: Limits | None = None,
    progress: bool = True,
) -> Analysis:
    """All pieces, in their order; `workers` as in run_guarded.

    A piece may take ten times the seconds and four times the memory of `limits`, whose figures are for parsing alone:
    counting a long piece takes several times as much. A piece that fails is listed in `failed`.
    """
    limits = limits or Limits()
    analysis = Analysis(name)
    results = run_guarded(
        partial(analyze_piece, limits=limits),
        [piece.path for piece in pieces],
        workers=workers,
        seconds=_TIMES_SECONDS * limits.seconds_per_file,
        megabytes=_TIMES_MEGABYTES * limits.memory_megabytes,
        label="analyse",
        progress=progress,
    )
    for piece, found in zip(pieces, results, strict=True):
        if isinstance(found, Failure):
            analysis.failed.append((piece.id, found.reason))
        else:
            analysis.add(piece.id, found)
    return analysis


def analyze_piece(path: Path, limits: Limits | None = None) -> PieceAnalysis:
    """Read and count one file. Raises UnreadableMidi."""
    score = load_score(path, limits)
    notes = note_arrays(score)
    key = key_estimate(score)
    end = last_note_end(score)
    seconds = float(seconds_at(score, np.array([end]))[0])
    estimated = tempo_estimate(score)
    mean_tempo = 60.0 * end / (score.ticks_per_quarter * seconds) if seconds else np.nan
    statistics = {
        **piece_statistics(score),
        "tempo_mean_bpm": mean_tempo,
        "tempo_changes": float(len({tempo.time for tempo in score.tempos if 0 < tempo.time < end})),
        "tempo_estimated_bpm": float(estimated),
    }
    tally = ProfileTally()
    tally.add(score)
    chords, degrees = chord_counts(score, key)
    return PieceAnalysis(
        statistics=statistics,
        histograms=piece_histograms(score),
        key=key,
        tempo_agreement=tempo_agreement(estimated, mean_tempo),
        metres=metre_counts(score),
        programs=Counter({program: int(counts.sum()) for program, counts in tally.pitches.items()}),
        chords=chords,
        degrees=degrees,
        grid=grid_errors(score),
        spans={
            length: Counter(np.unique(seconds_at(score, notes["onset"]) // length, return_counts=True)[1].tolist())
            for length in SPANS_SECONDS
        },
        tally=tally,
    )


def tempo_agreement(estimated_bpm: float, file_bpm: float) -> str:
    """same, related (half, double, a third, three times), other, or unknown, within 4 %.

    These are the two accuracies of Gouyon et al., IEEE Transactions on Audio, Speech and Language Processing 14, 2006.
    """
    ratio = estimated_bpm / file_bpm if file_bpm else math.nan
    if not math.isfinite(ratio):
        return "unknown"
    if abs(ratio - 1) <= _TEMPO_TOLERANCE:
        return "same"
    related = any(abs(ratio / factor - 1) <= _TEMPO_TOLERANCE for factor in (2, 3, 1 / 2, 1 / 3))
    return "related" if related else "other"


def metre_counts(score: Score) -> Counter[str]:
    """Bars by time signature; 4/4 before the first."""
    signatures = sorted((item.time, f"{item.numerator}/{item.denominator}") for item in score.time_signatures)
    names = ["4/4", *(name for _, name in signatures)]
    places = np.searchsorted([time for time, _ in signatures], bar_starts(score), side="right")
    return Counter(names[place] for place in places)


def grid_errors(score: Score) -> np.ndarray:
    """(len(GRIDS), 2): by how many ms all notes' onsets move to the nearest position, and how many by > HEARD_MS."""
    onsets = note_arrays(score)["onset"] / score.ticks_per_quarter
    here = seconds_at(score, onsets * score.ticks_per_quarter)
    rows = []
    for grid in GRIDS:
        moved = np.rint(onsets * grid) / grid * score.ticks_per_quarter
        error_ms = 1000 * np.abs(seconds_at(score, moved) - here)
        rows.append((error_ms.sum(), (error_ms > HEARD_MS).sum()))
    return np.array(rows, dtype=np.float64)


def chord_counts(score: Score, key: str) -> tuple[Counter[str], Counter[str]]:
    """How many half bars sound each quality of chord ("none": no chord), and each degree of the key.

    Fujishima, "Realtime Chord Recognition of Musical Sound", ICMC 1999: the time that each pitch class sounds in
    a half bar is compared (cosine) with the notes of every chord on every root; the likest is taken where at least
    three pitch classes sound and the likeness is at least CHORD_LEAST_LIKENESS. Between chords of the same notes the
    lowest pitch is the root. Half bars in which no pitched note sounds are left out. Degrees are such as "I", "ii",
    "V7", "bVImaj7", relative to the tonic of `key`: lower case for a minor third.
    """
    qualities, degrees = Counter[str](), Counter[str]()
    weights, lowest = _pitch_class_time(score)
    names, templates = _chord_templates()
    tonic = parse_key(key).tonic if key != "unknown" else 0
    sounding = weights.sum(axis=1) > 0
    weights, lowest = weights[sounding], lowest[sounding]
    if not len(weights):
        return qualities, degrees
    likeness = weights / np.linalg.norm(weights, axis=1, keepdims=True) @ templates.T  # (half bars, 84)
    roots = np.arange(len(names)) % 12
    best = np.argmax(likeness + _BASS_BONUS * (roots == lowest[:, None] % 12), axis=1)
    clear = ((weights > 0).sum(axis=1) >= 3) & (likeness.max(axis=1) >= CHORD_LEAST_LIKENESS)
    for index in np.where(clear, best, -1):
        if index < 0:
            qualities["none"] += 1
            continue
        quality, root = names[index], int(roots[index])
        qualities[{"": "major", "m": "minor"}.get(quality, quality)] += 1
        degrees[_degree_name((root - tonic) % 12, quality)] += 1
    return qualities, degrees


def _degree_name(step: int, quality: str) -> str:
    name = _DEGREES[step]
    if quality in {"m", "m7", "dim"}:
        name = name.replace("I", "i").replace("V", "v")
    return name + {"m": "", "m7": "7", "dim": "°", "aug": "+"}.get(quality, quality)


def _chord_templates() -> tuple[list[str], np.ndarray]:
    """Quality of each row, and (84, 12) rows of length 1: all roots of the first quality, then of the next."""
    names = [quality for quality in CHORD_QUALITIES for _ in range(12)]
    rows = np.zeros((len(names), 12))
    for place, quality in enumerate(names):
        rows[place, [(place + step) % 12 for step in CHORD_INTERVALS[quality]]] = 1
    return names, rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _pitch_class_time(score: Score) -> tuple[np.ndarray, np.ndarray]:
    """For each half bar the ticks that each pitch class sounds (S, 12), and the lowest pitch (S,), 128 for none."""
    notes = note_arrays(score)
    pitched = notes["program"] >= 0
    onset, pitch = notes["onset"][pitched], notes["pitch"][pitched]
    end = onset + notes["duration"][pitched]
    starts = bar_starts(score)
    if not len(starts):  # only notes without length at the very start
        return np.zeros((0, 12)), np.zeros(0, np.int64)
    metres = [signature for signature in score.time_signatures if signature.time <= starts[-1]]
    last = max(metres, key=lambda signature: signature.time, default=TimeSignature(0, 4, 4))
    edges = np.append(starts, starts[-1] + ticks_per_bar(last, score.ticks_per_quarter))
    edges = np.unique(np.concatenate([edges, (edges[:-1] + edges[1:]) // 2]))
    weights = np.zeros((len(edges) - 1, 12))
    lowest = np.full(len(edges) - 1, 128)
    place = np.clip(np.searchsorted(edges, onset, side="right") - 1, 0, len(weights) - 1)
    while len(onset):  # each turn counts what sounds in the notes' first half bar, and keeps what sounds on
        ticks = np.minimum(end, edges[place + 1]) - onset
        np.add.at(weights, (place, pitch % 12), ticks)
        np.minimum.at(lowest, place[ticks > 0], pitch[ticks > 0])
        held = (end > edges[place + 1]) & (place + 1 < len(weights))
        onset, end, pitch, place = edges[place[held] + 1], end[held], pitch[held], place[held] + 1
    return weights, lowest


@dataclass(frozen=True)
class Recommendation:
    """A setting for this corpus: its value in words, the overrides that set it, and why."""

    setting: str
    value: str
    overrides: tuple[str, ...]
    reason: str


def recommend(analysis: Analysis, tokens_per_note: float | None = None) -> list[Recommendation]:
    """Segment length, context, pitch range and beat resolution for a corpus; nothing for one without pieces.

    `tokens_per_note` is what the tokenizer at hand writes; None assumes TOKENS_PER_NOTE.
    """
    if not analysis.pieces:
        return []
    return [*_segments(analysis, tokens_per_note), *_pitches(analysis), _beat_resolution(analysis)]


def _segments(analysis: Analysis, tokens_per_note: float | None) -> list[Recommendation]:
    rate = tokens_per_note or TOKENS_PER_NOTE
    origin = "counted on this corpus" if tokens_per_note else "assumed, not counted"
    durations = np.array([row["duration_seconds"] for row in analysis.pieces])
    bar_seconds = float(np.median(durations / np.array([max(1.0, row["bars"]) for row in analysis.pieces]))) or 2.0
    wanted = min(_BARS * bar_seconds, float(np.percentile(durations, 95)))
    length = min(SPANS_SECONDS, key=lambda seconds: abs(math.log(seconds / max(wanted, 0.1))))
    while analysis.span_notes(length) * rate > _CONTEXTS[-1] and length > SPANS_SECONDS[0]:
        length = SPANS_SECONDS[SPANS_SECONDS.index(length) - 1]
    notes = analysis.span_notes(length)
    context = next((size for size in _CONTEXTS if notes * rate <= size), _CONTEXTS[-1])
    return [
        Recommendation(
            "segment length",
            f"{length} s",
            ("data.segment.unit=seconds", f"data.segment.length={length}"),
            f"about {length / bar_seconds:.0f} bars of {bar_seconds:.2f} s (median); the median piece lasts "
            f"{np.median(durations):.0f} s",
        ),
        Recommendation(
            "context",
            f"{context} tokens",
            (f"data.max_tokens={context}",),
            f"95 % of the spans of {length} s hold at most {notes} notes, about {notes * rate:.0f} tokens "
            f"({rate:.1f} a note, {origin})",
        ),
    ]


def _pitches(analysis: Analysis) -> list[Recommendation]:
    found = []
    for setting, drums in (("pitch_range", False), ("drums_pitch_range", True)):
        counts = analysis.pitch_counts(drums)
        total = int(counts.sum())
        if not total:
            continue
        used = np.flatnonzero(counts)
        below = np.cumsum(counts)
        inner = np.searchsorted(below, (0.0005 * total, 0.9995 * total), side="right")
        found.append(
            Recommendation(
                setting.replace("_", " "),
                f"{used[0]} to {used[-1]}",
                (f"tokenizer.{setting}=[{used[0]},{used[-1] + 1}]",),
                f"holds all {total:,} {'drum' if drums else 'pitched'} notes; {inner[0]} to {min(inner[1], 127)} would "
                "hold 99.9 % of them",
            )
        )
    return found


def _beat_resolution(analysis: Analysis) -> Recommendation:
    table = {row["per_beat"]: row for row in analysis.grid_table()}
    good = [
        grid
        for grid in _ADVISED_GRIDS
        if table[grid]["mean_error_ms"] <= _MEAN_ERROR_MS and table[grid]["displaced_share"] <= _DISPLACED_SHARE
    ]
    grid = good[0] if good else _ADVISED_GRIDS[-1]
    row = table[grid]
    rest = f"tokenizer.beat_res_rest={{0-1:{grid},1-2:4,2-12:2}}"  # rests may not be finer than notes
    which = "the coarsest grid" if good else "the finest grid here, though coarser than this corpus asks for,"
    return Recommendation(
        "beat resolution",
        f"{grid} per beat",
        (f"tokenizer.beat_res={{0-4:{grid},4-12:4}}", rest),
        f"{which} that moves onsets by {row['mean_error_ms']:.1f} ms on average and "
        f"{100 * row['displaced_share']:.1f} % of them by more than {HEARD_MS:.0f} ms "
        f"(at most {_MEAN_ERROR_MS:.0f} ms and {100 * _DISPLACED_SHARE:.0f} %)",
    )
