"""`search=optuna`: trainings whose settings optuna chooses (TPE) and prunes; it can be interrupted and gone on with.

The sweeper asks for trials and tells how they ended; each training reports its validations to the same storage, from
whatever process or machine the launcher has started it in.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning
from filelock import FileLock, Timeout
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.utils import JobReturn, JobStatus
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf

from midifactory.cli.arguments import quote
from midifactory.cli.hydra_app import explain
from midifactory.cli.sweep import result_value
from midifactory.errors import Interrupted, Pruned, UserError

_LOCK, _JOURNAL = ".search.lock", "study.journal"
_JOURNAL_BEGINS = b'{"op_code":'
_SQLITE_SECONDS = 60  # a job waits that long for another one's write
_MOST_CRASHES = 2  # of the launcher itself, one after the other
_FOLDER, _AGAIN = "folder", "again"  # attributes of trials: where they run, and which dead one they repeat
_JUDGED_BY = "judged_by"  # of the study
_log = logging.getLogger(__name__)


class Report(Callback):
    """Tells the search each validation of one training, and stops the training where the pruner says so.

    storage, study, trial: which trial this is. monitor: the figure of the validation. pruner: optuna's; its step is a
    validation, which means the same for every batch size. Training then ends as after its last epoch, saved and
    logged, and `Pruned` is raised. A trial that has ended meanwhile (its search was started again) is left alone.
    """

    def __init__(self, storage: str | None, study: str, trial: int | None, monitor: str, pruner: Any):
        if storage is None or trial is None:
            raise UserError("search=optuna chooses the settings of several trainings; add -m")
        self._address, self._study_name, self._trial = storage, study, trial
        self._monitor, self._pruner = monitor, pruner
        self._validations, self._pruned = 0, False
        self._storage: Any = None

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Report."""
        value = trainer.callback_metrics.get(self._monitor)
        if trainer.sanity_checking or value is None or self._pruned:
            return
        self._validations += 1
        stop = self._is_hopeless(float(value)) if trainer.is_global_zero else False
        if trainer.strategy.broadcast(stop):
            self._pruned = trainer.should_stop = True

    def _is_hopeless(self, value: float) -> bool:
        optuna = _optuna()
        storage = self._storage = self._storage or open_storage(self._address)
        study = optuna.load_study(study_name=self._study_name, storage=storage, pruner=self._pruner)
        study_id = storage.get_study_id_from_name(self._study_name)
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, self._trial)
        try:
            storage.set_trial_intermediate_value(trial_id, self._validations, value)
        except RuntimeError:  # of a trial that has ended; optuna's own class of it is younger than optuna 4.0
            _log.info("trial %d has ended before; this training goes on without being pruned", self._trial)
            return False
        return bool(self._pruner.prune(study, storage.get_trial(trial_id)))

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Everything is saved."""
        if self._pruned:
            raise Pruned(f"worse at validation {self._validations} than what the pruner lets pass")


def run_search(sweeper: Any, arguments: Sequence[str]) -> list[Sequence[JobReturn]]:
    """Run trials until there are `search.n_trials`, those before a restart counted, and return the jobs' returns.

    sweeper: Hydra's, with its config, context, launcher and params. Raises UserError for a space, a storage or a number
    that cannot be, and where no training has finished; Interrupted where one was stopped by a signal.
    """
    optuna = _optuna()
    config, settings = sweeper.config, sweeper.config.search
    if type(settings.n_trials) is not int or settings.n_trials < 1:
        raise UserError(f"search.n_trials={settings.n_trials}: give a whole number of at least 1")
    given = {**sweeper.params, **(settings.get("space") or {})}
    space, fixed = read_space(given, arguments, sweeper.hydra_context.config_loader)
    sweeper.validate_batch_is_legal([[*fixed, *(f"{key}={_any(values)}" for key, values in space.items())]])
    folder = Path(config.hydra.sweep.dir).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    address = storage_address(settings.storage, folder)
    with _alone(folder):
        OmegaConf.save(config, folder / "multirun.yaml")
        mend_journal(address)
        storage = open_storage(address)
        mode = config.callbacks.best.mode
        study = optuna.create_study(
            study_name=folder.name,
            storage=storage,
            direction="maximize" if mode == "max" else "minimize",
            load_if_exists=True,
        )
        _check_study(study, space, [config.callbacks.best.monitor, mode], folder)
        # The next draws, not those of before the restart once more.
        study.sampler = instantiate(settings.sampler, seed=settings.seed + len(study.trials))
        plumbing = [f"study={quote(folder.name)}", f"search.storage={quote(address)}"]
        search = _Search(sweeper, study, space, [*fixed, *plumbing], folder, config.callbacks.best.monitor)
        width = _width(settings.n_jobs, sweeper.max_batch_size, config.hydra.launcher)
        return search.run(settings.n_trials, width)


class _Search:
    """One sitting of a search, which may be a restart."""

    def __init__(
        self, sweeper: Any, study: Any, space: Mapping[str, Any], fixed: Sequence[str], folder: Path, monitor: str
    ):
        self._sweeper, self._study, self._space, self._fixed = sweeper, study, space, fixed
        self._folder, self._monitor = folder, monitor
        self._states = _optuna().trial.TrialState

    def run(self, n_trials: int, width: int) -> list[Sequence[JobReturn]]:
        """Train, `width` at a time, until the study has `n_trials` trials; what Hydra's launcher returned of each."""
        self._settle_stale()
        returns: list[Sequence[JobReturn]] = []
        crashes, last = 0, ""
        _log.info("search in %s: %d of %d trials are done", self._folder, self._counted(), n_trials)
        while (left := n_trials - self._counted()) > 0:
            trials = [self._study.ask(dict(self._space)) for _ in range(min(width, left))]
            for trial in trials:
                trial.set_user_attr(_FOLDER, str(self._folder))
            batch = [self._overrides(trial.number, trial.params) for trial in trials]
            try:
                jobs = self._sweeper.launcher.launch(batch, initial_job_idx=trials[0].number)
            except Exception as error:
                # A worker was killed: what has finished stays, the rest of the batch failed. Or there is no cluster.
                last, crashes = explain(error)[0] or repr(error), crashes + 1
                _log.error("the launcher failed: %s", last)
                hopeless = crashes == _MOST_CRASHES or not returns
                for trial in trials:
                    if hopeless:
                        self._again(trial.number, self._folder)
                    else:
                        self._finish(trial.number, None)
                if hopeless:
                    raise
                continue
            crashes = 0
            returns.append(jobs)
            for trial, job in zip(trials, jobs, strict=True):
                last = self._settle(trial.number, job) or last
            for job in jobs:
                if isinstance(job._return_value, Interrupted):
                    raise job._return_value
        if not self._study.get_trials(states=(self._states.COMPLETE,)):
            raise UserError(f"search=optuna: none of the {n_trials} trainings finished; the last one: {last}")
        return returns

    def _overrides(self, number: int, params: Mapping[str, Any]) -> list[str]:
        return [*self._fixed, *(f"{key}={value}" for key, value in params.items()), f"callbacks.search.trial={number}"]

    def _counted(self) -> int:
        """Trials that are not to be repeated: ended, or running in another search of the same storage."""
        trials = self._study.get_trials(deepcopy=False)
        repeated = {trial.user_attrs.get(_AGAIN) for trial in trials}
        waiting = self._states.WAITING
        return sum(trial.state != waiting and trial.number not in repeated for trial in trials)

    def _settle(self, number: int, job: JobReturn) -> str | None:
        """Tell the study how a job ended; returns what went wrong, if anything."""
        error = None if job.status == JobStatus.COMPLETED else job._return_value  # its property would raise it
        if isinstance(error, Pruned):
            self._study.tell(number, state=self._states.PRUNED)
        elif isinstance(error, Interrupted):
            self._again(number, self._folder)
        else:
            self._finish(number, error)
        return None if error is None else explain(error)[0] or repr(error)

    def _finish(self, number: int, error: Exception | None) -> None:
        value = None if error else result_value(self._folder / str(number), self._monitor)
        if value is None:
            self._study.tell(number, state=self._states.FAIL)
            return
        self._study.tell(number, value)
        best = self._study.best_trial
        _log.info("trial %d: %s %.4f (best: %.4f of trial %d)", number, self._monitor, value, best.value, best.number)

    def _settle_stale(self) -> None:
        """End the trials of searches that are dead: what has a result has finished, the others are run again."""
        for trial in self._study.get_trials(states=(self._states.RUNNING,)):
            home = Path(trial.user_attrs.get(_FOLDER, self._folder))
            if home == self._folder or _is_dead(home):
                self._again(trial.number, home)

    def _again(self, number: int, home: Path) -> None:
        if (value := result_value(home / str(number), self._monitor)) is not None:
            self._study.tell(number, value)
            return
        trial = self._study.tell(number, state=self._states.FAIL)
        params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        self._study.enqueue_trial(params, user_attrs={_AGAIN: number})
        _log.info("trial %d was interrupted; it is run again", number)


