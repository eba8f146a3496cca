"""`midifactory runs`: every training run below a folder in one table, to be filtered, sorted and kept as CSV."""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from midifactory import files
from midifactory.cli.hydra_app import report
from midifactory.cli.runs import OUTPUTS
from midifactory.errors import UserError
from midifactory.training.checkpoint_folder import stored_at

USAGE = f"""usage: midifactory runs [filter=TEXT] [sort=COLUMN] [--csv] [csv=FILE] [root={OUTPUTS}]

Lists the training runs and the jobs of sweeps below `root`. filter: only those with TEXT in any column. sort: by that
column, the least first; sort=-COLUMN: the greatest first. --csv prints comma-separated values, csv=FILE writes them."""
_OPTIONS = ("filter", "sort", "csv", "root")
_NUMBERS = ("parameters", "validation", "test", "minutes", "steps")
# C's parser is ten times faster, and there may be hundreds of runs; some builds of PyYAML lack it.
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Run:
    """A row of the table; None where a run does not say (yet).

    validation, test: nats per note of the held-out pieces under the best checkpoint; of an unfinished run, the best
    validation so far, over segments. settings: what was typed for it.
    """

    folder: str
    model: str | None = None
    tokenizer: str | None = None
    data: str | None = None
    parameters: int | None = None
    validation: float | None = None
    test: float | None = None
    minutes: float | None = None
    steps: int | None = None
    finished: str = "no"
    checkpoint: str | None = None
    settings: str | None = None


COLUMNS = tuple(field.name for field in fields(Run))


def main(argv: list[str] | None = None) -> int:
    """Print the table; returns 0, or `report`'s code for what went wrong."""
    words = argv or []
    if any(word in ("-h", "--help") for word in words):
        print(USAGE)
        return 0
    try:
        options = _options(words)
        runs = select(read_runs(Path(options.get("root", OUTPUTS))), options.get("filter", ""), options.get("sort"))
        target = options.get("csv")
        if target:
            files.write_text(Path(target).expanduser(), as_csv(runs))
            print(f"{len(runs)} runs: {Path(target).expanduser().resolve()}")
        else:
            print(as_csv(runs) if target == "" else as_table(runs), end="")
    except Exception as error:
        return report(error)
    return 0


def _options(words: Iterable[str]) -> dict[str, str]:
    """What was typed; `csv` is empty for --csv. Raises UserError for anything unknown."""
    options: dict[str, str] = {}
    for word in words:
        key, _, value = word.removeprefix("--").partition("=")
        if key not in _OPTIONS or (not value and word != "--csv"):
            raise UserError(f"runs takes filter=TEXT, sort=COLUMN, --csv, csv=FILE and root=FOLDER, not {word!r}")
        options[key] = value
    return options


def read_runs(root: Path) -> list[Run]:
    """The runs below `root`, in the order of their folders' names. Raises UserError where there is no such folder."""
    if not root.is_dir():
        raise UserError(f"root={root}: no such folder; train first, or name the folder that holds the runs")
    folders = sorted(path.parent.parent for path in root.glob("**/.hydra/config.yaml"))
    return [run for folder in folders if (run := read_run(folder)) is not None]


def read_run(folder: Path) -> Run | None:
    """What is known of the run in `folder`; None where it is no training's."""
    config = read_mapping(folder / ".hydra" / "config.yaml")
    if "trainer" not in config:
        return None
    choices = inside(read_mapping(folder / ".hydra" / "hydra.yaml"), "hydra", "runtime", "choices")
    overrides = _yaml(folder / ".hydra" / "overrides.yaml")
    checkpoints = [name for name in ("best.ckpt", "last.ckpt") if stored_at(folder / "checkpoints" / name)]
    result, corpus = read_json(folder / "result.json"), read_json(folder / "corpus.json")
    if result:
        figures = {name: result.get(name) for name in ("parameters", "minutes", "steps")}
        for split in ("validation", "test"):
            figures[split] = inside(result, split).get("nats_per_note")
    else:
        figures = _so_far(sorted((folder / "csv").glob("metrics*.csv")))
        figures["parameters"] = read_mapping(folder / "csv" / "hparams.yaml").get("parameters")
    known: dict[str, Any] = {name: value for name, value in figures.items() if isinstance(value, int | float)}
    # A fine-tuned model is its checkpoint's, not the config's.
    model = result.get("model", "fine-tuned") if config.get("init_from") else choices.get("model")
    return Run(
        folder=folder.as_posix(),
        model=model or inside(config, "model").get("_target_", "").rpartition(".")[2] or None,
        tokenizer=None if config.get("init_from") else choices.get("tokenizer"),
        data=corpus.get("name") or inside(config, "data").get("name"),
        finished="yes" if result else "no",
        checkpoint=checkpoints[0] if checkpoints else None,
        settings=" ".join(map(str, overrides)) if isinstance(overrides, list) else None,
        **known,
    )


