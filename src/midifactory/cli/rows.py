"""The rows of docs/results.md: what was trained, how it was measured, and what came out, one YAML of conf/row each.

corpus, model: what the row is called in the tables. train: the options of `midifactory train`; null where nothing is
trained. evaluate: the options of `midifactory evaluate` besides the checkpoint. measured: what `midifactory reproduce
ROW record=true` has written, and nobody else writes.
"""

import difflib
import math
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from midifactory import files
from midifactory.errors import UserError
from midifactory.paths import conf_dir

MEASURED = "measured"
_KEYS = ("corpus", "model", "train", "evaluate")
# Options that change nothing of what is learnt, and defaults: a row and a run of its own may differ in them.
_IDLE = ("data.root", "data.archive", "trainer.enable_progress_bar", "resume", "estimate", "logger", "threads")
_DEFAULTS = ("seed=0", "data=bach_chorales")
_FIGURES = ("value", "low", "high")
# The figures of samples that the tables show; docs/evaluation.md defines all.
SAMPLE_COLUMNS = {
    "pitch_classes_in_key": "pitch classes",
    "onset_intervals": "onset intervals",
    "repetition": "repetition",
    "copied_ngrams_share": "copied",
}


@dataclass(frozen=True)
class Row:
    """One row. measured: None where it never was."""

    name: str
    path: Path
    corpus: str
    model: str
    train: list[str] | None
    evaluate: list[str]
    measured: dict[str, Any] | None

    @property
    def command(self) -> str:
        """What reproduces it."""
        root = "" if self.corpus == "bach_chorales" else " data.root=FOLDER"
        return f"midifactory reproduce {self.name}{root}"

    @property
    def nats(self) -> tuple[float, float, float]:
        """Nats per note: the value, and its interval's ends. Raises UserError where nothing was measured."""
        if self.measured is None:
            raise UserError(f"{self.path}: not measured yet; type: midifactory reproduce {self.path} record=true")
        value, low, high = (float(self.measured["nats_per_note"][key]) for key in _FIGURES)
        return value, low, high


def rows_folder() -> Path:
    """Where the rows lie."""
    return conf_dir() / "row"


def read_rows() -> list[Row]:
    """All rows, by name."""
    return [read_row(path) for path in sorted(rows_folder().glob("*.yaml"))]


def find_row(text: str) -> Row:
    """The row of that name, or of that file. Raises UserError for any other."""
    path = Path(text).expanduser()
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"{text}: no such file; give a row's name or its .yaml")
        return read_row(path)
    names = [path.stem for path in rows_folder().glob("*.yaml")]
    if text not in names:
        near = difflib.get_close_matches(text, names, n=1, cutoff=0.0)
        hint = f"nearest: {near[0]}" if near else "there is none"
        raise UserError(f"{text}: no such row ({hint}); midifactory reproduce lists all")
    return read_row(rows_folder() / f"{text}.yaml")


def read_row(path: Path) -> Row:
    """The row of a file. Raises UserError where it is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        fields = {key: content[key] for key in _KEYS}
        measured = content.get(MEASURED)
        unknown = content.keys() - {*_KEYS, MEASURED}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: no row of results ({error}); it takes {', '.join(_KEYS)}") from error
    if unknown:
        raise UserError(f"{path}: a row has no {min(unknown)}; it takes {', '.join(_KEYS)}")
    for key in ("train", "evaluate"):
        listed = fields[key]
        if not (isinstance(listed, list) and all(isinstance(item, str) for item in listed)) and (
            listed is not None or key == "evaluate"
        ):
            raise UserError(f"{path}: {key} is a list of options, such as [experiment=nottingham]")
    if measured is not None:
        try:
            figures = [float(measured["nats_per_note"][key]) for key in _FIGURES]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: what was measured is damaged ({error!r}); record it anew") from error
        if not all(map(math.isfinite, figures)):
            raise UserError(f"{path}: what was measured is not finite; record it anew")
    return Row(path.stem, path, fields["corpus"], fields["model"], fields["train"], fields["evaluate"], measured)


def check_trained_as(row: Row, run: Path) -> None:
    """Raise UserError where the training in `run` was given other options than the row's, but for idle ones."""
    from midifactory.cli.runs import stored_overrides  # loads torch, which listing needs not

    mine, theirs = (_binding(options) for options in (row.train or [], stored_overrides(run)))
    if mine != theirs:
        other = min(mine ^ theirs)
        which = "the row alone" if other in mine else "the run alone"
        raise UserError(f"{run} is no training of {row.name}: {which} has {other}; name or remove another folder")


def _binding(options: Iterable[str]) -> set[str]:
    return {option for option in options if option.partition("=")[0] not in _IDLE and option not in _DEFAULTS}


