"""What the model composes while it learns: a callback, here because generation stands beside training, not below it.

Legend: B pieces, C conditions.
"""

import base64
import logging
import shutil
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.strategies import FSDPStrategy
from symusic import Score

from midifactory.data.conditions import ConditionCodec
from midifactory.errors import UserError
from midifactory.generation.guide import Length
from midifactory.generation.notes import compose_notes
from midifactory.generation.pieces import compose, opening_of_style
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Free
from midifactory.generation.wishes import bind_range, parse_wishes
from midifactory.models.interface import Conditions
from midifactory.music.score import save_score
from midifactory.render.audio import save_wav
from midifactory.tokens.grid import read_tokenizer
from midifactory.tokens.notes import Scaler
from midifactory.training.notes import NoteTraining

_SAMPLING = Sampling(temperature=0.95, top_p=0.97)  # generation's default
_SAMPLE_RATE_HZ = 22_050  # enough to judge by, at half the size
_log = logging.getLogger(__name__)


class Samples(Callback):
    """After every `every_epochs` epochs the model composes `count` pieces of up to `tokens` tokens (or notes).

    They go to `folder`/epoch-0005/: .mid, a piano roll .png and, where FluidSynth is installed, .wav; pictures and
    sound also to TensorBoard and W&B. The seed is the same each time, so that pieces differ by what was learnt. Tokens
    and not bars, since only these bound what an untrained model costs. Training is as without it: the model's modes and
    torch's random state are put back. A piece that cannot be made is a warning, no end of the training. Raises
    UserError for numbers that cannot be.
    """

    def __init__(self, folder: str | Path, every_epochs: int = 5, count: int = 2, tokens: int = 256, seed: int = 0):
        for name, value, least in (
            ("every_epochs", every_epochs, 0), ("count", count, 1), ("tokens", tokens, 1), ("seed", seed, 0),
        ):  # fmt: skip
            if type(value) is not int or value < least:
                raise UserError(f"callbacks.samples.{name}={value}: give a whole number of at least {least}")
        self.folder, self.every_epochs = Path(folder), every_epochs
        self.count, self.tokens, self.seed = count, tokens, seed

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Compose where it is time."""
        epoch = trainer.current_epoch + 1
        # One process composes; the pieces of a model that is split over several are in none of them.
        if not self.every_epochs or epoch % self.every_epochs or isinstance(trainer.strategy, FSDPStrategy):
            return
        if trainer.is_global_zero:
            try:
                with _undisturbed(pl_module):
                    scores = self._compose(pl_module)
                self._keep(trainer, scores, self.folder / f"epoch-{epoch:04d}")
            except Exception as error:
                _log.warning("no samples after epoch %d: %s", epoch, str(error) or repr(error))

    def _compose(self, pl_module: Any) -> list[Score]:
        card, length = pl_module.card, Length(tokens=self.tokens)
        trained: Any = SimpleNamespace(model=pl_module.model, profile=card["profile"], window=card.get("window"))
        if isinstance(pl_module, NoteTraining):
            trained.codec, trained.scaler = pl_module.codec, Scaler.from_dict(card["scaler"])
            return [piece.score for piece in compose_notes(trained, None, length, _SAMPLING, self.count, self.seed)]
        tokenizer = trained.tokenizer = read_tokenizer(card["tokenizer"])
        trained.segment = card["segment"]
        wishes = bind_range(parse_wishes(card["profile"], None, None, None, None), None, tokenizer)
        opening = opening_of_style(Free(), wishes, tokenizer)
        conditions = None
        if card["conditions"]:  # nothing is asked
            labels = torch.from_numpy(ConditionCodec.from_dict(card["conditions"]).encode_wish({}))  # (C,)
            conditions = Conditions(labels.repeat(self.count, 1))  # (B, C)
        pieces = compose(trained, opening, wishes, length, _SAMPLING, self.count, self.seed, conditions=conditions)
        return [piece.score for piece in pieces]

    def _keep(self, trainer: lightning.Trainer, scores: list[Score], folder: Path) -> None:
        # Drawing loads matplotlib, which a short training has no use for.
        from midifactory.render.pianoroll import save_pianoroll

        for number, score in enumerate(scores, start=1):
            midi = folder / f"piece_{number:02d}.mid"
            save_score(score, midi)
            if score.note_num() == 0:
                continue
            save_pianoroll(score, midi.with_suffix(".png"))
            if shutil.which("fluidsynth"):
                save_wav(midi, midi.with_suffix(".wav"), _SAMPLE_RATE_HZ)
            self._show(trainer, midi, f"samples/piece_{number:02d}")

    def _show(self, trainer: lightning.Trainer, midi: Path, name: str) -> None:
        """Picture and sound, where there are any, to the loggers that can show them."""
        step, picture, sound = trainer.global_step, midi.with_suffix(".png"), midi.with_suffix(".wav")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(f"{name}_roll", _pixels(picture), step, dataformats="HWC")
                if sound.is_file():
                    logger.experiment.add_audio(f"{name}_sound", _samples(sound), step, _SAMPLE_RATE_HZ)
            elif isinstance(logger, WandbLogger):
                logger.log_image(f"{name}_roll", [str(picture)], step)
                if sound.is_file():
                    logger.log_metrics({f"{name}_sound": _player(sound)}, step)


@contextmanager
def _undisturbed(pl_module: lightning.LightningModule) -> Iterator[None]:
    """Whatever is done inside, torch's random state and the modules' modes are afterwards what they were."""
    modes = [(module, module.training) for module in pl_module.modules()]
    devices = [pl_module.device] if pl_module.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training


def _player(sound: Path) -> Any:
    """The WAV in a page of its own: W&B's own audio asks for the soundfile package."""
    import wandb

    content = base64.b64encode(sound.read_bytes()).decode()
    return wandb.Html(f'<audio controls src="data:audio/wav;base64,{content}"></audio>', inject=False)


def _pixels(picture: Path) -> np.ndarray:
    """A PNG as (height, width, 3) bytes."""
    from matplotlib.image import imread

    return (imread(picture)[..., :3] * 255).round().astype(np.uint8)


def _samples(sound: Path) -> np.ndarray:
    """A 16-bit WAV as (1, samples) from -1 to 1, its channels averaged."""
    with wave.open(str(sound)) as file:
        frames = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
    return (frames.mean(1, dtype=np.float32) / 2**15)[None]
