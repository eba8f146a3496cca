"""`midifactory reproduce`: train and measure a row of docs/results.md anew, and say whether it came out the same.

Exit codes beside hydra_app's: 4 where the figure lies outside the recorded interval.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from midifactory.cli.arguments import quote
from midifactory.cli.hydra_app import report
from midifactory.cli.rows import Row, check_trained_as, find_row, listing, machine, read_row, read_rows, record
from midifactory.errors import UserError

EXIT_OUTSIDE = 4
FOLDER = Path("outputs", "reproduce")
USAGE = f"""usage: midifactory reproduce [ROW|FILE.yaml] [data.root=FOLDER] [run=FOLDER] [record=true]

Without a row: lists them. With one: trains as its file in conf/row says, in {FOLDER.as_posix()}/ROW, measures what came
out, and says whether nats per note lie within the recorded interval (exit code 0) or not ({EXIT_OUTSIDE}). The same
command goes on after an interruption, what is finished is not repeated: remove the folder to begin anew.
data.root, data.archive: where the corpus lies.
run: a finished training of this row, which is measured instead of a new one.
record: write what was measured, samples too, into the row's file."""
_OPTIONS = ("data.root", "data.archive", "run", "record")


def main(argv: list[str] | None = None) -> int:
    """List the rows or reproduce one; returns the exit code."""
    words = argv or []
    if any(word in ("-h", "--help") for word in words):
        print(USAGE)
        return 0
    try:
        name, options = _options(words)
        if name is None:
            print(listing(read_rows()))
            return 0
        return reproduce(find_row(name), options)
    except Exception as error:
        return report(error)


def _options(words: list[str]) -> tuple[str | None, dict[str, str]]:
    """The row that was named and what was typed besides. Raises UserError for anything else."""
    names, options = [], {}
    for word in words:
        key, given, value = word.partition("=")
        if not given:
            names.append(word)
        elif key not in _OPTIONS or not value:
            raise UserError(f"{word}: reproduce takes {', '.join(f'{option}=' for option in _OPTIONS)} besides the row")
        else:
            options[key] = value
    if len(names) > 1:
        raise UserError(f"{' '.join(names)}: reproduce takes one row")
    if options.get("record", "true") not in ("true", "false"):
        raise UserError(f"record={options['record']}: give true or false")
    return (names[0] if names else None), options


def reproduce(row: Row, options: dict[str, str]) -> int:
    """Train and measure `row`, print how that compares, and return 0 or EXIT_OUTSIDE. Raises UserError."""
    from midifactory.cli import evaluate  # it and train load torch, which listing needs not

    recording = options.get("record") == "true"
    if not recording:
        _ = row.nats  # a row without a figure is refused before the work, not after it
    folder = FOLDER / row.name
    place = [f"{key}={quote(options[key])}" for key in ("data.root", "data.archive") if key in options]
    run: Path | None = None
    anew = recording or "run" in options
    if row.train is None and "run" in options:
        raise UserError(f"run={options['run']}: nothing is trained for {row.name}; leave it out")
    if row.train is not None:
        run, trained = trained_run(row, folder / "train", options.get("run"), place)
        anew |= trained
    target = folder / "evaluate"
    if anew or not (target / "evaluation.json").is_file():
        # A checkpoint knows where its music lies.
        known = [f"checkpoint={quote(str(run))}"] if run else []
        where = [] if run else place
        started, started_cpu = time.monotonic(), time.process_time()
        # What is compared is the likelihood; samples take longer than it and are composed to be recorded.
        less = [] if recording else ["samples=0"]
        arguments = [*row.evaluate, *less, *known, *where, f"hydra.run.dir={quote(str(target))}"]
        _call(evaluate.main, "evaluate", arguments)
        took = {"minutes": (time.monotonic() - started) / 60, "cpu_minutes": (time.process_time() - started_cpu) / 60}
    else:
        print(f"measured already: {target}")
    found = json.loads((target / "evaluation.json").read_text(encoding="utf-8"))
    if recording:
        record(row, found, json.loads((run / "result.json").read_text(encoding="utf-8")) if run else took)
        print(f"recorded in {row.path}")
        row = read_row(row.path)
    return compare(row, found)


def trained_run(row: Row, own: Path, given: str | None, place: list[str]) -> tuple[Path, bool]:
    """The folder of the row's finished training, and whether it was (in part) done just now.

    given: another folder than `own` that holds one. Raises UserError where it holds none or one with other options, and
    SystemExit as training does.
    """
    from midifactory.cli import train
    from midifactory.training.checkpoint_folder import checkpoints_by_age

    run = Path(given).expanduser() if given else own
    finished = (run / "result.json").is_file()
    if given and not finished:
        raise UserError(f"run={given}: no finished training there; name a run's folder that holds result.json")
    begun = any(checkpoints_by_age(run / "checkpoints"))
    if finished or begun:
        check_trained_as(row, run)
    if finished:
        print(f"trained already: {run}")
        return run, False
    here = f"hydra.run.dir={quote(str(run))}"
    try:
        _call(train.main, "train", [f"resume={run}"] if begun else [*(row.train or []), *place, here])
    except SystemExit as stop:
        if stop.code not in (0, 2, None):
            print(f"the same midifactory reproduce {row.name} goes on with it", file=sys.stderr)
        raise
    return run, True


def _call(command: Callable[[list[str]], Any], name: str, arguments: list[str]) -> None:
    """Another command in this process, as if it had been typed: Lightning starts further processes by sys.argv."""
    before = sys.argv
    print(f"midifactory {name} {' '.join(arguments)}", flush=True)
    sys.argv = [before[0], name]
    try:
        command(arguments)
    finally:
        sys.argv = before


def compare(row: Row, evaluation: dict[str, Any]) -> int:
    """Print the figure beside the recorded one; 0 where it lies within its interval, else EXIT_OUTSIDE."""
    recorded, low, high = row.nats
    value = evaluation["likelihood"]["nats_per_note"]["value"]
    within = low <= value <= high
    print(
        f"{row.name}: {value:.4f} nats per note of {evaluation['split']} on {machine()}\n"
        f"recorded: {recorded:.4f} ({low:.4f} to {high:.4f}) on {(row.measured or {}).get('machine')}\n"
        f"{'within' if within else 'OUTSIDE'} the recorded interval"
    )
    return 0 if within else EXIT_OUTSIDE
