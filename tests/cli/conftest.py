"""Commands run in this process, in a folder of their own, and one small training for all who need a checkpoint."""

import contextlib
import importlib
import io
import os
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from symusic import Note, Score, Tempo, TimeSignature, Track

# Twelve short files and a tiny model: a training of about a second.
TINY = ("experiment=smoke", "data.limit=null", "accelerator=cpu", "estimate=false")
VOICES = (("Soprano", 40, 70), ("Alto", 41, 64), ("Tenor", 42, 58), ("Bass", 43, 48))
MODULES = {"all": "everything", "runs": "run_table", "continue": "continuing"}


@dataclass(frozen=True)
class Outcome:
    """What a user sees of a command."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """stderr without progress bars, which are redrawn in place."""
        lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[A", "\n", self.err))
        bar = re.compile(r"\d/\d+ \[|/s(, \w+=\d+)?\]|\?\S*/s|it/s")
        return "\n".join(line for line in lines if line.strip() and not bar.search(line))


def run_command(cwd: Path, command: str, *arguments: str) -> Outcome:
    """`midifactory command arguments...` as if typed in `cwd`; an exception that escapes is the test's failure."""
    module = importlib.import_module(f"midifactory.cli.{MODULES.get(command, command)}")
    out, err, code = io.StringIO(), io.StringIO(), 0
    before = Path.cwd()
    GlobalHydra.instance().clear()
    os.chdir(cwd)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = module.main(list(arguments)) or 0
    except SystemExit as error:
        code = int(error.code or 0)
    finally:
        os.chdir(before)
        GlobalHydra.instance().clear()
    return Outcome(code, out.getvalue(), err.getvalue())


def write_midi(path: Path, seed: int, bars: int = 8) -> None:
    """A tune of quarter notes over held fifths."""
    generator, score = random.Random(seed), Score(480)
    score.tempos.append(Tempo(0, 100))
    score.time_signatures.append(TimeSignature(0, 4, 4))
    track = Track(program=0)
    for beat in range(4 * bars):
        track.notes.append(Note(beat * 480, 480, 60 + generator.choice((0, 2, 4, 5, 7, 9, 11)), 80))
    for bar in range(bars):
        track.notes.append(Note(bar * 1920, 1920, 36 + generator.choice((0, 5, 7)), 64))
    score.tracks.append(track)
    path.write_bytes(score.dumps_midi())


def write_choir(path: Path, bars: int = 8, voices: tuple[tuple[str, int, int], ...] = VOICES) -> None:
    """Voices of quarter notes: (name, program, lowest pitch) of each."""
    score = Score(480)
    score.tempos.append(Tempo(0, 80))
    score.time_signatures.append(TimeSignature(0, 4, 4))
    for name, program, height in voices:
        track = Track(name, program)
        for beat in range(4 * bars):
            track.notes.append(Note(beat * 480, 480, height + (beat * 3 + len(path.stem)) % 7, 80))
        score.tracks.append(track)
    path.write_bytes(score.dumps_midi())


def write_folder(folder: Path, count: int = 12) -> Path:
    """A folder of `count` different tunes."""
    folder.mkdir()
    for number in range(count):
        write_midi(folder / f"{number:02}.mid", number)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small lose more by torch's threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def here(tmp_path: Path) -> Callable[..., Outcome]:
    """Runs a command in this test's own empty folder."""
    return lambda command, *arguments: run_command(tmp_path, command, *arguments)


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `my_midis` and one finished training below `outputs`."""
    folder = tmp_path_factory.mktemp("studio")
    write_folder(folder / "my_midis")
    done = run_command(folder, "train", "my_midis", *TINY)
    assert done.code == 0, done
    return folder


@pytest.fixture
def in_studio(studio: Path) -> Callable[..., Outcome]:
    """Runs a command in the studio."""
    return lambda command, *arguments: run_command(studio, command, *arguments)
