"""`midifactory prepare`: collect, tokenise and segment a corpus, and say what became of it."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from midifactory.cli import hydra_app
from midifactory.cli.building import build_datamodule, print_corpus, write_corpus
from midifactory.data.datamodule import MidiDataModule


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("prepare", prepare, sys.argv[1:] if argv is None else argv)


def prepare(config: DictConfig) -> MidiDataModule:
    """Prepare as `config` says; a training with the same settings then only opens the result."""
    data = build_datamodule(config)
    data.setup()
    write_corpus(data, Path(config.run_dir))
    print_corpus(data)
    print(f"prepared: {data.store.folder}")
    return data
