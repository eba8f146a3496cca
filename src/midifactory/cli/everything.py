"""`midifactory all`: analyse, prepare, train and generate, in this order, into one folder."""

import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from midifactory.cli import hydra_app
from midifactory.cli.analyze import analyze
from midifactory.cli.finetune import read_start
from midifactory.cli.generate import generate
from midifactory.cli.prepare import prepare_and_report
from midifactory.cli.train import check_training, train
from midifactory.cli.train_notes import check_note_settings


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("all", everything, sys.argv[1:] if argv is None else argv)


def everything(config: DictConfig) -> list[Path]:
    """The whole way from MIDI files to new music; returns the generated MIDI files."""
    if hydra_app.process_rank():
        train(config)
        return []
    check_note_settings(config)
    start = read_start(config)
    check_training(config)
    headline("1/4 analyse")
    analyze(config)
    headline("2/4 prepare")
    data = prepare_and_report(config, start)
    headline("3/4 train")
    checkpoint = train(config, data)
    headline("4/4 generate")
    with open_dict(config):
        OmegaConf.update(config, "generate.checkpoint", str(checkpoint))
    return generate(config.generate, Path(config.run_dir) / "music")


def headline(text: str) -> None:
    """Show where we are."""
    print(f"\n== {text}", flush=True)
