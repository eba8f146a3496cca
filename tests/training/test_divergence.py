"""Numbers that are not finite stop a run, or set it back, before any of them reaches a weight."""

import functools

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from midifactory.errors import Diverged, UserError
from midifactory.training.averaging import AveragedWeights
from midifactory.training.checkpoint_folder import read_checkpoint
from midifactory.training.divergence import Divergence
from midifactory.training.monitor import Monitor

NAN, INF = float("nan"), float("inf")


class Inject(Callback):
    """From batch number `at` of the run on, `times` times, a loss or one gradient becomes `value`."""

    def __init__(self, at, value, where, times=1):
        self.at, self.value, self.where, self.times = at, value, where, times
        self.seen, self.rates, self.weights = 0, [], []

    def on_train_batch_start(self, trainer, module, *_):
        self.seen += 1
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.weights.append({name: value.detach().clone() for name, value in module.named_parameters()})

    def due(self):
        return self.at <= self.seen < self.at + self.times

    def on_before_backward(self, trainer, module, loss):
        if self.due() and self.where == "loss":
            loss.data.fill_(self.value)

    def on_after_backward(self, trainer, module):
        if self.due() and self.where == "gradient":
            next(iter(module.parameters())).grad.view(-1)[0] = self.value


def finite(weights):
    return all(torch.isfinite(value).all() for value in weights.values())


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def start(new_run, tmp_path):
    def make(inject, action="stop", name="run", **settings):
        watch = Divergence(tmp_path / name / "checkpoints", action)
        return new_run(name, callbacks=[inject, watch], **settings), watch

    return make


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_run_stops_within_the_step_and_before_any_weight_changes(start, where, value, accumulate):
    inject = Inject(3, value, where)
    run, _ = start(inject, accumulate_grad_batches=accumulate, gradient_clip_val=1.0, batch_size=4)
    with pytest.raises(Diverged, match=rf"^step {2 // accumulate}: the .* is (nan|inf|-inf); .*optimizer\.lr$"):
        run.fit()  # nothing is saved yet that one could go on from
    assert inject.seen == 2 + accumulate
    assert same(dict(run.module.named_parameters()), inject.weights[2])


def test_a_stop_names_the_run_to_go_on_with(start):
    run, _ = start(Inject(6, NAN, "loss"), epochs=6)
    with pytest.raises(Diverged, match=r"optimizer\.lr, or .*resume=\S+run on_divergence=rollback$"):
        run.fit()
    assert run.last.exists()


def test_a_validation_that_is_not_finite_is_no_end_like_another(start):
    class Overflow(Callback):
        def on_validation_batch_end(self, trainer, module, *_):
            module._validation[0] = INF

    run, _ = start(Overflow(), action="rollback")
    with pytest.raises(Diverged, match=r"^step \d+: val/loss is inf, though all weights are finite; .*optimizer\.lr"):
        run.fit()


def test_a_finite_run_is_the_run_without_the_watch(start, new_run, same_weights):
    run, _ = start(Inject(0, NAN, "loss", times=0))
    assert same_weights(run.fit(), new_run("plain").fit())


@pytest.mark.parametrize("averaged", [False, True])
def test_a_rollback_is_the_last_good_checkpoint_at_half_the_rate(start, averaged):
    inject = Inject(6, NAN, "loss")
    run, watch = start(
        inject,
        "rollback",
        epochs=3,
        schedule=lambda steps: lambda step: 1.0,
        last_callbacks=[AveragedWeights(0.9)] if averaged else (),
    )
    kept = {}

    class Copy(Callback):
        def on_train_batch_start(self, trainer, module, *_):
            if inject.seen == 6:
                kept["good"] = read_checkpoint(run.last)

    run.trainer.callbacks.insert(1, Copy())
    run.fit()
    good = kept["good"]
    weights = good["current_model_state"] if averaged else good["state_dict"]
    assert good["global_step"] == 5 // len(run.train) * len(run.train)  # of the last epoch's end, or the beginning
    assert same(inject.weights[6], {name: weights[name] for name in inject.weights[6]})
    assert not same(inject.weights[6], inject.weights[5])
    assert set(inject.rates[:6]) == {0.01}
    assert set(inject.rates[6:]) == {0.005}
    assert watch.rollbacks == 1
    assert not same(inject.weights[7], inject.weights[6])  # and it learns on
    assert finite(run.weights)
    last = read_checkpoint(run.last)
    assert last["lr_schedulers"][0]["base_lrs"] == [0.005] * len(last["lr_schedulers"][0]["base_lrs"])


def test_a_rollback_in_a_step_that_is_logged(start):
    """Such a step has no gradient whose norm could be shown."""
    run, watch = start(Inject(2, NAN, "loss"), "rollback", epochs=1, last_callbacks=[Monitor()], log_every_n_steps=1)
    run.fit()
    assert watch.rollbacks == 1


def test_without_a_checkpoint_it_goes_back_to_the_beginning(start):
    inject = Inject(2, INF, "gradient", times=2)
    run, watch = start(inject, "rollback", epochs=1, batch_size=4)
    assert len(run.train) >= 4
    run.fit()
    assert same(inject.weights[2], inject.weights[0])
    assert same(inject.weights[3], inject.weights[0])
    assert watch.rollbacks == 2


def test_five_rollbacks_are_enough(start):
    inject = Inject(2, NAN, "gradient", times=99)
    run, watch = start(inject, "rollback")
    with pytest.raises(Diverged, match=r"after 5 rollbacks; .*lower optimizer\.lr"):
        run.fit()
    assert (inject.seen, watch.rollbacks) == (7, 5)
    assert finite(run.weights)


def test_a_resumed_run_keeps_its_lower_rate(start):
    first, _ = start(Inject(2, NAN, "loss"), "rollback", "first", epochs=1, schedule=lambda steps: lambda step: 1.0)
    first.fit()
    inject = Inject(0, NAN, "loss", times=0)
    second, watch = start(inject, "rollback", "first", epochs=2, schedule=lambda steps: lambda step: 1.0)
    second.fit(resume=first.last)
    assert set(inject.rates) == {0.005}
    assert watch.rollbacks == 1


def test_weights_that_are_not_finite_are_never_saved(new_run):
    run = new_run(epochs=1).fit()
    before = read_checkpoint(run.last)["state_dict"]
    next(iter(run.module.parameters())).data.view(-1)[0] = NAN
    with pytest.raises(Diverged, match=r"1 weights are not finite, such as .*nothing was saved"):
        run.trainer.save_checkpoint(run.last)
    assert same(read_checkpoint(run.last)["state_dict"], before)


def test_a_rate_that_is_too_high_stops_and_no_checkpoint_is_spoilt(start):
    run, _ = start(Inject(0, NAN, "loss", times=0), optimizer=functools.partial(torch.optim.SGD, lr=1e30))
    with pytest.raises(Diverged):
        run.fit()
    if run.last.exists():
        assert finite(read_checkpoint(run.last)["state_dict"])


def test_an_unknown_action_is_told(tmp_path):
    with pytest.raises(UserError, match="on_divergence=ignore: choose stop or rollback"):
        Divergence(tmp_path, "ignore")
