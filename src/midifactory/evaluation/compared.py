"""Evaluations side by side: the same pieces under several models, how far they differ, and what may be concluded.

Of two models the difference of nats per note is taken piece by piece, so that what makes a piece hard for both cancels
out, and its interval is found by drawing the pieces anew (bootstrap.py). Of more than two, all pairs are compared, and
each interval is widened so that all of them hold together with 95 % (Bonferroni), since the best of many is also the
luckiest.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from midifactory.errors import UserError
from midifactory.evaluation.bootstrap import Interval, interval_of, interval_of_difference
from midifactory.evaluation.obedience import row_figure

DRAWS = 10_000  # the ends of widened intervals lie far out
_DOUBT = 0.05  # of all intervals together
_EMBEDDED = "frechet_ours"  # the metric that depends on the model whose embeddings are taken
_FIELDS = ("corpus", "split", "tokenizer", "likelihood", "samples")


@dataclass(frozen=True)
class Run:
    """One evaluation: `label` is its name beside the others, `name` where it lies, `record` evaluation.json."""

    label: str
    name: str
    record: Mapping[str, Any]

    @property
    def likelihood(self) -> Mapping[str, Any] | None:
        """None for the evaluation of a folder."""
        return self.record["likelihood"]

    @property
    def keeps(self) -> tuple[str, ...]:
        """The fields that its tokens keep, such as velocity."""
        return tuple(sorted(self.record["tokenizer"]["keeps"])) if self.record["tokenizer"] else ()


def check_record(name: str, record: Any) -> Mapping[str, Any]:
    """`record`, if it is an evaluation as this version writes it. Raises UserError."""
    remedy = "evaluate again: midifactory evaluate checkpoint=..."
    if not isinstance(record, Mapping) or "midifactory" not in record:
        raise UserError(f"{name}: no evaluation; {remedy}")
    missing = [field for field in _FIELDS if field not in record]
    likelihood = record.get("likelihood")
    if likelihood is not None:
        missing += [f"likelihood.{field}" for field in ("kind", "pieces", "nats_per_note") if field not in likelihood]
    if missing:
        raise UserError(f"{name}: written by midifactory {record['midifactory']} without {missing[0]}; {remedy}")
    return record


def compare(runs: Sequence[Run], seed: int = 0) -> dict[str, Any]:
    """What may be said of two or more evaluations of one corpus and split, as plain values that JSON can say.

    runs: of each what was evaluated. groups: runs whose tokens keep the same fields, ranked by nats per note of the
    pieces that all of a group have, with all pairs; a rank is 1 and how many are better beyond doubt. not_ranked: why
    others are in no group together. samples: their metrics side by side, None for fewer than two runs with samples; so
    obedience, which is not ranked.

    Raises UserError where nothing can be compared: other corpora or splits, no piece in common, or only tokenizers that
    keep different fields.
    """
    for run in runs[1:]:
        _check_same_music(runs[0], run)
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        if run.likelihood is not None:
            groups.setdefault(run.keeps, []).append(run)
    compared = [_group(members, seed) for members in groups.values() if len(members) > 1]
    reasons = [_why_not_ranked(one, other) for one, other in combinations(groups.values(), 2)]
    samples = _samples([run for run in runs if run.record["samples"]])
    obedience = _obedience([run for run in runs if run.record.get("obedience")])
    if not compared and samples is None and obedience is None:
        reasons = reasons or [
            "fewer than two runs have a likelihood, samples or obedience: there is nothing to compare"
        ]
        raise UserError(reasons[0])
    return {
        "corpus": runs[0].record["corpus"],
        "split": runs[0].record["split"],
        "runs": [_described(run) for run in runs],
        "groups": compared,
        "not_ranked": reasons,
        "samples": samples,
        "obedience": obedience,
    }


def _check_same_music(first: Run, other: Run) -> None:
    for field, remedy in (("corpus", "data"), ("split", "split")):
        mine, theirs = first.record[field], other.record[field]
        if mine != theirs:
            raise UserError(
                f"{first.label} is of {field} {mine}, {other.label} of {theirs}: other music is easier or harder; "
                f"evaluate both with {remedy}={mine}"
            )


def _why_not_ranked(first: Sequence[Run], other: Sequence[Run]) -> str:
    mine, theirs = set(first[0].keeps), set(other[0].keeps)
    one, two = (", ".join(run.label for run in runs) for runs in (first, other))
    parts = [
        f"the tokens of {more} keep {', '.join(sorted(fields))}, those of {less} do not"
        for more, less, fields in ((one, two, mine - theirs), (two, one, theirs - mine))
        if fields
    ]
    return (
        f"{' and '.join(parts)}: their nats count different things, so they are not ranked; train and evaluate both "
        "with tokens that keep the same"
    )


def _described(run: Run) -> dict[str, Any]:
    tokenizer, likelihood, samples = (run.record[field] for field in ("tokenizer", "likelihood", "samples"))
    return {
        "label": run.label,
        "run": run.name,
        "model": run.record.get("model"),
        "parameters": run.record.get("parameters"),
        "tokenizer": tokenizer["name"] if tokenizer else None,
        "keeps": list(run.keeps),
        "kind": likelihood["kind"] if likelihood else None,
        "samples": samples["count"] if samples else None,
    }


def _group(runs: Sequence[Run], seed: int) -> dict[str, Any]:
    """Runs whose tokens keep the same fields, on the pieces that all of them have."""
    rows = {run.label: {row["piece"]: row for row in _likelihood(run)["pieces"]} for run in runs}
    names = [name for name in rows[runs[0].label] if all(name in rows[run.label] for run in runs)]
    labels = " and ".join(run.label for run in runs)
    if not names:
        raise UserError(f"{labels} have no piece in common; evaluate them with the same data and split")
    for run in runs[1:]:
        for name in names:
            notes = [rows[each.label][name]["notes"] for each in (runs[0], run)]
            if notes[0] != notes[1]:
                raise UserError(
                    f"{name} has {notes[0]} notes in {runs[0].label} and {notes[1]} in {run.label}: not the same music;"
                    " evaluate both with the same data"
                )
    notes = [rows[runs[0].label][name]["notes"] for name in names]
    nats = {run.label: [rows[run.label][name]["nats"] for name in names] for run in runs}
    count = len(runs) * (len(runs) - 1) // 2
    pairs = [
        _pair(one, other, nats[one.label], nats[other.label], notes, _DOUBT / count, seed)
        for one, other in combinations(runs, 2)
    ]
    figures = {run.label: interval_of(nats[run.label], notes, seed) for run in runs}
    ranking = []
    for run in runs:
        mine = [pair for pair in pairs if run.label in (pair["first"], pair["second"])]
        unclear = [pair for pair in mine if pair["better"] is None]
        ranking.append({
            "label": run.label,
            "rank": 1 + sum(pair["better"] not in (None, run.label) for pair in mine),
            "kind": _likelihood(run)["kind"],
            "nats_per_note": figures[run.label].to_dict(),
            "own_pieces": len(rows[run.label]),
            "not_told_from": [
                pair["first"] if pair["second"] == run.label else pair["second"] for pair in unclear
            ],
        })  # fmt: skip
    ranking.sort(key=lambda row: (row["rank"], row["nats_per_note"]["value"] or 0.0))
    group: dict[str, Any] = {
        "keeps": list(runs[0].keeps),
        "runs": [run.label for run in runs],
        "pieces": len(names),
        "share": 1 - _DOUBT / count,
        "ranking": ranking,
        "pairs": pairs,
    }
    return {**group, "line": _pieces_line(group), "losses": _losses(runs)}


def _losses(runs: Sequence[Run]) -> list[str]:
    """What each run's tokens lose of the music, where they are not the same tokens: that costs no nats."""
    if len({(run.record["tokenizer"] or {}).get("fingerprint") for run in runs}) == 1:
        return []
    lines = []
    for run in runs:
        lost = _likelihood(run).get("dropped") or {}
        notes, dropped, onset = (lost.get(key) for key in ("notes", "dropped_notes", "onset_error_ms_mean"))
        if notes and dropped is not None:
            moved = f", onsets move by {onset:.1f} ms" if onset is not None else ""
            lines.append(f"{run.label}'s tokens drop {100 * dropped / notes:.2f} % of the notes{moved}")
    return lines


