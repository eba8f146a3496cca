"""The report of an evaluation: one HTML file that asks nothing of any network, with pictures, piano rolls and a player.

All pictures are rows or panels of SVG in the page's own colours, so that they follow light and dark.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from symusic import Score

from midifactory.music.score import bar_starts, note_arrays, seconds_at
from midifactory.render.obeyed import obeyed_rows
from midifactory.render.pages import write_page
from midifactory.render.pianoroll import DRUM_COLOUR, TRACK_COLOURS, track_label
from midifactory.render.rows import bar_rows, doublings, ends_of, time_marks, with_interval

REPETITION = "repetition"  # the curve that is drawn as lines
MOST_SECONDS = 120.0  # of a piece that is drawn and played
MOST_LABELS = 24  # of a label's values, the commonest first; evaluation.json has them all
_WIDTH, _HEIGHT = 320.0, 120.0  # of a panel, in units of its own
_MOST_BAR_LINES = 160
_FEW = 13  # bins of a histogram: all are drawn and named
_LEAST = 0.004  # of the highest bar: lower ones at the ends of a histogram are not drawn


def save_evaluation_report(
    path: str | os.PathLike[str], record: Mapping[str, Any], music: Sequence[tuple[str, Score]] = ()
) -> None:
    """Write evaluation.html from the content of evaluation.json; `music`: named pieces to be drawn and played.

    What the evaluation does not have is left out.
    """
    likelihood, samples = record.get("likelihood"), record.get("samples")
    pieces = [_piece(name, score) for name, score in music]
    write_page(
        path,
        "evaluation.html.j2",
        record=record,
        title=title_of(record),
        facts=_facts(record),
        findings=findings(record),
        beside=_beside(likelihood) if likelihood else [],
        figures=_figures(likelihood) if likelihood else [],
        types=_types(likelihood) if likelihood else [],
        positions=_positions(likelihood) if likelihood else [],
        labels=_labels(likelihood) if likelihood else {},
        dropped=_flat(likelihood.get("dropped")) if likelihood else [],
        metrics=metric_rows(samples["metrics"]) if samples else [],
        ticks=time_marks(),
        panels=_panels(samples.get("curves")) if samples else [],
        lags=_lags((samples.get("curves") or {}).get(REPETITION)) if samples else None,
        originality=_copies(samples.get("originality")) if samples else [],
        obedience=obeyed_rows(record.get("obedience")),
        pieces=[piece["drawn"] for piece in pieces],
        music=[piece["played"] for piece in pieces],
        settings=_flat(record.get("settings")),
    )


def title_of(record: Mapping[str, Any]) -> str:
    """What was evaluated, in a line."""
    samples = record.get("samples")
    subject = record.get("model") or _origin((samples or {}).get("from") or "music")
    return f"{subject} on {record['corpus']}, {record['split']} split"


def findings(record: Mapping[str, Any]) -> list[str]:
    """The evaluation in a few sentences."""
    sentences = []
    likelihood, samples = record.get("likelihood"), record.get("samples")
    if likelihood:
        bound = "at most " if likelihood["kind"] == "bound" else ""
        text = (
            f"{bound}{with_interval(likelihood['nats_per_note'])} nats per note on {_pieces(len(likelihood['pieces']))}"
        )
        grams = (likelihood.get("baselines") or {}).get("5-gram")
        if grams:
            text += f"; a 5-gram has {with_interval(grams['nats_per_note'])}"
        sentences.append(text[0].upper() + text[1:] + ".")
    if samples and samples["metrics"]:
        rows = metric_rows(samples["metrics"])
        judged = [row for row in rows if row["times"] is not None]
        off = [f"{row['name']}{row['side'] and ' (' + row['side'] + ')'}" for row in judged if row["off"]]
        text = (
            f"By {len(judged) - len(off)} of {len(judged)} measures the samples are as near to the corpus as its "
            "halves are to each other"
        )
        sentences.append(f"{text}; off: {', '.join(off)}." if off else f"{text}.")
    return sentences


def metric_rows(metrics: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each metric: its picture, what it says, and whether it is off; the furthest off first.

    The picture shows how far samples and corpus are apart as a multiple of the human ceiling, the distance of two
    halves of the corpus, on one axis of doublings for all. Off: the distance's interval lies wholly above the
    ceiling's.
    """
    rows: list[dict[str, Any]] = []
    for name, metric in metrics.items():
        distance, ceiling = ends_of(metric.get("distance") or metric), ends_of(metric.get("ceiling"))
        row = {
            "name": name.replace("_", " "),
            "unit": metric.get("unit") or "",
            "source": metric.get("source") or "",
            "samples": with_interval(metric) if metric["kind"] == "statistic" else "",
            "corpus": with_interval(metric.get("corpus")),
            "distance": with_interval(distance),
            "ceiling": with_interval(ceiling),
            "times": None,
            "off": False,
            "side": _side(metric) if metric["kind"] == "statistic" else "",
        }
        if distance and ceiling and ceiling[0] > 0:
            row["times"], row["off"] = distance[0] / ceiling[0], distance[1] > ceiling[2]
            row["dot"], row["band"] = doublings(distance, ceiling[0]), doublings(ceiling, ceiling[0])
        rows.append(row)
    return sorted(rows, key=lambda row: (not row["off"], -(row["times"] or 0)))


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was evaluated and how, as pairs of a name and a value."""
    likelihood, samples, tokenizer = (record.get(key) for key in ("likelihood", "samples", "tokenizer"))
    facts = [("corpus", f"{record['corpus']}, {record['split']} split")]
    if record.get("model"):
        facts.append(("model", str(record["model"])))
    if record.get("parameters") is not None:
        # An n-gram's size is what it counts.
        kind = "grams" if str(record.get("model")).endswith("gram") else "parameters"
        facts.append((kind, f"{record['parameters']:,}"))
    if tokenizer and (likelihood or record.get("model")):
        facts.append(("tokenizer", str(tokenizer["name"])))
        facts.append(("fields that its tokens keep", ", ".join(tokenizer["keeps"]) or "pitch and time alone"))
    if likelihood:
        facts.append(("held-out pieces", f"{len(likelihood['pieces']):,}"))
        facts.append(("held-out notes", f"{sum(piece['notes'] for piece in likelihood['pieces']):,}"))
        facts.append(("window, stride", _window(likelihood)))
    if samples:
        facts.append(("samples", f"{samples['count']:,}, from {_origin(samples['from'])}"))
        share = samples.get("invalid_tokens_share")
        if share is not None:
            facts.append(("invalid tokens", f"{100 * share:.3g} %"))
    return [*facts, ("seed", str(record["seed"]))]


def _window(likelihood: Mapping[str, Any]) -> str:
    if likelihood["kind"] == "bound":
        return "segments, each apart"
    if likelihood.get("window_tokens") is None:
        return "whole pieces"
    return f"{likelihood['window_tokens']:,}, {likelihood['stride_tokens']:,} tokens"


def _side(metric: Mapping[str, Any]) -> str:
    """Whether the samples have more or less of it than the corpus."""
    mine, theirs = ends_of(metric), ends_of(metric.get("corpus"))
    return "" if mine is None or theirs is None else "more" if mine[0] > theirs[0] else "less"


def _copies(report: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """The report on one sample (music/originality.py) as pairs of name and value."""
    if not report:
        return []
    rows = [("sample", str(report.get("file", "")))]
    for name, key in (("longest copy", "exact"), ("longest copy in any key", "transposed")):
        copy = report.get(key)
        if copy:
            of = f" of {copy['piece']}, its bar {copy['piece_bar']}" if copy["notes"] else ""
            rows.append((name, f"{copy['notes']} notes, {copy['beats']:.1f} beats{of}"))
    for name, key in (("n-grams copied", "ngrams"), ("n-grams copied in any key", "ngrams_transposed")):
        if report.get(key) is not None:
            rows.append((name, f"{100 * report[key]:.1f} %"))
    if report.get("nearest"):
        rows.append(("nearest training piece", f"{report['nearest']}, {100 * (report['nearest_share'] or 0):.1f} %"))
    return rows


def _pieces(count: int) -> str:
    return f"{count:,} piece{'s' * (count != 1)}"


def _origin(text: str) -> str:
    return "the model" if text == "model" else Path(text).name or text


def _beside(likelihood: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Bars of nats per note: the model, then what it is measured by, the best first."""
    known = {name: ends_of(row["nats_per_note"]) for name, row in (likelihood.get("baselines") or {}).items()}
    ordered = sorted(((name, row) for name, row in known.items() if row), key=lambda item: item[1][0])
    rows = bar_rows([("this model", ends_of(likelihood["nats_per_note"])), *ordered])
    return [*rows[:1], *(row | {"kind": "other"} for row in rows[1:])]


