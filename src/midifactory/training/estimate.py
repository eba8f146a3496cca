"""What a run will cost, from a few steps before the first one."""

import sys
import time
from dataclasses import dataclass

import torch

from midifactory.data.batches import SegmentLoader
from midifactory.models.interface import SequenceModel
from midifactory.training.loss import sequence_loss

_BYTES_PER_ADAM_STATE = 8  # two float32 moments for each parameter


@dataclass(frozen=True)
class Estimate:
    """Seconds for the training steps (validation adds a little) and peak memory in bytes."""

    steps: int
    seconds: float
    memory_bytes: int
    parameters: int

    def line(self) -> str:
        """One line for people."""
        minutes, seconds = divmod(round(self.seconds), 60)
        return (
            f"{self.parameters:,} parameters, {self.steps} steps: about {minutes} min {seconds:02d} s "
            f"({self.seconds / max(1, self.steps):.2f} s a step), {self.memory_bytes / 2**30:.1f} GiB of memory"
        )


def estimate_cost(model: SequenceModel, loader: SegmentLoader, steps: int, device: torch.device) -> Estimate:
    """Time forward and backward on batches of the middle and the greatest length, and read the peak memory.

    The model's weights, gradients and torch's random state are left as they were. Costs about four steps.
    """
    plan = loader.plan
    batches = sorted(plan.batches(0), key=lambda batch: max(plan.lengths[i] for i in batch))
    random_state = torch.get_rng_state()
    training, home = model.training, next(model.parameters()).device
    model.train().to(device)
    try:
        _step(model, loader.collate(batches[-1]), device)  # warms up, and shows the peak of memory
        memory = _peak_memory_bytes(device)
        typical = loader.collate(batches[len(batches) // 2])
        start = time.perf_counter()
        for _ in range(2):
            _step(model, typical, device)
        seconds = (time.perf_counter() - start) / 2
    finally:
        model.zero_grad(set_to_none=True)
        model.train(training).to(home)
        torch.set_rng_state(random_state)
    count = model.parameters_count
    return Estimate(steps, seconds * steps, memory + count * _BYTES_PER_ADAM_STATE, count)


def _step(model: SequenceModel, batch: dict[str, torch.Tensor], device: torch.device) -> None:
    output = model(batch["inputs"].to(device))
    sequence_loss(output.logits, batch["labels"].to(device)).backward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0  # Windows has no getrusage; the estimate then counts the optimiser alone
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes on Linux
