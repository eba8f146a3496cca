"""A trained model as a folder of plain files, as the Hugging Face Hub holds them; it needs no network and no account.

model.safetensors   the weights, LoRA's adapters merged into them
config.json         how to build the model, and what else its checkpoint said of it; no path of this machine
tokenizer.json      all that is needed to make the tokenizer again
README.md           the model card (model_card.py)
hashes.json         size and SHA-256 of the first three, verified when they are read

Every command takes such a folder as its checkpoint.
"""

import json
import os
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from midifactory import files
from midifactory.errors import UserError
from midifactory.export.model_card import About, model_card
from midifactory.training.checkpoint import Trained, load_trained, make_card
from midifactory.training.checkpoint_folder import (
    EXPORTED_CARD,
    EXPORTED_TOKENIZER,
    EXPORTED_WEIGHTS,
    write_hashes,
)
from midifactory.training.notes import TrainedNotes, holds_notes, load_trained_notes, make_note_card
from midifactory.training.safe_weights import save_weights

README = "README.md"


def save_folder(
    trained: Trained | TrainedNotes,
    folder: str | os.PathLike[str],
    about: About | None = None,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write `trained` as a new `folder`, whole or not at all; returns it.

    about: what the model card is to say. dtype: of the weights in the file; they are read back in 32 bits.
    Raises UserError where the folder holds something.
    """
    target = refuse_filled(folder)
    with files.replacing_folder(target) as fresh:
        write_files(trained, fresh, about, dtype)
    return target


def load_folder(folder: str | os.PathLike[str], device: str = "cpu") -> Trained | TrainedNotes:
    """The model of a folder that `save_folder` wrote, or of a checkpoint, in eval mode on `device`.

    Raises UserError where it is missing, damaged or foreign.
    """
    return (load_trained_notes if holds_notes(folder) else load_trained)(folder, device)


def refuse_filled(folder: str | os.PathLike[str]) -> Path:
    """The folder's path. Raises UserError where it is a file, or not empty."""
    target = Path(folder).expanduser()
    if target.exists() and not target.is_dir():
        raise UserError(f"folder={target} is a file; name a new folder")
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f"folder={target} is not empty; name a new one, or remove it first")
    return target


def write_files(
    trained: Trained | TrainedNotes, folder: Path, about: About | None = None, dtype: torch.dtype = torch.float32
) -> None:
    """Write the files into a folder that is there, in the place of older ones."""
    card = exported_card(trained)
    tokenizer = card.pop("tokenizer")
    save_weights(trained.model.state_dict(), folder / EXPORTED_WEIGHTS, dtype)
    (folder / EXPORTED_CARD).write_text(json.dumps(card, indent=1), encoding="utf-8")
    (folder / EXPORTED_TOKENIZER).write_text(tokenizer, encoding="utf-8")
    (folder / README).write_text(model_card(trained, about or About()), encoding="utf-8")
    write_hashes(folder, (EXPORTED_WEIGHTS, EXPORTED_CARD, EXPORTED_TOKENIZER))


def exported_card(trained: Trained | TrainedNotes) -> dict[str, Any]:
    """A checkpoint's card without the settings and paths of the machine that it was trained on."""
    if isinstance(trained, TrainedNotes):
        card = make_note_card(trained.model_config, trained.codec, trained.scaler, trained.profile, trained.corpus)
    else:
        finetuned = trained.finetuned and trained.finetuned | {
            "from": Path(trained.finetuned["from"]).name,
            "lora": None,
        }
        card = make_card(
            trained.model_config,
            trained.tokenizer,
            trained.window,
            trained.profile,
            trained.corpus,
            trained.conditions,
            finetuned,
            trained.segment,
            originality=[path for path in trained.originality if not Path(path).is_absolute()],
        )
    del card["settings"]
    return card | {"midifactory": metadata.version("midifactory"), "source_sha256": trained.sha256}
