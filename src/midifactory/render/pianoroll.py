"""Piano rolls as PNG: time from left to right in bars, pitch from bottom to top, one colour per track."""

import os
import warnings
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.transforms import blended_transform_factory
from symusic import Score

from midifactory import files
from midifactory.errors import UserError
from midifactory.music.instruments import track_label
from midifactory.music.score import bar_starts, note_arrays, seconds_at, ticks_per_bar

# Okabe and Ito's colours, told apart by colour-blind eyes; their yellow is left out as it fades on white.
TRACK_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A4FA3", "#8C564B")
DRUM_COLOUR = "#4D4D4D"
INK, FAINT_INK = "#2B2B2B", "#8A8A8A"
BLACK_KEY_SHADE, OCTAVE_LINE, BAR_LINE, BEAT_LINE = "#F3F4F7", "#DCDFE6", "#C3C8D2", "#E9EBF0"
PROMPT_SHADE = "#FFF3D6"

DPI = 120
INCHES_PER_BEAT, MIN_WIDTH_INCHES, MAX_WIDTH_INCHES = 0.30, 9.0, 50.0
INCHES_PER_SEMITONE, MIN_HEIGHT_INCHES, MAX_HEIGHT_INCHES = 0.12, 2.4, 9.5
LEFT_INCHES, RIGHT_INCHES, TOP_INCHES, BOTTOM_INCHES = 0.62, 0.25, 0.35, 0.75
TITLE_INCHES = 0.45
MAX_LEGEND_ENTRIES = 10

_BLACK_KEYS = (1, 3, 6, 8, 10)


def save_pianoroll(
    score: Score,
    path: str | os.PathLike[str],
    title: str | None = None,
    prompt_end_tick: int | None = None,
    region_ticks: tuple[int, int] | None = None,
) -> None:
    """Draw `score` (in ticks) as a PNG at `path`, whole or not at all; the same score gives the same bytes.

    Loud notes are opaque, soft ones pale; drums are grey. The part before `prompt_end_tick` is shaded, or that from the
    first of `region_ticks` to the second. The picture
    grows with the music up to MAX_WIDTH_INCHES, then the music shrinks. Raises UserError for a score without notes.
    """
    notes = note_arrays(score)
    if len(notes["onset"]) == 0:
        raise UserError("the score has 0 notes, so there is no piano roll to draw; give one with at least 1 note")
    bars, end_tick = _bars(score)
    low = min(int(notes["pitch"].min()) - 2, int(np.median(notes["pitch"])) - 7)
    high = max(int(notes["pitch"].max()) + 2, int(np.median(notes["pitch"])) + 7)

    beats = end_tick / score.ticks_per_quarter
    plot_width = float(np.clip(INCHES_PER_BEAT * beats, MIN_WIDTH_INCHES, MAX_WIDTH_INCHES))
    plot_height = float(np.clip(INCHES_PER_SEMITONE * (high - low + 1), MIN_HEIGHT_INCHES, MAX_HEIGHT_INCHES))
    width = plot_width + LEFT_INCHES + RIGHT_INCHES
    height = plot_height + TOP_INCHES + BOTTOM_INCHES + (TITLE_INCHES if title else 0)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    box = (LEFT_INCHES / width, BOTTOM_INCHES / height, plot_width / width, plot_height / height)
    axes = figure.add_axes(box, facecolor="white")
    axes.set_xlim(0, end_tick)
    axes.set_ylim(low - 0.5, high + 0.5)

    inches_per_tick = plot_width / end_tick
    _draw_keys(axes, low, high)
    _draw_time(axes, score, bars, end_tick, inches_per_tick)
    if prompt_end_tick is not None and prompt_end_tick > 0:
        _draw_prompt(axes, min(prompt_end_tick, end_tick))
    if region_ticks is not None:
        _shade_region(axes, region_ticks)
    _draw_notes(axes, notes, inches_per_tick, plot_height / (high - low + 1))
    _draw_words(figure, score, title, width, height)

    # Fonts lack some scripts; a box in a title is better than a warning for each letter.
    with files.replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(temporary, format="png", metadata={"Software": None})


