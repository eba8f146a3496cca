"""The page of a comparison: intervals of the runs, of their differences and of their samples, in one HTML file."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from midifactory.render.pages import write_page
from midifactory.render.pianoroll import TRACK_COLOURS
from midifactory.render.rows import axis_of, doublings, ends_of, place, time_marks, with_interval


def save_comparison(path: str | os.PathLike[str], found: Mapping[str, Any]) -> None:
    """Write compare.html from the content of compare.json."""
    colours = {run["label"]: TRACK_COLOURS[index % len(TRACK_COLOURS)] for index, run in enumerate(found["runs"])}
    samples = found["samples"] or {"metrics": {}, "runs": []}
    write_page(
        path,
        "comparison.html.j2",
        found=found,
        colours=colours,
        groups=[_group(group) for group in found["groups"]],
        ticks=time_marks(),
        metrics=[_metric(name, metric, samples["runs"]) for name, metric in samples["metrics"].items()]
        if samples
        else [],
    )


def _group(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group's runs, and its pairs around zero, with their places on one axis each."""
    figures = [ends_of(row["nats_per_note"]) for row in group["ranking"]]
    low, high = axis_of([x for ends in figures if ends for x in ends], False)
    differences = [ends_of(pair["difference"]) for pair in group["pairs"]]
    most = max((abs(x) for ends in differences if ends for x in ends), default=1.0) * 1.05 or 1.0
    return {
        **group,
        "ranking": [
            {**row, "dot": ends and place(ends, low, high), "text": with_interval(row["nats_per_note"])}
            for row, ends in zip(group["ranking"], figures, strict=True)
        ],
        "pairs": [
            {**pair, "dot": ends and place(ends, -most, most), "text": with_interval(pair["difference"])}
            for pair, ends in zip(group["pairs"], differences, strict=True)
        ],
    }


def _metric(name: str, metric: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """One dot for each run, as a multiple of the human ceiling of the first that has one."""
    ceilings = [ends for label in labels if (ends := ends_of(metric["ceilings"].get(label))) and ends[0] > 0]
    one = ceilings[0][0] if ceilings else None
    distances = {label: ends_of(metric["distances"].get(label)) for label in labels}
    return {
        "name": name.replace("_", " "),
        "unit": metric["unit"] or "",
        "nearest": metric["nearest"],
        "band": doublings(ceilings[0], one) if one else None,
        "dots": {label: doublings(ends, one) for label, ends in distances.items() if ends and one},
        "texts": {label: with_interval(metric["distances"].get(label)) for label in labels},
        "values": {label: with_interval(metric["values"].get(label)) for label in labels},
        "corpus": with_interval(metric["corpus"]),
        "statistic": metric["kind"] == "statistic",
        "ceiling": with_interval(ceilings[0]) if ceilings else "",
    }
