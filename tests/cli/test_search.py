"""`search=optuna`: spaces, storages, and real searches that are pruned, interrupted, killed and gone on with."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import optuna
import pytest
from filelock import FileLock
from hydra.core.utils import JobReturn, JobStatus
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from cli.conftest import run_command, write_folder
from cli.test_sweep import QUICK
from midifactory.cli import search as search_module
from midifactory.cli.search import Report, mend_journal, open_storage, read_space, storage_address
from midifactory.cli.sweep import read_sweep
from midifactory.errors import Interrupted, Pruned, UserError

SPACE = "optimizer.lr=tag(log,interval(1e-3,1e-2))"


def trials(folder):
    """All trials of the search in `folder`."""
    return optuna.load_study(study_name=folder.name, storage=open_storage(str(folder / "study.journal"))).trials


def states(folder):
    return [trial.state.name for trial in trials(folder)]


# Spaces


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("a=interval(0.1,2)", FloatDistribution(0.1, 2)),
        ("a=int(interval(1,5))", IntDistribution(1, 5)),
        ("a=tag(log,interval(1e-4,1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("a=tag(log,int(interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("a=range(2,9)", IntDistribution(2, 8)),
        ("a=range(2,9,3)", IntDistribution(2, 8, step=3)),
        ("a=range(9,2,-3)", IntDistribution(3, 9, step=3)),
        ("a=range(0.0,1.0,0.25)", FloatDistribution(0.0, 0.75, step=0.25)),
        ("a=x,2,null,'d e'", CategoricalDistribution(["x", "2", "null", "'d e'"])),
        ("a=choice(x,y)", CategoricalDistribution(["x", "y"])),
    ],
)
def test_what_can_be_typed_as_a_space(typed, expected):
    assert read_space({}, [typed, "seed=3"]) == ({"a": expected}, ["seed=3"])


def test_what_is_typed_wins_over_the_file():
    space, fixed = read_space({"a": "1,2", "b": "interval(0,1)", "c": 3}, ["a=5", "+d='x y'", "~e"])
    assert space == {"b": FloatDistribution(0, 1)}
    assert fixed == ["a=5", "c=3", "+d='x y'", "~e"]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("seed=3", "nothing to search; add sweep=learning_rate"),
        ("a=interval(2,1)", "a=interval(2,1): "),
        ("a=tag(log,interval(0,1))", "a=tag(log,interval(0,1)): "),
        ("a=range(3,3)", "a=range(3,3): there is no value in it"),
    ],
)
def test_what_is_no_space(typed, message):
    with pytest.raises(UserError) as caught:
        read_space({}, [typed])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# Storages


def test_addresses_mean_the_same_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "sweep"
    assert storage_address(None, folder) == str(folder / "study.journal")
    assert storage_address("a/b.log", folder) == str(tmp_path / "a" / "b.log")
    assert storage_address("sqlite:///x.db", folder) == f"sqlite:///{tmp_path}/x.db"
    for kept in (f"sqlite:///{tmp_path}/x.db", "postgresql://host/db"):
        assert storage_address(kept, folder) == kept


def test_storages_that_cannot_be_read(tmp_path):
    (tmp_path / "song.mid").write_bytes(b"MThd\0\0\0\6\n\n")
    (tmp_path / "x.db").write_bytes(b"no database at all" * 99)
    for address in (str(tmp_path), str(tmp_path / "song.mid"), f"sqlite:///{tmp_path}/x.db", "what://ever"):
        mend_journal(address)
        with pytest.raises(UserError, match=r"search\.storage=") as caught:
            open_storage(address)
        assert "\n" not in str(caught.value)
    assert (tmp_path / "song.mid").read_bytes() == b"MThd\0\0\0\6\n\n"


def test_a_half_line_at_the_end_of_a_journal(tmp_path):
    path = tmp_path / "study.journal"
    study = optuna.create_study(storage=open_storage(str(path)), study_name="s")
    study.tell(study.ask(), 1.5)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":4,"worker')
    mend_journal(str(path))
    assert path.read_bytes() == whole
    study = optuna.load_study(storage=open_storage(str(path)), study_name="s")
    study.tell(study.ask(), 0.5)
    assert [trial.value for trial in study.trials] == [1.5, 0.5]


# The callback


def test_a_validation_is_reported_from_another_place_and_pruned(tmp_path):
    """Two objects that share the file alone: the study's, and the training's."""
    address = str(tmp_path / "journal")
    study = optuna.create_study(storage=open_storage(address), study_name="s")
    number = study.ask().number
    pruner = optuna.pruners.ThresholdPruner(upper=3.0)
    report = Report(address, "s", number, "val/x", pruner)
    trainer = SimpleNamespace(
        callback_metrics={}, sanity_checking=False, should_stop=False, is_global_zero=True,
        strategy=SimpleNamespace(broadcast=lambda value: value),
    )  # fmt: skip
    report.on_validation_end(trainer, None)  # no such figure yet
    for value, stops in ((2.5, False), (3.5, True), (9.0, True)):
        trainer.callback_metrics["val/x"] = value
        report.on_validation_end(trainer, None)
        assert trainer.should_stop is stops
    assert study.trials[number].intermediate_values == {1: 2.5, 2: 3.5}
    with pytest.raises(Pruned):
        report.on_fit_end(trainer, None)

    study.tell(number, state=TrialState.FAIL)  # started again by somebody else
    late, trainer.should_stop = Report(address, "s", number, "val/x", pruner), False
    late.on_validation_end(trainer, None)
    assert not trainer.should_stop
    late.on_fit_end(trainer, None)


# Searches without trainings


class Sweeper:
    """What run_search asks of Hydra's sweeper; its launcher answers as `ends` says, in turn."""

    def __init__(self, config, ends):
        self.config, self.params, self.max_batch_size = config, {}, None
        self.hydra_context, self.launcher = SimpleNamespace(config_loader=None), self
        self.ends, self.launched = list(ends), []

    def validate_batch_is_legal(self, batch):
        pass

    def launch(self, batch, initial_job_idx):
        self.launched.append(batch)
        jobs = []
        for overrides in batch:
            end, job = self.ends.pop(0), JobReturn()
            number = overrides[-1].partition("=")[2]
            if end is SystemError:
                raise SystemError("a worker was killed")
            job.status = JobStatus.FAILED if isinstance(end, Exception) else JobStatus.COMPLETED
            job.return_value = end
            if isinstance(end, float):
                home = self.config.hydra.sweep.dir / number
                home.mkdir()
                (home / "result.json").write_text(json.dumps({"validation": {"nats_per_note": end}}))
            jobs.append(job)
        return jobs


