"""`midifactory infill FILE bars=5-8 tracks=bass`: some bars or tracks of a MIDI file anew, all else as it was."""

import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from symusic import Score

from midifactory.cli import hydra_app
from midifactory.cli.filling import fill_file
from midifactory.errors import UserError
from midifactory.generation.infill import Infiller, Region
from midifactory.generation.region import bars_of, tracks_of


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("infill", run, sys.argv[1:] if argv is None else argv)


def run(config: DictConfig) -> list[Path]:
    """Write piece_01.mid, ... and before_after.png."""
    if config.replay is None and config.bars is None and config.tracks is None:
        raise UserError("infill: say what is to be filled: bars=5-8, tracks=bass, or both")
    return fill_file(config, "infill", ("tracks",), _region)


def _region(settings: dict[str, Any], infiller: Infiller, score: Score) -> Region:
    return Region(*bars_of(settings, score), tracks_of(settings, score))
