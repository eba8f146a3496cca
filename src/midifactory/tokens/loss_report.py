"""What a corpus loses on its way into tokens, measured before anything is trained.

Every piece is encoded and decoded, and the notes that come back are compared with those of its file.
Legend: M notes that came back in one piece.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from symusic import Score

from midifactory.errors import UserError
from midifactory.music.score import duration_seconds, last_note_end, note_arrays, seconds_at

# A note that comes back further away than this is another note.
TOLERANCE_SECONDS = 0.25


@dataclass(frozen=True, eq=False)
class PieceLoss:
    """One piece and its decoded tokens, note by note.

    onset_error_ms, duration_error_ms, velocity_error: (M,), absolute differences of the notes that came back.
    Dropped notes are those that did not; some of them are `out_of_range` (their pitch has no token), others
    `duplicates` (another note of their pitch and instrument came back at the same place of the grid). `invented`
    notes came back without having been there. `drift_ms` is how much later (or earlier, below 0) the piece ends when
    only its tempos are those of the tokens.
    """

    onset_error_ms: np.ndarray
    duration_error_ms: np.ndarray
    velocity_error: np.ndarray
    notes: int
    out_of_range: int
    duplicates: int
    invented: int
    tracks: int
    merged_tracks: int
    tokens: int
    seconds: float
    drift_ms: float

    @property
    def dropped(self) -> int:
        """Notes of the source without a match among the decoded ones."""
        return self.notes - len(self.onset_error_ms)


def piece_loss(
    score: Score,
    decoded: Score,
    tokens: int,
    *,
    pitch_range: tuple[int, int] = (0, 127),
    drums_pitch_range: tuple[int, int] = (0, 127),
) -> PieceLoss:
    """Compare a Score with what `tokens` tokens of it decode to, at any resolution.

    A note comes back as one of the same pitch and program (or drums) within TOLERANCE_SECONDS; closest pairs are
    matched first and each note once. Places and lengths are compared in beats and told in ms at the score's own
    tempo, since one rounded tempo would move all later notes; what the tempos do is `drift_ms`. The ranges are
    those of the tokenizer's config: the lowest and the highest pitch that has a token.
    """
    source, found = note_arrays(score), note_arrays(decoded)
    scale = score.ticks_per_quarter / decoded.ticks_per_quarter
    source_start, source_end = (
        seconds_at(score, ticks) for ticks in (source["onset"], source["onset"] + source["duration"])
    )
    found_start, found_end = (
        seconds_at(score, ticks * scale) for ticks in (found["onset"], found["onset"] + found["duration"])
    )
    # One axis for all pitches and programs, too far apart on it to be taken for each other.
    gap = max(source_start.max(initial=0), found_start.max(initial=0)) + 1
    source_key, found_key = (notes["pitch"] + 128 * (notes["program"] + 1) for notes in (source, found))
    mine, theirs = _closest_pairs(source_start + gap * source_key, found_start + gap * found_key, TOLERANCE_SECONDS)

    dropped = np.setdiff1d(np.arange(len(source_key)), mine)
    low, high = np.where(source["program"][dropped, None] < 0, drums_pitch_range, pitch_range).T
    outside = (source["pitch"][dropped] < low) | (source["pitch"][dropped] > high)
    # One tick of the decoded score is the step of the grid; rounding may go either way.
    place = np.rint(source["onset"][dropped] / scale).astype(np.int64)
    taken = {*zip(found_key.tolist(), found["onset"].tolist(), strict=True)}
    double = [
        any((key, tick + step) in taken for step in (0, -1, 1))
        for key, tick in zip(source_key[dropped].tolist(), place.tolist(), strict=True)
    ]

    tracks, tracks_found = (sum(len(track.notes) > 0 for track in piece.tracks) for piece in (score, decoded))
    end_seconds = duration_seconds(score)
    end_by_tokens = seconds_at(decoded, np.array(last_note_end(score) / scale))
    duration_error = (found_end - found_start)[theirs] - (source_end - source_start)[mine]
    return PieceLoss(
        onset_error_ms=1000 * np.abs(found_start[theirs] - source_start[mine]),
        duration_error_ms=1000 * np.abs(duration_error),
        velocity_error=np.abs(found["velocity"][theirs] - source["velocity"][mine]),
        notes=len(source_key),
        out_of_range=int(outside.sum()),
        duplicates=int((np.array(double, dtype=bool) & ~outside).sum()),
        invented=len(found_key) - len(theirs),
        tracks=tracks,
        merged_tracks=max(0, tracks - tracks_found),
        tokens=tokens,
        seconds=end_seconds,
        drift_ms=1000 * (float(end_by_tokens) - end_seconds),
    )


def _closest_pairs(first: np.ndarray, second: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices into two sets of points of the pairs within `tolerance`, closest first, every point once."""
    order = np.argsort(second, kind="stable")
    low = np.searchsorted(second[order], first - tolerance, side="left")
    high = np.searchsorted(second[order], first + tolerance, side="right")
    counts = high - low
    left = np.repeat(np.arange(len(first)), counts)
    right = order[np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(low, counts)]
    # Rounded to a microsecond, so that the order of equal distances is that of time and not of floating point.
    distance = np.rint(1e6 * np.abs(first[left] - second[right]))
    pairs: dict[int, int] = {}
    used: set[int] = set()
    for index in np.lexsort((right, first[left], distance)).tolist():
        a, b = int(left[index]), int(right[index])
        if a not in pairs and b not in used:
            pairs[a] = b
            used.add(b)
    return np.array(list(pairs), dtype=np.int64), np.array(list(pairs.values()), dtype=np.int64)