def _figures(likelihood: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The table of all likelihoods: per note, beat, second and token, of the model and of the baselines."""
    units = [("note", "nats_per_note"), ("beat", "nats_per_beat"), ("second", "nats_per_second"),
             ("token", "nats_per_token")]  # fmt: skip
    order = [bar["name"] for bar in _beside(likelihood)[1:]]
    named = [("this model", likelihood), *((name, likelihood["baselines"][name]) for name in order)]
    return [
        {"name": name, "cells": [with_interval(row.get(key)) for _, key in units]}
        for name, row in named
    ]  # fmt: skip


def _types(likelihood: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = sorted((likelihood.get("by_type") or {}).items(), key=lambda item: -(item[1]["nats_per_note"] or 0.0))
    bars = bar_rows([(name, ends_of(row["nats_per_note"])) for name, row in rows])
    found = dict(rows)
    return [
        bar | {"tokens": found[bar["name"]]["tokens"], "nats per token": found[bar["name"]]["nats_per_token"]}
        for bar in bars
    ]


def _positions(likelihood: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = likelihood.get("by_position") or []
    return bar_rows(
        [(f"{100 * row['from']:.0f} to {100 * row['to']:.0f} %", ends_of(row["nats_per_note"])) for row in rows]
    )


def _labels(likelihood: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """By label, bars of its values."""
    shown = {}
    for label, values in (likelihood.get("by_label") or {}).items():
        commonest = sorted(values.items(), key=lambda item: -item[1]["pieces"])[:MOST_LABELS]
        bars = bar_rows([
            (f"{value}, {_pieces(row['pieces'])}", ends_of(row["nats_per_note"]))
            for value, row in commonest
        ])  # fmt: skip
        if bars:
            shown[str(label)] = bars
    return shown


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Pairs of name and value of everything in a mapping; {"value", "low", "high"} is one, long lists are left out."""
    if isinstance(value, Mapping) and "value" not in value:
        return [pair for key, part in value.items() for pair in _flat(part, f"{name} {key}".strip())]
    if value is None or (isinstance(value, list | tuple) and (len(value) > _FEW or any(map(_is_nested, value)))):
        return []
    if isinstance(value, Mapping):
        text = with_interval(value)
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float):
        text = f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    elif isinstance(value, list | tuple):
        text = ", ".join(str(part) for part in value)
    else:
        text = f"{value:,}" if isinstance(value, int) else str(value)
    return [(name.replace("_", " "), text)] if text else []


