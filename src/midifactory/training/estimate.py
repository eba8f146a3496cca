"""What a run will cost, from a few steps before the first one."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from midifactory.data.batches import SegmentLoader
from midifactory.models.interface import Conditions, SequenceModel
from midifactory.training.loss import sequence_loss

_BYTES_PER_ADAM_STATE = 8  # two float32 moments for each trained parameter


@dataclass(frozen=True)
class Estimate:
    """Training steps (0 without a planned end), seconds of each (validation comes on top), and peak memory in bytes."""

    steps: int
    step_seconds: float
    memory_bytes: int
    parameters: int

    def line(self) -> str:
        """One line for people."""
        minutes, seconds = divmod(round(self.steps * self.step_seconds), 60)
        steps = f"{self.steps} steps: about {minutes} min {seconds:02d} s" if self.steps else "steps without end"
        return (
            f"{self.parameters:,} parameters, {steps} ({self.step_seconds:.2f} s a step), "
            f"{self.memory_bytes / 2**30:.1f} GiB of memory"
        )


def token_loss(model: SequenceModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Nats per token of a batch."""
    labels = batch.get("conditions")  # (B, C)
    output = model(batch["inputs"], conditions=None if labels is None else Conditions(labels))
    return sequence_loss(output.logits, batch["labels"])


def estimate_cost(
    model: Any,
    loader: SegmentLoader,
    steps: int,
    device: torch.device,
    loss: Callable[[Any, dict[str, torch.Tensor]], torch.Tensor] = token_loss,
) -> Estimate:
    """Time forward and backward on batches of the middle and the greatest length, and read the peak memory.

    loss: of the model and a batch. The model's weights, gradients and torch's random state are left as they were.
    Costs about four steps.
    """
    plan = loader.plan
    batches = sorted(plan.batches(0), key=lambda batch: max(plan.lengths[i] for i in batch))
    random_state = torch.get_rng_state()
    training, home = model.training, next(model.parameters()).device
    model.train().to(device)
    try:
        _step(model, loader.collate(batches[-1]), device, loss)  # warms up, and shows the peak of memory
        memory = peak_memory_bytes(device)
        typical = loader.collate(batches[len(batches) // 2])
        start = time.perf_counter()
        for _ in range(2):
            _step(model, typical, device, loss)
        seconds = (time.perf_counter() - start) / 2
    finally:
        model.zero_grad(set_to_none=True)
        model.train(training).to(home)
        torch.set_rng_state(random_state)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return Estimate(steps, seconds, memory + trained * _BYTES_PER_ADAM_STATE, model.parameters_count)


def _step(model: Any, batch: dict[str, torch.Tensor], device: torch.device, loss: Callable[..., torch.Tensor]) -> None:
    loss(model, {name: value.to(device) for name, value in batch.items()}).backward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory_bytes(device: torch.device) -> int:
    """The most that CUDA's tensors have taken so far, or the process elsewhere; 0 where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0  # Windows has no getrusage; the estimate then counts the optimiser alone
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes on Linux
