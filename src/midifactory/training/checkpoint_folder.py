"""A checkpoint on disk: a folder that is written whole or not at all, and verified when it is read.

weights.pt    the weights by name
training.pt   what resuming needs besides: optimiser, loops, callbacks, loaders; not there where nothing can be resumed
card.json     plain values: how to build model and tokenizer, the settings, versions, step, epoch and metrics
hashes.json   size and SHA-256 of each of these, written last

An exported model (export/hub.py) is such a folder with other files, and is read in the same way: model.safetensors for
the weights, and the card as config.json and tokenizer.json. It cannot be resumed. With a program of another runtime
instead of weights (export/program.py) it is read by that runtime alone.
"""

import hashlib
import io
import json
import os
import platform
import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import IO, Any, cast

import torch
from lightning.fabric.plugins import CheckpointIO
from torch import Tensor

from midifactory import files
from midifactory.errors import UserError
from midifactory.training import safe_weights
from midifactory.training.module import CARD

CARD_FORMAT = 3
WEIGHTS, TRAINING, CARD_FILE, HASHES = "weights.pt", "training.pt", "card.json", "hashes.json"
EXPORTED_WEIGHTS, EXPORTED_CARD, EXPORTED_TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
ONNX_PROGRAM, TORCH_PROGRAM = "model.onnx", "model.pt2"
_EXPORTED = {EXPORTED_CARD, EXPORTED_TOKENIZER}
_WHOLE = (
    *({WEIGHTS, CARD_FILE}, {EXPORTED_WEIGHTS} | _EXPORTED, {TORCH_PROGRAM} | _EXPORTED, {ONNX_PROGRAM} | _EXPORTED),
    {ONNX_PROGRAM, f"{ONNX_PROGRAM}.data"} | _EXPORTED,  # of models that one file of ONNX cannot hold
)
_PACKAGES = ("midifactory", "torch", "lightning", "miditok", "symusic", "numpy")


