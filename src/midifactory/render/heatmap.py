"""Tables of shares as pictures: one panel for each table, the darker the greater.

Legend: R rows, C columns of a panel.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from midifactory import files
from midifactory.render.pianoroll import DPI, FAINT_INK, INK, TRACK_COLOURS

_COLUMNS = 3
_CELL_WIDTH_INCHES, _CELL_HEIGHT_INCHES = 0.5, 0.26
_LABEL_INCHES, _TITLE_INCHES = 1.1, 0.8
_COLOURS = LinearSegmentedColormap.from_list("shares", ["#FFFFFF", TRACK_COLOURS[0]])


@dataclass(frozen=True, eq=False)
class Shares:
    """values: (R, C), each from 0 to 1. rows, columns: their R and C names."""

    values: np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]


def save_heatmaps(panels: Mapping[str, Shares], path: str | os.PathLike[str], title: str, unit: str) -> None:
    """Draw the panels, titled by their keys, as a PNG at `path`, whole or not at all, always the same bytes.

    Every share stands in its cell in percent; `unit` says below the columns what they are. Raises ValueError without
    any panel, or where names and values disagree.
    """
    if not panels:
        raise ValueError("no heat maps to draw")
    for name, shares in panels.items():
        if shares.values.shape != (len(shares.rows), len(shares.columns)):
            expected = f"{len(shares.rows)} rows and {len(shares.columns)} columns"
            raise ValueError(f"heat map {name!r} has values of {shares.values.shape}; its names say {expected}")
    across = min(_COLUMNS, len(panels))
    down = math.ceil(len(panels) / across)
    width = max(len(shares.columns) for shares in panels.values()) * _CELL_WIDTH_INCHES + _LABEL_INCHES
    height = max(len(shares.rows) for shares in panels.values()) * _CELL_HEIGHT_INCHES + _TITLE_INCHES
    figure = Figure(figsize=(max(across * width, 4.0), down * height + 0.4), dpi=DPI, facecolor="white")
    figure.set_layout_engine("constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11, color=INK, weight="bold", parse_math=False)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    greatest = max(float(shares.values.max(initial=0.0)) for shares in panels.values())
    for panel, (name, shares) in zip(axes, panels.items(), strict=False):
        _draw(panel, name, shares, greatest, unit)
    for unused in axes[len(panels) :]:
        unused.set_visible(False)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _draw(axes: Axes, name: str, shares: Shares, greatest: float, unit: str) -> None:
    axes.imshow(shares.values, cmap=_COLOURS, vmin=0.0, vmax=greatest or 1.0, aspect="auto")
    axes.set_title(name, fontsize=9, color=INK, loc="left", parse_math=False)
    axes.set_xticks(range(len(shares.columns)), shares.columns, parse_math=False)
    axes.set_yticks(range(len(shares.rows)), shares.rows, parse_math=False)
    axes.set_xlabel(unit, fontsize=7.5, color=FAINT_INK, parse_math=False)
    axes.tick_params(length=0, labelsize=7.5, labelcolor=INK)
    axes.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(shares.values):
        ink = "white" if value > 0.7 * greatest else INK
        axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=7, color=ink)
