"""Schedule, learning, repeatability, and the figures that are logged."""

import math

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from midifactory.evaluation.likelihood import piece_nats
from midifactory.training.module import warmup_cosine


def test_the_rate_rises_in_line_falls_as_a_cosine_and_ends_at_its_share():
    share = warmup_cosine(warmup_steps=10, total_steps=110, final_share=0.1)
    assert [share(step) for step in range(10)] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert share(10) == pytest.approx(1.0)
    assert share(60) == pytest.approx(0.55)  # half of the way, half of the fall
    assert share(35) == pytest.approx(0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2)
    assert share(110) == pytest.approx(0.1)
    assert share(500) == pytest.approx(0.1)
    falling = [share(step) for step in range(10, 111)]
    assert falling == sorted(falling, reverse=True)


def test_a_short_run_warms_up_for_a_tenth():
    share = warmup_cosine(warmup_steps=100, total_steps=50, final_share=0.0)
    assert [share(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize("total", [0, 1, 2])
def test_runs_of_hardly_a_step_have_a_rate(total):
    assert 0 < warmup_cosine(100, total, 0.05)(0) <= 1


class Losses(Callback):
    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, module, outputs, *_):
        self.values.append(outputs["loss"].item())


@pytest.mark.parametrize(
    ("target", "lr", "steps"), [("transformer.Transformer", 0.01, 200), ("recurrent.Recurrent", 0.03, 400)]
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
        lr=lr,
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
    for ids, count in run.validation.dataset:
        nats += piece_nats(model, ids, 255)
        tokens += len(ids) - 1
        notes += count
    assert run.trainer.callback_metrics["val/loss"].item() == pytest.approx(nats / tokens, rel=1e-4)
    assert run.trainer.callback_metrics["val/nats_per_note"].item() == pytest.approx(nats / notes, rel=1e-4)


def test_vectors_do_not_decay(new_run):
    optimizer = new_run(epochs=1).fit().trainer.optimizers[0]
    decays = {
        parameter.dim(): group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]
    }
    assert decays[1] == 0
    assert decays[2] > 0
