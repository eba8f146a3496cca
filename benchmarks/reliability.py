"""What a training survives: kills, resumes, damage, SIGTERM, numbers that are not finite, and what it costs.

Each part prints a Markdown row, with what was asked for; docs/reliability.md has the table. The trainings are real
commands in processes of their own (divergence: in this one), in folders below --folder, which must be new or empty.
What goes wrong in them is chosen by a seeded generator and done by a callback (benchmarks/disturb.py) that is in every
training, the undisturbed ones too, so that all have the same config.

    python benchmarks/reliability.py all                                        as in the table: one to two hours
    python benchmarks/reliability.py kills resumes --kills 2 --resumes 2        a few minutes
"""

import argparse
import csv
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from disturb import PLAN, Disturb, Stopwatch
from symusic import Note, Score, Tempo, TimeSignature, Track

from midifactory.errors import UserError
from midifactory.files import PREVIOUS
from midifactory.training.checkpoint_folder import newest_good, read_card, read_checkpoint, read_weights

COMMAND = [sys.executable, "-m", "midifactory.cli.main", "train"]
TUNES, BATCHES, EPOCHS = 28, 7, 4  # 14 tunes to train on, in batches of two
SHORT = ("trainer.enable_progress_bar=false", "estimate=false", "logger=[csv]", "trainer.log_every_n_steps=1")
ALIKE = (*SHORT, "accelerator=cpu", "callbacks.samples=null", "callbacks.early_stopping=null")
DISTURBED = "+callbacks.disturb._target_=disturb.Disturb"
TINY = (
    "data=folder", "data.fractions=[0.5,0.25,0.25]", "data.batch_size=2", "model.d_model=16", "model.layers=1",
    "model.dropout=0.2", f"trainer.limit_train_batches={BATCHES}", DISTURBED, *ALIKE,
)  # fmt: skip
DEFAULT = ("trainer.limit_train_batches=6", "trainer.limit_val_batches=3", DISTURBED, *ALIKE)  # but for its length
HOOKS = (
    "on_train_start", "on_train_batch_start", "on_validation_batch_start", "on_save_checkpoint", "on_validation_end",
    "on_train_epoch_end",
)  # fmt: skip
PLACES = ("on_train_batch_start", "on_before_backward", "on_after_backward", "on_train_batch_end")
NOT_COMPARED = ("_per_s", "train/share_", "train/memory", "train/mfu")  # times differ from run to run


def row(what: str, asked: str, measured: str) -> None:
    """One line of the table."""
    print(f"| {what} | {asked} | {measured} |", flush=True)


def tiny(folder: Path) -> list[str]:
    """A training of a tiny model; what all of them read is made once, in the parent of `folder`.

    The tunes: quarter notes by chance over held fifths.
    """
    parent = folder.resolve().parent
    if not (parent / "my_midis").is_dir():
        rng = np.random.default_rng(0)
        (parent / "my_midis").mkdir()
        for number in range(TUNES):
            score = Score(480)
            score.tempos.append(Tempo(0, 120))
            score.time_signatures.append(TimeSignature(0, 4, 4))
            track = Track(program=0)
            for beat in range(32):
                track.notes.append(Note(beat * 480, 480, 60 + int(rng.choice((0, 2, 4, 5, 7, 9, 11))), 80))
            for bar in range(8):
                track.notes.append(Note(bar * 1920, 1920, 36 + int(rng.choice((0, 5, 7))), 64))
            score.tracks.append(track)
            (parent / "my_midis" / f"{number:02}.mid").write_bytes(score.dumps_midi())
    return [*TINY, f"data.root={parent}/my_midis", *prepared(parent)]


def prepared(parent: Path) -> list[str]:
    """Where trainings find what an earlier one prepared."""
    return [f"data.store_root={parent.resolve()}/prepared", f"data.cache_root={parent.resolve()}/scans"]


def new_folder(folder: Path, name: str) -> Path:
    """A new folder."""
    (folder / name).mkdir(parents=True)
    return folder / name


def environment(plan: dict[str, Any] | None = None, **more: str) -> dict[str, str]:
    """What the trainings' processes see: this script's folder, so that the configs may name its callbacks."""
    paths = [str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH", "")]
    found = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), PLAN: json.dumps(plan or {})}
    return found | more


