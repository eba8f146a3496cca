"""What `midifactory evaluate` does otherwise with a checkpoint of note features (tokenizer=notes)."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from midifactory.cli.building import build_datamodule, default_device
from midifactory.data.notes import NoteDataModule, NoteWindows, collate_windows
from midifactory.errors import UserError
from midifactory.evaluation.held_out import HeldOutPiece, PieceNats, likelihood_report, notes_by_tenths
from midifactory.models.notes import ORDER
from midifactory.music.corpora import SPLITS
from midifactory.music.score import duration_seconds, last_note_end, load_score
from midifactory.tokens.notes import NoteCodec
from midifactory.training.notes import TrainedNotes, load_trained_notes, window_nats

KEEPS = ["duration", "velocity"]  # programs as far as tokenizer.programs names them, no tempo, no metre
_WINDOWS_AT_ONCE = 256


def evaluate_note_model(config: DictConfig, path: Path) -> dict[str, Any]:
    """What of evaluation.json tells of the checkpoint at `path`: each feature of a note counts as a token.

    The nats are of the features as classes, as training reports them. Raises UserError for what cannot be measured so.
    """
    if config.stride_tokens is not None:
        raise UserError(f"stride_tokens={config.stride_tokens}: note features are read in windows; leave it out")
    trained = load_trained_notes(path, default_device(config.device, "device"))
    codec = trained.codec
    config.tokenizer = {"_target_": "midifactory.tokens.notes.NoteCodec", **json.loads(codec.to_json())}
    data = build_datamodule(config)
    assert isinstance(data, NoteDataModule)
    data.prepare_data()
    if not data.pieces(config.split):
        there = ", ".join(f"{len(data.pieces(split))} {split}" for split in SPLITS)
        raise UserError(f"split={config.split}: {data.corpus_name} has none of its pieces there ({there})")
    pieces = [_held_out(data, piece) for piece in data.corpus.of(config.split) if piece.id in data.store.pieces]
    nats = [PieceNats(_piece_nats(trained, data, piece.id)) for piece in pieces]
    report = likelihood_report(
        pieces, nats, _baselines(trained, data, pieces), ORDER, np.ones(len(ORDER), np.int64), config.seed
    )
    inputs = codec.sequence_length_i + codec.sequence_length_o
    window = {"kind": "exact", "window_tokens": inputs, "stride_tokens": codec.sequence_length_o}
    return {
        "checkpoint": str(path.resolve()),
        "checkpoint_sha256": trained.sha256,
        "model": type(trained.model.trunk).__name__,
        "parameters": trained.model.parameters_count,
        "corpus": data.corpus_name,
        "tokenizer": {
            "name": "notes",
            "fingerprint": codec.fingerprint,
            "vocabulary": sum(trained.model.sizes.values()),
            "keeps": [*KEEPS, *(["programs"] if codec.programs else [])],
        },
        "likelihood": window | report | {"dropped": None},
    }


def _held_out(data: NoteDataModule, piece: Any) -> HeldOutPiece:
    """A piece whose tokens are the features of its notes, in ORDER."""
    notes, score = data.store.pieces[piece.id].notes, load_score(piece.path, data.limits)
    ids = np.concatenate([[0], np.tile(np.arange(len(ORDER)), notes)])
    places = np.arange(notes)
    tenths = notes_by_tenths({"token": 1 + len(ORDER) * places, "notes": places}, notes, len(ids))
    beats = last_note_end(score) / score.ticks_per_quarter
    return HeldOutPiece(piece.id, ids, notes, beats, duration_seconds(score), tenths, piece.labels)


@torch.no_grad()
def _piece_nats(trained: TrainedNotes, data: NoteDataModule, piece_id: str) -> np.ndarray:
    """Nats of every feature of every note, note by note, in ORDER: each note stands in one window's second part."""
    codec: NoteCodec = trained.codec
    outputs = codec.sequence_length_o
    windows = NoteWindows(data.store, [piece_id], trained.scaler, codec.sequence_length_i, outputs, outputs)
    device, found = next(trained.model.parameters()).device, []
    for first in range(0, len(windows), _WINDOWS_AT_ONCE):
        rows = [windows[index] for index in range(first, min(first + _WINDOWS_AT_ONCE, len(windows)))]
        nats = window_nats(trained.model, collate_windows(rows)["rows"].to(device), codec.sequence_length_i)
        found.append(torch.stack([nats[name] for name in ORDER], -1).cpu().double().numpy())  # (M, features)
    return np.concatenate(found).reshape(-1)


def _baselines(trained: TrainedNotes, data: NoteDataModule, pieces: list[HeldOutPiece]) -> dict[str, list[PieceNats]]:
    """Each class of a feature by its frequency among the training notes (Laplace), and all alike."""
    model = trained.model

    def classes(piece_id: str) -> dict[str, np.ndarray]:
        rows = torch.from_numpy(trained.scaler.transform(data.store.features(piece_id))).to(model.levels)
        return {name: values.cpu().numpy() for name, values in model.classes(rows).items()}

    uniform = np.array([math.log(model.sizes[name]) for name in ORDER])
    found = {"uniform": [PieceNats(np.tile(uniform, piece.notes)) for piece in pieces]}
    if training := data.pieces("train"):
        counts = {name: np.ones(model.sizes[name]) for name in ORDER}
        for piece_id in training:
            for name, values in classes(piece_id).items():
                if name in counts:
                    counts[name] += np.bincount(values, minlength=len(counts[name]))
        nats = {name: -np.log(each / each.sum()) for name, each in counts.items()}
        held_out = [classes(piece.id) for piece in pieces]
        unigram = [np.stack([nats[name][each[name]] for name in ORDER], -1).reshape(-1) for each in held_out]
        found = {"unigram": [PieceNats(values) for values in unigram]} | found
    return found
