"""Callbacks that keep a run's work: the best checkpoints, `last.ckpt` at every chance, and a stop that saves first."""

import os
import shutil
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from midifactory import files
from midifactory.errors import Interrupted
from midifactory.training.processes import agreed


class KeepBest(ModelCheckpoint):
    """ModelCheckpoint whose best one is `FILENAME.ckpt` also where several are kept.

    With a save_top_k other than 1 they are named by their steps, FILENAME-STEP.ckpt, and the best of them has the
    plain name besides: the same files under two names, which costs no space.
    """

    def __init__(self, dirpath: str | Path, filename: str = "best", save_top_k: int = 1, **keywords: Any):
        self._plain = Path(dirpath) / f"{filename}.ckpt"
        self._linked = ""
        numbered = filename if save_top_k == 1 else f"{filename}-{{step}}"
        super().__init__(
            dirpath,
            numbered,
            save_top_k=save_top_k,
            auto_insert_metric_name=False,
            enable_version_counter=False,
            **keywords,
        )

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save where validation runs within an epoch or not after every one."""
        super().on_validation_end(trainer, pl_module)
        self._name_best(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save otherwise."""
        super().on_train_epoch_end(trainer, pl_module)
        self._name_best(trainer)

    def _name_best(self, trainer: lightning.Trainer) -> None:
        if self.save_top_k == 1 or self.best_model_path in ("", self._linked) or not trainer.is_global_zero:
            return
        with files.replacing_folder(self._plain) as folder:
            for file in Path(self.best_model_path).iterdir():
                try:
                    os.link(file, folder / file.name)
                except OSError:  # a file system without links
                    shutil.copyfile(file, folder / file.name)
        self._linked = self.best_model_path


class KeepLast(Checkpoint):
    """Writes `last.ckpt` after every epoch, every `every_minutes`, and when the run is told to stop.

    The first Ctrl-C (SIGINT) or SIGTERM lets the current step finish, saves, and raises Interrupted; a second
    Ctrl-C stops at once. As a Checkpoint it comes after the callbacks that have something to do first, such as
    averaging the step's weights.
    """

    def __init__(self, folder: str | Path, every_minutes: float = 5.0):
        self.path = Path(folder) / "last.ckpt"
        self._interval_seconds = every_minutes * 60
        self._saved_at = 0.0
        self._signal: int | None = None
        self._previous: dict[int, Any] = {}

    def on_sanity_check_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen to signals."""
        self._listen()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen to signals."""
        self._saved_at = time.monotonic()
        self._listen()

    def _listen(self) -> None:
        # Not before Lightning has set its own handlers: on an exception it restores what stood there then.
        if self._previous:
            return
        self._signal = None
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        # Not handed to Lightning, which would talk to the other processes in the middle of a step.
        self._signal = number
        print("\nstopping after this step; Ctrl-C again stops at once, without saving", flush=True)

    def _save(self, trainer: lightning.Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._saved_at = time.monotonic()

    def _stop_if_asked(self, trainer: lightning.Trainer, number: int) -> None:
        if number and not trainer.sanity_checking:
            self._save(trainer)
            raise Interrupted(
                f"stopped at step {trainer.global_step}, saved as {self.path}; go on with: python train.py "
                f"resume={self.path.parent.parent}",
                128 + number,
            )

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Between two steps the state is whole."""
        # A signal may reach one process only, and clocks differ, but all must save and stop after the same step.
        number, due = agreed(self._signal or 0, time.monotonic() - self._saved_at > self._interval_seconds)
        self._stop_if_asked(trainer, number)
        if due:
            self._save(trainer)

    def on_validation_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """A long validation does not delay a stop."""
        self._stop_if_asked(trainer, *agreed(self._signal or 0))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """An epoch is done, and its validation."""
        self._save(trainer)

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Give the signals back."""
        self._give_signals_back()

    def on_exception(self, *_: Any) -> None:
        """After an exception, Interrupted among them, Lightning calls no teardown."""
        self._give_signals_back()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Training is done."""
        self._give_signals_back()

    def _give_signals_back(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
