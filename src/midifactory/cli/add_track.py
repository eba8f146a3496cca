"""`midifactory add_track FILE instrument=bass`: one more track for a MIDI file.

A command of its own rather than an option of infill: nothing of the file is replaced, and it asks for another thing.
"""

import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from symusic import Score

from midifactory.cli import hydra_app
from midifactory.cli.filling import fill_file
from midifactory.errors import UserError
from midifactory.generation.infill import Infiller, Region
from midifactory.generation.region import bars_of, program_of


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("add_track", run, sys.argv[1:] if argv is None else argv)


def run(config: DictConfig) -> list[Path]:
    """Write piece_01.mid, ... and before_after.png."""
    return fill_file(config, "add_track", ("instrument",), _region)


def _region(settings: dict[str, Any], infiller: Infiller, score: Score) -> Region:
    if settings["instrument"] is None:
        raise UserError("add_track: say what is to be added, such as instrument=bass")
    return Region(*bars_of(settings, score), new=(program_of(settings["instrument"], infiller, "instrument"),))
