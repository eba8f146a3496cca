"""`midifactory profile`: a few training steps under torch's profiler, as a trace for a viewer and a table."""

import json
import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from midifactory import files
from midifactory.cli import hydra_app
from midifactory.cli.building import check_accelerator
from midifactory.cli.finetune import read_start
from midifactory.cli.prepare import prepare
from midifactory.cli.train import build_trainer, check_training, new_module, quiet_libraries
from midifactory.cli.train_notes import check_note_settings
from midifactory.errors import UserError
from midifactory.training.monitor import PHASES, Monitor

_OPERATORS_SHOWN = 15


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("profile", profile, sys.argv[1:] if argv is None else argv)


def profile(config: DictConfig) -> Path:
    """Record the training that `config` describes and return the trace's path; its weights are thrown away.

    Writes trace.json.gz and profile.json (seconds of each phase, calls and seconds of each operator) into the run's
    folder. Raises UserError where nothing can be recorded.
    """
    for name, least in (("warmup", 0), ("steps", 1)):
        if type(config.profile[name]) is not int or config.profile[name] < least:
            raise UserError(f"profile.{name}={config.profile[name]}: give a whole number of at least {least}")
    if config.resume is not None:
        raise UserError(f"resume={config.resume}: profile starts a training anew and keeps nothing; leave resume out")
    quiet_libraries()
    check_accelerator(config.trainer.accelerator)
    check_note_settings(config)
    start = read_start(config)
    check_training(config)
    recorder, monitor = Recorder(**config.profile), Monitor()
    trainer = build_trainer(
        config, [monitor, recorder], logger=False, enable_checkpointing=False, limit_val_batches=0, log_every_n_steps=0
    )
    data = prepare(config, start)
    data.trainer = trainer
    trainer.fit(new_module(config, data, start), datamodule=data)
    trace = Path(config.run_dir) / "trace.json.gz"
    if not recorder.recorded:
        raise UserError(
            f"profile.warmup={config.profile.warmup}: the training ended before any batch was recorded; lower it, or "
            "raise trainer.max_epochs"
        )
    if trainer.is_global_zero:
        with files.replacing(trace) as temporary:
            recorder.profiler.export_chrome_trace(str(temporary))
        operators = recorder.operators()
        record = {"seconds": {phase: monitor.seconds[phase] for phase in PHASES}, "operators": operators}
        files.write_text(trace.with_name("profile.json"), json.dumps(record, indent=1))
        print("\n".join(report_lines(record)))
        print(f"trace of {recorder.recorded} batches: {trace}")
        print("open it at https://ui.perfetto.dev, or in Chrome at chrome://tracing")
    return trace


class Recorder(Callback):
    """Records `steps` batches after `warmup` others under torch's profiler, and ends the training.

    In the trace, spans named as training/monitor.py's phases lie over the operators. `recorded` counts the batches.
    """

    def __init__(self, warmup: int, steps: int):
        self._warmup, self._steps = warmup, steps
        self._seen = self.recorded = 0
        self._span: Any = None
        activities = [torch.profiler.ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        self.profiler = torch.profiler.profile(activities=activities)

    def _begin(self, phase: str) -> None:
        self._end()
        if self._warmup <= self._seen < self._warmup + self._steps:
            self._span = torch.profiler.record_function(phase)
            self._span.__enter__()

    def _end(self) -> None:
        if self._span is not None:
            self._span.__exit__(None, None, None)
            self._span = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The first batch is about to be loaded."""
        self._start_if_due()

    def on_train_batch_start(self, *_: Any) -> None:
        """The batch is there."""
        self._begin("forward")

    def on_before_backward(self, *_: Any) -> None:
        """The loss is there."""
        self._begin("backward")

    def on_after_backward(self, *_: Any) -> None:
        """The gradients are there."""
        self._begin("optimizer")

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """The batch is done; the next one is about to be loaded."""
        self.recorded += self._span is not None
        self._end()
        self._seen += 1
        if self._seen == self._warmup + self._steps:
            trainer.should_stop = True
            self.profiler.stop()
        self._start_if_due()

    def on_train_end(self, *_: Any) -> None:
        """A training that is shorter than what was asked for."""
        self._end()
        if self._warmup <= self._seen < self._warmup + self._steps:
            self.profiler.stop()

    def _start_if_due(self) -> None:
        if self._seen == self._warmup:
            self.profiler.start()
        self._begin("data")

    def operators(self) -> list[dict[str, Any]]:
        """name, calls and seconds of each operator without those it calls, of the device where there is one.

        The slowest first.
        """
        rows = []
        for event in self.profiler.key_averages():
            if event.key not in PHASES:
                microseconds = getattr(event, "self_device_time_total", 0) or event.self_cpu_time_total
                rows.append({"name": event.key, "calls": event.count, "seconds": microseconds / 1e6})
        return sorted(rows, key=lambda row: -row["seconds"])


def report_lines(record: dict[str, Any]) -> list[str]:
    """The phases' shares of the steps and the slowest operators, for people."""
    steps, operators = sum(record["seconds"].values()), record["operators"]
    shares = ", ".join(f"{phase} {seconds / steps:.0%}" for phase, seconds in record["seconds"].items())
    lines = [f"of the steps' time: {shares}", f"{'operator':<48} {'calls':>8} {'ms':>10} {'share':>6}"]
    total = sum(row["seconds"] for row in operators)
    for row in operators[:_OPERATORS_SHOWN]:
        part = row["seconds"] / total
        lines.append(f"{row['name'][:48]:<48} {row['calls']:>8} {1000 * row['seconds']:>10.2f} {part:>6.1%}")
    return lines
