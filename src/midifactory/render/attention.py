"""What a transformer looked at, as pictures: token by token, over the piano roll, and as one page to browse.

Legend: L layers, H heads, T tokens, N notes, P pairs of a token and a note, R bars.
"""

import base64
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure

from midifactory import files
from midifactory.render.pianoroll import BAR_LINE, DPI, FAINT_INK, INK

_MAP_INCHES, _MAP_COLUMNS = 3.4, 4
_ROLL_WIDTH_INCHES, _ROLL_HEIGHT_INCHES = 3.4, 1.6
_MOST_BAR_LABELS = 8
_BELOW_DARKEST, _LEAST_DARKEST = 0.995, 0.02  # the share of a map's cells that the darkest colour leaves, and its least
_COLOURS = LinearSegmentedColormap.from_list("attention", ["#FFFFFF", "#9CCBEA", "#0072B2", "#10263A"])


@dataclass(frozen=True, eq=False)
class Attention:
    """A span of music and where a model looked while it read it.

    weights: (L, H, T, T), row t the shares that position t takes from the positions up to t. They add up to one, or to
    less where it also looked at what stands before the first token.
    tokens: the T tokens' names. onset_beats, duration_beats (in quarter notes), pitch, program (-1 for drums): (N,).
    token, note: (P,), which tokens say something of which note. bar_beats: (R,), where bars begin; `first_bar` is the
    number of the first one.
    """

    weights: np.ndarray
    tokens: Sequence[str]
    onset_beats: np.ndarray
    duration_beats: np.ndarray
    pitch: np.ndarray
    program: np.ndarray
    token: np.ndarray
    note: np.ndarray
    bar_beats: np.ndarray
    first_bar: int

    @property
    def shares(self) -> np.ndarray:
        """(T, N): how much of a token belongs to each note; a token of several notes is divided among them."""
        shares = np.zeros((len(self.tokens), len(self.pitch)), dtype=np.float32)
        shares[self.token, self.note] = 1
        return shares / np.maximum(1, shares.sum(1, keepdims=True))

    @property
    def token_beats(self) -> np.ndarray:
        """(T,): the onset of the note that a token is of; of any other token, of the next note (or of the last one)."""
        beats = np.full(len(self.tokens), np.nan)
        # Backwards, so that a token of several notes takes the time of the first.
        beats[self.token[::-1]] = self.onset_beats[self.note[::-1]]
        known = np.flatnonzero(~np.isnan(beats))
        following = np.searchsorted(known, np.arange(len(beats)))
        return beats[known[np.minimum(following, len(known) - 1)]]

    def received(self) -> np.ndarray:
        """(L, H, N): the share of each note in where all positions look."""
        return self.weights.mean(2) @ self.shares


def save_maps(path: str | os.PathLike[str], attention: Attention, layer: int) -> None:
    """A PNG of one layer (from 0): for each head a map of T x T, the reading position from top to bottom."""
    heads, size = attention.weights.shape[1], len(attention.tokens)
    columns = min(_MAP_COLUMNS, heads)
    figure, panels = _grid(math.ceil(heads / columns), columns, _MAP_INCHES, _MAP_INCHES)
    figure.suptitle(
        f"layer {layer + 1}: down, the token that looks; across, the token looked at", fontsize=11, color=INK
    )
    lines = np.searchsorted(attention.token_beats, attention.bar_beats - 1e-6)
    shown = np.arange(0, len(lines), max(1, math.ceil(len(lines) / _MOST_BAR_LABELS)))
    labels = [str(attention.first_bar + index) for index in shown]
    for head, axes in enumerate(panels[:heads]):
        # The square root, and few cells beyond the darkest colour, show the many small shares beside the great ones.
        weights = attention.weights[layer, head]
        most = max(_LEAST_DARKEST, float(np.quantile(weights[np.tri(size, dtype=bool)], _BELOW_DARKEST)))
        axes.imshow(weights, cmap=_COLOURS, norm=PowerNorm(0.5, 0, most, clip=True), interpolation="antialiased")
        for line in lines[(lines > 0) & (lines < size)]:
            axes.axvline(line - 0.5, color=BAR_LINE, linewidth=0.5)
            axes.axhline(line - 0.5, color=BAR_LINE, linewidth=0.5)
        axes.set_title(f"head {head + 1}: darkest from {100 * most:.2g} %", fontsize=9, color=INK, loc="left")
        axes.set_xticks(lines[shown] - 0.5, labels)
        axes.set_yticks(lines[shown] - 0.5, labels)
        axes.set_xlabel("bar", fontsize=7, color=FAINT_INK, loc="left")
    _save(figure, path)


