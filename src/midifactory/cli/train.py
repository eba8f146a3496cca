"""`midifactory train`: compose, prepare, train, keep the best checkpoint, say how good it is."""

import json
import logging
import math
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from omegaconf import DictConfig

from midifactory import files
from midifactory.cli import hydra_app
from midifactory.cli.building import check_accelerator, default_device, plain
from midifactory.cli.finetune import begin, read_start
from midifactory.cli.held_out import evaluate, result_line
from midifactory.cli.prepare import prepare
from midifactory.cli.resume import check_resume, check_weights, keep_settings, resumed_arguments
from midifactory.cli.sweep import show_ended
from midifactory.cli.train_notes import check_note_settings, evaluate_notes, note_training
from midifactory.data.datamodule import MidiDataModule
from midifactory.data.notes import NoteDataModule
from midifactory.data.originality import index_folder
from midifactory.errors import Diverged, Interrupted, UserError
from midifactory.models.interface import SequenceModel
from midifactory.music.profile import corpus_profile
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.training.checkpoint import build_model, make_card
from midifactory.training.checkpoint_folder import WholeCheckpointIO
from midifactory.training.estimate import estimate_cost, token_loss
from midifactory.training.finetune import Start
from midifactory.training.loss import TrainingLoss, token_weights
from midifactory.training.module import SequenceTraining
from midifactory.training.monitor import Monitor, git_commit
from midifactory.training.notes import note_loss

_SECONDS_TO_END = 5


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    try:
        arguments = resumed_arguments(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        raise SystemExit(hydra_app.report(error)) from error
    try:
        hydra_app.run("train", train, arguments)
    finally:
        show_ended()


def train(config: DictConfig, data: MidiDataModule | NoteDataModule | None = None) -> Path:
    """Train as `config` says and return the best checkpoint's path. Writes result.json into the run's folder.

    data: what `prepare` has made of the same config; prepared here without it.
    """
    quiet_libraries()
    check_accelerator(config.trainer.accelerator)
    check_note_settings(config)
    if config.resume is not None:
        check_resume(config)
    start = read_start(config)
    check_training(config)
    torch.set_float32_matmul_precision("high")
    set_threads(config.threads)
    run_dir = Path(config.run_dir)
    trainer = build_trainer(config)
    check_processes(trainer)
    data = data or prepare(config, start)
    data.trainer = trainer  # from here to the end of the training its batches are this process's share
    module = new_module(config, data, start)
    if config.resume is not None:
        check_weights(config.resume, module)
        if trainer.is_global_zero:
            keep_settings(run_dir)
    if config.estimate and trainer.is_global_zero:
        steps = remaining_steps(trainer, len(data.plan("train").batches(0)))
        device = default_device(config.trainer.accelerator)
        loss = partial(note_loss, codec=data.codec) if isinstance(data, NoteDataModule) else token_loss
        print(estimate_cost(module.model, data.train_dataloader(), steps, device, loss).line(), flush=True)
    log_settings(trainer, config, module)
    started, started_cpu = time.monotonic(), time.process_time()
    fit(trainer, module, data, config)
    data.trainer = None
    if trainer.received_sigterm:  # after the last step, where nothing in Lightning asks any more
        raise Interrupted(f"stopped after the last step; go on with: python train.py resume={run_dir}", 143)
    if not trainer.is_global_zero:
        return run_dir
    minutes, cpu_minutes = (time.monotonic() - started) / 60, (time.process_time() - started_cpu) / 60
    best = Path(getattr(trainer.checkpoint_callback, "best_model_path", "") or run_dir / "checkpoints" / "last.ckpt")
    result = evaluate_notes(best, data) if isinstance(data, NoteDataModule) else evaluate(best, data)
    result |= {"minutes": round(minutes, 2), "cpu_minutes": round(cpu_minutes, 2)}
    result |= {"epochs": trainer.current_epoch, "steps": trainer.global_step, "processes": trainer.world_size}
    result["monitored"] = best_figure(trainer)
    monitor = next((item for item in trainer.callbacks if isinstance(item, Monitor)), None)  # type: ignore[attr-defined]
    if monitor is not None and monitor.seconds:  # empty where nothing was left to train
        print(monitor.line())
        result |= {"tokens_per_s": round(monitor.tokens_per_s, 1), "seconds": monitor.seconds}
    files.write_text(run_dir / "result.json", json.dumps(result, indent=1))
    print(result_line(result), f"checkpoint: {best}", sep="\n")
    if isinstance(data, NoteDataModule):
        print("these nats are of note features as classes, and not to be compared with those of tokens")
    elif data.condition_codec is not None:
        print("generation may be asked for:", *data.condition_codec.describe(), sep="\n  ")
    return best


def fit(
    trainer: lightning.Trainer, module: SequenceTraining, data: MidiDataModule | NoteDataModule, config: DictConfig
) -> None:
    """Train, and however it ends, leave no run of W&B open and no process waiting."""
    try:
        trainer.fit(module, datamodule=data, ckpt_path=config.resume, weights_only=True)
    except SystemExit as stop:  # Lightning's answer to a second Ctrl-C, with a code of its own
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from stop
        raise
    except Exception as error:
        end_others(trainer, seen_by_all=isinstance(error, Interrupted | Diverged))
        if config.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"compile=true: {reason}; install a C++ compiler, or leave compile out") from error
        raise
    finally:
        finish_wandb(trainer)