def _pair(
    first: Run,
    second: Run,
    nats: Sequence[float],
    other_nats: Sequence[float],
    notes: Sequence[float],
    doubt: float,
    seed: int,
) -> dict[str, Any]:
    """`difference`: nats per note of the second less those of the first; `better`: who is so beyond doubt, or None."""
    found = interval_of_difference(other_nats, notes, nats, notes, seed, share=1 - doubt, draws=DRAWS)
    better, says = conclusion(first, second, found, len(notes), doubt)
    return {
        "first": first.label,
        "second": second.label,
        "pieces": len(notes),
        "difference": found.to_dict(),
        "better": better,
        "says": says,
    }


def conclusion(first: Run, second: Run, found: Interval, pieces: int, doubt: float) -> tuple[str | None, str]:
    """Who is better beyond doubt (None: nobody), and the sentence that says what may be concluded.

    found: of the nats per note of the second less those of the first. Fewer pieces than a sign test would need for
    `doubt` conclude nothing, since intervals of so few are too narrow. A bound says only that its model is at least
    that good, so it can win against an exact figure, but not lose.
    """
    least = math.ceil(1 + math.log2(1 / doubt))
    value, low, high = found.value, found.low, found.high
    if value is None or low is None or high is None or pieces < least:
        return None, (
            f"{first.label} and {second.label}: {pieces} piece{'s' * (pieces != 1)} in common conclude nothing; at "
            f"least {least} are needed"
        )
    better, worse = (second, first) if value < 0 else (first, second)
    size, ends = abs(value), sorted((abs(low), abs(high)))
    clear = low > 0 or high < 0
    unit = f"nats per note on {pieces} pieces"
    by = f"{size:.3f} ({ends[0]:.3f} to {ends[1]:.3f}) {unit}"
    apart = f"{second.label} less {first.label} is {value:.3f} ({low:.3f} to {high:.3f}) {unit}"
    bounds = [run.label for run in (first, second) if _likelihood(run)["kind"] == "bound"]
    if len(bounds) == 2:
        return (
            None,
            f"nothing can be concluded of {first.label} and {second.label}: both figures are bounds: {apart}",
        )
    if bounds and (better.label not in bounds or not clear):
        return None, (
            f"nothing can be concluded of {first.label} and {second.label}: {bounds[0]}'s figure is a bound and not "
            f"clearly below the other's, which is exact: {apart}"
        )
    if not clear:
        return None, f"{first.label} and {second.label} cannot be told apart: {apart}, and the interval holds 0"
    least_by = "at least " if bounds else ""
    return better.label, f"{better.label} is better than {worse.label} by {least_by}{by}: the interval excludes 0"


