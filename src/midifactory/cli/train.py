"""`midifactory train`: compose, prepare, train, keep the best checkpoint, say how good it is."""

import json
import logging
import re
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ProgressBar
from omegaconf import DictConfig

from midifactory import files
from midifactory.cli import hydra_app
from midifactory.cli.building import check_accelerator, default_device, plain
from midifactory.cli.prepare import prepare
from midifactory.cli.runs import run_to_resume, stored_overrides
from midifactory.data.datamodule import MidiDataModule
from midifactory.errors import UserError
from midifactory.evaluation.likelihood import model_likelihood, uniform_likelihood, unigram_likelihood
from midifactory.models.interface import SequenceModel
from midifactory.music.profile import corpus_profile
from midifactory.training.checkpoint import (
    WholeFileCheckpointIO,
    build_model,
    load_trained,
    make_card,
    read_checkpoint,
)
from midifactory.training.estimate import estimate_cost
from midifactory.training.module import CARD, SequenceTraining

_RESUMING = ".hydra/resuming"


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    try:
        arguments = resumed_arguments(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        raise SystemExit(hydra_app.report(error)) from error
    hydra_app.run("train", train, arguments)


def resumed_arguments(argv: list[str]) -> list[str]:
    """With `resume=...`, the resumed run's own arguments and folder, then what was typed now on top."""
    for argument in argv:
        match = re.fullmatch(r"(?:--)?resume=(.+)", argument)
        if not match or match[1] == "null":
            continue
        if "-m" in argv or "--multirun" in argv:
            raise UserError(f"resume={match[1]} continues one run and cannot be part of a sweep; leave out -m")
        folder = run_to_resume(match[1].strip("'\""))
        checkpoint = Path(match[1].strip("'\""))
        if checkpoint.suffix != ".ckpt":
            checkpoint = folder / "checkpoints" / "last.ckpt"
        typed = [other for other in argv if other is not argument]
        keys = {other.split("=", 1)[0].lstrip("+-") for other in typed}
        kept = [old for old in stored_overrides(folder) if old.split("=", 1)[0].lstrip("+") not in keys | {"resume"}]
        place = [f"resume={checkpoint.resolve()}", f"hydra.run.dir='{folder.resolve()}'"]
        # Hydra records what was typed before we can judge it; `keep_settings` makes it the run's own.
        return [*kept, *typed, *place, f"hydra.output_subdir={_RESUMING}"]
    return argv


def train(config: DictConfig, data: MidiDataModule | None = None) -> Path:
    """Train as `config` says and return the best checkpoint's path. Writes result.json into the run's folder.

    data: what `prepare` has made of the same config; prepared here without it.
    """
    quiet_libraries()
    check_accelerator(config.trainer.accelerator)
    check_training(config)
    torch.set_float32_matmul_precision("high")
    run_dir = Path(config.run_dir)
    data = data or prepared_tokens(config)

    model_config = plain(config.model)
    torch.manual_seed(config.seed)  # initialisation reads torch's global generator, and nothing before it does
    model = build_model(model_config, data.tokenizer)
    profile = corpus_profile([piece.path for piece in data.corpus.of("train")], instantiate(config.data.limits))
    # The window of generation and evaluation: what training shows the model at once, without the label.
    window = data.longest_segment - 1
    module = SequenceTraining(
        model,
        instantiate(config.optimizer),
        seed=config.seed,
        card=make_card(model_config, data.tokenizer, window, profile, data.corpus_name),
        **plain(config.schedule),
    )
    trainer = build_trainer(config)
    if config.resume is not None:
        check_resume(config.resume, data, model)
        keep_settings(run_dir)
    if config.estimate:
        steps = remaining_steps(trainer, len(data.plan("train").batches(0)))
        estimate = estimate_cost(model, data.train_dataloader(), steps, default_device(config.trainer.accelerator))
        print(estimate.line(), flush=True)
    started = time.monotonic()
    try:
        trainer.fit(module, datamodule=data, ckpt_path=config.resume, weights_only=True)
    except SystemExit as stop:  # Lightning's answer to a second Ctrl-C, with a code of its own
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from stop
        raise
    minutes = (time.monotonic() - started) / 60
    best = Path(getattr(trainer.checkpoint_callback, "best_model_path", "") or run_dir / "checkpoints" / "last.ckpt")
    result = evaluate(best, data)
    result |= {"minutes": round(minutes, 2), "epochs": trainer.current_epoch, "steps": trainer.global_step}
    files.write_text(run_dir / "result.json", json.dumps(result, indent=1))
    print(result_line(result), f"checkpoint: {best}", sep="\n")
    return best


def prepared_tokens(config: DictConfig) -> MidiDataModule:
    """What `prepare` makes of a config."""
    refuse_note_features(config)
    data = prepare(config)
    assert isinstance(data, MidiDataModule)
    return data


def refuse_note_features(config: DictConfig) -> None:
    """Raise UserError, before any work, where the config asks for note features: they are prepared, not yet learnt."""
    if config.tokenizer.get("_target_", "").endswith("NoteCodec"):
        raise UserError(
            "tokenizer=notes: note features can be prepared, but no model reads them yet; "
            "train with a tokenizer of tokens, such as tokenizer=remi_plus"
        )


def quiet_libraries() -> None:
    """Advice that our users cannot act on (worker counts, matmul hints) stays out of their terminal."""
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*number of training batches.*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


def build_trainer(config: DictConfig) -> lightning.Trainer:
    """The Trainer with the callbacks and loggers of the config, and our checkpoint files."""
    callbacks = [instantiate(item) for item in config.callbacks.values() if item is not None]
    if not config.trainer.enable_progress_bar:  # Lightning refuses a bar's callback beside it
        callbacks = [item for item in callbacks if not isinstance(item, ProgressBar)]
    loggers = [instantiate(item) for item in config.logger.values()] if config.logger else False
    try:
        return instantiate(
            config.trainer,
            callbacks=callbacks,
            logger=loggers,
            plugins=[WholeFileCheckpointIO()],
            default_root_dir=config.run_dir,
            _convert_="all",
        )
    except Exception as error:
        cause = error.__cause__ or error
        if type(cause).__name__ in {"MisconfigurationException", "ValueError", "TypeError"}:
            raise UserError(f"trainer: {str(cause).strip().splitlines()[0]}") from error
        raise


def remaining_steps(trainer: lightning.Trainer, batches: int) -> int:
    """Optimiser steps of the whole run, before the Trainer has seen the data."""
    limit = trainer.limit_train_batches
    if limit is not None and limit != 1.0:
        batches = min(batches, int(limit * batches if isinstance(limit, float) else limit))
    steps = -(-batches // trainer.accumulate_grad_batches) * max(0, trainer.max_epochs or 0)
    return min(steps, trainer.max_steps) if trainer.max_steps > 0 and steps else max(steps, trainer.max_steps)


def check_training(config: DictConfig) -> None:
    """Raise UserError, before any work, for an optimiser that cannot be made and for a training of no epoch."""
    if config.trainer.max_epochs == 0:
        raise UserError("trainer.max_epochs=0 trains nothing; set it to 1 or more")
    try:
        instantiate(config.optimizer)([torch.nn.Parameter(torch.zeros(1))])
    except Exception as error:  # whatever torch says of a value: TypeError, ValueError, or Hydra's own around them
        values = {name: value for name, value in plain(config.optimizer).items() if not name.startswith("_")}
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise UserError(f"optimizer={values}: {reason}; see conf/optimizer for values that work") from error


def check_resume(path: str, data: MidiDataModule, model: SequenceModel) -> None:
    """Raise UserError where the checkpoint to resume from is of other tokens or of another model."""
    checkpoint = read_checkpoint(path)
    if checkpoint[CARD]["tokenizer"] != data.tokenizer.to_json():
        raise UserError(
            f"resume={path}: this checkpoint is of another tokenizer; leave out tokenizer=... or start anew"
        )

    shapes = {f"model.{name}": value.shape for name, value in model.state_dict().items()}
    if {name: value.shape for name, value in checkpoint["state_dict"].items()} != shapes:
        raise UserError(f"resume={path}: this checkpoint is of another model; leave out model=... or start anew")


def keep_settings(run_dir: Path) -> None:
    """Make what a resumed run was started with its settings for the next resume, and keep its figures so far.

    Lightning's CSVLogger begins by deleting metrics.csv; the earlier part stays as metrics_1.csv, metrics_2.csv, ...
    """
    for path in sorted((run_dir / _RESUMING).glob("*.yaml")):
        files.write_bytes(run_dir / ".hydra" / path.name, path.read_bytes())
    metrics = run_dir / "csv" / "metrics.csv"
    if metrics.is_file():
        metrics.replace(metrics.with_name(f"metrics_{len(list(metrics.parent.glob('metrics_*.csv'))) + 1}.csv"))


def evaluate(checkpoint: Path, data: MidiDataModule) -> dict[str, Any]:
    """Nats per note of the held-out pieces (test, or validation where there is no test), and baselines."""
    trained = load_trained(checkpoint)
    result: dict[str, Any] = {
        "checkpoint": str(checkpoint),
        "corpus": data.corpus_name,
        "model": type(trained.model).__name__,
        "parameters": trained.model.parameters_count,
        "window_tokens": trained.window,
    }
    training = [data.model_ids(piece) for piece in data.pieces("train")]
    vocab = data.tokenizer.vocab_size
    for split in ("validation", "test"):
        pieces = [(piece, data.model_ids(piece), data.store.pieces[piece].source_notes) for piece in data.pieces(split)]
        if pieces:
            result[split] = {
                "pieces": len(pieces),
                "nats_per_note": model_likelihood(trained.model, pieces, trained.window).nats_per_note,
                "unigram_nats_per_note": unigram_likelihood(pieces, training, vocab).nats_per_note,
                "uniform_nats_per_note": uniform_likelihood(pieces, vocab).nats_per_note,
            }
    return result


def result_line(result: dict[str, Any]) -> str:
    """The held-out figure beside its baselines."""
    split = "test" if "test" in result else "validation"
    part = result[split]
    return (
        f"{split}, {part['pieces']} pieces: {part['nats_per_note']:.3f} nats per note "
        f"({part['nats_per_note'] / part['unigram_nats_per_note']:.2f} of unigram's "
        f"{part['unigram_nats_per_note']:.2f}; uniform {part['uniform_nats_per_note']:.2f}) "
        f"after {result['minutes']:.1f} min"
    )