@pytest.fixture
def search(tmp_path, monkeypatch):
    """A function that runs a search whose trainings end as it is told."""
    monkeypatch.setattr(search_module.OmegaConf, "save", lambda *_: None)

    class Config(SimpleNamespace):
        def get(self, name, default=None):
            return getattr(self, name, default)

    def run(ends, n_trials, typed=("seed=0", "a=interval(0,1)"), **settings):
        config = Config(
            search=Config(
                n_trials=n_trials, n_jobs=settings.get("n_jobs", 1), storage=None, seed=0,
                sampler={"_target_": "optuna.samplers.TPESampler"},
            ),
            callbacks=Config(best=Config(monitor=settings.get("monitor", "val/nats_per_note"), mode="min")),
            hydra=Config(sweep=Config(dir=tmp_path / "s"), launcher={}),
        )  # fmt: skip
        sweeper = Sweeper(config, ends)
        search_module.run_search(sweeper, list(typed))
        return sweeper

    run.folder = tmp_path / "s"
    return run


def test_how_trainings_end_is_told_and_the_search_goes_on(search):
    from midifactory.errors import Diverged

    sweeper = search([3.0, Diverged("nan"), Pruned("worse"), UserError("no"), 2.0], 5)
    assert states(search.folder) == ["COMPLETE", "FAIL", "PRUNED", "FAIL", "COMPLETE"]
    assert [trial.value for trial in trials(search.folder)] == [3.0, None, None, None, 2.0]
    assert [len(batch) for batch in sweeper.launched] == [1] * 5
    folder = str(search.folder / "study.journal")
    first = trials(search.folder)[0]
    assert sweeper.launched[0] == [
        ["seed=0", "study='s'", f"search.storage='{folder}'", f"a={first.params['a']}", "callbacks.search.trial=0"]
    ]


