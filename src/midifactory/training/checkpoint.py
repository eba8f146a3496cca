"""What a checkpoint says of itself, and the trained model that comes out of one."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from midifactory.data.conditions import ConditionCodec
from midifactory.errors import UserError
from midifactory.models.interface import SequenceModel
from midifactory.models.lora import add_lora, merge_lora
from midifactory.targets import load_class
from midifactory.tokens.grid import read_tokenizer
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.training.checkpoint_folder import CARD_FORMAT, read_weights


@dataclass
class Trained:
    """A model as it came out of training, ready to generate or to be evaluated.

    `window` is the longest span in tokens that training showed the model; `profile` describes its corpus
    (music/profile.py); `conditions` are what it may be told, None for nothing; `sha256` is of its files' hashes;
    `model_config` builds the model; `finetuned` says from what it was fine-tuned and how (cli/finetune.py), None where
    it was not; `segment` is how its training pieces were cut, the keywords of data/segments.py's `segment_score`;
    `originality` are the folders of the indexes of all that it was trained on (data/originality.py).
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
    originality: tuple[str, ...] = ()


def make_card(
    model_config: dict[str, Any],
    tokenizer: Tokenizer,
    window: int,
    profile: dict[str, Any],
    corpus: str,
    conditions: ConditionCodec | None = None,
    finetuned: dict[str, Any] | None = None,
    segment: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    originality: Sequence[str] = (),
) -> dict[str, Any]:
    """What travels in a checkpoint beside the weights: plain values as JSON gives them back.

    settings: the whole config of the run; nothing reads it but people.
    """
    card = {
        "format": CARD_FORMAT,
        "model": model_config,
        "tokenizer": tokenizer.to_json(),
        "window": window,
        "profile": profile,
        "corpus": corpus,
        "conditions": conditions.to_dict() if conditions else None,
        "finetuned": finetuned,
        "segment": segment or {},
        "settings": settings or {},
        "originality": list(originality),
    }
    return json.loads(json.dumps(card))


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


def load_weights(model: nn.Module, weights: dict[str, Tensor], source: Path) -> None:
    """Give `model` the weights that were read from `source`. Raises UserError where they do not fit."""
    try:
        model.load_state_dict(
            {key.removeprefix("model."): value for key, value in weights.items() if key.startswith("model.")}
        )
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"checkpoint={source}: its weights do not fit its model: {reason}") from error


def load_trained(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Trained:
    """Model and tokenizer of a checkpoint, the model in eval mode on `device`, LoRA's adapters merged into it.

    Raises UserError for a missing or damaged one and where weights, model and tokenizer do not belong together.
    """
    source = Path(path)
    card, weights, digest = read_weights(source)

    def build(tokenizer: Tokenizer) -> SequenceModel:
        model = build_model(card["model"], tokenizer)
        finetuned = card.get("finetuned")
        if finetuned and finetuned["lora"]:
            add_lora(model, **finetuned["lora"])
        return model

    trained = trained_of(card, build, source, digest)
    load_weights(trained.model, weights, source)
    merge_lora(trained.model)
    trained.model = trained.model.to(device).eval()
    return trained


def trained_of(card: dict[str, Any], build: Callable[[Tokenizer], SequenceModel], source: Path, digest: str) -> Trained:
    """What the card of the checkpoint `source` says, with the model that `build` makes for its tokenizer.

    Raises UserError where it is damaged, and for one of note features.
    """
    if "scaler" in card:
        raise UserError(f"checkpoint={source} is of note features; take one of tokens here")
    try:
        tokenizer = read_tokenizer(card["tokenizer"])
        return Trained(
            build(tokenizer),
            tokenizer,
            card["window"],
            card["profile"],
            card["corpus"],
            source,
            digest,
            ConditionCodec.from_dict(card["conditions"]) if card.get("conditions") else None,
            card["model"],
            card.get("finetuned"),
            card.get("segment", {}),
            tuple(card.get("originality", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"checkpoint={source}: its card is damaged ({error!r}); take another checkpoint") from error