def save_pianorolls(
    scores: Sequence[Score],
    path: str | os.PathLike[str],
    titles: Sequence[str],
    region_ticks: tuple[int, int] | None = None,
) -> None:
    """Draw several scores below each other as one PNG, their bars and pitches at the same places.

    region_ticks: a part that is shaded in each.
    As `save_pianoroll` otherwise. Raises UserError where one has no notes.
    """
    notes = [note_arrays(score) for score in scores]
    for number, columns in enumerate(notes, start=1):
        if len(columns["onset"]) == 0:
            raise UserError(f"score {number} of {len(scores)} has 0 notes; draw those with at least 1 note")
    low = min(int(columns["pitch"].min()) for columns in notes) - 2
    high = max(int(columns["pitch"].max()) for columns in notes) + 2
    bars, ends = zip(*(_bars(score) for score in scores), strict=True)
    beats = max(end / score.ticks_per_quarter for end, score in zip(ends, scores, strict=True))
    plot_width = float(np.clip(INCHES_PER_BEAT * beats, MIN_WIDTH_INCHES, MAX_WIDTH_INCHES))
    plot_height = float(np.clip(INCHES_PER_SEMITONE * (high - low + 1) / 2, MIN_HEIGHT_INCHES / 2, MAX_HEIGHT_INCHES))
    width, gap = plot_width + LEFT_INCHES + RIGHT_INCHES, 0.12
    height = TOP_INCHES + BOTTOM_INCHES + len(scores) * (plot_height + gap)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for index, (score, columns) in enumerate(zip(scores, notes, strict=True)):
        bottom = BOTTOM_INCHES + (len(scores) - 1 - index) * (plot_height + gap)
        box = (LEFT_INCHES / width, bottom / height, plot_width / width, plot_height / height)
        axes = figure.add_axes(box, facecolor="white")
        end_tick = beats * score.ticks_per_quarter
        axes.set_xlim(0, end_tick)
        axes.set_ylim(low - 0.5, high + 0.5)
        _draw_keys(axes, low, high)
        _vertical_lines(axes, bars[index], BAR_LINE, 0.9, zorder=1.5)
        if region_ticks is not None:
            _shade_region(axes, region_ticks)
        _draw_notes(axes, columns, plot_width / end_tick, plot_height / (high - low + 1))
        for spine in axes.spines.values():
            spine.set_color(BAR_LINE)
        axes.set_xticks([])
        axes.set_ylabel(titles[index], fontsize=9, color=INK, labelpad=2)
    shown = bars[-1][:: _step(0.38 / (plot_width / len(bars[-1])))]
    axes.set_xticks(shown, [str(number + 1) for number in np.searchsorted(bars[-1], shown)])
    axes.tick_params(axis="x", length=0, labelsize=8, labelcolor=INK)
    axes.set_xlabel("bar", fontsize=8, color=FAINT_INK, loc="left", labelpad=2)
    _draw_words(figure, scores[0], None, width, height)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _bars(score: Score) -> tuple[np.ndarray, int]:
    """Starts of the bars that sound, and the end of the last one, counted whole, in ticks."""
    end = max(1, score.end())
    starts = bar_starts(score, end)
    in_force = [signature for signature in score.time_signatures if signature.time <= starts[-1]]
    last = max(in_force, key=lambda signature: signature.time, default=None)
    length = ticks_per_bar(last, score.ticks_per_quarter) if last else 4 * score.ticks_per_quarter
    return starts, max(int(starts[-1]) + length, end)


def _draw_keys(axes: Axes, low: int, high: int) -> None:
    """Shade the black keys' rows, draw a line below every C and name the octaves."""
    for pitch in range(low, high + 1):
        if pitch % 12 in _BLACK_KEYS:
            axes.axhspan(pitch - 0.5, pitch + 0.5, color=BLACK_KEY_SHADE, linewidth=0, zorder=0)
    octaves = [pitch for pitch in range(low, high + 1) if pitch % 12 == 0]
    for pitch in octaves:
        axes.axhline(pitch - 0.5, color=OCTAVE_LINE, linewidth=0.8, zorder=1)
    # MIDI's middle C, 60, is C4.
    axes.set_yticks(octaves, [f"C{pitch // 12 - 1}" for pitch in octaves])
    fifths = [pitch for pitch in range(low, high + 1) if pitch % 12 == 7]
    axes.set_yticks(fifths, [f"G{pitch // 12 - 1}" for pitch in fifths], minor=True)
    axes.tick_params(axis="y", which="major", length=0, labelsize=9, labelcolor=INK)
    axes.tick_params(axis="y", which="minor", length=0, labelsize=7, labelcolor=FAINT_INK)