def new_module(config: DictConfig, data: MidiDataModule | NoteDataModule, start: Start | None) -> SequenceTraining:
    """What trains the model of `config`, or goes on from `start`, on tokens or on note features."""
    return note_training(config, data) if isinstance(data, NoteDataModule) else token_training(config, data, start)


def token_training(config: DictConfig, data: MidiDataModule, start: Start | None) -> SequenceTraining:
    """The module that trains the model of `config`, or goes on from `start`."""
    model_config = start.model_config if start else plain(config.model)
    if data.condition_codec is not None:
        model_config["condition_sizes"] = list(data.condition_codec.sizes)
    torch.manual_seed(config.seed)  # initialisation reads torch's global generator, and nothing before it does
    model = build_model(model_config, data.tokenizer)
    profile = corpus_profile([piece.path for piece in data.corpus.of("train")], instantiate(config.data.limits))
    # The window of generation and evaluation: what training shows the model at once, without the label.
    window = data.longest_segment - 1
    check_context(model, window)
    finetuned = begin(config, start, model, data, window) if start else None
    return SequenceTraining(
        model,
        instantiate(config.optimizer),
        instantiate(config.schedule),
        build_loss(config, data.tokenizer),
        seed=config.seed,
        card=make_card(
            model_config,
            data.tokenizer,
            window,
            profile,
            data.corpus_name,
            data.condition_codec,
            finetuned,
            data.segment_settings,
            plain(config),
            originality_indexes(data, start),
        ),
        condition_dropout=config.condition_dropout,
        compile=config.compile,
    )


def originality_indexes(data: MidiDataModule, start: Start | None) -> list[str]:
    """The folders of the indexes of all that the model will have been trained on, as far as there are any."""
    folder = index_folder(data.store, data.pieces("train"))
    before = start.trained.originality if start else ()
    return list(dict.fromkeys([*before, *([str(folder)] if folder.is_dir() else [])]))


def quiet_libraries() -> None:
    """Advice that our users cannot act on (worker counts, matmul hints) stays out of their terminal."""
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*number of training batches.*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*Experiment logs directory .* exists and is not empty.*")  # kept before
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # what is logged is of all processes already
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


def set_threads(threads: int | None) -> None:
    """How many cores torch may use; None leaves it to torch. Raises UserError."""
    if threads is None:
        return
    if type(threads) is not int or threads < 1:
        raise UserError(f"threads={threads}: give a whole number of at least 1, or null for all cores")
    torch.set_num_threads(threads)


