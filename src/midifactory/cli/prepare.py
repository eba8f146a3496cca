"""`midifactory prepare`: collect, tokenise and segment a corpus, and say what became of it."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from midifactory import files
from midifactory.cli import hydra_app
from midifactory.cli.building import build_datamodule, print_corpus, write_corpus
from midifactory.data.datamodule import MidiDataModule
from midifactory.data.notes import NoteDataModule
from midifactory.data.originality import index_training
from midifactory.errors import UserError
from midifactory.music.corpora import Piece
from midifactory.music.score import load_score
from midifactory.tokens.loss_report import loss_report, piece_loss, report_lines
from midifactory.training.finetune import Start

# Decoding is slow, and the figures of more pieces differ little.
_PIECES_COMPARED = 50


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("prepare", prepare_and_report, sys.argv[1:] if argv is None else argv)


def prepare_and_report(config: DictConfig, start: Start | None = None) -> MidiDataModule | NoteDataModule:
    """Prepare, and report what the tokens lose of the music."""
    data = prepare(config, start)
    if isinstance(data, MidiDataModule):
        training = [piece for piece in data.corpus.of("train") if piece.id in data.store.pieces]
        report = what_is_lost(data, training, len(data.segments("train")) / len(training))
        known = {name: value if math.isfinite(value) else None for name, value in report.items()}
        files.write_text(Path(config.run_dir) / "loss_report.json", json.dumps(known, indent=1))
        print("\n".join(report_lines(report)), flush=True)
    else:
        files.write_text(Path(config.run_dir) / "scaler.json", json.dumps(data.scaler.to_dict(), indent=1))
    return data


def prepare(config: DictConfig, start: Start | None = None) -> MidiDataModule | NoteDataModule:
    """Prepare as `config` says; a training with the same settings then only opens the result.

    start: the model to be fine-tuned, whose tokens and conditions the data then has.
    """
    data = build_datamodule(config, start)
    data.setup()
    if config.get("resume") is not None:
        check_same_pieces(data, Path(config.run_dir))
    if not hydra_app.process_rank():
        write_corpus(data, Path(config.run_dir))
    print_corpus(data)
    if isinstance(data, MidiDataModule) and config.data.originality:
        index_training(data.store, data.pieces("train"), data.progress)
    print(f"prepared: {data.store.folder}")
    return data


def check_same_pieces(data: MidiDataModule | NoteDataModule, run_dir: Path) -> None:
    """Raise UserError where a run to be resumed had other pieces or splits: it would be tested on what it learnt."""
    record = run_dir / "corpus.json"
    if not record.is_file():
        return
    before = {(piece["id"], piece["split"]) for piece in json.loads(record.read_text(encoding="utf-8"))["pieces"]}
    now = {(piece.id, piece.split) for piece in data.corpus.pieces}
    if before != now:
        raise UserError(
            f"resume: {len(before ^ now)} pieces were added, removed or put into another split since the run began; "
            "restore the files, or start anew without resume"
        )


def what_is_lost(
    data: MidiDataModule, pieces: Sequence[Piece], segments_per_piece: float | None = None
) -> dict[str, float]:
    """tokens/loss_report.py over evenly spaced ones of `pieces`, which have tokens: these decoded, beside the files."""
    chosen = np.unique(np.linspace(0, len(pieces) - 1, min(len(pieces), _PIECES_COMPARED)).round().astype(int))
    losses = []
    for index in tqdm(chosen, desc="compare", unit="piece"):
        piece = pieces[index]
        ids = data.model_ids(piece.id)
        losses.append(
            piece_loss(
                load_score(piece.path, data.limits),
                data.tokenizer.decode(ids),
                len(ids),
                pitch_range=data.tokenizer.pitch_range,
                drums_pitch_range=data.tokenizer.drums_pitch_range,
            )
        )
    return loss_report(losses, segments_per_piece)
