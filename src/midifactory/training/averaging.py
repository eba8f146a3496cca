"""Averaged weights: validated, kept and composed with instead of the last ones."""

from typing import Any

import lightning
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from midifactory.errors import UserError
from midifactory.training.loss import is_number


class AveragedWeights(WeightAveraging):
    """An exponential moving average of the weights (Polyak and Juditsky 1992), updated after every optimiser step.

    decay: the share of the old average that stays, from (1 + t) / (10 + t) after t steps up to this, so that the
    average of a young training is not its beginning. Validation and checkpoints' `state_dict` have the average; the
    weights to go on with travel beside it. Raises UserError for a decay that cannot be.
    """

    def __init__(self, decay: float = 0.999):
        if not is_number(decay) or not 0 < decay < 1:
            raise UserError(f"callbacks.ema.decay={decay}: give a number between 0 and 1, such as 0.999")
        self._decay = decay
        self._swapped = False
        super().__init__(use_buffers=False, multi_avg_fn=self._update)

    def _update(self, averages: Any, weights: Any, count: Tensor | int) -> None:
        decay = min(self._decay, (1 + int(count)) / (10 + int(count)))
        for average, weight in zip(averages, weights, strict=True):
            average.lerp_(weight, 1 - decay)

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Make the average where the model will be: it is moved to its device only after this."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def _swap_models(self, pl_module: lightning.LightningModule) -> None:
        super()._swap_models(pl_module)
        self._swapped = not self._swapped

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """The average as `state_dict`, also where a validation, which has them swapped, is interrupted."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._swapped:
            current = checkpoint["state_dict"]
            checkpoint["state_dict"] = checkpoint["current_model_state"]
            checkpoint["current_model_state"] = current
