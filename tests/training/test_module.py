"""Learning, repeatability, and the figures that are logged."""

import functools

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from midifactory.evaluation.likelihood import piece_nats
from midifactory.training.loss import TrainingLoss
from midifactory.training.optimizers import Muon
from midifactory.training.schedules import constant


class Losses(Callback):
    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, module, outputs, *_):
        self.values.append(outputs["loss"].item())


@pytest.mark.parametrize(
    ("target", "lr", "steps"),
    [
        ("transformer.Transformer", 0.01, 200),
        pytest.param("recurrent.Recurrent", 0.03, 400, marks=pytest.mark.slow),
    ],
)
def test_a_tiny_model_learns_one_batch_by_heart(new_run, target, lr, steps):
    """With the padding and shift of the real batches: its loss falls to a tenth."""
    losses = Losses()
    model = {"_target_": f"midifactory.models.{target}", "d_model": 64, "layers": 1}
    run = new_run(
        model=model,
        dropout=0.0,
        callbacks=[losses],
        epochs=steps,
        optimizer=functools.partial(torch.optim.AdamW, lr=lr),
        batch_size=2,
        overfit_batches=1,
        limit_val_batches=0,
    )
    run.train.plan.shuffle = False
    run.fit()
    assert len(losses.values) == steps
    assert losses.values[0] > 4
    assert losses.values[-1] < losses.values[0] / 10


def test_the_same_seed_gives_the_same_bits(new_run, same_weights):
    """Dropout included, and whatever was drawn from torch before."""
    first = new_run("a", epochs=2).fit()
    torch.rand(17)
    assert same_weights(first, new_run("b", epochs=2).fit())
    assert not same_weights(first, new_run("c", epochs=2, dropout=0.3).fit())


def test_validation_figures_are_sums_over_all_segments(new_run, store):
    """Nats per token and per note of the segments, one by one without padding, divided once."""
    run = new_run(epochs=1).fit()
    model = run.module.model.eval()
    nats = tokens = notes = 0.0
    for ids, count, *_ in run.validation.dataset:
        nats += piece_nats(model, ids, 255)
        tokens += len(ids) - 1
        notes += count
    assert run.trainer.callback_metrics["val/loss"].item() == pytest.approx(nats / tokens, rel=1e-4)
    assert run.trainer.callback_metrics["val/nats_per_note"].item() == pytest.approx(nats / notes, rel=1e-4)


def test_whatever_is_minimised_plain_nats_are_logged(new_run, tokenizer):
    """The first step's figures of two runs that differ in their loss alone."""

    class First(Callback):
        def on_train_batch_end(self, trainer, module, outputs, *_):
            if trainer.global_step == 1:
                self.minimised = outputs["loss"].item()
                self.logged = trainer.callback_metrics["train/loss"].item()

    plain, regularised = First(), First()
    new_run("a", epochs=1, callbacks=[plain]).fit()
    loss = TrainingLoss(torch.ones(tokenizer.vocab_size), z_loss=0.01, label_smoothing=0.1)
    run = new_run("b", epochs=1, callbacks=[regularised], loss=loss).fit()
    assert regularised.logged == pytest.approx(plain.logged, rel=1e-5)
    assert plain.minimised == pytest.approx(plain.logged, rel=1e-5)
    assert regularised.minimised > plain.minimised + 0.1
    assert run.trainer.callback_metrics["val/loss"].item() < 10


def test_muon_learns_and_the_rate_follows_the_schedule(new_run):
    losses = Losses()
    optimizer = functools.partial(Muon, lr=0.01, fused=True)
    schedule = functools.partial(constant, warmup_steps=2)
    run = new_run(epochs=12, dropout=0.0, callbacks=[losses], optimizer=optimizer, schedule=schedule).fit()
    assert losses.values[-1] < losses.values[0] - 1
    assert [group["lr"] for group in run.trainer.optimizers[0].param_groups] == [0.01] * 3