def test_a_restart_keeps_what_is_done_and_draws_anew(search):
    search([3.0, 2.0], 2)
    again = search([1.0, 4.0], 4, n_jobs=2)
    assert [len(batch) for batch in again.launched] == [2]
    found = trials(search.folder)
    assert [trial.value for trial in found] == [3.0, 2.0, 1.0, 4.0]
    assert len({trial.params["a"] for trial in found}) == 4
    assert search([], 4).launched == []


def test_what_a_dead_search_left_running(search):
    """One trial has a result that was never told, one has none, one was not even begun; a fourth is somebody else's."""
    search([3.0], 1)
    study = optuna.load_study(study_name="s", storage=open_storage(str(search.folder / "study.journal")))
    space = {"a": FloatDistribution(0, 1)}
    stale = [study.ask(space) for _ in range(2)]
    study.ask()
    elsewhere = search.folder.parent / "elsewhere"
    elsewhere.mkdir()
    study.ask(space).set_user_attr("folder", str(elsewhere))
    stale[0].set_user_attr("folder", str(search.folder))
    (search.folder / "1").mkdir()
    (search.folder / "1" / "result.json").write_text('{"validation": {"nats_per_note": 1.25}}')
    with FileLock(elsewhere / ".search.lock"):
        search([2.5, 2.75], 5)  # 0 and 1 are done, 4 runs elsewhere: two are missing
    found = trials(search.folder)
    assert [trial.state.name for trial in found] == [
        "COMPLETE", "COMPLETE", "FAIL", "FAIL", "RUNNING", "COMPLETE", "COMPLETE",
    ]  # fmt: skip
    assert (found[1].value, found[5].value) == (1.25, 2.5)
    assert found[5].params == found[2].params  # run again with the same
    again = search([2.0], 5)  # the other search has died: its trial is run again here
    assert [len(batch) for batch in again.launched] == [1]
    assert trials(search.folder)[7].params == found[4].params


def test_a_stopped_search_runs_that_trial_again(search):
    with pytest.raises(Interrupted):
        search([3.0, Interrupted("stopped", 143)], 3)
    assert states(search.folder) == ["COMPLETE", "FAIL", "WAITING"]
    search([2.0, 1.0], 3)
    found = trials(search.folder)
    assert [trial.state.name for trial in found] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert found[2].params == found[1].params


def test_a_launcher_that_crashes(search):
    search([3.0, SystemError, 2.0], 3)
    assert states(search.folder) == ["COMPLETE", "FAIL", "COMPLETE"]
    with pytest.raises(SystemError):
        search([SystemError], 5)  # nothing works from the start: not counted
    search([1.0, 1.5], 5)
    assert states(search.folder)[3:] == ["FAIL", "COMPLETE", "COMPLETE"]


def test_mistakes_of_a_search(search):
    with pytest.raises(UserError, match="none of the 2 trainings finished; the last one: too small"):
        search([UserError("too large"), UserError("too small")], 2)
    with pytest.raises(UserError, match="study=s: was begun with other values of a"):
        search([1.0], 3, typed=["a=x,y"])
    with pytest.raises(UserError, match=r"search.n_trials=0: give a whole number"):
        search([], 0)
    with pytest.raises(UserError, match=r"search.n_jobs=-2: give a whole number"):
        search([], 3, n_jobs=-2)
    with pytest.raises(UserError, match=r"search.n_jobs=0: give a whole number"):
        search([], 3, n_jobs=0)
    with pytest.raises(UserError, match=r"was begun with callbacks.best.monitor=val/nats_per_note and mode=min"):
        search([1.0], 3, monitor="val/loss")
    with FileLock(search.folder / ".search.lock"), pytest.raises(UserError, match="another search is running in it"):
        search([], 3)


