"""Training of models of note features, and their checkpoints.

Legend: B rows, T = I + O notes of a window, M notes that are foretold, F the columns of tokens/notes.py.
"""

import json
import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from midifactory.data.notes import NoteLoader
from midifactory.errors import UserError
from midifactory.models.notes import ORDER, PITCHES, NoteModel
from midifactory.tokens.notes import FEATURES, NoteCodec, Scaler
from midifactory.training.checkpoint import build_model, load_weights
from midifactory.training.checkpoint_folder import CARD_FORMAT, read_card, read_weights
from midifactory.training.module import SequenceTraining
from midifactory.training.processes import process_count, summed


def window_nats(model: NoteModel, rows: Tensor, inputs: int) -> dict[str, Tensor]:
    """rows (B, T, F) of windows -> nats of each feature of the M notes that follow the first `inputs`, (M,) each."""
    known, targets = model(rows[:, :-1])[0][:, inputs - 1 :], rows[:, inputs:]  # (B, O, D), (B, O, F)
    real = targets[..., len(FEATURES) :].any(-1)  # (B, O); rows without a track are no notes
    return model.nats(known[real], targets[real])


def weighted_loss(nats: dict[str, Tensor], codec: NoteCodec) -> Tensor:
    """The sum of each feature's mean nats times its weight."""
    return torch.stack([codec.loss_weights.get(name, 1.0) * values.mean() for name, values in nats.items()]).sum()


def note_loss(model: NoteModel, batch: dict[str, Tensor], codec: NoteCodec) -> Tensor:
    """What is minimised, of a batch of data.notes.NoteLoader."""
    return weighted_loss(window_nats(model, batch["rows"], codec.sequence_length_i), codec)


class NoteTraining(SequenceTraining):
    """Next-note training with teacher forcing: SequenceTraining, for windows of notes.

    Logs nats per note, which are those of all features but `offset` (models/notes.py), and those of each feature; both
    are plain, whatever their weights in `codec.loss_weights`.
    """

    model: Any  # a NoteModel
    unit = "notes"

    def __init__(self, model: NoteModel, codec: NoteCodec, *arguments: Any, **keywords: Any):
        super().__init__(cast(Any, model), *arguments, **keywords)
        self.codec = codec

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Any]:  # type: ignore[override]
        """The loss of a batch of data.notes.NoteLoader, and each feature's mean nats."""
        nats = window_nats(self.model, batch["rows"], self.codec.sequence_length_i)
        count = torch.tensor(float(len(nats["pitch"])), device=self.device)
        sums = torch.stack([count, *(values.detach().sum() for values in nats.values())])
        all_notes, *totals = summed(sums)
        means = {name: total / all_notes for name, total in zip(nats, totals, strict=True)}
        loss = weighted_loss(nats, self.codec) * (process_count() * count / all_notes)
        now = time.perf_counter()
        if self._clock is not None:
            self.log("train/notes_per_s", int(all_notes) / (now - self._clock), prog_bar=True)
        self._clock = now
        weighted = torch.stack([self.codec.loss_weights.get(name, 1.0) * value for name, value in means.items()]).sum()
        self.log("train/loss", weighted, prog_bar=True)
        self.log("train/nats_per_note", torch.stack([means[name] for name in ORDER]).sum(), prog_bar=True)
        self.log_dict({f"train/{name}": value for name, value in means.items()})
        return {"loss": loss, "nats": means}

    def real_positions(self, batch: dict[str, Tensor]) -> Tensor:
        """(B, T - 1) bool: which of the notes that follow another are any."""
        return batch["rows"][:, 1:, len(FEATURES) :].any(-1)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Sum nats and notes, so that the epoch's figure does not depend on the batches."""
        nats = window_nats(self.model, batch["rows"], self.codec.sequence_length_i)
        self._nats += sum(float(nats[name].cpu().double().sum()) for name in ORDER)
        self._notes += len(nats["pitch"])
        return {}

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self._nats, self._notes = 0.0, 0

    def on_validation_epoch_end(self) -> None:
        """Log nats per note of the validation pieces."""
        nats, notes = self._nats, self._notes
        if process_count() > 1:
            nats, notes = summed(torch.tensor([nats, notes], dtype=torch.float64, device=self.device)).tolist()
        self.log("val/nats_per_note", nats / max(1, notes), prog_bar=True)
        self._clock = None  # the time validation took is not the training's


