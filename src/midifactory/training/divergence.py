"""What happens when a loss or a gradient is no longer finite: a stop, or a step back at a lower learning rate."""

import math
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer import call
from torch import Tensor

from midifactory.errors import Diverged, UserError
from midifactory.training.checkpoint_folder import newest_good

MOST_ROLLBACKS = 5
RATE_FACTOR = 0.5


class Divergence(Callback):
    """Looks at each step's loss and gradient norm before the optimiser writes, so that weights stay finite.

    action: "stop" raises Diverged. "rollback" loads weights, optimiser and schedule of the newest good checkpoint in
    `folder` (a run that has none begins with one), multiplies the learning rate by 0.5 for the rest of the run and goes
    on with the next batch, five times at most.

    The sum of the losses since the last step and the norm stay on the device until one transfer of both. The norm is
    taken once more than clipping does, a pass over the gradients. In 16-mixed precision a gradient that overflows is
    the loss scaler's business, which skips the step, and only the loss is looked at.
    """

    def __init__(self, folder: str | Path, action: str = "stop"):
        if action not in ("stop", "rollback"):
            raise UserError(f"on_divergence={action}: choose stop or rollback")
        self._folder, self._action = Path(folder), action
        self._loss: Tensor | None = None
        self.rollbacks = 0

    def state_dict(self) -> dict[str, Any]:
        """How often the rate was lowered: what a checkpoint's learning rates have been multiplied by."""
        return {"rollbacks": self.rollbacks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.rollbacks = state_dict["rollbacks"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Have something to roll back to."""
        self._loss = None
        # Every process must save where one does: the decision is that of the first.
        if self._action == "rollback" and trainer.strategy.broadcast(newest_good(self._folder)[0] is None):
            trainer.save_checkpoint(self._folder / "last.ckpt")

    def on_before_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: Tensor
    ) -> None:
        """Add up the losses of the batches that one step accumulates."""
        loss = loss.detach().float()
        self._loss = loss if self._loss is None else self._loss + loss

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Stop or roll back where the loss or the gradient norm is not finite."""
        assert self._loss is not None
        gradients = [parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients).float()
        loss, norm_value = torch.stack([self._loss, norm.to(self._loss.device)]).tolist()
        self._loss = None
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        found = _not_finite("loss", loss) or (None if scaled else _not_finite("gradient norm", norm_value))
        # Processes see different losses, and must do the same.
        if trainer.strategy.reduce_boolean_decision(found is None, all=True):
            return
        what = f"step {trainer.global_step}: the {found or 'loss of another process is not finite'}"
        if self._action == "stop":
            remedy = "Start again with a lower optimizer.lr"
            if newest_good(self._folder)[0] is not None:
                remedy += (
                    ", or go on from the last good checkpoint at half the rate: python train.py "
                    f"resume={self._folder.parent} on_divergence=rollback"
                )
            raise Diverged(f"{what}; stopped before any weight changed. {remedy}")
        self._roll_back(trainer, pl_module, what)

    def _roll_back(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, what: str) -> None:
        if self.rollbacks == MOST_ROLLBACKS:
            raise Diverged(
                f"{what} after {MOST_ROLLBACKS} rollbacks; stopped before any weight changed. Start again with a lower "
                "optimizer.lr"
            )
        path = trainer.strategy.broadcast(newest_good(self._folder)[0])
        if path is None:
            raise Diverged(f"{what}, and no good checkpoint is left in {self._folder}; start again")
        checkpoint = trainer.strategy.load_checkpoint(path, weights_only=True)
        self.rollbacks += 1
        earlier = checkpoint["callbacks"].get(self.state_key, {"rollbacks": 0})["rollbacks"]
        trainer.strategy.load_model_state_dict(checkpoint)
        call._call_callbacks_on_load_checkpoint(trainer, checkpoint)  # an average of the weights goes back, too
        trainer.strategy.load_optimizer_state_dict(checkpoint)
        for config, state in zip(trainer.lr_scheduler_configs, checkpoint["lr_schedulers"], strict=True):
            config.scheduler.load_state_dict(state)
            _multiply_rates(config.scheduler, RATE_FACTOR ** (self.rollbacks - earlier))
        for parameter in pl_module.parameters():
            parameter.grad = None  # the optimiser passes over them: this step writes nothing
        if trainer.is_global_zero:
            print(
                f"\n{what}; back to {path.name} of step {checkpoint['global_step']} at {RATE_FACTOR**self.rollbacks} "
                f"of the learning rate (rollback {self.rollbacks} of {MOST_ROLLBACKS})",
                flush=True,
            )

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop where a figure of the validation is not finite, before it is saved as the best or called converged."""
        if trainer.sanity_checking:
            return
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        found = next((text for name, value in figures.items() if (text := _not_finite(name, value))), None)
        if found:
            raise Diverged(
                f"step {trainer.global_step}: {found}, though all weights are finite; start again with a lower "
                "optimizer.lr"
            )


def _not_finite(name: str, value: float) -> str | None:
    return None if math.isfinite(value) else f"{name} is {value}"


def _multiply_rates(scheduler: Any, factor: float) -> None:
    """Multiply what the schedule's shares are of, which its state and so checkpoints keep, and the present rates."""
    scheduler.base_lrs = [rate * factor for rate in scheduler.base_lrs]
    for group in scheduler.optimizer.param_groups:
        group["lr"] *= factor
        group["initial_lr"] *= factor
