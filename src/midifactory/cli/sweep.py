"""`midifactory sweep`: the jobs of a sweep, the best first, its command, a page of pictures; also after a sweep."""

import contextlib
import json
import math
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from midifactory import files
from midifactory.cli.hydra_app import explain, report
from midifactory.cli.run_table import Run, inside, read_json, read_mapping, read_run
from midifactory.cli.runs import stored_overrides
from midifactory.errors import Interrupted, Pruned, UserError
from midifactory.paths import conf_dir

USAGE = """usage: midifactory sweep DIR

Ranks the jobs of a sweep (a folder below outputs/sweeps, of a grid or of search=optuna), prints the command of the best
one, and writes DIR/sweep.html: parallel coordinates, importances and history. Works while a sweep is still running."""
PAGE = "sweep.html"
STATES = ("finished", "pruned", "unfinished", "failed")  # in the order of the table
DEFAULT_MONITOR = "val/nats_per_note"
NOT_SET = "(default)"  # a parameter that a job does not name
_END = "job_end.json"
# What makes a job part of a sweep, not what it trains.
_PLUMBING = ("search", "study", "launcher", "callbacks.search", "threads")
_ended: list[Path] = []


@dataclass(frozen=True)
class Job:
    """A job of a sweep.

    value: what it is ranked by (see `Sweep`); of a job that has not finished, its best validation so far, which is
    over segments. settings: key and value of what was typed for it, as Hydra recorded it.
    """

    name: str
    run: Run
    state: str
    reason: str
    value: float | None
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Sweep:
    """The jobs of a folder, the best first, those that have not finished last.

    monitor: what they are ranked by, and `maximise` whether more is better: what all of them chose their best
    checkpoint by; where they differ, and where that is val/nats_per_note, the nats per note of whole validation pieces.
    parameters: the keys whose values differ between the jobs.
    """

    folder: Path
    jobs: tuple[Job, ...]
    monitor: str
    maximise: bool
    parameters: tuple[str, ...]

    @property
    def finished(self) -> list[Job]:
        """Those that can be compared."""
        return [job for job in self.jobs if job.state == "finished" and job.value is not None]


class Record(Callback):
    """Hydra's callback: notes how each job of a sweep ended that left no result, and which sweep was begun."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Keep the folder for `show_ended`: Hydra calls nothing at the end of a sweep in which a job failed."""
        with contextlib.suppress(Exception):  # a folder that cannot be: the sweeper says so
            _ended.append(Path(config.hydra.sweep.dir))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """In the process of the job, whichever launcher started it."""
        folder = Path(config.hydra.runtime.output_dir)
        if config.hydra.mode != RunMode.MULTIRUN or job_return.status != JobStatus.FAILED:
            return
        error = job_return._return_value  # its property would raise it
        state = {Pruned: "pruned", Interrupted: "unfinished"}.get(type(error), "failed")
        reason = str(error) if isinstance(error, Pruned) else explain(error)[0] or repr(error)
        files.write_text(folder / _END, json.dumps({"state": state, "reason": reason.splitlines()[0]}))


def show_ended() -> None:
    """Print the table of the sweep that has just run in this process, if any, and write its page."""
    if (loky := sys.modules.get("joblib.externals.loky")) is not None:
        # Its processes would stay in this sweep's folder, and run the next sweep of this process there.
        loky.get_reusable_executor().shutdown(wait=True)
    while _ended:
        with contextlib.suppress(UserError):  # no job has got far enough
            sweep = read_sweep(_ended.pop())
            try:
                _show(sweep)
            except (Exception, KeyboardInterrupt) as error:  # the exit code is the sweep's
                report(error)


def _show(sweep: Sweep) -> None:
    print(as_text(sweep), end="", flush=True)
    print(f"pictures: {write_page(sweep).resolve()}")


def main(argv: list[str] | None = None) -> int:
    """Print the table and write the page; returns 0, or `report`'s code for what went wrong."""
    words = argv or []
    if any(word in ("-h", "--help") for word in words):
        print(USAGE)
        return 0
    try:
        if len(words) != 1:
            raise UserError("sweep takes the folder of one sweep: midifactory sweep outputs/sweeps/NAME")
        _show(read_sweep(Path(words[0]).expanduser()))
    except Exception as error:
        return report(error)
    return 0


