"""`midifactory prepare`: collect, tokenise and segment a corpus, and say what became of it."""

import json
import sys
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from midifactory import files
from midifactory.cli import hydra_app
from midifactory.cli.building import build_datamodule, print_corpus, write_corpus
from midifactory.data.datamodule import MidiDataModule
from midifactory.data.notes import NoteDataModule
from midifactory.music.score import load_score
from midifactory.tokens.loss_report import loss_report, piece_loss, report_lines

# Decoding is slow, and the figures of more pieces differ little.
_PIECES_COMPARED = 50


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("prepare", prepare_and_report, sys.argv[1:] if argv is None else argv)


def prepare_and_report(config: DictConfig) -> MidiDataModule | NoteDataModule:
    """Prepare, and report what the tokens lose of the music."""
    data = prepare(config)
    if isinstance(data, MidiDataModule):
        report = what_is_lost(data)
        files.write_text(Path(config.run_dir) / "loss_report.json", json.dumps(report, indent=1))
        print("\n".join(report_lines(report)), flush=True)
    return data


def prepare(config: DictConfig) -> MidiDataModule | NoteDataModule:
    """Prepare as `config` says; a training with the same settings then only opens the result."""
    data = build_datamodule(config)
    data.setup()
    write_corpus(data, Path(config.run_dir))
    print_corpus(data)
    print(f"prepared: {data.store.folder}")
    return data


def what_is_lost(data: MidiDataModule) -> dict[str, float]:
    """tokens/loss_report.py over evenly spaced training pieces: decoded tokens beside the files."""
    training = [piece for piece in data.corpus.of("train") if piece.id in data.store.pieces]
    chosen = np.unique(np.linspace(0, len(training) - 1, min(len(training), _PIECES_COMPARED)).round().astype(int))
    settings, losses = data.tokenizer.miditok.config, []
    for index in tqdm(chosen, desc="compare", unit="piece"):
        piece = training[index]
        ids = data.model_ids(piece.id)
        losses.append(
            piece_loss(
                load_score(piece.path, data.limits),
                data.tokenizer.decode(ids),
                len(ids),
                pitch_range=settings.pitch_range,
                drums_pitch_range=settings.drums_pitch_range,
            )
        )
    return loss_report(losses, len(data.segments("train")) / len(training))
