"""Callbacks that keep a run's work: the best checkpoints, `last.ckpt` at every chance, and a stop that saves first."""

import os
import shutil
import signal
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint

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


class StopEarly(EarlyStopping):
    """EarlyStopping whose run, once stopped, stays so when it is resumed, unless more patience is typed."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting, with the patience of the settings."""
        super().load_state_dict(state_dict | {"patience": self.patience})

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Not an epoch more than the run that nobody disturbed."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


class KeepLast(Checkpoint):
    """Writes `last.ckpt` after every epoch, every `every_minutes`, and when the run is told to stop.

    The first Ctrl-C (SIGINT) or SIGTERM lets the current step finish, saves, and raises Interrupted; a second
    Ctrl-C stops at once. As a Checkpoint it comes after the callbacks that have something to do first, such as
    averaging the step's weights. Where a validation is due after the step, the stop comes after its first batch, and
    the resumed run validates from the start; a stop in an epoch's last hooks comes after them. Several processes stop
    at the same step.
    """

    def __init__(self, folder: str | Path, every_minutes: float = 5.0):
        self.path = Path(folder) / "last.ckpt"
        self._interval_seconds = every_minutes * 60
        self._saved_at = 0.0
        self._signal: int | None = None
        self._stopping = 0
        self._previous: dict[int, Any] = {}

    def on_sanity_check_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen to signals."""
        self._listen(trainer)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen to signals."""
        self._saved_at = time.monotonic()
        self._listen(trainer)

    def _listen(self, trainer: lightning.Trainer) -> None:
        # Not before Lightning has set its own handlers: on an exception it restores what stood there then.
        if self._previous:
            return
        self._signal, self._stopping = None, 0
        if threading.current_thread() is threading.main_thread():
            answer = partial(self._on_signal, os.getpid())
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, answer)
            if trainer.received_sigterm:  # since Lightning listens, whose answer is to exit with 0 and save nothing
                trainer._signal_connector.received_sigterm = False
                self._signal = signal.SIGTERM

    def _on_signal(self, process: int, number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a loader's worker, to which a terminal's Ctrl-C goes too; its parent ends it
            return
        if self._signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        # Not handed to Lightning, which would talk to the other processes in the middle of a step.
        self._signal = number
        with suppress(RuntimeError):  # what the signal interrupted may be a print
            print("\nstopping after this step; Ctrl-C again stops at once, without saving", flush=True)

    def _save(self, trainer: lightning.Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._saved_at = time.monotonic()
        (self._stopping,) = agreed(self._signal or 0)

    def _stop_if_saved(self, trainer: lightning.Trainer) -> None:
        if self._stopping:
            raise Interrupted(
                f"stopped at step {trainer.global_step}, saved as {self.path}; go on with: python train.py "
                f"resume={self.path.parent.parent}",
                128 + self._stopping,
            )

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let a run that is stopped in a validation begin with it when it is resumed: Lightning would pass over it."""
        progress: Any = trainer.fit_loop.epoch_loop.val_loop.batch_progress.current
        if not trainer.validating or progress.completed == progress.processed:
            return
        nothing = {"ready": 0, "started": 0, "processed": 0, "completed": 0}
        state = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
        # One batch was begun: so Lightning knows a validation that is not done.
        state |= {"total": nothing | {"ready": 1, "started": 1}, "current": nothing, "is_last_batch": False}

    def on_train_batch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Stop only now, when the figures of the step before are logged."""
        self._stop_if_saved(trainer)

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Between two steps the state is whole, unless there is a validation or an epoch's end to come first."""
        loop = trainer.fit_loop.epoch_loop
        if loop.batch_progress.is_last_batch or loop._should_check_val_fx(trainer.fit_loop._data_fetcher):  # type: ignore[arg-type]
            return
        # A signal may reach one process only, and clocks differ, but all must save and stop after the same step.
        if any(agreed(self._signal or 0, time.monotonic() - self._saved_at > self._interval_seconds)):
            self._save(trainer)

    def on_validation_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """A long validation does not delay a stop."""
        if not trainer.sanity_checking and any(agreed(self._signal or 0)):
            self._save(trainer)
            self._stop_if_saved(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """An epoch is done, and its validation."""
        self._save(trainer)
        self._stop_if_saved(trainer)

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Give the signals back."""
        self._give_signals_back()

    def on_exception(self, *_: Any) -> None:
        """After an exception, Interrupted among them, Lightning calls no teardown."""
        self._give_signals_back()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Training is done."""
        self._give_signals_back()
        (self._stopping,) = agreed(self._signal or 0)
        self._stop_if_saved(trainer)

    def _give_signals_back(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
