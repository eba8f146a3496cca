"""A run that stops and goes on is the run that never stopped, bit by bit."""

import csv
import functools
import multiprocessing
import os
import signal

import pytest
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger

from midifactory.cli.train import cluster
from midifactory.errors import Interrupted
from midifactory.training.averaging import AveragedWeights
from midifactory.training.callbacks import KeepBest, StopEarly
from midifactory.training.checkpoint import load_trained
from midifactory.training.checkpoint_folder import read_card, read_checkpoint, write_checkpoint
from midifactory.training.optimizers import Muon


class Kill(Callback):
    """Sends this process a signal before batch number `at` of the whole run, or in a validation."""

    def __init__(self, at=None, number=signal.SIGINT, validation=None, times=1):
        self.at, self.number, self.validation, self.times = at, number, validation, times
        self.seen = self.validated = 0

    def _kill(self):
        for _ in range(self.times):
            os.kill(os.getpid(), self.number)

    def on_train_batch_start(self, *_):
        self.seen += 1
        if self.seen == self.at:
            self._kill()

    def on_validation_batch_start(self, *_):
        self.validated += 1
        if self.validated == self.validation:
            self._kill()


@pytest.fixture(params=["adamw", "muon, averaged"])
def start(request, new_run):
    """Makes a run; every second time with state beside the weights and AdamW's."""

    def make(name, callbacks=()):
        if request.param == "adamw":
            return new_run(name, callbacks=callbacks)
        optimizer = functools.partial(Muon, lr=0.01, fused=True)
        # Last in the list, as where a config adds it to the default ones.
        return new_run(name, callbacks=callbacks, last_callbacks=[AveragedWeights(0.9)], optimizer=optimizer)

    return make


@pytest.fixture
def straight(start):
    run = start("straight").fit()
    assert run.trainer.global_step == 4 * len(run.train)
    return run


def test_two_epochs_and_two_more_are_four(start, straight, same_weights):
    first = start("first")
    batches = len(first.train)
    first = start("first", callbacks=[Kill(2 * batches + 1)])
    # Stopped in the first step of the third epoch; what the end of the second left is what is resumed.
    kept = {}

    class Copy(Callback):
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 2:
                kept["last"] = read_checkpoint(first.last)

    first.trainer.callbacks.insert(0, Copy())
    with pytest.raises(Interrupted):
        first.fit()
    write_checkpoint(kept["last"], first.last.parent / "epoch.ckpt")
    second = start("second").fit(resume=first.last.parent / "epoch.ckpt")
    assert second.trainer.global_step == straight.trainer.global_step
    assert same_weights(second, straight)


