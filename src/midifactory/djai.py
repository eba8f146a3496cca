"""djai in a notebook: the interface of djalgo's module of that name over our models of note features.

    from midifactory import djai

    files = djai.scan_midi_files("my_midis", limit=3)
    manager = djai.ModelManager(model_type="gru")
    history = manager.fit(files, epochs=5)
    tracks = manager.generate(files[0], length=10)

Times are in seconds. What a manager saves is a checkpoint like any other: `midifactory generate` composes with it.
"""

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from tqdm.auto import tqdm

from midifactory.data.batches import BatchPlan
from midifactory.data.notes import NoteLoader, NoteWindows
from midifactory.errors import UserError
from midifactory.generation.notes import continue_notes
from midifactory.generation.sampling import Sampling
from midifactory.models.notes import NoteModel
from midifactory.music.profile import corpus_profile
from midifactory.music.scan import MIDI_SUFFIXES
from midifactory.music.score import UnreadableMidi, load_score, save_score
from midifactory.tokens.notes import FEATURES, NoteCodec, Scaler, build_note_store, quantile_levels
from midifactory.training.checkpoint_folder import WholeCheckpointIO, read_card, write_checkpoint
from midifactory.training.module import CARD
from midifactory.training.notes import NoteTraining, build_note_model, load_trained_notes, make_note_card

Notes = list[tuple[int, float, float]]  # pitch, duration and offset (onset) in seconds
_MODELS: dict[str, dict[str, Any]] = {
    "lstm": {"_target_": "midifactory.models.recurrent.Recurrent", "cell": "lstm"},
    "gru": {"_target_": "midifactory.models.recurrent.Recurrent", "cell": "gru"},
    "transformer": {"_target_": "midifactory.models.transformer.Transformer"},
}
_UNITS_PER_HEAD = 16
_OFFSET, _TIME_DELTA = FEATURES.index("offset_s"), FEATURES.index("time_delta_s")
_VELOCITY = 80  # of notes that name none
_SETTINGS = "djai"  # the key of a checkpoint's card under which the manager's own settings lie