def save_rolls(path: str | os.PathLike[str], attention: Attention) -> None:
    """A PNG with a piano roll for each layer (down) and head (across): the darker a note, the more it is looked at.

    The darkest of each roll is its own most wanted note; the title says how much that one gets.
    """
    layers, heads = attention.weights.shape[:2]
    figure, panels = _grid(layers, heads, _ROLL_WIDTH_INCHES, _ROLL_HEIGHT_INCHES)
    left, right = attention.onset_beats, attention.onset_beats + attention.duration_beats
    low, high = attention.pitch - 0.42, attention.pitch + 0.42
    corners = np.stack([np.stack(pair, -1) for pair in ((left, low), (right, low), (right, high), (left, high))], 1)
    received = attention.received()  # (L, H, N)
    shown = np.arange(0, len(attention.bar_beats), max(1, math.ceil(len(attention.bar_beats) / _MOST_BAR_LABELS)))
    for index, axes in enumerate(panels):
        values = received[index // heads, index % heads]
        most = float(values.max(initial=0))
        axes.add_collection(
            PolyCollection(
                list(corners), array=values, cmap=_COLOURS, norm=PowerNorm(0.5, 0, most or 1), edgecolors=BAR_LINE,
                linewidths=0.3, zorder=2,
            )
        )  # fmt: skip
        for beat in attention.bar_beats:
            axes.axvline(beat, color=BAR_LINE, linewidth=0.5, zorder=1)
        axes.set_xlim(min(left.min(), attention.bar_beats.min(initial=left.min())), right.max())
        axes.set_ylim(attention.pitch.min() - 2, attention.pitch.max() + 2)
        title = f"layer {index // heads + 1}, head {index % heads + 1}: up to {100 * most:.2g} %"
        axes.set_title(title, fontsize=8, color=INK, loc="left")
        axes.set_xticks(attention.bar_beats[shown], [str(attention.first_bar + bar) for bar in shown])
        axes.set_yticks([])
    _save(figure, path)


def save_page(path: str | os.PathLike[str], attention: Attention, title: str, subtitle: str) -> None:
    """One HTML file that asks nothing of any network: choose a layer, a head and a token, see where it looked.

    Takes about 2/3 of a byte for each layer, head and pair of tokens.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(Path(__file__).with_name("attention.html.j2").read_text(encoding="utf-8"))
    notes = zip(attention.onset_beats, attention.duration_beats, attention.pitch, attention.program, strict=True)
    data = {
        "layers": attention.weights.shape[0],
        "heads": attention.weights.shape[1],
        "tokens": list(attention.tokens),
        "beats": attention.token_beats.round(4).tolist(),
        "notes": [
            [round(float(on), 4), round(float(last), 4), int(pitch), int(program)] for on, last, pitch, program in notes
        ],
        "pairs": np.stack([attention.token, attention.note], 1).tolist(),
        "bars": attention.bar_beats.round(4).tolist(),
        "firstBar": attention.first_bar,
    }
    # Markup in a name would end the script element that carries it.
    listing = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    text = template.render(title=title, subtitle=subtitle, data=listing, weights=pack(attention.weights))
    files.write_text(path, text.encode("utf-8", "backslashreplace").decode("utf-8"))


def pack(weights: np.ndarray) -> str:
    """The lower triangles of (L, H, T, T) row by row, a byte for each weight, in base 64.

    A byte is 255 times the square root, which keeps a share of 0.1 % apart from one of 0.2 %.
    """
    rows, columns = np.tril_indices(weights.shape[-1])
    lower = weights[:, :, rows, columns]  # (L, H, T (T + 1) / 2)
    return base64.b64encode(np.rint(255 * np.sqrt(np.clip(lower, 0, 1))).astype(np.uint8).tobytes()).decode("ascii")


def _grid(rows: int, columns: int, width_inches: float, height_inches: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(columns * width_inches, rows * height_inches + 0.5), dpi=DPI, facecolor="white")
    figure.set_layout_engine("constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in panels:
        axes.tick_params(length=0, labelsize=6, labelcolor=INK)
        for spine in axes.spines.values():
            spine.set_color(BAR_LINE)
    return figure, panels


def _save(figure: Figure, path: str | os.PathLike[str]) -> None:
    for axes in figure.axes:
        axes.set_visible(axes.has_data() or bool(axes.collections))
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
