"""Checkpoints on disk: written whole or not at all, holding plain values and tensors only."""

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import nn

from midifactory import files
from midifactory.data.conditions import ConditionCodec
from midifactory.errors import UserError
from midifactory.models.interface import SequenceModel
from midifactory.models.lora import add_lora, merge_lora
from midifactory.targets import load_class
from midifactory.tokens.grid import read_tokenizer
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.training.module import CARD

CARD_FORMAT = 2


class WholeFileCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, fsyncs and renames; Lightning's own stages through TMPDIR, which can lose a file."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Replace `path` by the new checkpoint; on any failure the old file stays."""
        with files.replacing(path) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(
        self, path: Any, map_location: Any = lambda storage, _: storage, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load with `weights_only=True`, whatever was asked: a checkpoint never runs code."""
        return read_checkpoint(path, map_location)


def read_checkpoint(path: str | os.PathLike[str], map_location: Any = "cpu") -> dict[str, Any]:
    """The checkpoint's dictionary. Raises UserError for a missing, damaged or foreign file."""
    source = Path(path)
    if not source.is_file():
        raise UserError(f"checkpoint={source}: no such file; train first, or list runs with: ls outputs/train")
    try:
        checkpoint = torch.load(source, map_location=map_location, weights_only=True)
    except Exception as error:  # torch raises RuntimeError, EOFError, UnpicklingError, KeyError ... for damage
        text = re.sub(r"\x1b\[\d*m", "", str(error)).strip()  # torch prints some of it in bold
        reason = text.splitlines()[0][:100] if text else type(error).__name__
        raise UserError(
            f"checkpoint={source} ({source.stat().st_size} bytes) is damaged or no checkpoint ({reason}); "
            "take another, such as best.ckpt or last.ckpt of the same run"
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(CARD), dict) or "state_dict" not in checkpoint:
        raise UserError(f"checkpoint={source} was not written by midifactory; pass one of outputs/train/*/checkpoints")
    return checkpoint


@dataclass
class Trained:
    """A model as it came out of training, ready to generate or to be evaluated.

    `window` is the longest span in tokens that training showed the model; `profile` describes its corpus
    (music/profile.py); `conditions` are what it may be told, None for nothing; `sha256` is the file's. `model_config`
    builds the model; `finetuned` says from what it was fine-tuned and how (cli/finetune.py), None where it was not;
    `segment` is how its training pieces were cut, the keywords of data/segments.py's `segment_score`.
    """

    model: SequenceModel
    tokenizer: Tokenizer
    window: int
    profile: dict[str, Any]
    corpus: str
    path: Path
    sha256: str
    conditions: ConditionCodec | None = None
    model_config: dict[str, Any] = field(default_factory=dict)
    finetuned: dict[str, Any] | None = None
    segment: dict[str, Any] = field(default_factory=dict)


def make_card(
    model_config: dict[str, Any],
    tokenizer: Tokenizer,
    window: int,
    profile: dict[str, Any],
    corpus: str,
    conditions: ConditionCodec | None = None,
    finetuned: dict[str, Any] | None = None,
    segment: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What travels in a checkpoint beside the weights; plain values only."""
    return {
        "format": CARD_FORMAT,
        "model": model_config,
        "tokenizer": tokenizer.to_json(),
        "window": window,
        "profile": profile,
        "corpus": corpus,
        "conditions": conditions.to_dict() if conditions else None,
        "finetuned": finetuned,
        "segment": segment or {},
    }


def build_model(config: dict[str, Any], tokenizer: Any) -> SequenceModel:
    """The model that `config` (a `_target_` and keywords) describes, for the vocabulary of `tokenizer`.

    `musical_embeddings: true` hands it the tokenizer's reader of places. Raises UserError where it cannot be built.
    """
    keywords = {key: value for key, value in config.items() if key != "_target_"}
    if keywords.pop("musical_embeddings", False):
        keywords["places"] = tokenizer.places()
    kind: Any = load_class(config["_target_"], SequenceModel, "model")
    try:
        return kind(vocab_size=tokenizer.vocab_size, **keywords)
    except (ValueError, TypeError) as error:
        raise UserError(f"model: {error}") from error


def load_weights(model: nn.Module, checkpoint: dict[str, Any], source: Path) -> None:
    """Give `model` the weights of a checkpoint that was read from `source`. Raises UserError where they do not fit."""
    weights = {
        key.removeprefix("model."): value for key, value in checkpoint["state_dict"].items() if key.startswith("model.")
    }
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"checkpoint={source}: its weights do not fit its model: {reason}") from error


def load_trained(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Trained:
    """Model and tokenizer of a checkpoint, the model in eval mode on `device`, LoRA's adapters merged into it.

    Raises UserError for a missing or damaged file and where weights, model and tokenizer do not belong together.
    """
    source = Path(path)
    checkpoint = read_checkpoint(source)
    card = checkpoint[CARD]
    if card.get("format") != CARD_FORMAT:
        raise UserError(f"checkpoint={source} has format {card.get('format')}, this version reads {CARD_FORMAT}")
    if "scaler" in card:
        raise UserError(f"checkpoint={source} is of note features; take one of tokens here")
    try:
        tokenizer = read_tokenizer(card["tokenizer"])
        window, profile, corpus = card["window"], card["profile"], card["corpus"]
        conditions = ConditionCodec.from_dict(card["conditions"]) if card.get("conditions") else None
        model = build_model(card["model"], tokenizer)
        finetuned = card.get("finetuned")
        if finetuned and finetuned["lora"]:
            add_lora(model, **finetuned["lora"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"checkpoint={source}: its card is damaged ({error!r}); take another checkpoint") from error
    load_weights(model, checkpoint, source)
    merge_lora(model)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    return Trained(
        model.to(device).eval(),
        tokenizer,
        window,
        profile,
        corpus,
        source,
        digest,
        conditions,
        card["model"],
        finetuned,
        card.get("segment", {}),
    )
