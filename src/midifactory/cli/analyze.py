"""`midifactory analyze`: what a corpus sounds like, before a model hears it."""

import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig

from midifactory import files
from midifactory.cli import hydra_app
from midifactory.cli.building import build_tokenizer, print_rejected
from midifactory.errors import UserError
from midifactory.music.analysis import Analysis, Recommendation, analyze_corpus, recommend
from midifactory.music.corpora import Corpus
from midifactory.music.scan import printable
from midifactory.music.score import Limits, UnreadableMidi, load_score
from midifactory.render.plots import save_corpus_plots
from midifactory.render.report import panels_for, program_name, save_report
from midifactory.tokens.tokenizer import Tokenizer

_COUNTED_PIECES = 12  # tokenised to see how many tokens a note takes
# What the picture shows of the report's panels.
_OVERVIEW = (
    *("Pitch", "Pitch classes", "Velocity", "Note lengths", "Time between onsets", "Place in the beat"),
    *("Tempo in the files", "Tempo estimated from onsets", "Duration", "Density", "Polyphony", "Instruments"),
    *("Keys", "Metres", "Chords"),
)


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("analyze", analyze, sys.argv[1:] if argv is None else argv)


def analyze(config: DictConfig) -> Path:
    """Write analysis.json, report.html, analysis.png and profile.json; print a summary. Returns the report."""
    corpus: Corpus = instantiate(config.data.source).collect()
    limits: Limits = instantiate(config.data.limits)
    analysis = analyze_corpus(corpus.name, corpus.pieces, config.prepare.workers, limits)
    advice = recommend(analysis, tokens_per_note(corpus, config.tokenizer, limits))
    rejected = [
        {"path": printable(os.fspath(item.path)), "kind": item.kind, "reason": item.reason} for item in corpus.rejected
    ]
    duplicates = [
        {"dropped": dropped, "kept": kept, "kind": kind}
        for kind, pairs in (("exact", corpus.duplicates), ("near", corpus.near_duplicates))
        for dropped, kept in pairs
    ]
    found = analysis.to_dict()
    recommendations = [asdict(item) for item in advice]
    left_out = {"rejected": rejected, "duplicates": duplicates}
    folder = Path(config.run_dir)
    listing = json.dumps({**found, "recommendations": recommendations, **left_out}, indent=1, allow_nan=False)
    files.write_text(folder / "analysis.json", listing)
    files.write_text(folder / "profile.json", json.dumps(found["profile"], indent=1, allow_nan=False))
    example = shlex.join(["midifactory", "train", *corpus_arguments(config.data)])
    save_report(folder / "report.html", found, recommendations, rejected, duplicates, example)
    panels = panels_for(found)
    overview = {title: panels[title] for title in _OVERVIEW if title in panels}
    if overview:
        save_corpus_plots(overview, folder / "analysis.png", f"{corpus.name}: {len(analysis.pieces):,} pieces")
    print("\n".join(summary(corpus, analysis, found, advice)))
    print_rejected(corpus)
    for name in ("report.html", "analysis.png", "analysis.json", "profile.json"):
        if (folder / name).exists():
            print(f"{name:14}{(folder / name).resolve()}")
    return folder / "report.html"


def corpus_arguments(data: DictConfig) -> list[str]:
    """What to type for the corpus of this config."""
    if data.name == "folder" and data.root and not data.archive:
        return [str(data.root)]
    places = [f"data.{key}={data[key]}" for key in ("root", "archive") if data[key]]
    return [f"data={data.name}", *places]


def tokens_per_note(corpus: Corpus, config: DictConfig, limits: Limits) -> float | None:
    """What the configured tokenizer writes for a note, over a few evenly spaced pieces; None where it cannot be told.

    Analysing needs no tokenizer, so one that refuses these pieces is no reason to stop.
    """
    tokenizer = build_tokenizer(config)
    if not isinstance(tokenizer, Tokenizer):
        return None
    tokens = notes = 0
    places = np.linspace(0, len(corpus.pieces) - 1, min(_COUNTED_PIECES, len(corpus.pieces))).round().astype(int)
    for place in places:
        try:
            encoding = tokenizer.encode(load_score(corpus.pieces[place].path, limits))
        except (UserError, UnreadableMidi):
            continue
        tokens, notes = tokens + len(encoding.ids), notes + encoding.notes
    return tokens / notes if notes else None


def summary(corpus: Corpus, analysis: Analysis, found: dict[str, Any], advice: Sequence[Recommendation]) -> list[str]:
    """The lines for the terminal."""
    lines = [corpus.summary()]
    if analysis.failed:
        lines.append(
            f"{len(analysis.failed)} pieces failed, the first {analysis.failed[0][0]}: {analysis.failed[0][1]}"
        )
    if not analysis.pieces:
        return lines
    rows = {
        "duration": ("duration_seconds", "s"),
        "bars": ("bars", ""),
        "tempo in the file": ("tempo_bpm", "bpm"),
        "tempo estimated": ("tempo_estimated_bpm", "bpm"),
        "notes a second": ("notes_per_second", ""),
        "notes at a time": ("polyphony_mean", ""),
        "lowest pitch": ("pitch_lowest", ""),
        "highest pitch": ("pitch_highest", ""),
        "velocity": ("velocity_mean", ""),
        "note length": ("duration_mean_beats", "beats"),
        "between onsets": ("onset_interval_mean_beats", "beats"),
    }
    lines.append(f"{'over pieces':20}{'5 %':>10}{'median':>10}{'95 %':>10}")
    for label, (name, unit) in rows.items():
        row = found["statistics"][name]
        if row["median"] is not None:
            lines.append(f"{label:20}{row['p5']:10.2f}{row['median']:10.2f}{row['p95']:10.2f} {unit}".rstrip())
    agreement = found["tempo_agreement"]
    lines.append(
        f"tempo: estimate and file agree in {agreement['same']} pieces, by a factor of 2 or 3 in "
        f"{agreement['related']}, not in {agreement['other']}"
    )
    notes = sum(row["notes"] for row in found["programs"])
    instruments = {program_name(row["program"]): row["notes"] / notes for row in found["programs"]}
    bars = sum(found["metres_in_bars"].values())
    chords = sum(found["chords"].values())
    shares = {
        "instruments": instruments,
        "metres": {name: count / bars for name, count in found["metres_in_bars"].items()},
        "keys": {name: count / len(analysis.pieces) for name, count in found["keys"].items()},
        "chords": {name: count / chords for name, count in found["chords"].items()},
    }
    for label, parts in shares.items():
        text = ", ".join(f"{name} {100 * share:.0f} %" for name, share in list(parts.items())[:5])
        lines.append(f"{label}: {text or 'none'}")
    lines.append("recommended:")
    lines += [f"  {shlex.join(item.overrides)}  ({item.reason})" for item in advice]
    return lines
