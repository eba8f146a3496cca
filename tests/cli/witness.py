"""A callback for trainings that run as processes of their own: it writes down what each of them sees."""

import hashlib
import json
import os
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback

from midifactory.data.batches import IGNORED


class Witness(Callback):
    """Appends a line of JSON for every batch to `folder`/RANK.jsonl: process, step, and a name for each of its rows.

    At batch number `breaks` of the run the loss of the second process becomes NaN.
    """

    def __init__(self, folder, breaks=None):
        self.folder, self.breaks, self.seen = Path(folder), breaks, 0

    def _write(self, trainer, kind, batch):
        rows = [ids[labels != IGNORED] for ids, labels in zip(batch["inputs"], batch["labels"], strict=True)]
        names = [hashlib.sha256(ids.numpy().tobytes()).hexdigest()[:12] for ids in rows]
        line = {"process": os.getpid(), "kind": kind, "step": trainer.global_step, "rows": names}
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def on_train_batch_start(self, trainer, module, batch, *_):
        self._batch = batch

    def on_validation_batch_start(self, trainer, module, batch, *_):
        self._write(trainer, "validation", batch)

    def on_before_backward(self, trainer, module, loss):  # not at a batch's start, where a run may be stopped
        self.seen += 1
        self._write(trainer, "train", self._batch)
        if self.seen == self.breaks and trainer.global_rank == 1:
            with torch.no_grad():
                loss.fill_(float("nan"))
