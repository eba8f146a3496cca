"""The one LightningModule: it trains every model of models/interface.py."""

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import lightning
import torch
from torch import Tensor

from midifactory.data.batches import IGNORED
from midifactory.models.interface import Conditions, SequenceModel
from midifactory.training.loss import sequence_loss

CARD = "midifactory"  # the key of a checkpoint under which `card` lies


class SequenceTraining(lightning.LightningModule):
    """Next-token training with warm-up and cosine decay.

    optimizer: given parameter groups, makes the optimiser. warmup_steps: linear warm-up; then a cosine down to
    `final_lr_share` of the rate at the last step. card: plain values that travel in every checkpoint (model
    config, tokenizer, corpus profile), so that a checkpoint is all that generation needs.

    Logs nats per token (`loss`) and nats per note: the sum over all real tokens of a batch divided by its notes.
    """

    def __init__(
        self,
        model: SequenceModel,
        optimizer: Callable[[Iterable[dict[str, Any]]], torch.optim.Optimizer],
        warmup_steps: int = 100,
        final_lr_share: float = 0.05,
        seed: int = 0,
        card: dict[str, Any] | None = None,
        condition_dropout: float = 0.1,
    ):
        super().__init__()
        self.model = model
        self._condition_dropout = condition_dropout
        self.card = card or {}
        self._make_optimizer = optimizer
        self._warmup_steps, self._final_lr_share = warmup_steps, final_lr_share
        self._seed = seed
        self._clock: float | None = None
        self._loader_states: list[dict[str, Any]] = []

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the training loader's position for on_train_start."""
        fit_loop = checkpoint.get("loops", {}).get("fit_loop", {})
        self._loader_states = fit_loop.get("state_dict", {}).get("combined_loader", [])

    def on_train_start(self) -> None:
        """Put the training loader where the checkpoint's run was.

        Lightning does so only when it sets the data up after reading the checkpoint's loops, but
        `estimated_stepping_batches` in configure_optimizers makes it set them up before.
        """
        loader: Any = self.trainer.train_dataloader
        loader.pass_length = int(self.trainer.num_training_batches)
        if self._loader_states:
            loader.load_state_dict(self._loader_states[0])
            self._loader_states = []

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Seed dropout by the step, so that a resumed run draws what the undisturbed one would have drawn."""
        step = self.trainer.fit_loop.epoch_loop.total_batch_idx
        torch.manual_seed((self._seed << 32) + step)
        self.model.anneal(step)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The mean loss of a batch (see data/batches.py) plus the model's auxiliary losses."""
        output = self.model(batch["inputs"], conditions=self._conditions(batch, self._condition_dropout))
        loss = sequence_loss(output.logits, batch["labels"])
        tokens = int((batch["labels"] != IGNORED).sum())
        nats_per_note = loss.detach() * tokens / batch["notes"].sum().clamp(min=1)
        now = time.perf_counter()
        if self._clock is not None:
            self.log("train/tokens_per_s", tokens / (now - self._clock), prog_bar=True)
        self._clock = now
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/nats_per_note", nats_per_note, prog_bar=True)
        for name, value in output.losses.items():
            self.log(f"train/{name}", value.detach())
        return loss + sum(output.losses.values(), torch.zeros((), device=loss.device))

    def _conditions(self, batch: dict[str, Tensor], dropped_share: float = 0.0) -> Conditions | None:
        """The batch's conditions, each of them not given with that probability, and as often none of a row at all.

        Any subset may then be asked for, and none, as classifier-free guidance needs (Ho and Salimans 2022).
        """
        labels = batch.get("conditions")  # (B, C)
        if labels is None:
            return None
        if dropped_share:
            single = torch.rand(labels.shape, device=labels.device) < dropped_share
            whole = torch.rand(len(labels), 1, device=labels.device) < dropped_share
            labels = labels.masked_fill(single | whole, 0)
        return Conditions(labels)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Sum nats, tokens and notes, so that the epoch's figure does not depend on the batches.

        Returns the model's statistics for callbacks.
        """
        output = self.model(batch["inputs"], conditions=self._conditions(batch))
        total = sequence_loss(output.logits, batch["labels"], reduction="sum")
        counts = torch.stack([total, (batch["labels"] != IGNORED).sum(), batch["notes"].sum()])
        self._validation += counts.cpu().double()
        return output.statistics

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self._validation = torch.zeros(3, dtype=torch.float64)

    def on_validation_epoch_end(self) -> None:
        """Log nats per token and per note of the validation segments."""
        nats, tokens, notes = self._validation.tolist()
        self.log("val/loss", nats / max(1.0, tokens), prog_bar=False)
        self.log("val/nats_per_note", nats / max(1.0, notes), prog_bar=True)
        self._clock = None  # the time validation took is not the training's

    def configure_optimizers(self) -> Any:
        """No weight decay for vectors (biases, norms), as is customary; the schedule steps with the optimiser."""
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        matrices = [parameter for parameter in parameters if parameter.dim() >= 2]
        others = [parameter for parameter in parameters if parameter.dim() < 2]
        optimizer = self._make_optimizer([{"params": matrices}, {"params": others, "weight_decay": 0.0}])
        total = int(self.trainer.estimated_stepping_batches)
        schedule = warmup_cosine(self._warmup_steps, total, self._final_lr_share)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let the card travel."""
        checkpoint[CARD] = self.card


def warmup_cosine(warmup_steps: int, total_steps: int, final_share: float) -> Callable[[int], float]:
    """The share of the peak learning rate at a step: linear up, then half a cosine down to `final_share`.

    A run shorter than ten warm-ups warms up for a tenth of its steps.
    """
    warmup = max(1, min(warmup_steps, total_steps // 10))

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, total_steps - warmup))
        return final_share + (1 - final_share) * 0.5 * (1 + math.cos(math.pi * progress))

    return share
