"""The one LightningModule: it trains every model of models/interface.py."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel

from midifactory.data.batches import IGNORED
from midifactory.errors import Diverged
from midifactory.models.interface import Conditions, SequenceModel
from midifactory.training.loss import TrainingLoss, sequence_loss
from midifactory.training.optimizers import parameter_groups
from midifactory.training.processes import process_count, process_rank, summed
from midifactory.training.schedules import Share, cosine

CARD = "midifactory"  # the key of a checkpoint under which `card` lies


class SequenceTraining(lightning.LightningModule):
    """Next-token training.

    optimizer: given the groups of training/optimizers.py, makes the optimiser. schedule: given the steps of the
    training, the share of the learning rate at each (training/schedules.py). loss: what is minimised. card: plain
    values that travel in every checkpoint (model config, tokenizer, corpus profile), so that a checkpoint is all that
    generation needs.

    Logs nats per token (`loss`) and nats per note: the sum over all real tokens of a batch divided by its notes; both
    are plain, whatever is minimised. With a latent, `loss` is what is left to say once it is known, and nats per note
    count the divergence of its posterior too: an upper bound.

    compile: let torch.compile make the training's forward and backward pass; the model and its weights stay as they
    are, and everything else, with its ever other shapes, goes on without it.
    """

    unit = "tokens"  # what stands at a position

    def __init__(
        self,
        model: SequenceModel,
        optimizer: Callable[[Iterable[dict[str, Any]]], torch.optim.Optimizer],
        schedule: Callable[[float], Share] = cosine,
        loss: TrainingLoss | None = None,
        seed: int = 0,
        card: dict[str, Any] | None = None,
        condition_dropout: float = 0.1,
        compile: bool = False,
    ):
        super().__init__()
        self.model, self.loss = model, loss or TrainingLoss()
        self._condition_dropout = condition_dropout
        self._compiled = torch.compile(model.forward, dynamic=True) if compile else None
        self.card = card or {}
        self._make_optimizer, self._schedule = optimizer, schedule
        self._seed = seed
        self._clock: float | None = None
        self._loader_states: list[dict[str, Any]] = []
        self._gradients: dict[str, Tensor] = {}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the training loader's position and the accumulated gradients for on_train_start."""
        self._gradients = checkpoint.get("gradients", {})
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
        for name, parameter in self.named_parameters():
            if name in self._gradients:
                parameter.grad = self._gradients[name].to(parameter)
        self._gradients = {}

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Seed dropout by the step, so that a resumed run draws what the undisturbed one would have drawn.

        Each of several processes draws its own.
        """
        step = self.trainer.fit_loop.epoch_loop.total_batch_idx
        torch.manual_seed((self._seed << 32) + step * process_count() + process_rank())
        self.model.anneal(step)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The mean loss of a batch (see data/batches.py) plus the model's auxiliary losses.

        Of several processes, each returns its part of the mean over the tokens of all, times their number: gradients
        are averaged over the processes. What is logged is of all of them.
        """
        run = self._compiled or self.model
        output = run(batch["inputs"], conditions=self._conditions(batch, self._condition_dropout))
        loss, nats = self.loss(output.logits, batch["labels"])
        loss = loss + sum(output.losses.values(), torch.zeros((), device=loss.device))
        count = (batch["labels"] != IGNORED).sum()
        divergence = output.statistics.get("kl_nats", nats.new_zeros(1)).detach().sum()
        weight, notes = self.loss.weight(batch["labels"]), batch["notes"].sum()
        sums = torch.stack([nats * count, count, divergence, notes, weight])
        all_nats, all_tokens, all_divergence, all_notes, all_weight = summed(sums)
        tokens, now = int(all_tokens), time.perf_counter()
        if self._clock is not None:
            self.log("train/tokens_per_s", tokens / (now - self._clock), prog_bar=True)
        self._clock = now
        self.log("train/loss", all_nats / all_tokens, prog_bar=True)
        self.log("train/nats_per_note", (all_nats + all_divergence) / all_notes.clamp(min=1), prog_bar=True)
        for name, value in output.losses.items():
            self.log(f"train/{name}", value.detach())
        return loss * (process_count() * weight / all_weight)

    def real_positions(self, batch: dict[str, Tensor]) -> Tensor:
        """(B, T) bool: where a batch is no padding."""
        return batch["labels"] != IGNORED

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

        Returns, for callbacks, the model's statistics, and of each label (B, T) its nats (`token_nats`, 0 at padding)
        and whether it was the likeliest (`token_hits`).
        """
        output = self.model(batch["inputs"], conditions=self._conditions(batch))
        nats = sequence_loss(output.logits, batch["labels"], reduction="none").view_as(batch["labels"])  # (B, T)
        total = nats.sum()
        divergence = output.statistics.get("kl_nats", total.new_zeros(1)).sum()
        rows = torch.tensor(len(batch["inputs"]), device=total.device)
        counts = torch.stack([total, (batch["labels"] != IGNORED).sum(), batch["notes"].sum(), divergence, rows])
        self._validation += counts.cpu().double()
        hits = output.logits.argmax(-1) == batch["labels"]  # (B, T)
        return {**output.statistics, "token_nats": nats, "token_hits": hits}

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self._validation = torch.zeros(5, dtype=torch.float64)

    def on_validation_epoch_end(self) -> None:
        """Log nats per token and per note of the validation segments, and a latent's nats per segment."""
        counts = self._validation if process_count() == 1 else summed(self._validation.to(self.device))
        nats, tokens, notes, divergence, rows = counts.tolist()
        self.log("val/loss", nats / max(1.0, tokens), prog_bar=False)
        self.log("val/nats_per_note", (nats + divergence) / max(1.0, notes), prog_bar=True)
        if divergence:
            self.log("val/kl_nats", divergence / max(1.0, rows))
        self._clock = None  # the time validation took is not the training's

    def setup(self, stage: str) -> None:
        """Sort the parameters while they have their shapes, which fully sharded training takes from them."""
        self._groups = parameter_groups(self.model)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as the trainer's options say; a norm over shards is FSDP's own business, which Lightning refuses."""
        model = self.trainer.model
        if isinstance(model, FullyShardedDataParallel):
            if gradient_clip_val:
                model.clip_grad_norm_(gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def configure_optimizers(self) -> Any:
        """The schedule steps with the optimiser."""
        optimizer = self._make_optimizer(self._groups)
        share = self._schedule(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let the card travel, with the latest figures of the validation, and gradients that are being accumulated.

        Raises Diverged for weights that are not finite.
        """
        weights = {name: checkpoint["state_dict"].get(name, value) for name, value in self.named_parameters()}
        broken = [name for name, value in weights.items() if not bool(torch.isfinite(value).all())]
        if broken:
            raise Diverged(
                f"step {self.trainer.global_step}: {len(broken)} weights are not finite, such as {broken[0]}; nothing "
                "was saved, and the checkpoints are as they were; start again with a lower optimizer.lr"
            )
        sharded = isinstance(self.trainer.model, FullyShardedDataParallel)  # has no gradients but of its own shards
        if self.trainer.fit_loop.epoch_loop._should_accumulate() and not sharded:
            # Averaged over the processes, whose own shares only the backward pass of the last batch would average.
            checkpoint["gradients"] = {
                name: self.trainer.strategy.reduce(parameter.grad.clone(), reduce_op="mean")
                for name, parameter in self.named_parameters()
                if parameter.grad is not None
            }
        metrics = {name: float(value) for name, value in self.trainer.callback_metrics.items() if name[:4] == "val/"}
        checkpoint[CARD] = self.card | {"metrics": metrics}