@dataclass
class TrainedNotes:
    """A model of note features as it came out of training; `path` and `sha256` are the checkpoint's.

    `model_config` builds its trunk.
    """

    model: NoteModel
    codec: NoteCodec
    scaler: Scaler
    profile: dict[str, Any]
    corpus: str
    path: Path
    sha256: str
    model_config: dict[str, Any] = field(default_factory=dict)


def make_note_card(
    model_config: dict[str, Any],
    codec: NoteCodec,
    scaler: Scaler,
    profile: dict[str, Any],
    corpus: str,
    settings: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What travels in a checkpoint beside the weights, as `checkpoint.make_card`."""
    card = {
        "format": CARD_FORMAT,
        "model": model_config,
        "tokenizer": codec.to_json(),
        "scaler": scaler.to_dict(),
        "profile": profile,
        "corpus": corpus,
        "conditions": None,
        "settings": settings or {},
    }
    return json.loads(json.dumps(card))


def build_note_model(config: dict[str, Any], codec: NoteCodec, levels: np.ndarray | None = None) -> NoteModel:
    """The model whose trunk `config` describes. levels: of tokens.notes.quantile_levels, where no weights follow.

    Raises UserError where it cannot be built, and where the trunk is asked for what note features have not.
    """
    for name in ("musical_embeddings", "experts"):
        if config.get(name):
            raise UserError(f"model.{name}={config[name]} is for tokens; leave it out with tokenizer=notes")
    trunk = build_model(config, SimpleNamespace(vocab_size=PITCHES))
    length = codec.sequence_length_i + codec.sequence_length_o
    if trunk.context is not None and trunk.context < length:
        raise UserError(
            f"model.context={trunk.context}: a window has {codec.sequence_length_i} + {codec.sequence_length_o} notes; "
            f"set model.context={length}, or lower tokenizer.sequence_length_i"
        )
    try:
        model = NoteModel(trunk, codec.num_instruments, codec.bins)
    except ValueError as error:
        raise UserError(f"tokenizer=notes: {error}") from error
    if levels is not None:
        model.levels.copy_(torch.from_numpy(levels))
    return model


def holds_notes(path: str | os.PathLike[str]) -> bool:
    """Whether a checkpoint is of note features. Raises UserError for a missing, damaged or foreign one."""
    return "scaler" in read_card(path)


def load_trained_notes(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> TrainedNotes:
    """Model, codec and scaler of a checkpoint, the model in eval mode on `device`.

    Raises UserError for a missing or damaged one, for a model of tokens, and where the parts do not belong together.
    """
    source = Path(path)
    card, weights, digest = read_weights(source)
    if "scaler" not in card:
        raise UserError(f"checkpoint={source} is of tokens; train one with tokenizer=notes")
    try:
        codec = NoteCodec(**json.loads(card["tokenizer"]))
        scaler, profile, corpus = Scaler.from_dict(card["scaler"]), card["profile"], card["corpus"]
        model = build_note_model(card["model"], codec)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"checkpoint={source}: its card is damaged ({error!r}); take another checkpoint") from error
    load_weights(model, weights, source)
    return TrainedNotes(model.to(device).eval(), codec, scaler, profile, corpus, source, digest, card["model"])


@torch.no_grad()
def mean_nats(model: NoteModel, loader: NoteLoader, inputs: int) -> dict[str, float]:
    """Mean nats of each feature over all notes that a loader's windows foretell."""
    was_training, totals, notes = model.training, dict.fromkeys((*ORDER, "offset"), 0.0), 0
    device = next(model.parameters()).device
    model.eval()
    for batch in loader:
        nats = window_nats(model, batch["rows"].to(device), inputs)
        totals = {name: total + float(nats[name].cpu().double().sum()) for name, total in totals.items()}
        notes += len(nats["pitch"])
    model.train(was_training)
    return {name: total / max(1, notes) for name, total in totals.items()}


def unigram_nats(model: NoteModel, training: Iterable[np.ndarray], pieces: Iterable[np.ndarray]) -> float:
    """Nats per note of `pieces` (scaled rows, (N, F) each) under the training pieces' frequencies of each class.

    One is added to each count (Laplace). Features are taken as independent.
    """
    known, found = (
        model.classes(torch.from_numpy(np.concatenate(list(rows))).to(model.levels)) for rows in (training, pieces)
    )
    nats = 0.0
    for name, size in model.sizes.items():
        counts = torch.bincount(known[name], minlength=size).double() + 1
        nats += float(-(counts / counts.sum()).log()[found[name]].mean())
    return nats


def uniform_nats(model: NoteModel) -> float:
    """Nats per note where every class of every feature is equally likely."""
    return sum(math.log(size) for size in model.sizes.values())
