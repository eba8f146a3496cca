"""How good a trained model is: nats per note of the pieces that training did not see."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from midifactory.data.conditions import NOT_GIVEN
from midifactory.data.datamodule import MidiDataModule
from midifactory.evaluation.held_out import PieceNats
from midifactory.evaluation.likelihood import (
    evaluating,
    latent_nats,
    model_likelihood,
    token_nats,
    uniform_likelihood,
    unigram_likelihood,
)
from midifactory.models.interface import Conditions, SequenceModel
from midifactory.models.vae import VAE
from midifactory.tokens.grid import VoiceGrid
from midifactory.training.checkpoint import Trained, load_trained

Pieces = list[tuple[str, Any, int]]  # (id, ids (N,), notes of the source file)


def held_out_pieces(data: MidiDataModule) -> dict[str, Pieces]:
    """The pieces of validation and test, where there are any."""
    found = {
        split: [(piece, data.model_ids(piece), data.store.pieces[piece].source_notes) for piece in data.pieces(split)]
        for split in ("validation", "test")
    }
    return {split: pieces for split, pieces in found.items() if pieces}


def told_of_pieces(data: MidiDataModule, attributes: bool = False) -> dict[str, Conditions]:
    """What a model is told of each piece: the labels of its corpus, and with `attributes` what its own notes measure.

    The latter say of a piece what is still to come, and of all of it at once, where training told them of each segment:
    what a model is worth is measured without.
    """
    names = data.condition_codec.names if data.condition_codec is not None else ()
    hidden = [place for place, name in enumerate(names) if name in data.measured_conditions and not attributes]
    told = {}
    for piece, ids in data.conditions.items():
        labels = torch.from_numpy(ids[None].copy())  # (1, C)
        labels[:, hidden] = NOT_GIVEN
        told[piece] = Conditions(labels)
    return told


def nats_per_note(
    model: SequenceModel,
    data: MidiDataModule,
    pieces: Pieces,
    window: int,
    told: Mapping[str, Conditions] | None = None,
) -> float:
    """Of `pieces`, the model told of each what its labels are, or what `told` says; with a latent, an upper bound."""
    told = told_of_pieces(data) if told is None else told
    with evaluating(model):
        found = measure(model, data, [(piece, ids) for piece, ids, _ in pieces], window, None, told)
    return sum(nats.total for nats in found) / max(1, sum(notes for _, _, notes in pieces))


def measure(
    model: SequenceModel,
    data: MidiDataModule,
    pieces: Sequence[tuple[str, np.ndarray]],
    window: int,
    stride: int | None = None,
    told: Mapping[str, Conditions] | None = None,
    on_tokens: Callable[[int], Any] | None = None,
) -> list[PieceNats]:
    """Nats of every token of pieces (id, ids (N,)), by segments for a model with a latent; in evaluation mode.

    The other arguments are those of `token_nats`.
    """
    if isinstance(model, VAE):
        segments = [(piece, data.segment_ids(piece)) for piece, _ in pieces]
        return [PieceNats(*found) for found in latent_nats(model, segments, told, on_tokens)]
    return [PieceNats(found) for found in token_nats(model, pieces, window, stride, told, on_tokens)]


def told_of(trained: Trained, data: MidiDataModule, split: str) -> dict[str, Conditions]:
    """A trained model is told the labels of each piece of a split; nothing where it takes no conditions."""
    if trained.conditions is None:
        return {}
    found = data.piece_conditions(trained.conditions, data.pieces(split), measured=False)
    device = next(trained.model.parameters()).device
    return {piece: Conditions(torch.from_numpy(ids[None]).to(device)) for piece, ids in found.items()}


def cell_nats(model: SequenceModel, data: MidiDataModule, pieces: Pieces, window: int) -> dict[str, Any]:
    """Nats per cell of a grid of voices, silence included and EOS not, and what the model saw of a piece at once."""
    told = told_of_pieces(data)
    likelihood = model_likelihood(model, [(piece, ids[:-1], notes) for piece, ids, notes in pieces], window, told)
    seen = "whole pieces" if model.context is None else f"{window} tokens, advanced by {window // 2}"
    cells = sum(piece.tokens for piece in likelihood.pieces)
    return {"nats_per_cell": likelihood.nats_per_token, "cells": cells, "cell_window": seen}


def evaluate(checkpoint: Path, data: MidiDataModule) -> dict[str, Any]:
    """Nats per note of the held-out pieces, and baselines."""
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
    for split, pieces in held_out_pieces(data).items():
        result[split] = {
            "pieces": len(pieces),
            "nats_per_note": nats_per_note(trained.model, data, pieces, trained.window),
            "unigram_nats_per_note": unigram_likelihood(pieces, training, vocab).nats_per_note,
            "uniform_nats_per_note": uniform_likelihood(pieces, vocab).nats_per_note,
        }
        if isinstance(data.tokenizer, VoiceGrid) and not isinstance(trained.model, VAE):
            result[split] |= cell_nats(trained.model, data, pieces, trained.window)
        names = data.condition_codec.names if data.condition_codec is not None else ()
        if set(names) - set(data.measured_conditions):  # what the labels are worth is the difference
            unconditional = nats_per_note(trained.model, data, pieces, trained.window, {})
            result[split]["nats_per_note_unconditional"] = unconditional
        if data.measured_conditions:
            informed = nats_per_note(trained.model, data, pieces, trained.window, told_of_pieces(data, attributes=True))
            result[split]["nats_per_note_told_attributes"] = informed
        if trained.finetuned:
            result[split]["nats_per_note_before"] = trained.finetuned["before"][split]
    return result


def result_line(result: dict[str, Any]) -> str:
    """The held-out figure (of test, or of validation where there is no test) beside its baselines."""
    split = "test" if "test" in result else "validation"
    part = result[split]
    cell = f", {part['nats_per_cell']:.4f} per cell" if "nats_per_cell" in part else ""
    beside = {
        "without its conditions": "nats_per_note_unconditional",
        "told each whole piece's attributes": "nats_per_note_told_attributes",
        "before fine-tuning": "nats_per_note_before",
    }
    others = "".join(f", {part[key]:.3f} {what}" for what, key in beside.items() if key in part)
    return (
        f"{split}, {part['pieces']} pieces: {part['nats_per_note']:.3f} nats per note{cell}{others} "
        f"({part['nats_per_note'] / part['unigram_nats_per_note']:.2f} of unigram's "
        f"{part['unigram_nats_per_note']:.2f}; uniform {part['uniform_nats_per_note']:.2f}) "
        f"after {result['minutes']:.1f} min"
    )
