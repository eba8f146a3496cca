"""The average is the recurrence's, validation sees it, and checkpoints are loaded with it."""

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from midifactory.errors import Interrupted, UserError
from midifactory.evaluation.likelihood import piece_nats
from midifactory.training.averaging import AveragedWeights
from midifactory.training.checkpoint import load_trained
from midifactory.training.checkpoint_folder import read_checkpoint


class Watch(Callback):
    """Keeps the weights after every step, and those that validation saw."""

    def __init__(self, interrupt=False):
        self.steps, self.validated, self.interrupt = [], [], interrupt

    def on_train_batch_end(self, trainer, module, *_):
        self.steps.append({name: value.clone() for name, value in module.model.state_dict().items()})

    def on_validation_batch_end(self, trainer, module, *_):
        self.validated.append({name: value.clone() for name, value in module.model.state_dict().items()})
        if self.interrupt:
            trainer.callbacks[-1]._signal = 2


def averages(steps, decay):
    """By the definition, in double precision."""
    mean = {name: value.double() for name, value in steps[0].items()}
    for count, weights in enumerate(steps[1:], start=1):
        stays = min(decay, (1 + count) / (10 + count))
        mean = {name: stays * mean[name] + (1 - stays) * weights[name].double() for name in mean}
    return mean


def close(one, other):
    return one.keys() == other.keys() and all(torch.allclose(one[k].double(), other[k].double()) for k in one)


@pytest.fixture
def watched(new_run):
    watch = Watch()
    run = new_run(epochs=3, callbacks=[watch], last_callbacks=[AveragedWeights(0.8)]).fit()
    return run, watch


def test_the_checkpoints_model_is_the_average(watched):
    run, watch = watched
    loaded = load_trained(run.last).model.state_dict()
    assert close(loaded, averages(watch.steps, 0.8))
    assert not close(loaded, watch.steps[-1])
    checkpoint = read_checkpoint(run.last)
    own = {name.removeprefix("model."): value for name, value in checkpoint["current_model_state"].items()}
    assert close(own, watch.steps[-1])


@torch.no_grad()
def test_validation_is_of_the_average_and_training_goes_on_without_it(watched):
    run, watch = watched
    batches = len(run.train)
    for epoch in range(3):
        seen = watch.validated[epoch * len(run.validation)]
        assert close(seen, averages(watch.steps[: (epoch + 1) * batches], 0.8))
    model = load_trained(run.last).model
    nats = sum(piece_nats(model, ids, 255) for ids, *_ in run.validation.dataset)
    tokens = sum(len(ids) - 1 for ids, *_ in run.validation.dataset)
    assert run.trainer.callback_metrics["val/loss"].item() == pytest.approx(nats / tokens, rel=1e-4)


def test_the_best_checkpoint_holds_the_average_that_was_best(new_run, tmp_path):
    best = ModelCheckpoint(tmp_path, filename="best", monitor="val/nats_per_note")
    watch = Watch()
    run = new_run(epochs=2, callbacks=[watch, best], last_callbacks=[AveragedWeights(0.8)]).fit()
    step = read_checkpoint(best.best_model_path)["global_step"]
    assert step in (len(run.train), 2 * len(run.train))
    assert close(load_trained(best.best_model_path).model.state_dict(), averages(watch.steps[:step], 0.8))


def test_a_stop_during_validation_saves_the_average_as_the_model(new_run):
    watch = Watch(interrupt=True)
    run = new_run(callbacks=[watch], last_callbacks=[AveragedWeights(0.8)])
    with pytest.raises(Interrupted):
        run.fit()
    assert close(load_trained(run.last).model.state_dict(), averages(watch.steps, 0.8))


@pytest.mark.parametrize("decay", [0, 1, -0.5, "slow", None])
def test_a_decay_that_cannot_be(decay):
    with pytest.raises(UserError, match=rf"ema\.decay={decay}.*0\.999"):
        AveragedWeights(decay)