def _optuna() -> ModuleType:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise UserError(f'search=optuna needs {error.name}; pip install "midifactory[sweep]"') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def read_space(
    params: Mapping[str, Any], arguments: Sequence[str], config_loader: Any = None
) -> tuple[dict[str, Any], list[str]]:
    """What is searched, as optuna's distributions by key, and the overrides that every training shares.

    params: a space of conf/sweep; arguments: what was typed, which wins. `a,b` and choice(...) are one of these, as
    typed; range(a,b,step) ends before b, as in a grid; interval(a,b) is any number between, int(interval(a,b)) a
    whole one; tag(log, ...) draws by the logarithm. Raises UserError where there is nothing to search, or it cannot be.
    """
    parser = OverridesParser.create(config_loader)
    overrides = parser.parse_overrides([*(f"{key}={value}" for key, value in params.items()), *arguments])
    last = {override.get_key_element(): override for override in overrides}
    space = {key: _distribution(override) for key, override in last.items() if override.is_sweep_override()}
    if not space:
        raise UserError(
            "search=optuna: nothing to search; add sweep=learning_rate (see conf/sweep), or a setting such as "
            "'optimizer.lr=tag(log, interval(1e-4, 1e-2))'"
        )
    return space, [str(override.input_line) for override in last.values() if not override.is_sweep_override()]