def _likelihood(run: Run) -> Mapping[str, Any]:
    assert run.likelihood is not None
    return run.likelihood


def _samples(runs: Sequence[Run]) -> dict[str, Any] | None:
    """The samples' metrics of the runs side by side.

    nearest: the run whose samples are nearest to the corpus beyond doubt, its interval wholly below all others'; None
    where the runs compared different numbers or lengths of pieces, on which distances depend, or other embeddings.
    """
    if len(runs) < 2:
        return None
    parts = [run.record["samples"] for run in runs]
    same_size = len({(part.get("compared_pieces"), part.get("max_bars")) for part in parts}) == 1
    same_model = len({(part.get(_EMBEDDED) or {}).get("sha256") for part in parts}) == 1
    metrics = {}
    for name in dict.fromkeys(name for run in runs for name in run.record["samples"]["metrics"]):
        found = {run.label: run.record["samples"]["metrics"].get(name) for run in runs}
        rows = {label: row for label, row in found.items() if row}
        distances = {label: _interval(row.get("distance") or row) for label, row in rows.items()}
        metrics[name] = {
            **{key: next(iter(rows.values())).get(key) for key in ("unit", "kind", "source", "corpus")},
            "values": {label: _interval(row) for label, row in rows.items()},
            "distances": distances,
            "ceilings": {label: _interval(row["ceiling"]) for label, row in rows.items()},
            "nearest": _nearest(distances) if same_size and (same_model or name != _EMBEDDED) else None,
        }
    return {"runs": [run.label for run in runs], "same_size": same_size, "metrics": metrics}


def _obedience(runs: Sequence[Run]) -> dict[str, Any] | None:
    """How each run was asked, and of every attribute what each obeys; None for one that it was not asked for."""
    if len(runs) < 2:
        return None
    parts = {run.label: run.record["obedience"] for run in runs}
    attributes: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for part in parts.values() for name in part["attributes"]):
        attributes[name] = dict.fromkeys(parts)
        for label, part in parts.items():
            if (row := part["attributes"].get(name)) is not None:
                figures = {key: value for key, value in row.items() if key not in ("asked", "measured")}
                attributes[name][label] = figures | {"text": row_figure(row)}
    how = {
        label: f"asked={part['asked']}, guidance={part['guidance']:g}, {part['count']} pieces each"
        for label, part in parts.items()
    }
    return {"runs": list(parts), "how": how, "attributes": attributes}