def _panels(curves: Mapping[str, Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """Mean histograms of the samples over the corpus': {name: {"places", "samples", "corpus"}}."""
    panels = []
    for name, curve in (curves or {}).items():
        shares = {key: [value or 0.0 for value in curve[key]] for key in ("corpus", "samples")}
        top = max((value for values in shares.values() for value in values), default=0.0)
        if name == REPETITION or not top:
            continue
        places: list[Any] = list(curve["places"])
        marks: Sequence[int] = range(len(places))
        if len(places) > _FEW:
            used = [index for index, pair in enumerate(zip(*shares.values(), strict=True)) if max(pair) > _LEAST * top]
            kept = slice(used[0], used[-1] + 1)
            shares, places = {key: values[kept] for key, values in shares.items()}, places[kept]
            # Whole beats, or octaves of semitones; all of a few.
            whole = [i for i, place in enumerate(places) if place % (1 if isinstance(place, float) else 12) == 0]
            marks = whole if len(places) > _FEW and whole else range(len(places))
        names = [f"{place:.3g}" if isinstance(place, float) else str(place) for place in places]
        step = _WIDTH / len(places)
        panels.append({
            "name": name.replace("_", " "),
            "top": top,
            "bars": {
                key: [
                    (round(step * (index + room), 2), round(_HEIGHT * (1 - share / top), 2),
                     round(step * (1 - 2 * room), 2), round(_HEIGHT * share / top, 2),
                     f"{key}, {names[index]}: {100 * share:.1f} %")
                    for index, share in enumerate(values) if share
                ]
                for (key, values), room in zip(shares.items(), (0.04, 0.28), strict=True)
            },
            "ticks": [(round(step * (index + 0.5), 1), names[index]) for index in marks],
        })  # fmt: skip
    return panels


def _lags(curve: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Lines over the distance in bars: {"places", "samples", "corpus"}, None where there is no such bar."""
    if not curve:
        return None
    values = [value for key in ("corpus", "samples") for value in curve[key] if value is not None]
    if not values:
        return None
    top, step = max(values) or 1.0, _WIDTH / len(curve["places"])
    points = {
        key: [(round(step * (index + 0.5), 1), round(_HEIGHT * (1 - value / top), 1),
               f"{key}, {curve['places'][index]} bars later: {value:.3f}")
              for index, value in enumerate(curve[key]) if value is not None]
        for key in ("corpus", "samples")
    }  # fmt: skip
    ticks = [(round(step * (index + 0.5), 1), place) for index, place in enumerate(curve["places"])]
    return {"points": points, "ticks": ticks, "top": top}


def _piece(name: str, score: Score) -> dict[str, Any]:
    """A piece as the page draws it and as it plays it, up to MOST_SECONDS."""
    notes = note_arrays(score)
    onset, end = (seconds_at(score, ticks) for ticks in (notes["onset"], notes["onset"] + notes["duration"]))
    kept = onset < MOST_SECONDS
    onset, end = onset[kept], np.minimum(end[kept], MOST_SECONDS)
    pitch, velocity, program, track = (notes[key][kept] for key in ("pitch", "velocity", "program", "track"))
    seconds = float(end.max(initial=1.0))
    low, high = int(pitch.min(initial=127)) - 2, int(pitch.max(initial=0)) + 2
    bars = seconds_at(score, bar_starts(score))
    bars = bars[bars < seconds]
    step = max(1, math.ceil(len(bars) / _MOST_BAR_LINES))
    tracks = []
    for index in np.unique(track):
        chosen = np.flatnonzero(track == index)
        drums = bool(program[chosen[0]] < 0)
        path = "".join(
            f"M{onset[i]:.3f} {high - pitch[i]}h{max(0.03, 0.96 * (end[i] - onset[i])):.3f}v.86H{onset[i]:.3f}z"
            for i in chosen
        )
        colour = DRUM_COLOUR if drums else TRACK_COLOURS[int(index) % len(TRACK_COLOURS)]
        tracks.append({"label": track_label(score.tracks[int(index)]), "colour": colour, "drums": drums, "path": path})
    drawn = {
        "name": name,
        "notes": len(onset),
        "cut": not bool(kept.all()),
        "seconds": seconds,
        "rows": high - low + 1,
        "tracks": tracks,
        "bars": [round(100 * float(at) / seconds, 3) for at in bars[::step]],
        "octaves": [
            (round(100 * (high - c + 1) / (high - low + 1), 2), f"C{c // 12 - 1}")
            for c in range(low, high + 1) if c % 12 == 0
        ],
    }  # fmt: skip
    columns = zip(onset.round(3), (end - onset).round(3), pitch, velocity, program, strict=True)
    played = [[float(on), float(last), int(p), int(v), int(g)] for on, last, p, v, g in columns]
    return {"drawn": drawn, "played": {"seconds": seconds, "notes": played}}