def _draw_time(axes: Axes, score: Score, bars: np.ndarray, end_tick: int, inches_per_tick: float) -> None:
    """Lines at bars, fainter ones at beats, bar numbers below and seconds above, as many as are legible."""
    if len(beats := _beats(score, bars, end_tick)) and inches_per_tick * np.diff(beats).min(initial=end_tick) > 0.08:
        _vertical_lines(axes, beats, BEAT_LINE, 0.6, zorder=1)
    bar_inches = inches_per_tick * end_tick / len(bars)
    _vertical_lines(axes, bars[:: _step(0.08 / bar_inches)], BAR_LINE, 0.9, zorder=1.5)
    shown = range(0, len(bars), _step(0.38 / bar_inches))
    axes.set_xticks(bars[shown], [str(index + 1) for index in shown])
    axes.tick_params(axis="x", length=0, labelsize=8, labelcolor=INK)
    axes.set_xlabel("bar", fontsize=8, color=FAINT_INK, loc="left", labelpad=2)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(BAR_LINE)

    # Seconds are linear in ticks between tempo changes, so interpolation inverts them exactly.
    corners = np.unique([0, end_tick, *(tempo.time for tempo in score.tempos if 0 < tempo.time < end_tick)])
    seconds = seconds_at(score, corners)
    plot_inches = inches_per_tick * end_tick
    step = _step(0.7 * float(seconds[-1]) / plot_inches)
    marks = np.arange(0, float(seconds[-1]), step)
    above = axes.secondary_xaxis("top")
    above.set_xticks(np.interp(marks, seconds, corners), [_clock(mark) for mark in marks])
    above.tick_params(axis="x", length=2.5, color=BAR_LINE, labelsize=7, labelcolor=FAINT_INK, pad=2)
    above.spines["top"].set_visible(False)


def _beats(score: Score, bars: np.ndarray, end_tick: int) -> np.ndarray:
    """Ticks of the beats between the bar lines, as the time signatures' denominators count them."""
    times = np.array([signature.time for signature in score.time_signatures], dtype=np.int64)
    denominators = np.array([signature.denominator for signature in score.time_signatures], dtype=np.int64)
    order = np.argsort(times, kind="stable")
    times, denominators = times[order], denominators[order]
    inside = []
    for first, last in pairwise([*bars.tolist(), end_tick]):
        index = int(np.searchsorted(times, first, side="right")) - 1
        beat = score.ticks_per_quarter * 4 // max(1, int(denominators[index]) if index >= 0 else 4)
        inside.append(np.arange(first + max(1, beat), last, max(1, beat)))
    return np.concatenate(inside) if inside else np.zeros(0, np.int64)


def _vertical_lines(axes: Axes, ticks: np.ndarray, colour: str, width: float, zorder: float) -> None:
    segments = [((float(tick), 0.0), (float(tick), 1.0)) for tick in ticks]
    transform = blended_transform_factory(axes.transData, axes.transAxes)
    lines = LineCollection(segments, colors=colour, linewidths=width, transform=transform, zorder=zorder)
    axes.add_collection(lines, autolim=False)


def _draw_prompt(axes: Axes, end_tick: int) -> None:
    axes.axvspan(0, end_tick, color=PROMPT_SHADE, alpha=0.75, linewidth=0, zorder=0.5)
    axes.axvline(end_tick, color="#C99700", linewidth=1.1, linestyle=(0, (3, 2)), zorder=2)
    axes.annotate(
        "prompt", (0, 1), (4, -4), xycoords="axes fraction", textcoords="offset points",
        va="top", fontsize=8, color="#8F6B00", style="italic", zorder=4,
    )  # fmt: skip


def _shade_region(axes: Axes, ticks: tuple[int, int]) -> None:
    axes.axvspan(*ticks, color=PROMPT_SHADE, alpha=0.75, linewidth=0, zorder=0.5)
    for tick in ticks:
        axes.axvline(tick, color="#C99700", linewidth=1.1, linestyle=(0, (3, 2)), zorder=2)