def _interval(row: Mapping[str, Any]) -> dict[str, float | None]:
    return {key: row.get(key) for key in ("value", "low", "high")}


def _nearest(distances: Mapping[str, Mapping[str, float | None]]) -> str | None:
    known = {label: row for label, row in distances.items() if row["high"] is not None and row["low"] is not None}
    if len(known) < 2:
        return None
    best = min(known, key=lambda label: known[label]["high"] or 0.0)
    others = [row["low"] or 0.0 for label, row in known.items() if label != best]
    return best if (known[best]["high"] or 0.0) < min(others) else None


def table_lines(found: Mapping[str, Any]) -> list[str]:
    """What `compare` found, for people."""
    lines = [f"{found['corpus']}, {found['split']} split"]
    for run in found["runs"]:
        kind = "grams" if str(run["model"]).endswith("gram") else "parameters"
        size = f"{run['parameters']:,} {kind}" if run["parameters"] is not None else None
        parts = (run["model"], size, run["tokenizer"], f"{run['samples']} samples" if run["samples"] else None)
        lines.append(f"  {run['label']}  {run['run']}  ({', '.join(str(part) for part in parts if part)})")
    for group in found["groups"]:
        lines += ["", f"{'rank':<6}{'run':<5}{'nats per note, 95 % interval':<32}cannot be told from"]
        for row in group["ranking"]:
            bound = "at most " if row["kind"] == "bound" else ""
            text = bound + Interval(**row["nats_per_note"]).text()
            lines.append(f"{row['rank']:<6}{row['label']:<5}{text:<32}{', '.join(row['not_told_from'])}".rstrip())
        lines.append(group["line"])
        lines += map(_sentence, [*group["losses"], *(pair["says"] for pair in group["pairs"])])
    lines += map(_sentence, found["not_ranked"])
    if found["samples"]:
        lines += ["", *_samples_lines(found["samples"])]
    if found["obedience"]:
        lines += ["", *_obedience_lines(found["obedience"])]
    return lines


def _pieces_line(group: Mapping[str, Any]) -> str:
    """On how many pieces a group was compared, and how wide its intervals are."""
    own = {row["label"]: row["own_pieces"] for row in group["ranking"]}
    fewer = [f"{label} has {count}" for label, count in own.items() if count != group["pieces"]]
    text = f"on the {group['pieces']} pieces that all have" + (f" ({', '.join(fewer)})" if fewer else "")
    count = len(group["pairs"])
    if count > 1:
        share = f"{100 * group['share']:.3g} %"
        text += f"; intervals of the {count} differences are of {share}, so that all hold together with 95 %"
    return text


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _samples_lines(samples: Mapping[str, Any]) -> list[str]:
    labels = samples["runs"]
    lines = [f"{'samples: apart from corpus':<27}{''.join(f'{label:<26}' for label in labels)}human ceiling"]
    for name, metric in samples["metrics"].items():
        cells = []
        for label in labels:
            text = _short(metric["distances"].get(label))
            cells.append(f"{text + (' *' if metric['nearest'] == label else ''):<26}")
        ceiling = next((row for row in metric["ceilings"].values() if row["value"] is not None), None)
        lines.append(f"{name.replace('_', ' '):<27}{''.join(cells)}{_short(ceiling)}".rstrip())
    if samples["same_size"]:
        return [*lines, "* nearest to the corpus: its interval lies below all others'"]
    return [
        *lines,
        "no nearest is marked: distances depend on number and length of the pieces, which differ between these runs",
    ]


def _obedience_lines(obedience: Mapping[str, Any]) -> list[str]:
    labels = obedience["runs"]
    lines = [f"{'obedience':<14}{''.join(f'{label:<34}' for label in labels)}".rstrip()]
    for name, rows in obedience["attributes"].items():
        cells = (rows[label]["text"] if rows[label] else "-" for label in labels)
        lines.append(f"{name.replace('_', ' '):<14}{''.join(f'{cell:<34}' for cell in cells)}".rstrip())
    return [*lines, *(f"{label}: {text}" for label, text in obedience["how"].items())]


def _short(row: Mapping[str, float | None] | None) -> str:
    if row is None or row["value"] is None:
        return "-"
    ends = "" if row["low"] is None or row["high"] is None else f" ({row['low']:.3g} to {row['high']:.3g})"
    return f"{row['value']:.3g}{ends}"
