"""`midifactory compare`: evaluations side by side, paired by piece, and what may be concluded."""

import difflib
import json
import string
import sys
from collections.abc import Sequence
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from midifactory import files
from midifactory.cli import hydra_app
from midifactory.cli.building import plain
from midifactory.cli.runs import OUTPUTS
from midifactory.errors import UserError
from midifactory.evaluation.compared import Run, check_record, compare, table_lines
from midifactory.render.comparison import save_comparison

RECORD = "evaluation.json"


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("compare", run, sys.argv[1:] if argv is None else argv)


def run(config: DictConfig) -> dict[str, Any]:
    """Print what the evaluations say together, write compare.json and compare.html. Returns what is in the former."""
    names = [str(name) for name in plain(config.runs)]
    if type(config.seed) is not int or config.seed < 0:
        raise UserError(f"seed={config.seed}: give a whole number of at least 0")
    found = {"midifactory": metadata.version("midifactory"), "seed": config.seed}
    found |= compare(read_runs(names), config.seed)
    folder = Path(config.run_dir)
    files.write_text(folder / "compare.json", json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False))
    save_comparison(folder / "compare.html", found)
    print("\n".join(table_lines(found)))
    for kind in ("json", "html"):
        print(f"  {kind:<5} {(folder / f'compare.{kind}').resolve()}")
    return found


def read_runs(names: Sequence[str]) -> list[Run]:
    """The evaluations that the names mean, labelled A, B, ... in their order.

    Raises UserError for fewer than two, for one that is given twice, is not there or is no evaluation.
    """
    if len(names) < 2:
        given = f"{names[0]} alone" if names else "none"
        raise UserError(f"compare takes two or more evaluations, not {given}: midifactory compare RUN RUN")
    labels = ("".join(letters) for size in (1, 2) for letters in product(string.ascii_uppercase, repeat=size))
    seen: dict[Path, str] = {}
    runs = []
    for name, label in zip(names, labels, strict=False):
        path = find_record(name).resolve()
        if path in seen:
            raise UserError(f"{name} and {seen[path]} are the same evaluation, {path}; give different ones")
        seen[path] = name
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not readable as JSON ({error}); evaluate again: midifactory evaluate") from error
        runs.append(Run(label, name, check_record(name, record)))
    return runs


def find_record(name: str) -> Path:
    """evaluation.json of what `name` means: the file, its folder, or a training, whose newest evaluation is taken.

    A training is its run's folder or a checkpoint in it. Raises UserError, with the nearest name, where there is none.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if (path / RECORD).is_file():
        return path / RECORD
    known = sorted(OUTPUTS.glob(f"**/{RECORD}"), key=lambda found: found.stat().st_mtime)
    if path.is_dir():
        home = path.resolve()
        of_it = [found for found in known if (used := _checkpoint_of(found)) and (used == home or home in used.parents)]
        if of_it:
            return of_it[-1]
        remedy = f"evaluate it first: midifactory evaluate checkpoint={name}"
        raise UserError(f"{name}: no {RECORD} in it, and no evaluation of it below {OUTPUTS}; {remedy}")
    folders = [found.parent.as_posix() for found in known]
    near = difflib.get_close_matches(path.as_posix().rstrip("/"), folders, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]}?" if near else f"there is no evaluation below {OUTPUTS}; run midifactory evaluate"
    raise UserError(f"{name}: no such evaluation; {hint}")


def _checkpoint_of(record: Path) -> Path | None:
    try:
        checkpoint = json.loads(record.read_text(encoding="utf-8")).get("checkpoint")
    except (OSError, ValueError, AttributeError):
        return None
    return Path(checkpoint).resolve() if isinstance(checkpoint, str) else None