def build_trainer(config: DictConfig, callbacks: list[Callback] | None = None, **settings: Any) -> lightning.Trainer:
    """The Trainer with the callbacks (or these) and loggers of the config, and our checkpoint files; `settings` win."""
    if callbacks is None:
        callbacks = [instantiate(item) for item in config.callbacks.values() if item is not None]
    if not config.trainer.enable_progress_bar:  # Lightning refuses a bar's callback beside it
        callbacks = [item for item in callbacks if not isinstance(item, ProgressBar)]
    if "logger" not in settings:
        settings["logger"] = [instantiate(item) for item in config.logger.values()] if config.logger else False
    try:
        return instantiate(
            config.trainer,
            callbacks=callbacks,
            plugins=[WholeCheckpointIO(), *cluster()],
            default_root_dir=config.run_dir,
            _convert_="all",
            **settings,
        )
    except Exception as error:
        cause = error.__cause__ or error
        if type(cause).__name__ in {"MisconfigurationException", "ValueError", "TypeError"}:
            raise UserError(f"trainer: {str(cause).strip().splitlines()[0]}") from error
        raise


def check_device(config: DictConfig) -> None:
    """Raise UserError for a precision or a strategy that the device has not, which Lightning answers with another."""
    device = default_device(config.trainer.accelerator).type
    precision, strategy = str(config.trainer.precision), config.trainer.strategy
    if precision.startswith("16") and device == "cpu":
        raise UserError(f"trainer.precision={precision}: float16 needs a GPU; set bf16-mixed or 32-true")
    if precision.startswith("bf16") and device == "cuda" and not torch.cuda.is_bf16_supported(False):
        raise UserError(f"trainer.precision={precision}: this GPU has no bfloat16; set 16-mixed or 32-true")
    if isinstance(strategy, str):
        if "fsdp" in strategy:
            raise UserError(f"trainer.strategy={strategy}: write trainer=fsdp, whose checkpoints can be read anywhere")
        return
    if device != "cuda":
        raise UserError("trainer=fsdp needs NVIDIA GPUs; on this machine use trainer=ddp, or leave trainer out")
    if config.optimizer._target_.endswith("Muon"):
        raise UserError("optimizer=muon needs whole matrices, trainer=fsdp splits them; set optimizer=adamw")


def check_processes(trainer: lightning.Trainer) -> None:
    """Raise UserError where the training's further processes would run a whole sweep each, or wait for each other."""
    seconds = getattr(trainer, "_val_check_time_interval", None)
    if trainer.world_size > 1 and seconds is not None:
        raise UserError(
            f"trainer.val_check_interval of {seconds:.0f} s: the clocks of {trainer.world_size} processes differ; give "
            "a number of batches, or a share of an epoch"
        )
    starts_processes = trainer.world_size > 1 and not externally_started(trainer)
    if starts_processes and HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise UserError(
            f"-m: a sweep's jobs cannot start {trainer.world_size} processes; set trainer.devices=1, or run each by "
            "torchrun"
        )


def externally_started(trainer: lightning.Trainer) -> bool:
    """Whether torchrun or SLURM has started the processes of the training, and not Lightning."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    return environment is not None and environment.creates_processes_externally


def end_others(trainer: lightning.Trainer, seen_by_all: bool) -> None:
    """End the processes that Lightning has started: after an error of this one alone they would wait for it."""
    for process in getattr(trainer.strategy.launcher, "procs", []):
        try:
            process.wait(_SECONDS_TO_END if seen_by_all else 0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def best_figure(trainer: lightning.Trainer) -> dict[str, float]:
    """What the best checkpoint was chosen by, and its value; empty without one."""
    score = getattr(trainer.checkpoint_callback, "best_model_score", None)
    return {} if score is None else {trainer.checkpoint_callback.monitor: float(score)}  # type: ignore[union-attr]


def log_settings(trainer: lightning.Trainer, config: DictConfig, module: SequenceTraining) -> None:
    """Give every logger the whole config, the number of parameters and the commit of the code."""
    settings = {**plain(config), "parameters": module.model.parameters_count, "git_commit": git_commit()}
    for logger in trainer.loggers:
        logger.log_hyperparams(settings)


def finish_wandb(trainer: lightning.Trainer) -> None:
    """Close the run in W&B: the next one of a sweep would otherwise be logged into it."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