def loss_report(losses: Sequence[PieceLoss], segments_per_piece: float | None = None) -> dict[str, float]:
    """The losses of several pieces in one table of numbers, all notes counting alike.

    An error without a note that came back is nan; `segments_per_piece` is left out where it is None. Raises
    UserError for no pieces.
    """
    if not losses:
        raise UserError("a loss report of 0 pieces says nothing; give it 1 or more")
    notes = sum(loss.notes for loss in losses)
    tokens = sum(loss.tokens for loss in losses)
    seconds = sum(loss.seconds for loss in losses)
    dropped = sum(loss.dropped for loss in losses)
    onset, duration, velocity = (
        np.concatenate([getattr(loss, name) for loss in losses])
        for name in ("onset_error_ms", "duration_error_ms", "velocity_error")
    )
    report = {
        "pieces": len(losses),
        "notes": notes,
        "onset_error_ms_mean": _mean(onset),
        "onset_error_ms_p95": _p95(onset),
        "duration_error_ms_mean": _mean(duration),
        "duration_error_ms_p95": _p95(duration),
        "velocity_error_mean": _mean(velocity),
        "tempo_drift_ms_mean": float(np.mean([abs(loss.drift_ms) for loss in losses])),
        "dropped_notes": dropped,
        "dropped_notes_percent": 100 * dropped / notes if notes else np.nan,
        "out_of_range_notes": sum(loss.out_of_range for loss in losses),
        "duplicate_notes": sum(loss.duplicates for loss in losses),
        "invented_notes": sum(loss.invented for loss in losses),
        "tracks": sum(loss.tracks for loss in losses),
        "merged_tracks": sum(loss.merged_tracks for loss in losses),
        "tokens_per_note": tokens / notes if notes else np.nan,
        "tokens_per_second": tokens / seconds if seconds else np.nan,
    }
    if segments_per_piece is not None:
        report["segments_per_piece"] = segments_per_piece
    return {name: float(value) for name, value in report.items()}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def _p95(values: np.ndarray) -> float:
    return float(np.quantile(values, 0.95)) if len(values) else np.nan


def report_lines(report: dict[str, float]) -> list[str]:
    """`loss_report` as a table for people: what, how much, and what that means."""

    def errors(name: str) -> str:
        return f"{report[f'{name}_mean']:.1f} ms mean, {report[f'{name}_p95']:.1f} ms at 95 %"

    def count(name: str) -> str:
        return f"{report[name]:,.0f}"

    dropped = f"{count('dropped_notes')} ({report['dropped_notes_percent']:.2f} %)"
    rows = [
        ("compared", f"{count('pieces')} pieces, {count('notes')} notes", "files against what their tokens decode to"),
        ("onset error", errors("onset_error_ms"), "how far notes move, at the file's own tempo"),
        ("duration error", errors("duration_error_ms"), "how much longer or shorter they get"),
        ("velocity error", f"{report['velocity_error_mean']:.1f} of 127", "how much louder or softer, in the mean"),
        ("tempo drift", f"{report['tempo_drift_ms_mean']:.0f} ms mean", "how far rounded tempos move a piece's end"),
        ("dropped notes", dropped, "notes that do not come back"),
        (
            "  out of range",
            count("out_of_range_notes"),
            "of these: pitches that have no token: widen tokenizer.pitch_range, drums_pitch_range",
        ),
        (
            "  duplicates",
            count("duplicate_notes"),
            "of these: one pitch twice at one place, such as two tracks' unison",
        ),
        ("invented notes", count("invented_notes"), "notes that were not there, or came back over 250 ms away"),
        ("merged tracks", f"{count('merged_tracks')} of {count('tracks')}", "tracks of one instrument become one"),
        ("tokens per note", f"{report['tokens_per_note']:.2f}", "the fewer, the more music fits into a window"),
        ("tokens per second", f"{report['tokens_per_second']:.1f}", "of music"),
    ]
    if "segments_per_piece" in report:
        rows.append(("segments per piece", f"{report['segments_per_piece']:.1f}", "what training cuts a piece into"))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{name:{widths[0]}}  {value:>{widths[1]}}  {meaning}" for name, value, meaning in rows]
