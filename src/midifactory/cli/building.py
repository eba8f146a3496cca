"""From composed configs to objects: what several commands instantiate in the same way."""

import json
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from midifactory import files
from midifactory.cli.hydra_app import process_rank
from midifactory.data.datamodule import MidiDataModule
from midifactory.data.infilling import check_share
from midifactory.data.notes import NoteDataModule
from midifactory.errors import UserError
from midifactory.music.corpora import Corpus
from midifactory.music.manifest import write_manifest
from midifactory.music.scan import printable
from midifactory.tokens.notes import NoteCodec
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.training.finetune import Start

_SEEDS = 2**32  # training adds the step below it, for generators of 64 bits


def plain(config: Any) -> Any:
    """A config as plain dicts and lists, every interpolation resolved."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True) if config is not None else None


def build_datamodule(config: DictConfig, start: Start | None = None) -> MidiDataModule | NoteDataModule:
    """The LightningDataModule of `config.data` and `config.tokenizer`, nothing read yet: tokens, or note features.

    start: the model to be fine-tuned, whose tokenizer and conditions are taken instead.
    """
    data = config.data
    if not isinstance(config.seed, int) or not 0 <= config.seed < _SEEDS:
        raise UserError(f"seed={config.seed}: give a whole number of at least 0 and below {_SEEDS}")
    tokenizer = start.tokenizer if start else build_tokenizer(config.tokenizer)
    check_share(data.infill, tokenizer)
    if data.infill and isinstance(tokenizer, Tokenizer) and not tokenizer.infills:
        if start:
            raise UserError(
                f"data.infill={data.infill}: the checkpoint of init_from was not trained for infilling, and has no "
                "tokens for it; leave it out, or train a new model with it"
            )
        tokenizer = tokenizer.with_infill()
    shared = {
        "source": instantiate(data.source),
        "name": corpus_name(data),
        "batch_size": data.batch_size,
        "store_root": data.store_root,
        "loader_workers": data.loader_workers,
        "limits": instantiate(data.limits),
        "seed": config.seed,
        "progress": not process_rank(),
    }
    conditions = condition_names(config.conditions)
    if isinstance(tokenizer, NoteCodec):
        if conditions:
            raise UserError(f"conditions={conditions}: note features take none; leave them out, or train on tokens")
        return NoteDataModule(codec=tokenizer, **shared)
    return MidiDataModule(
        tokenizer=tokenizer,
        segment=instantiate(data.segment),
        max_tokens=data.max_tokens,
        preparation=instantiate(config.prepare),
        augment=instantiate(data.augment),
        infill=data.infill,
        conditions=conditions,
        condition_bins=data.condition_bins,
        condition_values=data.condition_values,
        known_conditions=start.trained.conditions if start else None,
        **shared,
    )


def condition_names(config: Any) -> list[str]:
    """What `conditions=[tune_type,tempo_bpm]` names; a single name needs no brackets. Raises UserError otherwise."""
    names = plain(config) if isinstance(config, ListConfig) else [config]
    if not all(isinstance(name, str) and name for name in names):
        raise UserError(f"conditions={config}: give a list of names, such as conditions=[tune_type,tempo_bpm]")
    return names


def build_tokenizer(config: DictConfig) -> Tokenizer | NoteCodec:
    """The tokenizer of a conf/tokenizer file."""
    return instantiate(config, _convert_="all")


def corpus_name(data: DictConfig) -> str:
    """The corpus' name for folders of prepared data: a folder corpus is named by its folder."""
    if data.name != "folder" or not data.root:
        return data.name
    return Path(data.root).expanduser().resolve().name or "folder"


def check_accelerator(name: str, key: str = "trainer.accelerator") -> None:
    """Raise UserError where torch has no such device here; Lightning would answer with a traceback."""
    available = {
        "auto": True,
        "cpu": True,
        "gpu": torch.cuda.is_available() or torch.backends.mps.is_available(),
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name not in available:
        raise UserError(f"{key}={name}: unknown; choose one of {', '.join(available)}")
    if not available[name]:
        here = ", ".join(device for device, works in available.items() if works)
        raise UserError(f"{key}={name}: this machine has none; available: {here}")


def default_device(name: str = "auto", key: str = "trainer.accelerator") -> torch.device:
    """The torch device for an accelerator name: `auto` takes CUDA, then MPS, then the CPU."""
    check_accelerator(name, key)
    if name in {"auto", "gpu", "cuda"} and torch.cuda.is_available():
        return torch.device("cuda")
    if name in {"auto", "gpu", "mps"} and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def write_corpus(data: MidiDataModule | NoteDataModule, run_dir: Path) -> None:
    """corpus.json: which piece is in which split, and every file that was left out, with the reason.

    manifest.parquet: one row for every file, with what was found out about it.
    """
    corpus = data.corpus
    listing = {
        "name": corpus.name,
        "pieces": [{"id": piece.id, "split": piece.split, "notes": piece.notes} for piece in corpus.pieces],
        "rejected": [
            {"path": printable(str(item.path)), "kind": item.kind, "reason": printable(item.reason)}
            for item in corpus.rejected
        ],
        "duplicates": [{"dropped": dropped, "kept": kept} for dropped, kept in corpus.duplicates],
        "near_duplicates": [{"dropped": dropped, "kept": kept} for dropped, kept in corpus.near_duplicates],
        "near_groups": corpus.near_groups,
        "not_tokenised": data.store.refused,
        "store": printable(str(data.store.folder)),
    }
    files.write_text(run_dir / "corpus.json", json.dumps(listing, ensure_ascii=False, indent=1))
    write_manifest(corpus.manifest(), run_dir / "manifest.parquet")


def print_corpus(data: MidiDataModule | NoteDataModule) -> None:
    """The corpus, what was left out and why, and the segments."""
    print(data.corpus.summary())
    print_rejected(data.corpus)
    print("\n".join(data.report()), flush=True)


def print_rejected(corpus: Corpus, most: int = 10) -> None:
    """The refused files with their reasons, the first `most` of them; corpus.json has them all."""
    for item in corpus.rejected[:most]:
        print(f"  {printable(str(item.path))}: {printable(item.reason)}")
    if len(corpus.rejected) > most:
        print(f"  ... and {len(corpus.rejected) - most} more")