def _so_far(logs: Iterable[Path]) -> dict[str, Any]:
    """The steps and the best validation of an unfinished run, from what Lightning's CSVLogger has written."""
    steps, best = 0, math.inf
    for log in logs:
        with log.open(encoding="utf-8", newline="", errors="replace") as file:
            for row in csv.DictReader(file):
                if (step := _number(row.get("step"))) is not None:
                    steps = max(steps, int(step) + 1)
                if (nats := _number(row.get("val/nats_per_note"))) is not None:
                    best = min(best, nats)
    return {"steps": steps or None, "validation": best if best < math.inf else None}


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _yaml(path: Path) -> Any:
    """The file's content; None for a missing or damaged one, so that one bad run does not hide the others."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_YAML)
    except (OSError, ValueError, yaml.YAMLError):
        return None


def read_mapping(path: Path) -> dict[str, Any]:
    """The YAML file's mapping; empty for a missing or damaged one."""
    content = _yaml(path)
    return content if isinstance(content, dict) else {}


def read_json(path: Path) -> dict[str, Any]:
    """The file's object; empty for a missing or damaged one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def inside(content: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The mapping below `keys`; empty where there is none."""
    for key in keys:
        inner = content.get(key)
        content = inner if isinstance(inner, dict) else {}
    return content


def select(runs: Iterable[Run], text: str = "", column: str | None = None) -> list[Run]:
    """Those with `text` in any cell, in capitals or not, sorted by `column` (`-column`: the greatest first).

    Runs without a value stand last. Raises UserError for a column that is none.
    """
    kept = [run for run in runs if any(text.casefold() in str(cell).casefold() for cell in _cells(run))]
    if column is None:
        return kept
    name = column.removeprefix("-")
    if name not in COLUMNS:
        raise UserError(f"sort={column}: no such column; choose one of {', '.join(COLUMNS)}")
    known = [run for run in kept if getattr(run, name) is not None]
    known.sort(key=lambda run: getattr(run, name), reverse=column.startswith("-"))
    return known + [run for run in kept if getattr(run, name) is None]


def _cells(run: Run) -> list[Any]:
    """The row's values, empty texts for what is unknown."""
    return ["" if (value := getattr(run, name)) is None else value for name in COLUMNS]


def as_csv(runs: Iterable[Run]) -> str:
    """The table with all digits, a header first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_cells(run) for run in runs)
    return text.getvalue()


def as_table(runs: list[Run]) -> str:
    """The table for a terminal; numbers stand at the right of their columns."""
    if not runs:
        return "no runs\n"
    rows = [COLUMNS, *(tuple(_shown(run)) for run in runs)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(COLUMNS))]
    lines = []
    for row in rows:
        cells = zip(COLUMNS, row, widths, strict=True)
        lines.append("  ".join(cell.rjust(w) if name in _NUMBERS else cell.ljust(w) for name, cell, w in cells))
    notes = [
        "validation, test: nats per note of held-out pieces; unfinished: the best validation so far, over segments"
    ]
    return "\n".join(line.rstrip() for line in [*lines, "", *notes]) + "\n"


def _shown(run: Run) -> Iterator[str]:
    for name, value in zip(COLUMNS, _cells(run), strict=True):
        if name in _NUMBERS and value != "":
            yield f"{value:,}" if isinstance(value, int) else f"{value:.{1 if name == 'minutes' else 3}f}"
        else:
            yield str(value)
