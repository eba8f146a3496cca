"""The page of a sweep: one HTML file that asks nothing of any network, with the pictures' program inside."""

import html
import math
import os
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, StrictUndefined
from plotly.offline import get_plotlyjs

from midifactory import files

_MOST_TICKS = 12
_LOG_RATIO = 20.0  # numbers that differ by more, all above zero, are drawn by their logarithms
_LAYOUT = {"template": "simple_white", "margin": {"l": 60, "r": 30, "t": 40, "b": 50}, "height": 380}


def save_sweep_page(
    path: str | os.PathLike[str],
    *,
    title: str,
    measure: str,
    maximise: bool,
    rows: Sequence[Sequence[str]],
    command: str | None,
    parameters: Mapping[str, Sequence[str]],
    values: Sequence[float],
    importances: Mapping[str, float],
    no_importances: str,
    history: Sequence[tuple[str, str, float | None]],
) -> None:
    """Write the page.

    rows: the table, its header first. parameters: of each the settings of the jobs that finished, values: what these
    are judged by (`measure`). importances: shares of the parameters; where there are none, `no_importances` says why.
    history: (name, state, value) of all jobs in the order in which they were begun.
    """
    figures = {"History": _history(history, measure, maximise)}
    if importances:
        figures = {"Importances": _importances(importances), **figures}
    if parameters and len(values):
        figures = {"Parallel coordinates": _coordinates(parameters, values, measure, maximise), **figures}
    drawings = {name: figure.to_html(full_html=False, include_plotlyjs=False) for name, figure in figures.items()}
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string(Path(__file__).with_name("sweep.html.j2").read_text(encoding="utf-8"))
    page = template.render(
        title=title,
        header=rows[0],
        rows=rows[1:],
        command=command,
        drawings=drawings,
        no_importances=no_importances,
        plotly=get_plotlyjs(),
    )
    files.write_text(path, page)


def _label(text: str) -> str:
    """Plotly reads tags in its labels."""
    return html.escape(text, quote=False)


def _coordinates(
    parameters: Mapping[str, Sequence[str]], values: Sequence[float], measure: str, maximise: bool
) -> go.Figure:
    axes = [_axis(name, column) for name, column in parameters.items()]
    axes.append({"label": _label(measure), "values": list(values)})
    # Dark is good.
    line = {"color": list(values), "colorscale": "Viridis", "reversescale": maximise, "showscale": len(set(values)) > 1}
    return go.Figure(go.Parcoords(line=line, dimensions=axes, labelangle=-15), {**_LAYOUT, "margin": {"t": 110}})


def _axis(name: str, column: Sequence[str]) -> dict[str, object]:
    """Numbers as numbers, or as logarithms where they are far apart; other settings one below the other."""
    distinct = sorted(set(column))
    try:
        numbers = [float(text) for text in column]
    except ValueError:
        ticks = list(range(len(distinct)))
        places = [distinct.index(text) for text in column]
        return {"label": _label(name), "values": places, "tickvals": ticks, "ticktext": [*map(_label, distinct)]}
    scale = math.log10 if min(numbers) > 0 and max(numbers) > _LOG_RATIO * min(numbers) else float
    axis: dict[str, object] = {"label": _label(name), "values": [scale(number) for number in numbers]}
    if scale is math.log10 or len(distinct) <= _MOST_TICKS:
        texts = sorted(distinct, key=float)
        texts = texts[:: math.ceil(len(texts) / _MOST_TICKS)]
        axis["tickvals"] = [scale(float(text)) for text in texts]
        axis["ticktext"] = [f"{float(text):.4g}" for text in texts]
    return axis


def _importances(importances: Mapping[str, float]) -> go.Figure:
    ordered = sorted(importances.items(), key=lambda item: item[1])
    bars = go.Bar(x=[share for _, share in ordered], y=[_label(name) for name, _ in ordered], orientation="h")
    axes = {"xaxis": {"title": {"text": "share of the variance that the parameters explain"}, "range": [0, 1]}}
    return go.Figure(bars, {**_LAYOUT, **axes, "yaxis": {"type": "category", "automargin": True}})


def _history(history: Sequence[tuple[str, str, float | None]], measure: str, maximise: bool) -> go.Figure:
    names = [_label(name) for name, *_ in history]
    figure = go.Figure(layout={
        **_LAYOUT,
        "xaxis": {"title": {"text": "job"}, "type": "category", "categoryarray": names},
        "yaxis": {"title": {"text": _label(measure)}},
    })  # fmt: skip
    for state, symbol in (("finished", "circle"), ("pruned", "x"), ("unfinished", "circle-open"), ("failed", "cross")):
        points = [(name, value) for name, kind, value in history if kind == state and value is not None]
        if points:
            labels, values = zip(*((_label(name), value) for name, value in points), strict=True)
            figure.add_scatter(x=labels, y=values, mode="markers", name=state, marker={"symbol": symbol})
    done = [(name, value) for name, kind, value in history if kind == "finished" and value is not None]
    if done:
        best = list(accumulate((value for _, value in done), max if maximise else min))
        figure.add_scatter(x=[_label(name) for name, _ in done], y=best, mode="lines", name="best so far")
    return figure
