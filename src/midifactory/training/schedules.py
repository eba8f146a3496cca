"""Learning-rate schedules: given the steps of a training, the share of the peak rate at each of them.

Every schedule warms up in line over `warmup_steps`, or over a tenth of a training that is shorter than ten of them, and
raises UserError for numbers that cannot be.
"""

import math
from collections.abc import Callable

from midifactory.errors import UserError
from midifactory.training.loss import is_number

Share = Callable[[int], float]  # of the peak rate, at a step counted from 0


def cosine(total_steps: float, warmup_steps: int = 100, final_lr_share: float = 0.05) -> Share:
    """Half a cosine from the peak down to `final_lr_share` at the last step (Loshchilov and Hutter 2017)."""
    _check_end(total_steps, final_lr_share, "cosine")
    warmup = _warmup(warmup_steps, total_steps)

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, total_steps - warmup))
        return final_lr_share + (1 - final_lr_share) * 0.5 * (1 + math.cos(math.pi * progress))

    return share


def stable_decay(
    total_steps: float, warmup_steps: int = 100, decay_share: float = 0.2, final_lr_share: float = 0.0
) -> Share:
    """Warm-up, the peak for most of the training, then down within the last `decay_share` of the steps.

    WSD (Hu et al. 2024, MiniCPM); the descent is one minus a square root (Hägele et al. 2024).
    """
    _check_end(total_steps, final_lr_share, "stable_decay")
    if not is_number(decay_share) or not 0 < decay_share <= 1:
        raise UserError(f"schedule.decay_share={decay_share}: give a share of the steps, above 0 and at most 1")
    warmup = _warmup(warmup_steps, total_steps)
    decay = max(1.0, min(decay_share * total_steps, total_steps - warmup))

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, max(0.0, (step - total_steps + decay) / decay))
        return 1 - (1 - final_lr_share) * math.sqrt(progress)

    return share


def constant(total_steps: float, warmup_steps: int = 100) -> Share:
    """The peak after the warm-up: for a training without a planned end."""
    warmup = _warmup(warmup_steps, total_steps)
    return lambda step: min(1.0, (step + 1) / warmup)


def _warmup(steps: int, total_steps: float) -> int:
    if type(steps) is not int or steps < 0:
        raise UserError(f"schedule.warmup_steps={steps}: give a whole number of at least 0")
    return max(1, math.floor(min(steps, total_steps / 10)))


def _check_end(total_steps: float, final_lr_share: float, name: str) -> None:
    if math.isinf(total_steps):
        raise UserError(
            f"schedule={name} needs to know its last step; set trainer.max_epochs or trainer.max_steps, "
            "or schedule=constant"
        )
    if not is_number(final_lr_share) or not 0 <= final_lr_share <= 1:
        raise UserError(f"schedule.final_lr_share={final_lr_share}: give a share of the peak rate, from 0 to 1")
