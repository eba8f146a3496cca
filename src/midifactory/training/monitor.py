"""What a dashboard shows of a training beside its losses, and where the time went.

Legend: B rows, T positions, N real tokens, V vocabulary, Y types of tokens.
"""

import os
import subprocess
import time
from collections.abc import Mapping
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel

from midifactory.models.attention import Attention
from midifactory.models.frames import FrameTransformer
from midifactory.models.moe import Experts
from midifactory.models.recurrent import PastAttention
from midifactory.tokens.grid import read_tokenizer
from midifactory.training.estimate import peak_memory_bytes
from midifactory.training.experts import token_types
from midifactory.training.processes import process_count, summed

PHASES = ("data", "forward", "backward", "optimizer")
_MOST_SPANS = 400  # of 100 steps: what is kept before it is added up, however seldom is logged
_LARGEST_PRODUCT, _ENOUGH_SECONDS = 8192, 0.01


class Monitor(Callback):
    """Logs, every `log_every_n_steps` optimiser steps, to all loggers:

    train/learning_rate; train/gradient_norm, before clipping; train/padding_share, the share of padding in the batches
    since the last time; train/memory_gib, the greatest so far (of the process, or of CUDA's tensors); train/mfu, the
    share of the device's peak that the real tokens took by `flops_per_token`, the peak being that of a matrix product
    in the training's precision, measured in the beginning; and train/share_data, _forward, _backward and _optimizer of
    the steps' time.

    Between those steps nothing waits for a GPU: its time is taken by events on its own time line. `data` goes from one
    step's end to the next one's start, logging included; saving and validation are counted apart. `optimizer` holds
    clipping and the schedule.

    After the training `seconds` has all of its time by phase, and `tokens_per_s` its speed; of a resumed run, the last
    part's.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.tokens_per_s = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Measure the peak and start the clocks."""
        self._device = pl_module.device
        self._peak = peak_flops(trainer, pl_module)
        self.seconds = dict.fromkeys((*PHASES, "validation"), 0.0)
        self._spans: list[tuple[str, Any, Any]] = []
        self._tokens = torch.zeros((), dtype=torch.int64, device=self._device)
        self._seen = self._positions = self._squares = 0
        self._before, self._logged_tokens = dict(self.seconds), 0
        self._values: dict[str, Any] = {}
        self._began = time.perf_counter()
        self._mark = _now(self._device)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """What lay between two epochs was no waiting for data."""
        self._mark = _now(self._device)

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """The batch is there."""
        self._end_of("data")
        real = pl_module.real_positions(batch)
        self._tokens += real.sum()
        rows, length = real.shape
        self._positions += rows * length
        self._squares += rows * length**2

    def on_before_backward(self, *_: Any) -> None:
        """The loss is there."""
        self._end_of("forward")

    def on_after_backward(self, *_: Any) -> None:
        """The gradients are there."""
        self._end_of("backward")

    def on_before_optimizer_step(
        self, trainer: Any, pl_module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Read what the step changes, where it is one to be logged."""
        every = trainer.log_every_n_steps  # 0: never
        if not every or (trainer.global_step + 1) % every:
            return
        norms = [torch.linalg.vector_norm(p.grad) for p in pl_module.parameters() if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([*norms, torch.zeros((), device=self._device)]))
        if isinstance(trainer.model, FullyShardedDataParallel):  # each process has a part of the gradient
            norm = summed(norm.square()).sqrt()
        self._values["train/learning_rate"] = optimizer.param_groups[0]["lr"]
        self._values["train/gradient_norm"] = norm

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any) -> None:
        """The step is done."""
        self._end_of("optimizer")
        if self._values:
            self._add_up()
            pl_module.log_dict(self._values | self._interval(pl_module))
            self._values = {}
        elif len(self._spans) > _MOST_SPANS:
            self._add_up()

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Validation has a time of its own."""
        self._validation_began = time.perf_counter()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Validation is done; what follows may be a save."""
        if not trainer.sanity_checking and self.seconds:
            self.seconds["validation"] += time.perf_counter() - self._validation_began
        self._mark = None

    def on_save_checkpoint(self, *_: Any) -> None:
        """A save is no waiting for data."""
        self._mark = None

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Close the account."""
        self._add_up()
        wall = time.perf_counter() - self._began
        steps = sum(self.seconds[phase] for phase in PHASES)
        self.tokens_per_s = trainer.world_size * self._seen / steps if steps else 0.0
        self.seconds["other"] = max(0.0, wall - sum(self.seconds.values()))
        self._unit = pl_module.unit

    def line(self) -> str:
        """Speed and shares in one line for people, once the training is done."""
        wall = sum(self.seconds.values()) or 1.0
        shares = ", ".join(f"{phase} {seconds / wall:.0%}" for phase, seconds in self.seconds.items())
        return f"{self.tokens_per_s:,.0f} {self._unit}/s; of {wall:.0f} s: {shares}"

    def _end_of(self, phase: str) -> None:
        now = _now(self._device)
        if self._mark is not None:
            self._spans.append((phase, self._mark, now))
        self._mark = now

    def _add_up(self) -> None:
        if self._spans and self._device.type == "cuda":
            self._spans[-1][2].synchronize()
        for phase, begin, end in self._spans:
            self.seconds[phase] += begin.elapsed_time(end) / 1000 if self._device.type == "cuda" else end - begin
        self._spans.clear()
        self._seen = int(self._tokens)

    def _interval(self, pl_module: Any) -> dict[str, float]:
        """Figures since the last time, which this ends."""
        tokens = self._seen - self._logged_tokens
        spent = {phase: self.seconds[phase] - self._before[phase] for phase in PHASES}
        total = sum(spent.values()) or 1.0
        flops = flops_per_token(pl_module.model, self._squares / self._positions)
        values = {
            "train/padding_share": 1 - tokens / self._positions,
            "train/memory_gib": peak_memory_bytes(self._device) / 2**30,
            "train/mfu": flops * tokens / total / self._peak,
            **{f"train/share_{phase}": seconds / total for phase, seconds in spent.items()},
        }
        self._before, self._logged_tokens, self._positions, self._squares = dict(self.seconds), self._seen, 0, 0
        return values


def _now(device: torch.device) -> Any:
    """A moment: of CUDA an event, which is there when the work before it is done; otherwise the host's time."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def flops_per_token(model: nn.Module, length: float) -> float:
    """Operations to train on one token in rows of `length`: 6 N + 12 L H Q T (Chowdhery et al. 2022, PaLM, appendix B).

    N counts parameters; of a mixture, those of the experts that a token passes; frozen ones for 4, having no gradient
    of their own. The trunk of a model of frames runs once for all cells of a frame.
    """
    if isinstance(model, FrameTransformer):
        cells, trunk = model.reader.frame, model.trunk
        return _product_flops(model) - _product_flops(trunk) + flops_per_token(trunk, length / cells) / cells
    flops = _product_flops(model)
    for module in model.modules():
        if isinstance(module, Experts):
            flops -= _product_flops(module.experts) * (1 - module.per_token / len(module.experts))
        elif isinstance(module, Attention):
            flops += 12 * module.heads * module.size * length
        elif isinstance(module, PastAttention):
            flops += 12 * module.residual.in_features * min(length, module.span)
    return flops


def _product_flops(module: nn.Module) -> float:
    return float(sum(p.numel() * (6 if p.requires_grad else 4) for p in module.parameters()))


@torch.no_grad()
def peak_flops(trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> float:
    """Operations a second of a matrix product on the module's device, as its precision computes it.

    Grows the matrices until one product takes 10 ms, so that a CPU spends about a tenth of a second. Draws no numbers.
    """
    device, dtype = pl_module.device, next(pl_module.parameters()).dtype
    size = 256
    while True:
        matrix = torch.linspace(-1, 1, size**2, device=device).to(dtype).view(size, size)
        times = []
        for _ in range(3):
            _synchronise(device)
            began = time.perf_counter()
            with trainer.precision_plugin.forward_context():
                torch.matmul(matrix, matrix)
            _synchronise(device)
            times.append(time.perf_counter() - began)
        if min(times) >= _ENOUGH_SECONDS or size >= _LARGEST_PRODUCT:
            return 2 * size**3 / min(times)
        size *= 2


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class TokenTypes(Callback):
    """Logs in every validation nats and accuracy of the tokens of each type: val/nats_Pitch, val/accuracy_Pitch, ...

    The type is that of the token to be foretold, of a merged one (byte pairs) its first part's. Types that do not
    occur are left out; note features have none.
    """

    def __init__(self) -> None:
        self._types: list[str] = []
        self._type_of = torch.empty(0, dtype=torch.int64)  # (V,)
        self._sums: Tensor | None = None  # (3, Y): tokens, nats, tokens that were the likeliest

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start counting."""
        self._sums = None

    def on_validation_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Add a batch; outputs: with `token_nats` (B, T) and `token_hits` (B, T)."""
        if not isinstance(outputs, Mapping) or "token_nats" not in outputs:
            return
        if not self._types:
            self._types, self._type_of = token_types(read_tokenizer(pl_module.card["tokenizer"]))
        real = pl_module.real_positions(batch)  # (B, T)
        types = self._type_of[batch["labels"][real].cpu()]  # (N,)
        weights = (None, *(outputs[name][real].cpu().double() for name in ("token_nats", "token_hits")))
        sums = torch.stack([types.bincount(weight, minlength=len(self._types)).double() for weight in weights])
        self._sums = sums if self._sums is None else self._sums + sums

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log."""
        if self._sums is None:
            return
        sums = self._sums if process_count() == 1 else summed(self._sums.to(pl_module.device))
        tokens, nats, hits = sums.tolist()
        for index, name in enumerate(self._types):
            if tokens[index]:
                pl_module.log(f"val/nats_{name}", nats[index] / tokens[index])
                pl_module.log(f"val/accuracy_{name}", hits[index] / tokens[index])


def git_commit() -> str | None:
    """The commit of the checkout that is the working folder, `-dirty` where files differ from it; None without one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, env=environment, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