def _draw_notes(axes: Axes, notes: dict[str, np.ndarray], inches_per_tick: float, row_inches: float) -> None:
    """All notes as one collection: ten thousand patches would take minutes."""
    left = notes["onset"] * inches_per_tick
    # A gap parts repeated notes; a floor keeps the shortest ones visible.
    width = notes["duration"] * inches_per_tick
    width = np.maximum(width - np.minimum(0.014, 0.2 * width), 0.025)
    height = np.full_like(width, 0.82 * row_inches)
    radius = np.minimum(np.minimum(width, height) / 2, 0.035)
    corners = _rounded_bars(left, notes["pitch"] * row_inches, width, height, radius)
    corners /= np.array([inches_per_tick, row_inches])

    colours = [to_rgb(colour) for colour in TRACK_COLOURS]
    rgba = np.ones((len(left), 4))
    rgba[:, :3] = np.array(colours)[notes["track"] % len(colours)]
    rgba[notes["program"] < 0, :3] = to_rgb(DRUM_COLOUR)
    edges = rgba.copy()
    rgba[:, 3] = 0.3 + 0.7 * np.clip(notes["velocity"], 0, 127) / 127
    axes.add_collection(
        PolyCollection(list(corners), facecolors=rgba, edgecolors=edges, linewidths=0.5, zorder=3), autolim=False
    )


def _rounded_bars(
    left: np.ndarray, centre: np.ndarray, width: np.ndarray, height: np.ndarray, radius: np.ndarray
) -> np.ndarray:
    """Outlines (N, 16, 2) of rounded rectangles, four points to a corner; all arguments (N,) in inches."""
    angles = np.linspace(0, np.pi / 2, 4)
    parts = []
    for quarter, (along, up) in enumerate(((1, 1), (0, 1), (0, 0), (1, 0))):
        x = left + (width - radius if along else radius)
        y = centre + (height / 2 - radius if up else radius - height / 2)
        turned = angles + quarter * np.pi / 2
        parts.append(np.stack([x[:, None] + radius[:, None] * np.cos(turned),
                               y[:, None] + radius[:, None] * np.sin(turned)], axis=-1))  # fmt: skip
    return np.concatenate(parts, axis=1)


def _draw_words(figure: Figure, score: Score, title: str | None, width: float, height: float) -> None:
    """The title above and the legend below. Names are free text, so no mathematics is read in their dollars."""
    if title:
        shown = " ".join(title.split())
        figure.text(LEFT_INCHES / width, 1 - 0.18 / height, shown, fontsize=13, color=INK, weight="bold", va="top",
                    parse_math=False)  # fmt: skip
    entries = []
    for index, track in enumerate(score.tracks):
        if len(track.notes):
            colour = DRUM_COLOUR if track.is_drum else TRACK_COLOURS[index % len(TRACK_COLOURS)]
            entries.append((colour, track_label(track)))
    # As many as stand on one line.
    limit = max(2, min(MAX_LEGEND_ENTRIES, int((width - LEFT_INCHES) / 1.7)))
    if len(entries) > limit:
        entries = [*entries[: limit - 1], ("white", f"and {len(entries) - limit + 1} more")]
    legend = figure.legend(
        [Patch(facecolor=colour, linewidth=0) for colour, _ in entries], [" "] * len(entries),
        loc="lower left", bbox_to_anchor=(LEFT_INCHES / width, 0.1 / height), ncols=len(entries), frameon=False,
        fontsize=9, labelcolor=INK, handlelength=1.0, handleheight=0.8, borderpad=0, borderaxespad=0, columnspacing=1.6,
    )  # fmt: skip
    # Set afterwards, because legends drop labels that begin with an underscore.
    for text, (_, label) in zip(legend.get_texts(), entries, strict=True):
        text.set_parse_math(False)
        text.set_text(label)


def _step(minimum: float) -> int:
    """The smallest of 1, 2, 4, 5, 8, 10, 15, 20, 30, 60, 120, ... that is at least `minimum`."""
    for step in (1, 2, 4, 5, 8, 10, 15, 20, 30, 60):
        if step >= minimum:
            return step
    step = 60
    while step < minimum:
        step *= 2
    return step


def _clock(seconds: float) -> str:
    """Seconds as 0:07."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
