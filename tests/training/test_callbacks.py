"""A run that stops and goes on is the run that never stopped, bit by bit."""

import functools
import os
import signal

import pytest
from lightning.pytorch.callbacks import Callback

from midifactory.errors import Interrupted
from midifactory.training.averaging import AveragedWeights
from midifactory.training.checkpoint import load_trained
from midifactory.training.checkpoint_folder import read_checkpoint, write_checkpoint
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
    assert saved == [*range(1, batches + 1), batches]