@pytest.mark.parametrize("position", ["first", "middle", "last"])
def test_a_run_interrupted_in_an_epoch_goes_on_as_if_undisturbed(start, straight, same_weights, position):
    batches = len(straight.train)
    assert batches >= 3
    at = batches + {"first": 1, "middle": batches // 2 + 1, "last": batches}[position]
    stopped = start("stopped", callbacks=[Kill(at)])
    with pytest.raises(Interrupted, match=f"step {at}.*last.ckpt.*resume=") as error:
        stopped.fit()
    assert error.value.exit_code == 130
    resumed = start("resumed").fit(resume=stopped.last)
    assert resumed.trainer.global_step == straight.trainer.global_step
    assert same_weights(resumed, straight)


def test_a_run_interrupted_twice_goes_on_as_if_undisturbed(start, straight, same_weights):
    batches = len(straight.train)
    stopped = start("stopped", callbacks=[Kill(2)])
    with pytest.raises(Interrupted):
        stopped.fit()
    again = start("again", callbacks=[Kill(batches, signal.SIGTERM)])
    with pytest.raises(Interrupted) as error:
        again.fit(resume=stopped.last)
    assert error.value.exit_code == 143
    resumed = start("resumed").fit(resume=again.last)
    assert same_weights(resumed, straight)


def test_a_run_interrupted_in_validation_goes_on_as_if_undisturbed(start, straight, same_weights):
    stopped = start("stopped", callbacks=[Kill(validation=len(straight.validation) + 2)])
    with pytest.raises(Interrupted):
        stopped.fit()
    resumed = start("resumed").fit(resume=stopped.last)
    assert resumed.trainer.global_step == straight.trainer.global_step
    assert same_weights(resumed, straight)


class Losses(Callback):
    """The loss of each batch; after batch number `ends` of the run, the end, as of a kill: nothing is saved."""

    def __init__(self, ends=None):
        self.values, self.ends = [], ends

    def on_train_batch_end(self, trainer, module, outputs, *_):
        self.values.append(outputs["loss"].item())
        if len(self.values) == self.ends:
            raise KilledNow


class KilledNow(Exception):
    pass


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_run_that_ends_while_it_accumulates_goes_on_as_if_undisturbed(new_run, same_weights, how, workers):
    """Batches of two: the gradients of the first of a pair are in the checkpoint."""
    settings = {"accumulate_grad_batches": 2, "workers": workers, "batch_size": 4, "epochs": 2}
    losses = Losses()
    whole = new_run("whole", callbacks=[losses], **settings).fit()
    batches = len(whole.train)
    at = batches + 3  # its checkpoint is of the first of a pair
    callbacks = [Losses(ends=at + 1)] if how == "killed" else [Kill(at)]
    ended = new_run("ended", callbacks=callbacks, **settings)
    ended.trainer.callbacks[-1]._interval_seconds = -1.0 if how == "killed" else 1e9  # saves after each batch, or never
    with pytest.raises(KilledNow if how == "killed" else Interrupted):
        ended.fit()
    assert "gradients" in read_checkpoint(ended.last)
    rest = Losses()
    resumed = new_run("resumed", callbacks=[rest], **settings).fit(resume=ended.last)
    assert rest.values == losses.values[at:]
    assert resumed.trainer.global_step == whole.trainer.global_step
    assert same_weights(resumed, whole)


class KillIn(Callback):
    """Sends this process SIGTERM when that hook is called for the `at`-th time."""

    def __init__(self, hook, at):
        self.calls, self.at = 0, at
        setattr(self, hook, self._count)

    def _count(self, *_):
        self.calls += 1
        if self.calls == self.at:
            os.kill(os.getpid(), signal.SIGTERM)


class EpochEnds(Callback):
    def __init__(self):
        self.steps = []

    def on_train_epoch_end(self, trainer, module):
        self.steps.append(trainer.global_step)


@pytest.fixture
def logged_run(new_run, tmp_path):
    """Makes a run that logs each step, and reads what a run has logged: (step, name, value as text) in its order."""

    def make(name, callbacks=(), every=1.0, accumulate=1):
        logger = CSVLogger(tmp_path / name, name="csv", version="")
        settings = {"batch_size": 4, "val_check_interval": every, "accumulate_grad_batches": accumulate, "epochs": 2}
        return new_run(name, callbacks=callbacks, logger=logger, log_every_n_steps=1, **settings)

    def read(name):
        with (tmp_path / name / "csv" / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        names = sorted(key for key in rows[0] if key.endswith(("loss", "per_note")))
        return [(int(row["step"]), name, row[name]) for row in rows for name in names if row[name]]

    make.read = read
    return make


@pytest.mark.parametrize("every", [1.0, 2])
@pytest.mark.parametrize(
    ("hook", "at"),
    [
        ("on_train_start", 1),
        ("on_train_batch_start", 2),
        ("on_train_batch_start", 3),
        ("on_train_batch_start", 6),
        ("on_train_batch_start", 12),
        ("on_train_batch_end", 6),
        ("on_validation_batch_start", 1),
        ("on_validation_batch_start", 3),
        ("on_validation_end", 1),
        ("on_train_epoch_end", 1),
        ("on_train_epoch_end", 2),
        ("on_train_end", 1),
    ],
)
def test_a_stop_at_any_place_loses_nothing_and_says_nothing_twice(logged_run, same_weights, hook, at, every):
    """Losses of every step and validation, and what happens at an epoch's end: those of both parts are the whole's."""
    ends = [EpochEnds() for _ in range(3)]
    whole = logged_run("whole", callbacks=[ends[0]], every=every).fit()
    assert (len(whole.train), len(whole.validation)) == (6, 3)
    stopped = logged_run("stopped", callbacks=[ends[1], KillIn(hook, at)], every=every)
    with pytest.raises(Interrupted) as error:
        stopped.fit()
    assert error.value.exit_code == 143
    rest = logged_run("rest", callbacks=[ends[2]], every=every).fit(resume=stopped.last)
    assert same_weights(rest, whole)
    assert ends[1].steps + ends[2].steps == ends[0].steps == [6, 12]
    finished = stopped.trainer.global_step == 12 and not hook.startswith(("on_train_batch", "on_validation"))
    logged = logged_run.read("stopped") + ([] if finished else logged_run.read("rest"))
    assert sorted(logged) == sorted(logged_run.read("whole"))


def test_a_run_that_stopped_early_stays_so(new_run, same_weights):
    def start(name, patience=1):
        watch = StopEarly("val/loss", patience=patience, mode="max")  # the loss falls: no validation is better
        return new_run(name, callbacks=[watch], epochs=6)

    first = start("first").fit()
    assert first.trainer.current_epoch == 2
    again = start("again").fit(resume=first.last)
    assert again.trainer.global_step == first.trainer.global_step
    assert same_weights(again, first)
    assert start("patient", 3).fit(resume=first.last).trainer.current_epoch == 4


def test_a_signal_to_all_processes_of_a_terminal_does_not_end_the_loaders_workers(new_run, same_weights):
    others = set(multiprocessing.active_children())  # of earlier tests

    class KillWorkers(Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            if batch_idx == 0:
                workers = set(multiprocessing.active_children()) - others
                assert len(workers) == 2
                for worker in workers:
                    os.kill(worker.pid, signal.SIGINT)
                    os.kill(worker.pid, signal.SIGTERM)

    whole = new_run("whole", epochs=1, batch_size=2, workers=2).fit()
    assert same_weights(new_run("hit", epochs=1, batch_size=2, workers=2, callbacks=[KillWorkers()]).fit(), whole)


@pytest.mark.parametrize("metric", ["val/loss", "val/nats_per_note"])
def test_the_best_ones_are_kept_and_the_best_has_the_plain_name(new_run, metric):
    figures = iter([3.0, 1.0, 4.0, 2.0])

    class Figures(Callback):
        def on_validation_epoch_end(self, trainer, module):
            module.log(metric, next(figures))

    run = new_run(epochs=4)
    folder = run.last.parent
    best = KeepBest(folder, monitor=metric, mode="min", save_top_k=2)
    run.module.on_validation_epoch_end = lambda: None
    run.trainer.callbacks[:0] = [Figures()]
    run.trainer.callbacks.append(best)
    run.fit()
    epoch = len(run.train)
    assert {path.name for path in folder.iterdir()} == {
        "last.ckpt",
        "best.ckpt",
        f"best-{2 * epoch}.ckpt",
        f"best-{4 * epoch}.ckpt",
    }
    assert read_checkpoint(folder / "best.ckpt")["global_step"] == 2 * epoch
    load_trained(best.best_model_path)


@pytest.mark.parametrize("every", [1.0, 2])
def test_the_best_one_is_gone_on_from_as_well_as_the_last(new_run, same_weights, tmp_path, every):
    """Saved at an epoch's end, or by a validation within it."""
    whole = new_run("whole", val_check_interval=every, batch_size=4).fit()
    best = KeepBest(tmp_path / "best", monitor="val/loss", mode="min", save_top_k=-1)
    new_run("watched", callbacks=[best], val_check_interval=every, batch_size=4).fit()
    numbered = sorted((tmp_path / "best").glob("best-*.ckpt"), key=lambda path: read_card(path)["step"])
    middle = numbered[len(numbered) // 2]
    assert 0 < read_card(middle)["step"] < whole.trainer.global_step
    resumed = new_run("resumed", val_check_interval=every, batch_size=4).fit(resume=middle)
    assert resumed.trainer.global_step == whole.trainer.global_step
    assert same_weights(resumed, whole)


def test_one_best_one_is_replaced(new_run, tmp_path):
    best = KeepBest(tmp_path / "best", monitor="val/loss", mode="max")
    run = new_run(epochs=2, callbacks=[best])
    figures = iter([1.0, 2.0])
    run.module.on_validation_epoch_end = lambda: run.module.log("val/loss", next(figures))
    run.fit()
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["best.ckpt"]
    assert read_checkpoint(tmp_path / "best" / "best.ckpt")["global_step"] == 2 * len(run.train)


def test_within_slurm_a_sigterm_saves_and_stops_too(new_run, monkeypatch):
    for name, value in {"JOB_ID": "7", "NTASKS": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.delenv("SLURM_JOB_NAME", raising=False)
    handlers = []

    class Look(Callback):
        def on_train_batch_end(self, *_):
            handlers.append(signal.getsignal(signal.SIGUSR1))

    before = signal.getsignal(signal.SIGUSR1)
    run = new_run(callbacks=[Kill(3, signal.SIGTERM), Look()], plugins=cluster())
    with pytest.raises(Interrupted) as error:
        run.fit()
    assert error.value.exit_code == 143
    assert read_checkpoint(run.last)["global_step"] == 3
    assert set(handlers) == {before}  # Lightning's, which saves within a step and queues the job again, is off


def test_a_second_ctrl_c_stops_at_once_and_unsaved(new_run):
    run = new_run(callbacks=[Kill(2, times=2)])
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run.fit()
    assert not run.last.exists()


def test_signals_are_given_back(new_run):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    new_run(epochs=1).fit()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    with pytest.raises(Interrupted):
        new_run("stopped", callbacks=[Kill(1)]).fit()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_what_an_interrupted_run_saved_can_be_used(new_run):
    run = new_run(callbacks=[Kill(3)])
    with pytest.raises(Interrupted):
        run.fit()
    weights = load_trained(run.last).model.state_dict()
    assert all((weights[name.removeprefix("model.")] == value).all() for name, value in run.weights.items())


def test_last_is_saved_as_often_as_asked(new_run):
    run = new_run(epochs=1)
    keep = run.trainer.callbacks[-1]
    keep._interval_seconds, saved = 0.0, []
    keep._save = lambda trainer: saved.append(trainer.global_step)
    run.fit()
    batches = len(run.train)
    assert saved == [*range(1, batches), batches]  # the last step's with the epoch's end
