"""`midifactory train init_from=CHECKPOINT`: a trained model goes on with other music."""

import copy
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from midifactory.cli.building import build_tokenizer, plain
from midifactory.cli.held_out import held_out_pieces, nats_per_note
from midifactory.cli.runs import checkpoint_in
from midifactory.data.datamodule import MidiDataModule
from midifactory.errors import UserError
from midifactory.models.interface import SequenceModel
from midifactory.models.lora import add_lora
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.training.checkpoint import load_trained
from midifactory.training.finetune import Start, adopt_weights, vocabulary_rows

# What may be another in a fine-tuning: it decides how weights are trained, not what they mean.
_FREE = ("dropout", "checkpointing", "loss", "capacity", "kl", "free_bits", "anneal")


def read_start(config: DictConfig) -> Start | None:
    """The trained model that `init_from` names, None without one.

    Model, tokenizer and context come from its checkpoint (from the resumed one where a fine-tuning is resumed), but
    what was typed is asked for. Sets the learning rate of `finetune`, and a `data.max_tokens` that the model can read,
    in `config` where none was typed. Raises UserError, before any work, for what does not fit.
    """
    if config.init_from is None:
        if "rank" in config.finetune:
            raise UserError("finetune=lora adapts a trained model; add init_from=CHECKPOINT, or leave it out")
        return None
    typed = _typed_keys()
    try:
        trained = load_trained(config.resume or checkpoint_in(config.init_from))
    except UserError as error:
        raise UserError(f"init_from: {error}") from error
    if "rank" in config.finetune:
        try:
            add_lora(copy.deepcopy(trained.model), config.finetune.rank, config.finetune.alpha)
        except ValueError as error:
            raise UserError(f"finetune=lora: {error}; or set finetune=full") from error
    tokenizer = trained.tokenizer
    if any(key == "tokenizer" or key.startswith("tokenizer.") for key in typed):
        asked = build_tokenizer(config.tokenizer)
        assert isinstance(asked, Tokenizer)  # note features are refused before this
        vocabulary_rows(trained.tokenizer, asked)
        tokenizer = asked
    if "optimizer.lr" not in typed:
        OmegaConf.update(config, "optimizer.lr", config.finetune.lr)
    context = trained.model_config.get("context", trained.model.context)
    if context is not None and config.data.max_tokens > context:
        if "data.max_tokens" in typed:
            raise UserError(
                f"data.max_tokens={config.data.max_tokens}: the model of init_from was trained with a context of "
                f"{context}; set data.max_tokens to {context} at most"
            )
        OmegaConf.update(config, "data.max_tokens", context)
    return Start(trained, tokenizer, _model_config(config, trained.model_config, typed))


def _typed_keys() -> set[str]:
    """The keys that stand on the command line."""
    if not HydraConfig.initialized():
        return set()
    return {item.partition("=")[0].lstrip("+~") for item in HydraConfig.get().overrides.task}


def _model_config(config: DictConfig, stored: dict[str, Any], typed: set[str]) -> dict[str, Any]:
    """The checkpoint's model config with what was typed and may differ. Raises UserError for the rest."""
    named = {".".join(key.split(".")[:2]) for key in typed}  # decoder_options.d_ff asks for other decoder_options
    asked = {key: value for key, value in plain(config.model).items() if "model" in typed or f"model.{key}" in named}
    if "model.context" not in typed:
        asked.pop("context", None)  # it follows data.max_tokens
    for key, value in asked.items():
        if value != stored.get(key) and not any(part in key for part in _FREE):
            raise UserError(
                f"init_from={config.init_from}: model.{key} is {stored.get(key)} in the checkpoint, {value} is asked "
                "for; leave out model=... to take the checkpoint's"
            )
    return stored | asked


def begin(config: DictConfig, start: Start, model: SequenceModel, data: MidiDataModule, window: int) -> dict[str, Any]:
    """Give `model` what `start` has learnt, and adapters where LoRA is asked for; returns the card's `finetuned`.

    from: the checkpoint it began with; before: nats per note of the held-out pieces, by split; lora: arguments of
    models/lora.py, None in full fine-tuning.
    """
    if config.resume is not None and start.trained.finetuned is not None:
        finetuned = start.trained.finetuned  # the weights come with the rest of the resumed state
    else:
        grown = adopt_weights(model, start.trained, data.tokenizer, data.condition_codec)
        before = {name: nats_per_note(model, data, part, window) for name, part in held_out_pieces(data).items()}
        figures = ", ".join(f"{name} {nats:.3f}" for name, nats in before.items())
        print(f"before fine-tuning: {figures} nats per note", flush=True)
        lora = None
        if "rank" in config.finetune:
            lora = {"rank": config.finetune.rank, "alpha": config.finetune.alpha, "whole": grown}
        finetuned = {"from": str(start.trained.path), "before": before, "lora": lora}
    if finetuned["lora"]:
        layers = add_lora(model, **finetuned["lora"])
        trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        print(f"LoRA of rank {config.finetune.rank} in {layers} layers: {trained:,} trained parameters", flush=True)
    return finetuned
