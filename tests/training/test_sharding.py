"""Fully sharded training, as far as it can be shown without a GPU.

torch lets one CPU process stand in for a device if it is named; what two GPUs exchange is not tested here.
"""

import pytest
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import Callback
from torch.distributed.fsdp import FullyShardedDataParallel

from midifactory.cli.train import build_trainer, check_device
from midifactory.errors import Interrupted, UserError
from midifactory.models.transformer import Block
from midifactory.paths import conf_dir
from midifactory.training.checkpoint_folder import WholeCheckpointIO, read_checkpoint
from midifactory.training.sharding import Sharded


@pytest.fixture
def composed(tmp_path):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield lambda *overrides, trainer="fsdp": compose(
            "train", [f"trainer={trainer}", f"run_dir={tmp_path}", "logger=csv", *overrides]
        )


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    for name in ("fabric.accelerators.cuda", "pytorch.accelerators.cuda"):
        monkeypatch.setattr(f"lightning.{name}.num_cuda_devices", lambda: 2, raising=False)


def test_the_config_makes_a_sharded_trainer_of_two_gpus(composed, two_gpus):
    trainer = build_trainer(composed("accelerator=gpu", "trainer.devices=2", "trainer.precision=bf16-mixed"))
    assert isinstance(trainer.strategy, Sharded)
    assert trainer.world_size == 2
    assert isinstance(trainer.strategy.checkpoint_io, WholeCheckpointIO)
    assert trainer.strategy.kwargs["auto_wrap_policy"]._module_classes == {Block}
    assert trainer.strategy.mixed_precision_config.param_dtype == torch.bfloat16


def test_what_cannot_be_sharded_is_told(composed, two_gpus):
    with pytest.raises(UserError, match="optimizer=muon needs whole matrices"):
        check_device(composed("accelerator=gpu", "optimizer=muon"))
    with pytest.raises(UserError, match="write trainer=fsdp"):
        check_device(composed("accelerator=gpu", "trainer.strategy=fsdp", trainer="default"))


class Stop(Callback):
    """Ends the run after batch number `at`, as a signal does."""

    def __init__(self, at):
        self.at, self.seen = at, 0

    def on_train_batch_end(self, trainer, *_):
        self.seen += 1
        if self.seen == self.at:
            trainer.callbacks[-1]._signal = 2


@pytest.fixture
def on_the_cpu(monkeypatch):
    original = FullyShardedDataParallel.__init__

    def init(self, *arguments, **keywords):
        original(self, *arguments, **keywords | {"device_id": torch.device("cpu")})

    monkeypatch.setattr(FullyShardedDataParallel, "__init__", init)
    yield
    torch.distributed.destroy_process_group()


def test_checkpoints_are_those_of_one_process(new_run, on_the_cpu):
    """Each can go on from the other's; weights, optimiser state and its numbering are those of a plain run."""
    settings = {"epochs": 2, "dropout": 0.0, "gradient_clip_val": 0.05}

    def sharded():
        return settings | {
            "strategy": Sharded(process_group_backend="gloo"),
            "devices": 1,
            "use_distributed_sampler": False,
        }

    plain = new_run("plain", **settings).fit()
    straight = read_checkpoint(plain.last)
    stopped, again = new_run("stopped", **sharded(), callbacks=[Stop(4)]), new_run("again", **sharded())
    with pytest.raises(Interrupted):
        stopped.fit()
    assert isinstance(stopped.trainer.model, FullyShardedDataParallel)
    again.fit(resume=stopped.last)
    plainly = new_run("plainly", **settings).fit(resume=stopped.last)
    for run in (again, plainly):
        found = read_checkpoint(run.last)
        assert found["global_step"] == straight["global_step"]
        assert_equal(found["state_dict"], straight["state_dict"])
        mine, other = found["optimizer_states"][0], straight["optimizer_states"][0]
        assert [group["params"] for group in mine["param_groups"]] == [
            group["params"] for group in other["param_groups"]
        ]
        assert [group["weight_decay"] for group in mine["param_groups"]] == [
            group["weight_decay"] for group in other["param_groups"]
        ]
        assert mine["state"].keys() == other["state"].keys()
        for index, state in other["state"].items():
            assert_equal(mine["state"][index], state)


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(torch.as_tensor(found[name]), torch.as_tensor(value), rtol=1e-4, atol=1e-6, msg=name)