def read_sweep(folder: Path) -> Sweep:
    """The jobs below `folder`. Raises UserError where it is no sweep's, or no job has begun."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name one below outputs/sweeps")
    if not (folder / "multirun.yaml").is_file():
        raise UserError(
            f"{folder}: not the folder of one sweep; name one below outputs/sweeps. `midifactory runs "
            f"root={folder} sort=validation` lists any runs"
        )
    homes = sorted((path.parent.parent for path in folder.glob("**/.hydra/config.yaml")), key=_natural)
    found = [(home, run) for home in homes if home != folder and (run := read_run(home)) is not None]
    if not found:
        raise UserError(f"{folder}: no job of this sweep has begun")
    kinds = {monitored(home) for home, _ in found}
    monitor, maximise = kinds.pop() if len(kinds) == 1 else (DEFAULT_MONITOR, False)
    jobs = [_job(home.relative_to(folder).as_posix(), home, run, monitor) for home, run in found]
    sign = -1 if maximise else 1

    def order(job: Job) -> tuple[int, float]:
        return STATES.index(job.state), math.inf if job.value is None else sign * job.value

    keys = dict.fromkeys(key for job in jobs for key in job.settings)
    parameters = tuple(key for key in keys if len({job.settings.get(key) for job in jobs}) > 1)
    return Sweep(folder, tuple(sorted(jobs, key=order)), monitor, maximise, parameters)


def _natural(path: Path) -> tuple[int, str]:
    """Jobs in the order of their numbers; whatever is named otherwise behind them."""
    return (int(path.name), "") if path.name.isdecimal() else (2**63, path.as_posix())


def _job(name: str, home: Path, run: Run, monitor: str) -> Job:
    end = read_json(home / _END)
    state = "finished" if run.finished == "yes" else end.get("state") if end.get("state") in STATES else "unfinished"
    value = result_value(home, monitor) if state == "finished" else None
    if state != "finished" and monitor == DEFAULT_MONITOR:
        value = run.validation
    settings = dict(_setting(text) for text in _overrides(home) if not _is_plumbing(text))
    reason = "" if state == "finished" else str(end.get("reason", ""))
    return Job(name, run, str(state), reason, value, settings)


def monitored(home: Path) -> tuple[str, bool]:
    """What a job's best checkpoint is chosen by, and whether more of it is better."""
    best = inside(read_mapping(home / ".hydra" / "config.yaml"), "callbacks", "best")
    return str(best.get("monitor", DEFAULT_MONITOR)), best.get("mode") == "max"


def result_value(home: Path, monitor: str) -> float | None:
    """What the finished training in `home` is judged by; None where it has no result, or none that is a number.

    Nats per note are those of whole held-out pieces, so that they mean the same under every tokenizer.
    """
    result = read_json(home / "result.json")
    if monitor == DEFAULT_MONITOR:
        value = inside(result, "validation").get("nats_per_note")
    else:
        value = inside(result, "monitored").get(monitor)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _overrides(home: Path) -> list[str]:
    """What was typed for the job; nothing where that cannot be read."""
    try:
        return stored_overrides(home)
    except (OSError, ValueError, yaml.YAMLError):
        return []


