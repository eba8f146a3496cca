"""`midifactory harmonise MELODY.mid`: to a melody given as MIDI the other voices that a model knows, each a track."""

import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from symusic import Score

from midifactory.cli import hydra_app
from midifactory.cli.filling import fill_file
from midifactory.errors import UserError
from midifactory.generation.infill import Infiller, Region, read_as
from midifactory.generation.region import bars_of, program_of
from midifactory.music.instruments import DRUMS

_MOST_VOICES = 6


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("harmonise", run, sys.argv[1:] if argv is None else argv)


def run(config: DictConfig) -> list[Path]:
    """Write piece_01.mid, ... and before_after.png."""
    names = config.instruments
    if names is not None and (isinstance(names, str) or not len(names)):
        raise UserError(f"instruments={names}: give names or programs, such as [viola,cello]")
    return fill_file(config, "harmonise", ("instruments",), _region)


def _region(settings: dict[str, Any], infiller: Infiller, score: Score) -> Region:
    return Region(*bars_of(settings, score), new=_voices(settings["instruments"], infiller, score))


def _voices(names: list[str | int] | None, infiller: Infiller, score: Score) -> tuple[int, ...]:
    """The programs that are added: those named, or all others that the model knows; its only one, if it has but one."""
    if names is not None:
        return tuple(dict.fromkeys(program_of(name, infiller, "instruments") for name in names))
    sung = set(read_as(score, infiller.trained.profile))
    known = [program for program in sorted(infiller.programs) if program != DRUMS]
    others = tuple(program for program in known if program not in sung) or tuple(known)
    if len(others) > _MOST_VOICES:
        raise UserError(
            f"harmonise: this model knows {len(known)} instruments; name those that are to accompany, such as "
            "instruments=[piano,bass]"
        )
    return others
