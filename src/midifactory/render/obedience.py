"""What was asked of a model against what its music measures, a panel for each attribute, as one PNG."""

import math
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from midifactory import files
from midifactory.render.pianoroll import BAR_LINE, BEAT_LINE, DPI, FAINT_INK, INK, TRACK_COLOURS

MAX_COLUMNS = 3
PANEL_INCHES = 3.6
_MOST_WORDS = 24


def save_obedience_plot(rows: dict[str, dict[str, Any]], path: str | os.PathLike[str], title: str) -> None:
    """Draw one panel for each attribute, in order, as a PNG at `path`, whole or not at all.

    rows: by name `asked` and `measured` (equally many; None is not drawn), `unit` and `figure` (str). Of numbers each
    piece is a point, and the line is where both are the same; of words each value asked has a bar, the share of its
    pieces that are it. Raises ValueError without any row.
    """
    if not rows:
        raise ValueError("no attributes to draw")
    columns = min(MAX_COLUMNS, len(rows))
    lines = math.ceil(len(rows) / columns)
    figure = Figure(figsize=(columns * PANEL_INCHES, lines * PANEL_INCHES + 0.5), dpi=DPI, facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.15, h_pad=0.12, wspace=0.03, hspace=0.05)
    FigureCanvasAgg(figure)
    figure.suptitle(" ".join(title.split()), fontsize=13, color=INK, weight="bold", parse_math=False)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for index, (name, row) in enumerate(rows.items()):
        axes, colour = panels[index], TRACK_COLOURS[index % len(TRACK_COLOURS)]
        axes.set_title(f"{name}: {row['figure']}", fontsize=9.5, color=INK, loc="left", parse_math=False)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, labelsize=7.5, labelcolor=INK)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("bottom", "left"))
            spine.set_color(BAR_LINE)
        if all(isinstance(value, str) for value in row["asked"]):
            _draw_words(axes, row["asked"], row["measured"], colour)
        else:
            _draw_numbers(axes, row["asked"], row["measured"], row["unit"], colour)
    for unused in panels[len(rows) :]:
        unused.set_visible(False)
    with files.replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _draw_numbers(axes: Axes, asked: Sequence[float], measured: Sequence[float | None], unit: str, colour: str) -> None:
    points = np.array([(a, m) for a, m in zip(asked, measured, strict=True) if m is not None]).reshape(-1, 2)
    axes.grid(color=BEAT_LINE, linewidth=0.8)
    axes.set_xlabel(f"asked ({unit})", fontsize=8, color=FAINT_INK, parse_math=False)
    axes.set_ylabel("measured", fontsize=8, color=FAINT_INK)
    if not len(points):
        return
    ends = [float(points.min()), float(points.max())]
    axes.plot(ends, ends, color=BAR_LINE, linewidth=1.2)
    axes.scatter(points[:, 0], points[:, 1], s=14, color=colour, alpha=0.6, linewidths=0)


def _draw_words(axes: Axes, asked: Sequence[str], measured: Sequence[str | None], colour: str) -> None:
    values = list(dict.fromkeys(asked))[:_MOST_WORDS]
    shares = [np.mean([m == a for a, m in zip(asked, measured, strict=True) if a == value]) for value in values]
    axes.barh(np.arange(len(values)), shares, height=0.8, color=colour, linewidth=0)
    axes.set_yticks(range(len(values)), [value[:24] for value in values], parse_math=False)
    axes.set_xlim(0, 1)
    axes.invert_yaxis()
    axes.grid(axis="x", color=BEAT_LINE, linewidth=0.8)
    axes.set_xlabel("share of the pieces asked that are it", fontsize=8, color=FAINT_INK)