def _setting(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key.lstrip("+~"), value


def _is_plumbing(text: str) -> bool:
    key, value = _setting(text)
    if key == "sweep":
        return _is_only_a_space(value)
    return any(key == name or key.startswith(f"{name}.") for name in _PLUMBING)


def _is_only_a_space(name: str) -> bool:
    """Whether a file of conf/sweep says what to search and nothing of the trainings themselves."""
    content = read_mapping(conf_dir() / "sweep" / f"{name}.yaml")
    return bool(content) and set(content) <= {"hydra", "search"}


def command(job: Job) -> str:
    """What to type to train a job's settings again, by itself."""
    words = [word for word in _overrides(Path(job.run.folder)) if not _is_plumbing(word)]
    return " ".join(["python", "train.py", *map(_quoted, words)])


def _quoted(word: str) -> str:
    """For the shell; in double quotes where Hydra's single ones stand in it."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`!\\') else shlex.quote(word)


def rows(sweep: Sweep) -> list[list[str]]:
    """The table, its header first; ranks are of the jobs that finished."""
    table = [["rank", "job", "state", _measure(sweep), *sweep.parameters, "test", "minutes", "checkpoint", "note"]]
    for rank, job in enumerate(sweep.jobs, start=1):
        table.append([
            str(rank) if job in sweep.finished else "",
            job.name,
            job.state,
            _number(job.value, 4),
            *(_short(job.settings.get(key, NOT_SET)) for key in sweep.parameters),
            _number(job.run.test, 4),
            _number(job.run.minutes, 1),
            job.run.checkpoint or "",
            job.reason,
        ])  # fmt: skip
    return table


def _measure(sweep: Sweep) -> str:
    return "nats per note" if sweep.monitor == DEFAULT_MONITOR else sweep.monitor


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _short(text: str) -> str:
    """A number that was drawn, with the digits that matter."""
    return f"{float(text):.4g}" if len(text) > 8 and as_numbers([text]) else text


def as_text(sweep: Sweep) -> str:
    """The table for a terminal, and the command of the best job."""
    table = rows(sweep)
    widths = [max(len(row[index]) for row in table) for index in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    if sweep.monitor == DEFAULT_MONITOR:
        lines.append("nats per note of whole validation pieces; of jobs that did not finish, the best over segments")
    best = command(sweep.finished[0]) if sweep.finished else "no job has finished"
    return "\n".join([*lines, f"best: {best}"]) + "\n"


def write_page(sweep: Sweep) -> Path:
    """Write sweep.html into the sweep's folder and return its path. Raises UserError without its packages."""
    try:
        from midifactory.render.sweep import save_sweep_page

        shares, reason = importances(sweep)
    except ImportError as error:
        raise UserError(f'{PAGE} needs plotly, optuna and scikit-learn; pip install "midifactory[sweep]"') from error
    numbered = sorted(sweep.jobs, key=lambda job: _natural(Path(job.name)))
    path = sweep.folder / PAGE
    save_sweep_page(
        path,
        title=sweep.folder.resolve().name,
        measure=_measure(sweep),
        maximise=sweep.maximise,
        rows=rows(sweep),
        command=command(sweep.finished[0]) if sweep.finished else None,
        parameters={key: [job.settings.get(key, NOT_SET) for job in sweep.finished] for key in sweep.parameters},
        values=[job.value for job in sweep.finished if job.value is not None],
        importances=shares,
        no_importances=reason,
        history=[(job.name, job.state, job.value) for job in numbered],
    )
    return path


def importances(sweep: Sweep) -> tuple[dict[str, float], str]:
    """Each parameter's share in how the finished jobs' values vary (fANOVA, Hutter et al. 2014), or why there is none.

    Numbers count by their order, whatever the scale, as the trees of fANOVA split them.
    """
    jobs = sweep.finished
    columns = {key: [job.settings.get(key, NOT_SET) for job in jobs] for key in sweep.parameters}
    columns = {key: column for key, column in columns.items() if len(set(column)) > 1}
    if len(jobs) < 2:
        return {}, "importances need at least two jobs that finished"
    if len(columns) < 2:
        only = f"only {next(iter(columns))} differs" if columns else "nothing differs"
        return {}, f"{only} between the jobs that finished, so there is nothing to compare"
    if len({job.value for job in jobs}) == 1:
        return {}, "all jobs that finished have the same value"
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if sweep.maximise else "minimize")
    settings, distributions = _as_trials(columns)
    for job, setting in zip(jobs, settings, strict=True):
        study.add_trial(optuna.trial.create_trial(params=setting, distributions=distributions, value=job.value))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator)), ""


def _as_trials(columns: Mapping[str, list[str]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """For optuna, each job's parameters and what they are drawn from: numbers where all are numbers, else choices."""
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

    distributions: dict[str, BaseDistribution] = {}
    converted: dict[str, list[Any]] = {}
    for key, column in columns.items():
        numbers = as_numbers(column)
        converted[key] = column if numbers is None else numbers
        distributions[key] = (
            CategoricalDistribution(sorted(set(column)))
            if numbers is None
            else FloatDistribution(min(numbers), max(numbers))
        )
    settings = [dict(zip(converted, row, strict=True)) for row in zip(*converted.values(), strict=True)]
    return settings, distributions


def as_numbers(texts: Iterable[str]) -> list[float] | None:
    """The texts as finite numbers; None where one is none."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None
