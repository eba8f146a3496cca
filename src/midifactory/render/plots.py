"""Small multiples of histograms as one PNG."""

import math
import os
import warnings
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from midifactory import files
from midifactory.render.pianoroll import BAR_LINE, BEAT_LINE, DPI, FAINT_INK, INK, TRACK_COLOURS

MAX_COLUMNS = 3
PANEL_WIDTH_INCHES, PANEL_HEIGHT_INCHES = 4.2, 2.7
MAX_LABELS = 24  # of a panel, beyond which only every second, third ... is written


def save_corpus_plots(histograms: dict[str, dict[str, Any]], path: str | os.PathLike[str], title: str) -> None:
    """Draw one panel for each histogram, in order, as a PNG at `path`, whole or not at all, always the same bytes.

    Each value holds `counts` (list of int), `unit` (str, written below the axis) and either `labels` (one for each
    count: bars) or `edges` (one more than counts: bins), and may hold `every` (write every so manieth label). Few but
    long labels stand beside horizontal bars. Raises ValueError where the lengths disagree, or without any histogram.
    A panel without counts says so.
    """
    if not histograms:
        raise ValueError("no histograms to draw")
    columns = min(MAX_COLUMNS, len(histograms))
    rows = math.ceil(len(histograms) / columns)
    size = (columns * PANEL_WIDTH_INCHES, rows * PANEL_HEIGHT_INCHES + 0.5)
    figure = Figure(figsize=size, dpi=DPI, facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.15, h_pad=0.12, wspace=0.03, hspace=0.05)
    FigureCanvasAgg(figure)
    figure.suptitle(" ".join(title.split()), fontsize=14, color=INK, weight="bold", parse_math=False)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for index, (name, histogram) in enumerate(histograms.items()):
        _draw_panel(panels[index], name, histogram, TRACK_COLOURS[index % len(TRACK_COLOURS)])
    for unused in panels[len(histograms) :]:
        unused.set_visible(False)
    with files.replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _draw_panel(axes: Axes, name: str, histogram: dict[str, Any], colour: str) -> None:
    counts = np.asarray(histogram["counts"], dtype=np.float64)
    labels, edges = histogram.get("labels"), histogram.get("edges")
    expected = len(counts) if labels is not None else len(counts) + 1
    given = labels if labels is not None else edges
    if given is None or len(given) != expected:
        had = "neither labels nor edges" if given is None else f"{len(given)} labels or edges"
        raise ValueError(f"histogram {name!r} has {len(counts)} counts and {had}; expected {expected}")

    axes.set_title(name, fontsize=10, color=INK, loc="left", parse_math=False)
    axes.set_xlabel(histogram.get("unit") or "", fontsize=8, color=FAINT_INK, parse_math=False)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=BEAT_LINE, linewidth=0.8)
    axes.tick_params(length=0, labelsize=7.5, labelcolor=INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(BAR_LINE)
    if len(counts) == 0 or counts.sum() == 0:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color=FAINT_INK)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    if labels is not None:
        shown = range(0, len(labels), histogram.get("every") or math.ceil(len(labels) / MAX_LABELS))
        if len(labels) <= MAX_LABELS and sum(len(str(label)) + 2 for label in labels) > 60:
            _draw_long_labels(axes, [str(label)[:24] for label in labels], counts, colour)
            return
        axes.bar(np.arange(len(counts)), counts, width=0.8, color=colour, linewidth=0)
        axes.set_xticks(list(shown), [str(labels[index])[:24] for index in shown], parse_math=False)
        if sum(len(str(labels[index])) + 2 for index in shown) > 60:  # more letters than a panel is wide
            axes.tick_params(axis="x", labelrotation=90)
    else:
        corners = np.asarray(given, dtype=np.float64)
        axes.bar(
            corners[:-1], counts, width=np.diff(corners), align="edge", color=colour, edgecolor="white", linewidth=0.4
        )
        axes.margins(x=0.01)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _draw_long_labels(axes: Axes, labels: list[str], counts: np.ndarray, colour: str) -> None:
    axes.barh(np.arange(len(counts)), counts, height=0.8, color=colour, linewidth=0)
    axes.set_yticks(range(len(labels)), labels, parse_math=False)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=BEAT_LINE, linewidth=0.8)
    axes.spines["bottom"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
