"""Lower precision and torch.compile: what works here, and one line about what does not."""

import csv
import json
import math

import pytest
import torch

from cli.conftest import TINY, write_folder
from midifactory.training.checkpoint_folder import read_checkpoint

SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=3", "trainer.log_every_n_steps=1", "model.dropout=0")


@pytest.fixture
def desk(tmp_path):
    write_folder(tmp_path / "my_midis")
    return tmp_path


def losses(run):
    with (run / "csv" / "metrics.csv").open(encoding="utf-8") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def trained(here, desk, name, *overrides):
    done = here("train", "my_midis", *TINY, *SHORT, *overrides, f"hydra.run.dir={name}")
    assert done.code == 0, done
    return desk / name


def test_bfloat16_trains_nearly_as_float32_does(desk, here):
    exact = trained(here, desk, "exact")
    mixed = trained(here, desk, "mixed", "trainer.precision=bf16-mixed", "optimizer.fused=false")
    assert losses(mixed) == pytest.approx(losses(exact), rel=0.02)
    assert losses(mixed) != losses(exact)
    weights = read_checkpoint(mixed / "checkpoints" / "best.ckpt")["state_dict"]
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float32}
    assert math.isfinite(json.loads((mixed / "result.json").read_text())["test"]["nats_per_note"])


@pytest.mark.parametrize("precision", ["16-mixed", "16-true", "16"])
def test_float16_is_refused_on_a_cpu(desk, here, precision):
    done = here("train", "my_midis", *TINY, f"trainer.precision={precision}")
    assert done.code == 2
    assert f"trainer.precision={precision}" in done.message
    assert "bf16-mixed" in done.message
    assert len(done.message.splitlines()) == 1
    assert not (desk / "outputs" / "prepared").exists(), "told before any work"


@pytest.mark.slow
def test_a_compiled_training_is_the_same_training(desk, here):
    eager, compiled = trained(here, desk, "eager"), trained(here, desk, "compiled", "compile=true")
    assert losses(compiled) == pytest.approx(losses(eager), rel=1e-4)
    one, other = (read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"] for run in (eager, compiled))
    assert one.keys() == other.keys()
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_missing_compiler_is_told(desk, here, monkeypatch):
    from torch._inductor import config

    torch._dynamo.reset()  # what the test above has compiled would do
    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(config, "force_disable_caches", True)
    done = here("train", "my_midis", *TINY, *SHORT, "compile=true")
    assert done.code == 2
    assert done.message.splitlines()[-1].startswith("midifactory: compile=true: ")
    assert "install a C++ compiler" in done.message
