"""The report of an analysis: one HTML file that asks nothing of any network, and the panels of its pictures."""

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from symusic import Track

from midifactory.render.pages import clock, write_page
from midifactory.render.pianoroll import track_label

MOST_BARS = 14  # of a panel of categories; the rest is added up
MOST_ROWS = 200  # of a table; analysis.json has them all
_WIDTH, _HEIGHT = 320.0, 120.0  # of a drawing, in units of its own
_NOTE_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
# name of the histogram: title, unit below the axis
_TITLES = {
    "pitch": ("Pitch", "notes by MIDI pitch, C4 = 60, drums aside"),
    "pitch_class": ("Pitch classes", "notes, drums aside"),
    "velocity": ("Velocity", "notes by MIDI velocity"),
    "duration_beats": ("Note lengths", "notes by length in beats"),
    "onset_interval_beats": ("Time between onsets", "beats"),
    "onset_interval_seconds": ("Time between onsets", "seconds"),
    "onset_place": ("Place in the beat", "notes by twelfth of a beat"),
    "tempo_bpm": ("Tempo in the files", "pieces by beats a minute at the start"),
    "tempo_estimated_bpm": ("Tempo estimated from onsets", "pieces by beats a minute"),
    "piece_duration_seconds": ("Duration", "pieces"),
    "polyphony_mean": ("Polyphony", "pieces by mean notes at a time"),
    "notes_per_second": ("Density", "pieces by notes a second"),
}


def panels_for(analysis: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Titled histograms of `Analysis.to_dict()`, for `save_corpus_plots` and the report; empty ones are left out.

    Bins that are empty at both ends are cut off, long lists of categories end in "others".
    """
    panels: dict[str, dict[str, Any]] = {}
    for name, (title, unit) in _TITLES.items():
        if name not in analysis["histograms"]:  # no pieces
            continue
        histogram = _trimmed(analysis["histograms"][name], 12 if name == "pitch" else 1)
        if name == "pitch":
            labels = [_NOTE_NAMES[pitch % 12] + str(pitch // 12 - 1) for pitch in histogram["labels"]]
            histogram = {**histogram, "labels": labels, "every": 12}
        elif name == "velocity":
            histogram = {**histogram, "every": max(1, round(len(histogram["labels"]) / 8))}
        elif name == "piece_duration_seconds":
            edges = [clock(seconds) for seconds in histogram["edges"]]
            labels = [f"{low}-{high}" for low, high in pairwise(edges)]
            histogram = {"labels": labels, "counts": histogram["counts"]}
        elif name == "pitch_class":
            histogram = {**histogram, "labels": list(_NOTE_NAMES)}
        panels[f"{title} ({unit})" if title in panels else title] = {**histogram, "unit": unit}
    programs = {program_name(row["program"]): row["notes"] for row in analysis["programs"]}
    categories = {
        "Instruments": (programs, "notes"),
        "Keys": (analysis["keys"], "pieces, Krumhansl-Kessler profiles"),
        "Metres": (analysis["metres_in_bars"], "bars"),
        "Chords": (analysis["chords"], "half bars"),
        "Degrees in major": (analysis["degrees"]["major"], "half bars of pieces in major"),
        "Degrees in minor": (analysis["degrees"]["minor"], "half bars of pieces in minor"),
    }
    for title, (counts, unit) in categories.items():
        labels, numbers = _commonest(counts)
        panels[title] = {"labels": labels, "counts": numbers, "unit": unit}
    return {title: panel for title, panel in panels.items() if sum(panel["counts"])}


def save_report(
    path: str | os.PathLike[str],
    analysis: Mapping[str, Any],
    recommendations: Sequence[Mapping[str, Any]],
    rejected: Sequence[Mapping[str, str]],
    duplicates: Sequence[Mapping[str, str]],
    example: str = "midifactory train",
) -> None:
    """Write report.html: `analysis` is `Analysis.to_dict()`, each recommendation {setting, value, overrides, reason},
    rejected {path, kind, reason}, duplicates {dropped, kept, kind}; `example` is the command that takes the overrides.
    """
    overrides = [override for item in recommendations for override in item["overrides"]]
    write_page(
        path,
        "report.html.j2",
        analysis=analysis,
        statistics={name: row for name, row in analysis["statistics"].items() if row["median"] is not None},
        drawings=[_drawing(title, panel) for title, panel in panels_for(analysis).items()],
        recommendations=recommendations,
        command=f"{example} {shlex.join(overrides)}",
        rejected=rejected,
        duplicates=duplicates,
        most=MOST_ROWS,
        tessitura=[
            {**row, "program": program_name(row["program"])}
            for row in (analysis["profile"]["tessitura"] or {"programs": []})["programs"]
        ],
    )


def program_name(program: int) -> str:
    """The General MIDI name of a program, "Drums" for -1."""
    return "Drums" if program < 0 else track_label(Track(program=program))


def _trimmed(histogram: Mapping[str, Any], step: int) -> dict[str, Any]:
    """Without the empty bins at both ends, but in whole steps of bins."""
    used = np.flatnonzero(histogram["counts"])
    if not len(used) or len(histogram["counts"]) <= 12:
        return dict(histogram)
    first, last = int(used[0]) // step * step, min((int(used[-1]) // step + 1) * step, len(histogram["counts"]))
    trimmed: dict[str, Any] = {"counts": histogram["counts"][first:last]}
    if "labels" in histogram:
        trimmed["labels"] = histogram["labels"][first:last]
    else:
        trimmed["edges"] = histogram["edges"][first : last + 1]
    return trimmed


def _commonest(counts: Mapping[str, int]) -> tuple[list[str], list[int]]:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    shown, others = ordered[:MOST_BARS], sum(count for _, count in ordered[MOST_BARS:])
    shown += [("others", others)] if others else []
    return [str(name) for name, _ in shown], [count for _, count in shown]


def _drawing(title: str, panel: Mapping[str, Any]) -> dict[str, Any]:
    """A panel as bars (x, y, width, height, what it says) and at most seven labels (x, text) below them."""
    counts = panel["counts"]
    top = max(counts)
    step = _WIDTH / len(counts)
    if "labels" in panel:
        names = [str(label) for label in panel["labels"]]
        every = panel.get("every") or (1 if len(names) <= MOST_BARS + 1 else math.ceil(len(names) / 7))
        ticks = [(step * (index + 0.5), names[index]) for index in range(0, len(names), every)]
    else:
        names = [f"{low:g} to {high:g}" for low, high in pairwise(panel["edges"])]
        every = math.ceil(len(counts) / 6)
        ticks = [(step * index, f"{panel['edges'][index]:g}") for index in range(0, len(counts) + 1, every)]
    bars = [
        (
            round(step * index + 0.04 * step, 2),
            round(_HEIGHT * (1 - count / top), 2),
            round(step * 0.92, 2),
            round(_HEIGHT * count / top, 2),
            f"{name}: {count:,}",
        )
        for index, (name, count) in enumerate(zip(names, counts, strict=True))
        if count
    ]
    slanted = "labels" in panel and sum(len(text) + 2 for _, text in ticks) > 50
    return {"title": title, "unit": panel["unit"], "bars": bars, "ticks": ticks, "slanted": slanted, "top": top}