def cluster() -> list[SLURMEnvironment]:
    """SLURM, where it started this process, without Lightning's own requeueing.

    That saves at a signal in the middle of a step, and ignores SIGTERM; scripts/slurm_train.sh requeues instead.
    """
    if TorchElasticEnvironment.detect() or not SLURMEnvironment.detect():  # torchrun within SLURM comes first
        return []
    return [SLURMEnvironment(auto_requeue=False)]


def remaining_steps(trainer: lightning.Trainer, batches: int) -> int:
    """Optimiser steps of the whole run, before the Trainer has seen the data."""
    limit = trainer.limit_train_batches
    if limit is not None and limit != 1.0:
        batches = min(batches, int(limit * batches if isinstance(limit, float) else limit))
    steps = -(-batches // trainer.accumulate_grad_batches) * max(0, trainer.max_epochs or 0)
    return min(steps, trainer.max_steps) if trainer.max_steps > 0 and steps else max(steps, trainer.max_steps)


def build_loss(config: DictConfig, tokenizer: Tokenizer) -> TrainingLoss:
    """What the config's `loss` asks to be minimised."""
    settings = plain(config.loss)
    return TrainingLoss(token_weights(settings.pop("type_weights"), tokenizer), **settings)


def check_context(model: SequenceModel, window: int) -> None:
    """Raise UserError where a training segment of `window` inputs is longer than what the model can read at once."""
    if model.context is not None and window > model.context:
        raise UserError(
            f"model.context={model.context}: the longest training segment has {window} tokens; set "
            f"data.max_tokens={model.context}, or give the model a longer context"
        )


def check_training(config: DictConfig) -> None:
    """Raise UserError, before any work, for what the device has not, for an optimiser, a schedule or a loss that cannot
    be, and for no epoch.
    """
    check_device(config)
    if config.trainer.max_epochs == 0:
        raise UserError("trainer.max_epochs=0 trains nothing; set it to 1 or more")
    endless = config.trainer.max_epochs == -1 and config.trainer.max_steps == -1
    instantiate(config.schedule)(math.inf if endless else 1)
    if config.data.infill and config.model._target_.endswith(".VAE"):
        raise UserError(
            f"data.infill={config.data.infill}: a model with a latent does not infill; take model=transformer"
        )
    TrainingLoss(z_loss=config.loss.z_loss, label_smoothing=config.loss.label_smoothing)
    hidden = config.condition_dropout
    if not isinstance(hidden, int | float) or not 0 <= hidden < 1:
        raise UserError(f"condition_dropout={hidden}: give a share from 0 to below 1; the default is 0.1")
    try:
        optimizer = instantiate(config.optimizer)([torch.nn.Parameter(torch.zeros(1))])
    except Exception as error:  # whatever torch says of a value: TypeError, ValueError, or Hydra's own around them
        values = {name: value for name, value in plain(config.optimizer).items() if not name.startswith("_")}
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise UserError(f"optimizer={values}: {reason}; see conf/optimizer for values that work") from error
    precision = str(config.trainer.precision)
    mixed = precision.endswith("mixed") or precision in ("16", "bf16")
    # What Lightning asks, too, but in the first step only.
    if mixed and config.trainer.gradient_clip_val and getattr(optimizer, "_step_supports_amp_scaling", False):
        raise UserError(
            f"trainer.precision={precision}: in mixed precision a fused optimiser cannot clip gradients; set "
            "optimizer.fused=false"
        )
