"""What `midifactory train` does otherwise with note features (tokenizer=notes)."""

from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from midifactory.cli.building import plain
from midifactory.data.notes import NoteDataModule
from midifactory.errors import UserError
from midifactory.music.profile import corpus_profile
from midifactory.training.notes import (
    NoteTraining,
    build_note_model,
    load_trained_notes,
    make_note_card,
    mean_nats,
    uniform_nats,
    unigram_nats,
)


def check_note_settings(config: DictConfig) -> None:
    """Raise UserError where note features are to be trained under settings that only tokens know."""
    if not config.tokenizer.get("_target_", "").endswith("NoteCodec"):
        return
    for key in ("loss", "data.augment"):
        group = config.loss if key == "loss" else config.data.augment
        for name, value in plain(group).items():
            if value and not name.startswith("_"):
                raise UserError(f"{key}.{name}={value} is of tokens; leave it out with tokenizer=notes")
    if config.compile:
        raise UserError("compile=true is of tokens; leave it out with tokenizer=notes")
    if config.get("init_from") is not None:
        raise UserError(f"init_from={config.init_from} is of tokens; leave it out with tokenizer=notes")


def note_training(config: DictConfig, data: NoteDataModule) -> NoteTraining:
    """The module that trains the model of `config` on note features."""
    model_config = plain(config.model)
    torch.manual_seed(config.seed)  # initialisation reads torch's global generator, and nothing before it does
    model = build_note_model(model_config, data.codec, data.levels())
    profile = corpus_profile([piece.path for piece in data.corpus.of("train")], instantiate(config.data.limits))
    return NoteTraining(
        model,
        data.codec,
        instantiate(config.optimizer),
        instantiate(config.schedule),
        seed=config.seed,
        card=make_note_card(model_config, data.codec, data.scaler, profile, data.corpus_name, plain(config)),
    )


def evaluate_notes(checkpoint: Path, data: NoteDataModule) -> dict[str, Any]:
    """Nats per note of the held-out pieces, and baselines: of the features as classes, unlike those of tokens."""
    trained = load_trained_notes(checkpoint)
    codec, model = trained.codec, trained.model
    result: dict[str, Any] = {
        "checkpoint": str(checkpoint),
        "corpus": data.corpus_name,
        "model": type(model.trunk).__name__,
        "parameters": model.parameters_count,
        "window_notes": codec.sequence_length_i + codec.sequence_length_o,
    }
    scaled = {
        split: [data.scaler.transform(data.store.features(piece)) for piece in data.pieces(split)]
        for split in ("train", "validation", "test")
    }
    for split, loader in (("validation", data.val_dataloader()), ("test", data.test_dataloader())):
        if scaled[split]:
            nats = mean_nats(model, loader, codec.sequence_length_i)
            result[split] = {
                "pieces": len(scaled[split]),
                "nats_per_note": sum(value for name, value in nats.items() if name != "offset"),
                "unigram_nats_per_note": unigram_nats(model, scaled["train"], scaled[split]),
                "uniform_nats_per_note": uniform_nats(model),
                "nats_of_features": nats,
            }
    return result