def _distribution(override: Override) -> Any:
    _optuna()
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    log = isinstance(value, IntervalSweep | RangeSweep) and "log" in value.tags
    try:
        if isinstance(value, IntervalSweep):
            low, high = value.start, value.end
            whole = isinstance(low, int) and isinstance(high, int)
            return IntDistribution(low, high, log) if whole else FloatDistribution(float(low), float(high), log)  # type: ignore[arg-type]
        if isinstance(value, RangeSweep):
            steps = sorted(value.range())
            if all(isinstance(step, int) for step in steps):
                return IntDistribution(steps[0], steps[-1], log, abs(int(value.step)))
            return FloatDistribution(steps[0], steps[-1], log, None if log else abs(float(value.step)))
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except (ValueError, TypeError, IndexError) as error:
        reason = str(error) if isinstance(error, ValueError) else "there is no value in it"
        raise UserError(f"{override.input_line}: {reason}; see conf/sweep for spaces that work") from error


def _any(values: Any) -> Any:
    """One value of a distribution."""
    return values.choices[0] if hasattr(values, "choices") else values.low


def _check_study(study: Any, space: Mapping[str, Any], judged_by: list[str], folder: Path) -> None:
    """Raise UserError where the next trials cannot be compared with earlier ones, or would overwrite other jobs."""
    from optuna.distributions import check_distribution_compatibility

    before = study.user_attrs.get(_JUDGED_BY, judged_by)
    if before != judged_by:
        raise UserError(
            f"study={study.study_name}: was begun with callbacks.best.monitor={before[0]} and mode={before[1]}; use "
            "them again, or another study=NAME"
        )
    study.set_user_attr(_JUDGED_BY, judged_by)
    if (folder / str(len(study.trials))).exists():
        raise UserError(
            f"study={study.study_name}: {folder} holds jobs that search.storage does not know; give the storage it "
            "was begun with, or another study=NAME"
        )
    for trial in study.get_trials(deepcopy=False):
        for key in space.keys() & trial.distributions.keys():
            try:
                check_distribution_compatibility(trial.distributions[key], space[key])
            except ValueError as error:
                raise UserError(
                    f"study={study.study_name}: was begun with other values of {key}; use them again, or "
                    "another study=NAME"
                ) from error


def storage_address(storage: str | None, folder: Path) -> str:
    """`storage` as jobs elsewhere can use it: absolute; by default a journal in the sweep's `folder`."""
    if storage is None:
        return str(folder / _JOURNAL)
    if match := re.fullmatch(r"sqlite:///([^/:].*)", storage):
        return f"sqlite:///{Path(match[1]).resolve()}"
    return storage if "://" in storage else str(Path(storage).expanduser().resolve())


def open_storage(address: str) -> Any:
    """Optuna's storage: a database where `address` has ://, else a journal file. Raises UserError."""
    _optuna()
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    try:
        if "://" not in address:
            return JournalStorage(JournalFileBackend(address))
        sqlite = {"connect_args": {"timeout": _SQLITE_SECONDS}} if address.startswith("sqlite") else None
        return RDBStorage(address, engine_kwargs=sqlite)
    except Exception as error:  # each database has exceptions of its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"search.storage={address}: cannot be read as a study ({reason}); name a new file, or an address such as "
            "sqlite:///sweep.db"
        ) from error


def mend_journal(address: str) -> None:
    """Cut off the half line that a power failure or a full disk left; optuna would refuse all lines behind it."""
    if "://" in address or not os.path.isfile(address):
        return
    from optuna.storages.journal import JournalFileSymlinkLock

    lock = JournalFileSymlinkLock(address)
    lock.acquire()
    try:
        with open(address, "rb+") as file:
            content = file.read()
            if content.startswith(_JOURNAL_BEGINS) and not content.endswith(b"\n"):
                file.truncate(content.rfind(b"\n") + 1)
    finally:
        lock.release()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of the sweep's folder, which the system gives back when this process dies."""
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            f"{folder}: another search is running in it; wait for it, or name another study=NAME"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _is_dead(folder: Path) -> bool:
    """Whether the search in another folder that shares the storage is no longer running; False where none can tell."""
    if not (folder / _LOCK).is_file():
        return False
    try:
        with FileLock(folder / _LOCK, timeout=0):
            return True
    except Timeout:
        return False


def _width(n_jobs: int | None, max_batch_size: int | None, launcher: DictConfig) -> int:
    """How many trials are launched at a time."""
    width = max_batch_size or launcher.get("n_jobs") or launcher.get("array_parallelism") or 1
    width = width if n_jobs is None else n_jobs
    if type(width) is not int or width < -1 or width == 0:
        raise UserError(f"search.n_jobs={width}: give a whole number of at least 1, or -1 for one on each core")
    return (os.cpu_count() or 1) if width == -1 else width