class WholeCheckpointIO(CheckpointIO):
    """Lightning's door to these folders; its own writer stages through TMPDIR, which can lose a file."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Replace `path` by the new checkpoint; on any failure the old one stays."""
        write_checkpoint(checkpoint, path)

    def load_checkpoint(
        self, path: Any, map_location: Any = lambda storage, _: storage, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load with `weights_only=True`, whatever was asked: a checkpoint never runs code."""
        return read_checkpoint(path, map_location)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a superseded checkpoint."""
        for folder in (Path(path), files.previous_of(Path(path))):
            if folder.is_dir():
                files.remove_folder(folder)


def write_checkpoint(checkpoint: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write Lightning's dictionary as the folder `path`, in the place of an older one. Raises OSError."""
    training = {key: value for key, value in checkpoint.items() if key not in (CARD, "state_dict")}
    card = checkpoint[CARD] | {
        "step": training.get("global_step"),
        "epoch": training.get("epoch"),
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in _PACKAGES},
    }
    try:
        with files.replacing_folder(path) as folder:
            hashes = {WEIGHTS: _save(checkpoint["state_dict"], folder / WEIGHTS)}
            if "optimizer_states" in training:
                hashes[TRAINING] = _save(training, folder / TRAINING)
            text = json.dumps(card, indent=1).encode()
            (folder / CARD_FILE).write_bytes(text)
            hashes[CARD_FILE] = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
            (folder / HASHES).write_text(_hashes_text(hashes))
    except OSError as error:
        error.filename = error.filename or os.fspath(path)
        raise


class _Hashing(io.RawIOBase):
    """A file that counts and hashes what is written to it. Keeps an error: torch's writer would lose its kind."""

    def __init__(self, path: Path):
        self._file, self._sha256, self._bytes = path.open("wb"), hashlib.sha256(), 0
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """How many bytes of `data` were taken: always all, since an error waits for `finish`."""
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
            self._sha256.update(data)
            self._bytes += len(data)
        return len(data)

    def finish(self) -> dict[str, Any]:
        """Close the file; raises the first error."""
        try:
            if self.error is not None:
                raise self.error
        finally:
            self._file.close()
        return {"bytes": self._bytes, "sha256": self._sha256.hexdigest()}


def _save(value: Any, path: Path) -> dict[str, Any]:
    file = _Hashing(path)
    try:
        torch.save(value, cast(IO[bytes], file))
    finally:
        entry = file.finish()
    return entry


def write_hashes(folder: Path, names: Iterable[str]) -> None:
    """Write `hashes.json` of these files of a folder: what makes it one that can be read."""
    hashes = {}
    for name in names:
        with (folder / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            hashes[name] = {"bytes": os.fstat(file.fileno()).st_size, "sha256": digest}
    (folder / HASHES).write_text(_hashes_text(hashes))


def _hashes_text(hashes: dict[str, Any]) -> str:
    return json.dumps(hashes, indent=1)


def is_checkpoint(path: Path) -> bool:
    """Whether `path` names a checkpoint, whole or damaged."""
    return path.suffix == ".ckpt" or (path / HASHES).is_file()


def stored_at(path: str | os.PathLike[str]) -> Path | None:
    """The folder of the checkpoint `path`, the previous one where a kill came between two renames; None without."""
    target = Path(path)
    return next((folder for folder in (target, files.previous_of(target)) if folder.exists()), None)


class _Folder:
    """A checkpoint's folder with its hashes; every method raises UserError for damage."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        folder = stored_at(path)
        if folder is None:
            raise UserError(f"checkpoint={path}: no such file or folder; train first, or list runs: ls outputs/train")
        if not folder.is_dir():
            raise UserError(
                f"checkpoint={path} is a single file, foreign or of an older version; this one reads folders (format "
                f"{CARD_FORMAT}) such as outputs/train/*/checkpoints/best.ckpt: train again"
            )
        if not (folder / HASHES).is_file():
            raise UserError(
                f"checkpoint={path} was not written by midifactory, or is damaged: it has no {HASHES}; pass one of "
                "outputs/train/*/checkpoints"
            )
        self.folder = folder
        text = (folder / HASHES).read_bytes()
        self.sha256 = hashlib.sha256(text).hexdigest()
        try:
            self.hashes = json.loads(text)
            entries = [(entry["bytes"], entry["sha256"]) for entry in self.hashes.values()]
            whole = _hashes_text(self.hashes).encode() == text and bool(entries)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            whole = False
        if not whole or self.hashes.keys() - {TRAINING} not in _WHOLE:
            raise self.damaged(f"{HASHES} is not what was written")

    def damaged(self, reason: str) -> UserError:
        """The error that names this checkpoint, the reason and the remedy."""
        remedy = "take another, such as best.ckpt or last.ckpt of the same run"
        if (self.folder / EXPORTED_CARD).is_file():
            remedy = "export or download it again"
        return UserError(f"checkpoint={self.path} is damaged: {reason}; {remedy}")

    def verified(self, name: str) -> Any:
        """The opened file, which is what was written."""
        if name not in self.hashes:
            raise UserError(f"checkpoint={self.path} has no {name}: it can be composed with, but not be resumed")
        try:
            file = (self.folder / name).open("rb")
        except OSError as error:
            raise self.damaged(f"{name}: {error.strerror}") from error
        size, written = os.fstat(file.fileno()).st_size, self.hashes[name]["bytes"]
        if size == written and hashlib.file_digest(file, "sha256").hexdigest() == self.hashes[name]["sha256"]:
            file.seek(0)
            return file
        file.close()
        changed = f"has {size} bytes, {written} were written" if size != written else "has changed (SHA-256)"
        raise self.damaged(f"{name} {changed}")

    def card(self) -> dict[str, Any]:
        """The verified card. Raises UserError also for another format."""
        name = EXPORTED_CARD if EXPORTED_CARD in self.hashes else CARD_FILE
        with self.verified(name) as file:
            text = file.read()
        try:
            card = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self.damaged(f"{name}: {error}") from error
        if not isinstance(card, dict) or "format" not in card:
            raise UserError(f"checkpoint={self.path} was not written by midifactory: its {name} is another")
        if card["format"] != CARD_FORMAT:
            raise UserError(
                f"checkpoint={self.path} has format {card['format']}, this version reads {CARD_FORMAT}; train again"
            )
        if name == EXPORTED_CARD:
            with self.verified(EXPORTED_TOKENIZER) as file:
                card["tokenizer"] = file.read().decode()
        return card

    def weights(self, map_location: Any) -> dict[str, Tensor]:
        """The verified weights by their names in a training module, `model.` before those of the model itself."""
        if WEIGHTS in self.hashes:
            return self.tensors(WEIGHTS, map_location)
        if ONNX_PROGRAM in self.hashes:
            raise UserError(
                f"checkpoint={self.path} is an export for ONNX Runtime: generate, continue and live take it with "
                "engine=onnx; here give the checkpoint that it was made of"
            )
        if TORCH_PROGRAM in self.hashes:
            raise UserError(
                f"checkpoint={self.path} is a program for torch.export.load; give the checkpoint that it was made of"
            )
        self.verified(EXPORTED_WEIGHTS).close()
        try:
            named = safe_weights.load_weights(self.folder / EXPORTED_WEIGHTS)
        except ValueError as error:
            raise self.damaged(f"{EXPORTED_WEIGHTS} cannot be read ({error})") from error
        return {f"model.{key}": value for key, value in named.items()}

    def tensors(self, name: str, map_location: Any) -> dict[str, Any]:
        """The verified dictionary of the file `name`, read without running any code of it."""
        with self.verified(name) as file:
            try:
                values = torch.load(file, map_location=map_location, weights_only=True)
            except Exception as error:  # torch raises RuntimeError, EOFError, UnpicklingError, KeyError ...
                text = re.sub(r"\x1b\[\d*m", "", str(error)).strip()  # torch prints some of it in bold
                reason = text.splitlines()[0][:100] if text else type(error).__name__
                raise self.damaged(f"{name} cannot be read ({reason})") from error
        if not isinstance(values, dict):
            raise UserError(f"checkpoint={self.path} was not written by midifactory: its {name} is another")
        return values


def read_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A checkpoint's card. Raises UserError for a missing, damaged or foreign one."""
    return _Folder(path).card()


def read_weights(
    path: str | os.PathLike[str], map_location: Any = "cpu"
) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    """Card, weights and the SHA-256 of all hashes: what composing needs. Raises UserError as `read_card`."""
    folder = _Folder(path)
    return folder.card(), folder.weights(map_location), folder.sha256


def read_program(path: str | os.PathLike[str], name: str) -> tuple[dict[str, Any], Path, str]:
    """Card, verified file `name` and the SHA-256 of all hashes of an exported program.

    Raises UserError as `read_card`, and where the folder holds another kind of export.
    """
    folder = _Folder(path)
    card = folder.card()
    if name not in folder.hashes:
        kind = "onnx" if name == ONNX_PROGRAM else "torch_export"
        raise UserError(
            f"checkpoint={path} holds no {name}; make one: midifactory export format={kind} checkpoint={path}"
        )
    for other in folder.hashes.keys() - _EXPORTED:
        folder.verified(other).close()
    return card, folder.folder / name, folder.sha256


def read_checkpoint(path: str | os.PathLike[str], map_location: Any = "cpu") -> dict[str, Any]:
    """Lightning's dictionary, all of it verified. Raises UserError as `read_card`, and where it cannot be resumed."""
    folder = _Folder(path)
    card, weights = folder.card(), folder.weights(map_location)
    return folder.tensors(TRAINING, map_location) | {CARD: card, "state_dict": weights}


def verify(path: str | os.PathLike[str]) -> None:
    """Read all of a checkpoint that can be resumed. Raises UserError as `read_checkpoint`, but for the tensors."""
    folder = _Folder(path)
    folder.card()
    for name in (TRAINING, WEIGHTS):
        folder.verified(name).close()


def checkpoints_by_age(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """The checkpoints in `folder`, that of the latest step first; `last.ckpt` before others of its step.

    Those whose card cannot be read come first: nobody knows how new they are.
    """
    steps = {}
    for path in (*Path(folder).glob("*.ckpt"), *Path(folder).glob(f"*.ckpt{files.PREVIOUS}")):
        try:
            steps[path] = float(json.loads((path / CARD_FILE).read_bytes())["step"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            steps[path] = float("inf")
    yield from sorted(steps, key=lambda path: (-steps[path], path.name != "last.ckpt", path.name))


def newest_good(folder: str | os.PathLike[str]) -> tuple[Path | None, list[UserError]]:
    """The latest checkpoint in `folder` that is whole and can be resumed, and what is wrong with later ones."""
    refused = []
    for path in checkpoints_by_age(folder):
        try:
            verify(path)
        except UserError as error:
            refused.append(error)
        else:
            return path, refused
    return None, refused