def start(folder: Path, *arguments: str, plan: dict[str, Any] | None = None, **more: str) -> subprocess.Popen[bytes]:
    """A training in `folder`, the leader of a group of processes; what it says is added to `folder`/output.log."""
    plan = plan and plan | {"folder": str(folder.resolve())}
    with (folder / "output.log").open("ab") as log:
        return subprocess.Popen(
            [*COMMAND, *arguments], cwd=folder, stdout=log, stderr=log, env=environment(plan, **more),
            start_new_session=True,
        )  # fmt: skip


def finished(folder: Path, *arguments: str, plan: dict[str, Any] | None = None) -> int:
    """The exit code of a training, waited for; negative: ended by a signal."""
    return start(folder, *arguments, plan=plan).wait(3600)


def the_run(folder: Path) -> Path:
    """The only run in `folder`."""
    (run,) = (folder / "outputs" / "train").iterdir()
    return run


def logged(run: Path) -> tuple[dict[tuple[str, str, str], str], int]:
    """(step, epoch, name) -> value as text, of all parts of a run; and how many values two parts disagree about."""
    values: dict[tuple[str, str, str], str] = {}
    differing = 0
    for path in sorted((run / "csv").glob("metrics*.csv")):
        with path.open() as file:
            for line in csv.DictReader(file):
                for name, value in line.items():
                    if value and name not in ("step", "epoch") and not any(part in name for part in NOT_COMPARED):
                        key = (line["step"], line["epoch"], name)
                        differing += values.setdefault(key, value) != value
    return values, differing


def kills(folder: Path, options: argparse.Namespace) -> None:
    """kill -9 while a run saves after every step; then everything under a proper name is loaded."""
    rng, folder = np.random.default_rng(1), new_folder(folder, "kills")
    elsewhere = other_file_system(folder, options.tmpdir)
    endless = ("trainer.max_epochs=100000", "callbacks.keep_last.every_minutes=0")
    loaded = unloadable = within = lost = steps = 0
    for number in range(options.kills):
        arguments = ("resume=latest",) if number else (*tiny(folder), *endless)
        first = folder / "first"
        first.unlink(missing_ok=True)
        plan = {"hook": "on_train_start", "at": 0, "do": "SIGKILL"}  # says when training begins, no more
        process = start(folder, *arguments, plan=plan, **({"TMPDIR": str(elsewhere)} if elsewhere else {}))
        while process.poll() is None and not (
            first.exists() and any(folder.glob("outputs/train/*/checkpoints/*.ckpt"))
        ):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, options.kill_seconds))
        process.kill()
        if process.wait() != -signal.SIGKILL:
            raise SystemExit(f"a training ended by itself; see {folder / 'output.log'}")
        checkpoints = the_run(folder) / "checkpoints"
        names = sorted(path.name for path in checkpoints.iterdir())
        within += any(not name.endswith(".ckpt") for name in names)
        for path in checkpoints.iterdir():
            if path.name.endswith((".ckpt", f".ckpt{PREVIOUS}")):
                try:
                    read_checkpoint(path)
                    loaded += 1
                except UserError as error:
                    unloadable += 1
                    print(error, file=sys.stderr)
        newest, refused = newest_good(checkpoints)
        step = read_card(newest)["step"] if newest else -1
        lost += step < steps or bool(refused)
        steps = step
    where = f"TMPDIR on another file system ({elsewhere})" if elsewhere else "TMPDIR on the same file system"
    row(
        f"kill -9 at {options.kills} random moments around saves",
        "0 unloadable",
        f"{unloadable} unloadable of {loaded + unloadable} checkpoints; {lost} times resume=latest went back behind an "
        f"earlier kill; {within} kills in the middle of a save, {steps:,} steps in all; {where}",
    )


def other_file_system(folder: Path, given: str | None) -> Path | None:
    """A folder for TMPDIR that is on another device than `folder`; None where none is found."""
    for place in (given, "/dev/shm", "/tmp", "/var/tmp"):
        if place and os.access(place, os.W_OK) and os.stat(place).st_dev != os.stat(folder).st_dev:
            return Path(place)
    return None