def scan_midi_files(path: str | os.PathLike[str], limit: int | None = None) -> list[str]:
    """The .mid, .midi and .kar files below a folder, sorted, at most `limit`. Raises UserError where there is none."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"{path}: no such folder; give one with .mid files in it")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise UserError(f"limit={limit}: give a whole number of at least 1, or None for all files")
    found = sorted(str(file) for file in folder.rglob("*") if file.suffix.lower() in MIDI_SUFFIXES and file.is_file())
    if not found:
        raise UserError(f"{path}: no .mid, .midi or .kar file below it; give another folder")
    return found[:limit]


def write_midi(tracks: Sequence[Notes], path: str | os.PathLike[str]) -> None:
    """Write tracks, as `ModelManager.generate` returns them, into a MIDI file that begins with the first note."""
    rows = np.array(
        [
            [pitch, duration, offset, 0, _VELOCITY, *(track == other for other in range(len(tracks)))]
            for track, notes in enumerate(tracks)
            for pitch, duration, offset in notes
        ],
        dtype=float,
    ).reshape(-1, len(FEATURES) + len(tracks))
    rows = rows[np.argsort(rows[:, _OFFSET], kind="stable")]
    if len(rows):
        rows[:, _OFFSET] -= rows[0, _OFFSET]
    rows[1:, _TIME_DELTA] = np.diff(rows[:, _OFFSET])
    save_score(NoteCodec(num_instruments=len(tracks)).to_score(rows), path)


class History(Callback):
    """What `fit` returns. `history`: name -> one number for each epoch, the mean of its batches.

    "loss" is what was minimised, the weighted sum of the others: "pitch_loss", "duration_loss", "offset_loss",
    "time_delta_loss", "velocity_loss" and "track_loss", each in nats.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self._sums: dict[str, float] = {}
        self._batches = 0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add up the batch's losses."""
        losses = {"loss": outputs["loss"], **{f"{name}_loss": value for name, value in outputs["nats"].items()}}
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        self._batches += 1

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Close the epoch."""
        for name, total in self._sums.items():
            self.history.setdefault(name, []).append(total / self._batches)
        self._sums, self._batches = {}, 0


class ModelManager:
    """A model of notes, its training and its music.

    sequence_length_i, sequence_length_o: the notes it reads, and the notes after them that it learns to foretell.
    num_instruments: tracks it tells apart; what is beyond the last is folded into it. model_type: "lstm", "gru" or
    "transformer" of `n_layers` layers of `n_units`. loss_weights: of pitch, duration, offset, time_delta, velocity and
    track, 1 where not given. The same seed gives the same model, and the same music. Raises UserError for settings that
    make no model.
    """

    def __init__(
        self,
        sequence_length_i: int = 30,
        sequence_length_o: int = 10,
        num_instruments: int = 1,
        model_type: str = "gru",
        n_layers: int = 5,
        n_units: int = 64,
        dropout: float = 0.1,
        batch_size: int = 32,
        learning_rate: float = 0.005,
        loss_weights: dict[str, float] | None = None,
        seed: int = 0,
    ):
        self._settings = {name: value for name, value in locals().items() if name != "self"}
        for name in ("n_layers", "n_units", "batch_size"):
            if type(self._settings[name]) is not int or self._settings[name] < 1:
                raise UserError(f"{name}={self._settings[name]}: give a whole number of at least 1")
        if not isinstance(learning_rate, (int, float)) or not learning_rate > 0:
            raise UserError(f"learning_rate={learning_rate}: it must be above 0; the default is 0.005")
        if model_type not in _MODELS:
            raise UserError(f"model_type={model_type!r}: choose one of {', '.join(_MODELS)}")
        self.batch_size, self.learning_rate, self.seed = batch_size, learning_rate, seed
        self.codec = NoteCodec(
            num_instruments=num_instruments,
            sequence_length_i=sequence_length_i,
            sequence_length_o=sequence_length_o,
            loss_weights=loss_weights or {},
        )
        self._config = _MODELS[model_type] | {"d_model": n_units, "layers": n_layers, "dropout": dropout}
        if model_type == "transformer":
            length = sequence_length_i + sequence_length_o
            most = max(1, n_units // _UNITS_PER_HEAD)
            heads = next((count for count in range(most, 1, -1) if n_units % (2 * count) == 0), 1)  # of an even size
            self._config |= {"heads": heads, "context": length}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model: NoteModel = build_note_model(self._config, self.codec)
        self.scaler: Scaler | None = None
        self.profile: dict[str, Any] = {}

    def fit(self, files: Sequence[str | os.PathLike[str]], epochs: int = 5) -> History:
        """Train on all windows of the files; called again, it goes on from where the model is.

        The numbers are scaled by the files of the first call. Files that cannot be read are named and left out. Raises
        UserError for a missing file, and where none can be read.
        """
        if type(epochs) is not int or epochs < 1:
            raise UserError(f"epochs={epochs}: give a whole number of at least 1")
        if isinstance(files, (str, os.PathLike)) or not len(files):
            raise UserError(f"files={files!r}: give a list of MIDI files, such as scan_midi_files returns")
        paths = [_existing(path) for path in files]
        with tempfile.TemporaryDirectory() as folder, _without_advice():
            store = build_note_store([(str(path), path) for path in paths], self.codec, folder, "djai")
            for path, reason in store.refused.items():
                print(f"skipped {path}: {reason}")
            if self.scaler is None:
                pieces = [store.features(piece) for piece in store.pieces]
                self.scaler = Scaler.fit(pieces)
                levels = quantile_levels([self.scaler.transform(rows) for rows in pieces], self.codec.bins)
                self.model.levels.copy_(torch.from_numpy(levels))
                self.profile = corpus_profile([Path(piece) for piece in store.pieces])
            codec, history = self.codec, History()
            windows = NoteWindows(
                store, list(store.pieces), self.scaler, codec.sequence_length_i, codec.sequence_length_o, codec.stride
            )
            plan = BatchPlan(np.full(len(windows), windows.length), self.batch_size, self.seed, shuffle=True)
            optimizer = partial(torch.optim.AdamW, lr=self.learning_rate)
            trainer = lightning.Trainer(
                max_epochs=epochs,
                devices=1,
                gradient_clip_val=1.0,
                logger=False,
                enable_checkpointing=False,
                enable_model_summary=False,
                callbacks=[history, TQDMProgressBar(refresh_rate=10)],
                plugins=[WholeCheckpointIO()],
                default_root_dir=folder,
            )
            with torch.random.fork_rng(devices=[]):
                training = NoteTraining(self.model, codec, optimizer, seed=self.seed)
                trainer.fit(training, NoteLoader(windows, plan, workers=0))
        self.model.to("cpu").eval()
        return history

    def generate(
        self, file: str | os.PathLike[str], length: int = 10, temperature: float = 1.0, seed: int | None = None
    ) -> list[Notes]:
        """The `length` notes that follow the first `sequence_length_i` notes of a MIDI file.

        Returns `num_instruments` tracks of (pitch, duration, offset), where offsets count from the file's beginning.
        seed: the manager's unless given. Raises UserError for a file that cannot be read, and before `fit`.
        """
        if type(length) is not int or length < 1:
            raise UserError(f"length={length}: give a whole number of at least 1")
        scaler = self._fitted("generate")
        path = _existing(file)
        try:
            score = load_score(path)
        except UnreadableMidi as error:
            raise UserError(f"{path}: {error}; give another MIDI file") from error
        prompt = self.codec.features(score)[: self.codec.sequence_length_i]
        with tqdm(total=length, desc="generate", unit="note") as bar:
            (rows,) = continue_notes(
                self.model,
                self.codec,
                scaler,
                prompt,
                length,
                None,
                Sampling(temperature),
                seed=self.seed if seed is None else seed,
                on_step=bar.update,
            )
        tracks: list[Notes] = [[] for _ in range(self.codec.num_instruments)]
        for row in rows:
            pitch, duration, offset = row[:3].tolist()
            tracks[int(row[len(FEATURES) :].argmax())].append((round(pitch), duration, offset))
        return tracks

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint. Raises UserError before `fit`."""
        scaler = self._fitted("save")
        card = make_note_card(self._config, self.codec, scaler, self.profile, "djai") | {
            _SETTINGS: json.dumps(self._settings)
        }
        weights = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        write_checkpoint({CARD: card, "state_dict": weights}, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "ModelManager":
        """The manager that `save` wrote. Raises UserError for any other file."""
        trained = load_trained_notes(path)
        settings = read_card(path).get(_SETTINGS)
        if settings is None:
            raise UserError(f"{path} was not saved by djai; compose with: midifactory generate checkpoint={path}")
        manager = cls(**json.loads(settings))
        manager.model, manager.scaler, manager.profile = trained.model, trained.scaler, trained.profile
        return manager

    def _fitted(self, what: str) -> Scaler:
        if self.scaler is None:
            raise UserError(f"{what}: nothing is learnt yet; call fit(files) first, or ModelManager.load(path)")
        return self.scaler


def _existing(path: str | os.PathLike[str]) -> Path:
    found = Path(path).expanduser()
    if not found.is_file():
        raise UserError(f"{path}: no such file; djai.scan_midi_files(folder) lists those of a folder")
    return found


@contextmanager
def _without_advice() -> Iterator[None]:
    """Lightning's hints on workers, devices and logging are not for a reader of a notebook."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