def record(row: Row, evaluation: dict[str, Any], result: dict[str, Any]) -> None:
    """Write what was measured into the row's file; what stands above it stays.

    result: result.json of the training, of which minutes, cpu_minutes and steps are kept; without one, those of the
    evaluation. Raises UserError where the evaluation has no interval.
    """
    nats = evaluation["likelihood"]["nats_per_note"]
    if any(nats[key] is None for key in _FIGURES):
        raise UserError(
            f"{row.name}: nats per note without an interval cannot be recorded; it takes two pieces or more"
        )
    measured: dict[str, Any] = {
        "nats_per_note": {key: round(nats[key], 4) for key in _FIGURES},
        "split": evaluation["split"],
        "pieces": len(evaluation["likelihood"]["pieces"]),
        "parameters": evaluation["parameters"],
        "minutes": round(result["minutes"], 1),
        "cpu_minutes": round(result["cpu_minutes"], 1),
        "steps": result.get("steps"),
        "machine": machine(),
        "midifactory": evaluation["midifactory"],
    }
    samples = evaluation.get("samples")
    if samples:
        measured["samples"] = {"count": samples["count"], **_of_samples(samples["metrics"])}
    # Whatever people have written above stays as it is.
    lines = row.path.read_text(encoding="utf-8").splitlines()
    above = lines[: next((at for at, line in enumerate(lines) if line.startswith(f"{MEASURED}:")), len(lines))]
    text = yaml.safe_dump({MEASURED: measured}, sort_keys=False, allow_unicode=True, width=110)
    files.write_text(row.path, "\n".join(above).rstrip() + "\n" + text)


def _of_samples(metrics: dict[str, Any]) -> dict[str, Any]:
    """The figures of SAMPLE_COLUMNS, each `beside` what the corpus gives: of a distance that is its human ceiling."""
    found = {}
    for name in SAMPLE_COLUMNS:
        figure = metrics.get(name)
        if figure and figure["value"] is not None:
            beside = figure["ceiling" if figure["kind"] == "distance" else "corpus"] or {}
            values = {key: figure[key] for key in _FIGURES} | {"beside": beside.get("value")}
            found[name] = {key: None if value is None else round(value, 4) for key, value in values.items()}
    return found


def machine() -> str:
    """What this process computes on, for people."""
    import torch

    name = ""
    if torch.cuda.is_available():
        name = f"{torch.cuda.get_device_name(0)}, "
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next(line.partition(":")[2].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    return (
        f"{name}{cpu}, {torch.get_num_threads()} of {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def listing(rows: list[Row]) -> str:
    """All rows for a terminal."""
    if not rows:
        return f"no rows in {rows_folder()}"
    head = ("row", "corpus", "model", "parameters", "minutes", "nats per note of test")
    cells = [head]
    for row in rows:
        measured = row.measured or {}
        value, low, high = row.nats
        figure = f"{value:.3f} ({low:.3f} to {high:.3f})"
        cells.append(
            (row.name, row.corpus, row.model, f"{measured['parameters']:,}", f"{measured['minutes']:g}", figure)
        )
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([*lines, "", "midifactory reproduce ROW [data.root=FOLDER] trains and measures one of them anew"])


def markdown(rows: list[Row]) -> str:
    """The tables of docs/results.md: one for each corpus, the least nats last."""
    parts = []
    for corpus in sorted({row.corpus for row in rows}):
        some = sorted((row for row in rows if row.corpus == corpus), key=lambda row: -row.nats[0])
        shown = [name for name in SAMPLE_COLUMNS if any(name in _samples(row) for row in some)]
        head = [
            "model",
            "parameters",
            "minutes (CPU)",
            "nats per note (95 %)",
            *(SAMPLE_COLUMNS[name] for name in shown),
        ]
        lines = [[*head, "reproduce"], ["---"] * (len(head) + 1)]
        for row in some:
            measured = row.measured or {}
            value, low, high = row.nats
            lines.append(
                [
                    row.model,
                    f"{measured['parameters']:,}",
                    f"{measured['minutes']:g} ({measured['cpu_minutes']:g})",
                    f"{value:.3f} ({low:.3f} to {high:.3f})",
                    *(_sample_cell(_samples(row).get(name)) for name in shown),
                    f"`{row.command}`",
                ]
            )
        machines = sorted({str((row.measured or {})["machine"]) for row in some})
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"### {corpus}\n\n{table}\n\n{'; '.join(machines)}.\n")
    return "\n".join(parts)


def _samples(row: Row) -> dict[str, Any]:
    return (row.measured or {}).get("samples") or {}


def _sample_cell(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "-"
    beside = figure["beside"]
    return f"{figure['value']:.3f}" + ("" if beside is None else f" ({beside:.3f})")