def test_jobs_of_another_sweep_are_not_overwritten(search):
    (search.folder / "0").mkdir(parents=True)
    with pytest.raises(UserError, match=r"holds jobs that search\.storage does not know"):
        search([1.0], 1)
    assert trials(search.folder) == []


def test_a_stop_reaches_the_search_from_another_process():
    stop = pickle.loads(pickle.dumps(Interrupted("stopped at step 3", 143)))
    assert (str(stop), stop.exit_code) == ("stopped at step 3", 143)


def test_without_optuna(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r'pip install "midifactory\[sweep\]"'):
        read_space({}, [SPACE])


# Real ones


def test_three_trainings_then_two_pruned_ones(tmp_path):
    write_folder(tmp_path / "my_midis")
    typed = (*QUICK, "-m", "search=optuna", "study=rates", SPACE)
    done = run_command(tmp_path, "train", "my_midis", *typed, "search.n_trials=3")
    assert done.code == 0, done
    folder = tmp_path / "outputs" / "sweeps" / "rates"
    assert [path.name for path in folder.parent.iterdir()] == ["rates"]
    found = trials(folder)
    assert [trial.state.name for trial in found] == ["COMPLETE"] * 3
    for trial in found:
        result = json.loads((folder / str(trial.number) / "result.json").read_text())
        assert trial.value == result["validation"]["nats_per_note"]
        assert trial.intermediate_values == {1: pytest.approx(result["monitored"]["val/nats_per_note"])}
    sweep = read_sweep(folder)
    assert [int(job.name) for job in sweep.jobs] == [t.number for t in sorted(found, key=lambda trial: trial.value)]
    assert (
        float(sweep.jobs[0].settings["optimizer.lr"])
        == min(found, key=lambda trial: trial.value).params["optimizer.lr"]
    )
    assert "rank  job" in done.out

    stub = ("search.pruner._target_=optuna.pruners.ThresholdPruner", "+search.pruner.upper=0.0")
    deleted = ("~search.pruner.n_startup_trials",)
    done = run_command(tmp_path, "train", "my_midis", *typed, "search.n_trials=4", *stub, *deleted)
    assert done.code == 0, done
    assert states(folder) == [*["COMPLETE"] * 3, "PRUNED"]
    assert trials(folder)[:3] == found
    pruned = read_sweep(folder).jobs[-1]
    assert (pruned.name, pruned.state) == ("3", "pruned")
    assert pruned.value == pytest.approx(trials(folder)[3].value)
    assert (folder / "3" / "checkpoints" / "last.ckpt").is_dir()
    assert not (folder / "3" / "result.json").exists()
    assert "Error" not in done.message


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (("nosuch.key=interval(0,1)",), "Could not override 'nosuch.key'"),
        ((), "search=optuna: nothing to search"),
        ((SPACE, "search.storage=my_midis"), "search.storage="),
        ((SPACE, "sweep=nosuch"), "nosuch"),
    ],
)
def test_mistakes_in_a_command(tmp_path, typed, message):
    write_folder(tmp_path / "my_midis", 1)
    done = run_command(tmp_path, "train", "my_midis", *QUICK, "-m", "search=optuna", *typed)
    assert done.code == 2, done
    assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.slow
def test_a_search_that_is_killed_loses_no_finished_trial(tmp_path):
    write_folder(tmp_path / "my_midis")
    typed = ("train", "my_midis", *QUICK, "-m", "search=optuna", "study=rates", SPACE, "search.n_trials=4")
    program = [sys.executable, "-m", "midifactory.cli.main", *typed]
    folder = tmp_path / "outputs" / "sweeps" / "rates"
    process = subprocess.Popen(program, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        # In the middle of the second or third training.
        if (folder / "1" / ".hydra").is_dir() and states(folder)[1:] == ["RUNNING"]:
            break
        time.sleep(0.05)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = trials(folder)
    assert [trial.state.name for trial in before] == ["COMPLETE", "RUNNING"]
    subprocess.run(program, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    after = trials(folder)
    assert after[0] == before[0]
    assert [trial.state.name for trial in after] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert after[2].params == after[1].params == before[1].params
    assert len(read_sweep(folder).finished) == 4