def resumes(folder: Path, options: argparse.Namespace) -> None:
    """kill -9 at random places of random batches, resumed; against the run that nobody disturbed."""
    rng, folder = np.random.default_rng(2), new_folder(folder, "resumes")
    wholes: dict[tuple[int, int], Path] = {}
    equal, went_back, total = 0, [], BATCHES * EPOCHS
    for number in range(options.resumes):
        accumulate, workers = 2 + number % 2, 2 * (number // 2 % 2)
        settings = (
            *tiny(folder), f"trainer.max_epochs={EPOCHS}", f"trainer.accumulate_grad_batches={accumulate}",
            f"data.loader_workers={workers}",
        )  # fmt: skip
        if (accumulate, workers) not in wholes:
            place = wholes[accumulate, workers] = folder / f"whole-{accumulate}-{workers}"
            place.mkdir()
            if finished(place, *settings):
                raise SystemExit(f"a training failed; see {place / 'output.log'}")
        # Saved after every batch; every third time only at an epoch's end, as usual.
        often = number % 3 < 2
        at = int(rng.integers(3 if often else BATCHES + 2, total + 1))
        place = folder / f"killed-{number}"
        place.mkdir()
        plan = {"hook": str(rng.choice(PLACES)), "at": at, "do": "SIGKILL"}
        minutes = f"callbacks.keep_last.every_minutes={0 if often else 5}"
        code = finished(place, *settings, minutes, plan=plan)
        again = finished(place, "resume=latest", plan={"hook": "on_train_start", "at": 0, "do": "SIGKILL"})
        whole, run = the_run(wholes[accumulate, workers]), the_run(place)
        same = (code, again) == (-signal.SIGKILL, 0) and same_weights(whole, run)
        values, differing = logged(run)
        same = same and not differing and values == logged(whole)[0]
        equal += same
        if same:
            went_back.append(int((place / "first").read_text()))
        else:
            print(f"{place}: differs from {wholes[accumulate, workers]}: {plan}", file=sys.stderr)
    row(
        f"kill -9 and resume at {options.resumes} random steps",
        "all bitwise: weights and logged losses",
        f"{equal} of {options.resumes} (within epochs and accumulations of 2 and 3 batches, 0 and 2 loader workers, "
        f"dropout 0.2; {len(logged(whole)[0])} figures of {len({key[0] for key in logged(whole)[0]})} steps compared, "
        f"each text alike)",
    )


def same_weights(one: Path, other: Path) -> bool:
    """Whether the last and the best checkpoints of two runs have the same bits."""
    pairs = [
        [read_weights(run / "checkpoints" / name)[1] for run in (one, other)] for name in ("last.ckpt", "best.ckpt")
    ]
    return all(a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in pairs)


def damage(folder: Path, options: argparse.Namespace) -> None:
    """Byte flips and truncations of last.ckpt, each file in turn."""
    from midifactory.cli.runs import run_to_resume

    rng, folder = np.random.default_rng(3), new_folder(folder, "damage")
    if finished(folder, *tiny(folder), "trainer.max_epochs=2"):
        raise SystemExit(f"a training failed; see {folder / 'output.log'}")
    checkpoints = the_run(folder) / "checkpoints"
    last, best = checkpoints / "last.ckpt", checkpoints / "best.ckpt"
    names = sorted(path.name for path in last.iterdir())
    refused = {"flips": 0, "cuts": 0}
    fell_back = 0
    for number in range(2 * options.damages):
        kind = "flips" if number < options.damages else "cuts"
        path = last / names[number % len(names)]
        whole = path.read_bytes()
        place = int(rng.integers(len(whole)))
        changed = bytearray(whole if kind == "flips" else whole[:place])
        if kind == "flips":
            changed[place] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        try:
            read_checkpoint(last)
        except UserError as error:
            refused[kind] += str(last) in str(error) and "damaged" in str(error)
        before = Path.cwd()
        os.chdir(folder)
        try:
            with redirect_stderr(io.StringIO()):
                fell_back += run_to_resume("latest")[1].resolve() == best.resolve()
        finally:
            os.chdir(before)
            path.write_bytes(whole)
    read_checkpoint(last)
    row(
        f"{options.damages} byte flips, {options.damages} truncations, {len(names)} files in turn",
        "all refused",
        f"{refused['flips']} and {refused['cuts']} refused by name; {fell_back} of {2 * options.damages} times "
        "resume=latest took the newest whole one",
    )


def sigterm(folder: Path, options: argparse.Namespace) -> None:
    """SIGTERM at random moments of a tiny training and of the default model, to the process or to its group."""
    rng, parent = np.random.default_rng(4), new_folder(folder, "sigterm")
    new_folder(parent, "corpora")
    seconds, good = [], 0
    for number in range(options.sigterms):
        default = number % 5 in (1, 3)
        place = new_folder(parent, str(number))
        hook = HOOKS[number % len(HOOKS)]
        most = {"on_train_start": 1, "on_train_batch_start": 12, "on_validation_batch_start": 3}.get(hook, 2)
        plan = {
            "hook": hook, "at": int(rng.integers(1, most + 1)), "do": "SIGTERM", "group": bool(number % 2),
            "delay_s": float(rng.uniform(0.001, 1.0 if default else 0.03)),
        }  # fmt: skip
        (place / "outputs").mkdir()
        (place / "outputs" / "corpora").symlink_to(parent.resolve() / "corpora")  # written by the first who needs them
        chorales = [*DEFAULT, *prepared(parent)]
        settings = ("trainer.max_epochs=10000", f"data.loader_workers={number // 2 % 2 * 2}")
        code = finished(place, *(chorales if default else tiny(place)), *settings, plan=plan)
        seconds.append(time.time() - float((place / "sent").read_text()))
        newest, _ = newest_good(the_run(place) / "checkpoints")
        step = read_card(newest)["step"] if newest else None
        (place / "first").unlink()
        again = finished(place, "resume=latest", plan={"hook": "on_train_batch_end", "at": 2, "do": "leave"})
        goes_on = again == 0 and (place / "first").is_file()
        fine = code == 143 and goes_on and step is not None and seconds[-1] <= 10
        good += fine
        if not fine:
            print(f"{place}: exit code {code} after {seconds[-1]:.1f} s, then {again}: {plan}", file=sys.stderr)
    row(
        f"SIGTERM at {options.sigterms} random moments",
        "all end within 10 s, saved",
        f"{good} of {options.sigterms} ended with 143 and were resumed; slowest {max(seconds):.1f} s, median "
        f"{statistics.median(seconds):.1f} s (a tiny model and the default one; the process alone and its whole group)",
    )


@contextmanager
def silent(folder: Path) -> Iterator[None]:
    """Within `folder`, and what is said goes to its output.log."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        with Path("output.log").open("a") as log, redirect_stdout(log), redirect_stderr(log):
            yield
    finally:
        os.chdir(before)


def here(folder: Path, *arguments: str, plan: dict[str, Any]) -> int:
    """The exit code of the command in this process."""
    from hydra.core.global_hydra import GlobalHydra

    from midifactory.cli.train import main as train

    os.environ[PLAN] = json.dumps(plan)
    GlobalHydra.instance().clear()
    try:
        with silent(folder):
            train(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        os.environ.pop(PLAN)
    return 0


def divergence(folder: Path, _: argparse.Namespace) -> None:
    """NaN and Inf in the loss, a gradient and the batch: that of a model of note features, since ids are always finite.

    It clamps what it reads, so that an Inf is no divergence there: the training goes on, finite.
    """
    folder = new_folder(folder, "divergence")
    notes = ("tokenizer=notes", "tokenizer.sequence_length_i=8", "tokenizer.sequence_length_o=4", "model=gru")
    cases = stopped = went_on = clamped = spoilt = 0
    for where in ("loss", "gradient", "batch"):
        for value in ("nan", "inf"):
            settings = (*tiny(folder), *(notes if where == "batch" else ()), "trainer.max_epochs=2")
            plan = {"where": where, "do": value, "at": BATCHES + 3}
            for action in ("stop", "rollback"):
                run = f"outputs/train/{where}{value}-{action}"
                code = here(folder, *settings, f"on_divergence={action}", f"hydra.run.dir={run}", plan=plan)
                harmless = where == "batch" and value == "inf" and code == 0
                if action == "stop":
                    cases, clamped = cases + 1, clamped + harmless
                    stopped += code == 3 and Disturb.batches_after == 0
                else:
                    went_on += code == 0 and Disturb.batches_after > 0
                for path in (folder / run).glob("checkpoints/*.ckpt"):
                    weights = read_weights(path)[1]
                    weights.pop("model.levels", None)  # a table of note features, no weight: unused places are inf
                    spoilt += not all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
    row(
        "NaN and Inf in loss, gradient and batch",
        "stopped within a step",
        f"{stopped} of {cases} stopped in the same step with exit code 3, {clamped} (Inf in a batch) was clamped and "
        f"did no harm; {went_on} of {cases} went on with on_divergence=rollback; {spoilt} checkpoints with a weight "
        "that is not finite",
    )


def sweep(folder: Path, options: argparse.Namespace) -> None:
    """kill -9 in the middle of an Optuna search, and the same command again, until it is done."""
    import optuna  # of an extra that the rest does not need

    rng, folder = np.random.default_rng(5), new_folder(folder, "sweep")
    undisturbed = [argument for argument in tiny(folder) if argument != DISTURBED]
    arguments = (
        "-m", *undisturbed, "trainer.max_epochs=2", "search=optuna", "sweep=learning_rate", "study=killed",
        f"search.n_trials={options.trials}",
    )  # fmt: skip

    def finished_trials() -> dict[int, float]:
        found = next(folder.glob("outputs/sweeps/**/study.journal"), None)
        if found is None:
            return {}
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(found)))
        done = optuna.trial.TrialState.COMPLETE
        names = optuna.get_all_study_names(storage)
        studies = [optuna.load_study(study_name=name, storage=storage) for name in names]
        return {trial.number: trial.value for study in studies for trial in study.trials if trial.state == done}

    lost = killed = 0
    before: dict[int, float] = {}
    while killed < options.sweep_kills:
        process = start(folder, *arguments)
        while len(finished_trials()) <= len(before) and process.poll() is None:
            time.sleep(0.2)
        time.sleep(rng.uniform(0, 3))
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed += 1
        after = finished_trials()
        lost += sum(after.get(number) != value for number, value in before.items())
        before = after
    code = finished(folder, *arguments)
    after = finished_trials()
    lost += sum(after.get(number) != value for number, value in before.items())
    row(
        f"a sweep killed {killed} times and restarted",
        "nothing finished lost",
        f"{lost} of {len(after)} finished trials lost; exit code of the last start {code}",
    )


def cost(folder: Path, options: argparse.Namespace) -> None:
    """The default model on the default data with and without all of it, in turn, and the time within its hooks."""
    folder = folder.resolve() / "cost"
    folder.mkdir(parents=True)
    without = [f"callbacks.{name}=null" for name in ("best", "early_stopping", "divergence", "keep_last")]
    without += [f"callbacks.{name}=null" for name in ("monitor", "token_types")]
    times: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for pair in range(options.pairs):
        for everything in (True, False) if pair % 2 else (False, True):
            file = folder / f"{pair}-{everything}.json"
            code = finished(
                folder, "trainer.enable_progress_bar=false", "estimate=false", "callbacks.samples=null",
                f"trainer.max_steps={options.steps}", "+callbacks.stopwatch._target_=disturb.Stopwatch",
                f"+callbacks.stopwatch.file={file}", *([] if everything else without),
            )  # fmt: skip
            if code:
                raise SystemExit(f"a training failed; see {folder / 'output.log'}")
            times[everything].append(json.loads(file.read_text()))
    ratios = {
        kind: [a[kind] / b[kind] - 1 for a, b in zip(times[True], times[False], strict=True)]
        for kind in ("wall", "cpu")
    }
    shares = [sum(run["hooks"].values()) / run["wall"] for run in times[True]]
    parts = {
        name: statistics.median(run["hooks"][name] / run["wall"] for run in times[True]) for name in Stopwatch.WATCHED
    }
    row(
        f"cost of all this, default model and data, {options.steps} steps, {options.pairs} alternating pairs",
        "<= 2 % of training time",
        f"{statistics.median(shares):.2%} within the hooks ("
        + ", ".join(f"{name} {share:.2%}" for name, share in parts.items())
        + f"); with against without: {statistics.median(ratios['cpu']):+.1%} CPU time "
        f"({min(ratios['cpu']):+.1%} to {max(ratios['cpu']):+.1%}), {statistics.median(ratios['wall']):+.1%} wall time "
        f"({min(ratios['wall']):+.1%} to {max(ratios['wall']):+.1%})",
    )


PARTS = {part.__name__: part for part in (kills, resumes, damage, sigterm, divergence, sweep, cost)}


def main() -> None:
    """Run the parts and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=["all", *PARTS])
    parser.add_argument("--folder", type=Path, default=Path("outputs/benchmarks/reliability"))
    parser.add_argument("--tmpdir", help="for the killed trainings; by default one on another file system, if found")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--kill-seconds", type=float, default=1.0, help="a kill comes up to so long after the start")
    parser.add_argument("--resumes", type=int, default=20)
    parser.add_argument("--damages", type=int, default=200, help="flips, and as many truncations")
    parser.add_argument("--sigterms", type=int, default=20)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--sweep-kills", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    print("| what | asked | measured |\n|---|---|---|", flush=True)
    for name in PARTS if "all" in options.parts else options.parts:
        PARTS[name](options.folder, options)


if __name__ == "__main__":
    main()
