"""What benchmarks/reliability.py does to a training from within: two callbacks that its configs name."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback, Checkpoint

PLAN = "RELIABILITY_PLAN"


class Disturb(Callback):
    """Does what the environment's plan says; nothing without one.

    hook, at: when; the hook's `at`-th call in this process. do: SIGKILL or SIGTERM, sent `delay_s` later (with
    `group`, to all processes of the training); "leave": the end of the process as if it were done; or "nan" and "inf"
    in `where`: loss, gradient or batch. A signal's time goes to the file `sent`, the step trained first to `first`.
    """

    batches_after = 0  # begun since a number was spoilt

    def __init__(self) -> None:
        self.plan = json.loads(os.environ.get(PLAN, "{}"))
        self.calls, self.spoilt = 0, False
        Disturb.batches_after = 0
        if "hook" in self.plan and "where" not in self.plan:
            setattr(self, self.plan["hook"], self._count)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Say where the run goes on."""
        if "folder" in self.plan:
            Path(self.plan["folder"], "first").write_text(str(trainer.global_step))

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Spoil a batch."""
        if "where" not in self.plan:
            return
        Disturb.batches_after += self.spoilt
        self.calls += 1
        if self._due("batch"):
            batch["rows"][0, 0, 0] = self._value()

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """Spoil a loss."""
        if self._due("loss"):
            loss.data.fill_(self._value())

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Spoil one number of a gradient."""
        if self._due("gradient"):
            next(iter(pl_module.parameters())).grad.view(-1)[0] = self._value()

    def _due(self, where: str) -> bool:
        due = not self.spoilt and self.plan.get("where") == where and self.calls == self.plan["at"]
        self.spoilt |= due
        return due

    def _value(self) -> float:
        return float(self.plan["do"])

    def _count(self, trainer: Any, *_: Any) -> None:
        self.calls += 1
        if self.plan["hook"] == "on_train_start" or self.calls == 1:
            Path(self.plan["folder"], "first").write_text(str(trainer.global_step))
        if self.calls != self.plan["at"]:
            return
        if self.plan["do"] == "leave":
            raise SystemExit(0)
        if self.plan.get("delay_s"):
            threading.Timer(self.plan["delay_s"], self._send).start()
        else:
            self._send()

    def _send(self) -> None:
        Path(self.plan["folder"], "sent").write_text(repr(time.time()))
        number = getattr(signal, self.plan["do"])
        if self.plan.get("group"):
            os.killpg(0, number)
        else:
            os.kill(os.getpid(), number)


class Stopwatch(Callback):
    """Times a training from its first batch to its end, and what callbacks of `WATCHED` take of it; then leaves.

    A save within a hook counts once, with that hook. Needs to be the config's first callback that takes part.
    """

    WATCHED = ("KeepLast", "KeepBest", "Divergence", "Monitor", "TokenTypes", "StopEarly")

    def __init__(self, file: str):
        self.file, self.seconds, self._depth = Path(file), dict.fromkeys(self.WATCHED, 0.0), 0

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Put a watch around every hook."""
        for callback in trainer.callbacks:
            name = type(callback).__name__
            if name in self.WATCHED:
                for hook in (hook for hook in dir(Callback) if hook.startswith("on_")):
                    if getattr(type(callback), hook) not in (getattr(Callback, hook), getattr(Checkpoint, hook)):
                        setattr(callback, hook, self._timed(name, getattr(callback, hook)))

    def _timed(self, name: str, hook: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **keywords: Any) -> Any:
            began = time.perf_counter()
            self._depth += 1
            try:
                return hook(*arguments, **keywords)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds[name] += time.perf_counter() - began

        return timed

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin."""
        self.began = time.perf_counter(), time.process_time()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the times down, and spare the evaluation."""
        wall, cpu = time.perf_counter() - self.began[0], time.process_time() - self.began[1]
        self.file.write_text(json.dumps({"wall": wall, "cpu": cpu, "hooks": self.seconds}))
        raise SystemExit(0)
