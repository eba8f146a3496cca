"""What is logged beside the losses, against figures taken another way."""

import csv
import math
import subprocess
from collections import defaultdict

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger

from midifactory.data.batches import IGNORED, SegmentDataset
from midifactory.models.lora import add_lora
from midifactory.models.transformer import Transformer
from midifactory.training import monitor as monitor_module
from midifactory.training.checkpoint import build_model
from midifactory.training.monitor import PHASES, Monitor, TokenTypes, flops_per_token, git_commit

EVERY = 3  # steps between two logged ones


def rows_of(folder, column):
    """step -> value of what a CSVLogger wrote."""
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return {int(row["step"]): float(row[column]) for row in csv.DictReader(file) if row[column]}


class Witness(Callback):
    """Learning rates and gradients of all steps, and the batches, as a loop over plain numbers finds them."""

    def __init__(self):
        self.rates, self.norms, self.padding, self.real, self.cells = [], [], [], 0, 0

    def on_train_batch_start(self, trainer, module, batch, *_):
        for row in batch["labels"].tolist():
            self.real += sum(label != IGNORED for label in row)
            self.cells += len(row)

    def on_before_optimizer_step(self, trainer, module, optimizer):
        self.rates.append(optimizer.param_groups[0]["lr"])
        squares = [float(p.grad.double().square().sum()) for p in module.parameters() if p.grad is not None]
        self.norms.append(math.sqrt(sum(squares)))
        if len(self.rates) % EVERY == 0:
            self.padding.append(1 - self.real / self.cells)
            self.real = self.cells = 0


@pytest.fixture
def logged(new_run, tmp_path):
    """A run with clipping and accumulation, its witness, and a function that reads a column of its log."""
    witness, monitor = Witness(), Monitor()
    run = new_run(
        callbacks=[monitor, TokenTypes(), witness], epochs=4, batch_size=2, gradient_clip_val=0.01,
        accumulate_grad_batches=2, log_every_n_steps=EVERY,
    )  # fmt: skip
    run.trainer.loggers = [CSVLogger(tmp_path, name="log", version="")]
    run.fit()
    return run, monitor, witness, lambda column: rows_of(tmp_path / "log", column)


def test_steps_are_logged_as_a_witness_saw_them(logged):
    run, monitor, witness, column = logged
    steps = range(EVERY - 1, len(witness.rates), EVERY)
    assert len(steps) >= 2
    expected = {
        "learning_rate": [witness.rates[step] for step in steps],
        "gradient_norm": [witness.norms[step] for step in steps],
        "padding_share": witness.padding,
    }
    for name, values in expected.items():
        found = column(f"train/{name}")
        assert list(found) == list(steps), name
        assert list(found.values()) == pytest.approx(values, rel=1e-5), name
    assert min(witness.norms) > 0.01  # so clipping would have shown
    assert max(witness.padding) > 0
    for step in steps:
        assert sum(column(f"train/share_{phase}")[step] for phase in PHASES) == pytest.approx(1, rel=1e-5)
        assert 0 < column("train/mfu")[step] < 1
        assert column("train/memory_gib")[step] > 0.05  # torch alone takes that
    assert monitor.tokens_per_s > 0
    assert monitor.line().startswith(f"{monitor.tokens_per_s:,.0f} tokens/s; of ")
    _types_are_those_of_a_loop(run)


@torch.no_grad()
def _types_are_those_of_a_loop(run):
    """Of the last validation, which saw the last weights."""
    nats, hits, model = defaultdict(list), defaultdict(list), run.module.model.eval()
    tokenizer = run.tokenizer
    for batch in run.validation:
        scores = model(batch["inputs"]).logits.double().log_softmax(-1)
        for row, labels in enumerate(batch["labels"].tolist()):
            for t, label in enumerate(labels):
                if label != IGNORED:
                    nats[tokenizer.types[label]].append(-float(scores[row, t, label]))
                    hits[tokenizer.types[label]].append(int(scores[row, t].argmax()) == label)
    found = run.trainer.callback_metrics
    assert {name.removeprefix("val/nats_") for name in found if name.startswith("val/nats_")} == {*nats, "per_note"}
    assert len(nats) > 3
    for name, values in nats.items():
        assert float(found[f"val/nats_{name}"]) == pytest.approx(sum(values) / len(values), rel=1e-4)
        assert float(found[f"val/accuracy_{name}"]) == pytest.approx(sum(hits[name]) / len(hits[name]), abs=1e-6)


def test_time_goes_to_the_phase_that_takes_it(new_run, monkeypatch, same_weights):
    """On a clock that only what is patched here moves; and nothing that is watched changes a bit."""
    plain = new_run("b", epochs=2).fit()
    clock, monitor = {"now": 0.0}, Monitor()
    monkeypatch.setattr(monitor_module, "_now", lambda device: clock["now"])
    run = new_run("a", callbacks=[monitor, TokenTypes()], epochs=2)

    def takes(owner, name, seconds):
        original = getattr(owner, name)

        def slower(*arguments, **keywords):
            clock["now"] += seconds
            return original(*arguments, **keywords)

        monkeypatch.setattr(owner, name, slower)

    takes(run.module, "training_step", 3)
    takes(run.module, "backward", 7)
    takes(run.module, "configure_gradient_clipping", 5)
    takes(run.module, "on_validation_epoch_end", 1000)
    takes(SegmentDataset, "__getitem__", 1)
    run.fit()
    steps, rows = run.trainer.global_step, 2 * len(run.train.dataset)
    assert {phase: monitor.seconds[phase] for phase in PHASES} == {
        "data": rows, "forward": 3 * steps, "backward": 7 * steps, "optimizer": 5 * steps,
    }  # fmt: skip
    assert same_weights(run, plain)


def test_flops_by_the_formula(tokenizer):
    """PaLM's, counted by hand; a mixture costs what its chosen experts do, and a frozen weight four, not six."""
    model = Transformer(100, d_model=16, heads=2, layers=3, d_ff=64)
    assert flops_per_token(model, 50) == 6 * model.parameters_count + 12 * 3 * 16 * 50
    mixture = Transformer(100, d_model=16, heads=2, layers=3, d_ff=64, experts=4, experts_per_token=1)
    routers = 3 * 4 * 16
    assert flops_per_token(mixture, 50) == pytest.approx(flops_per_token(model, 50) + 6 * routers)
    gru = build_model({"_target_": "midifactory.models.recurrent.Recurrent", "d_model": 16, "layers": 2}, tokenizer)
    assert flops_per_token(gru, 50) == flops_per_token(gru, 500) == 6 * gru.parameters_count
    before = model.parameters_count
    add_lora(model, rank=2, alpha=4)
    added = model.parameters_count - before
    assert flops_per_token(model, 0) == 4 * before + 6 * added


def test_the_commit_is_that_of_the_working_folder(tmp_path, monkeypatch):
    def git(*words):
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit() is None
    git("init")
    (tmp_path / "a.txt").write_text("1")
    git("add", "a.txt")
    git("commit", "-m", "one")
    git("tag", "v1")
    assert git_commit() == git("rev-parse", "HEAD")
    (tmp_path / "a.txt").write_text("2")
    assert git_commit() == git("rev-parse", "HEAD") + "-dirty"
    monkeypatch.setenv("PATH", "")
    assert git_commit() is None
