"""Every command that the README shows runs, in its order, shortened by further overrides."""

import contextlib
import io
import os
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from cli.conftest import VOICES, Outcome, write_choir, write_folder, write_midi
from evaluation_records import piece_rows, record, write_record
from midifactory.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
DATA = ("data.limit=12", "data.fractions=[0.5,0.25,0.25]")
TRAINING = (
    *DATA, "data.batch_size=4", "estimate=false", "trainer.max_epochs=1", "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=1", "model.d_model=16", "model.layers=1", "trainer.accelerator=cpu",
)  # fmt: skip
SHORTER = {
    "train": TRAINING,
    "all": (*TRAINING, "generate.bars=1", "generate.audio=false"),
    "prepare": ("data.limit=12",),
    "analyze": ("data.limit=12",),
    "generate": ("bars=1", "audio=false", "piano_roll=false"),
    "attention": ("bars=1",),
    "continue": ("bars=1", "audio=false", "piano_roll=false"),
    "orchestrate": ("audio=false", "piano_roll=false"),
    "live": ("minutes=0.05",),
    "serve": ("minutes=0.02", "port=0"),
    "obedience": ("samples=2", "bars=1"),
    "evaluate": ("samples=2", "max_bars=1", "data.limit=12"),
    **dict.fromkeys(("infill", "add_track", "harmonise"), ("audio=false", "piano_roll=false")),
}
# What a command leaves at least.
KINDS = {
    "attention": ".html", "obedience": ".png", "evaluate": ".html",
    "interpolate": ".mid", "vary": ".mid", "continue": ".mid", "orchestrate": ".mid",
    "train": ".ckpt", "generate": ".mid", "prepare": ".json", "analyze": ".png", "all": ".mid", "live": ".mid",
    "infill": ".mid", "add_track": ".mid", "harmonise": ".mid", "export": ".json",
}  # fmt: skip
# What the README asks is asked here too, in a smaller amount.
LESS = {"bars": "2", "seconds": "3", "num_samples": "2", "steps": "3", "search.n_trials": "2", "minutes": "0.05"}
# Of a grid's combinations, two.
FEWER = {"learning_rate": ("optimizer.lr=1e-3,1e-2", "schedule.warmup_steps=1")}


def commands(text: str) -> list[str]:
    """The lines of ```bash blocks that call python or midifactory; a backslash continues a line."""
    lines = "".join(BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if re.match(r"\s*(python|midifactory) ", line)]


COMMANDS = commands((ROOT / "README.md").read_text(encoding="utf-8"))


def shortened(line: str) -> list[str]:
    """A command as arguments, its program or subcommand first, with placeholders filled in and less to do."""
    program, *arguments = shlex.split(line, comments=True)
    if program == "midifactory":
        name, arguments = arguments[0], arguments[1:]
    else:
        name, arguments = arguments[0], arguments[1:]
    if any(argument.startswith("-") and argument not in ("-m", "--multirun") for argument in arguments):
        return [name, *arguments]
    kind = Path(name).stem
    given = {argument.partition("=")[0]: argument.partition("=")[2] for argument in arguments}
    if "resume" in given or "replay" in given:
        return [name, *arguments, *(SHORTER[kind][1:] if "replay" in given else ())]
    extra = [item for item in SHORTER.get(kind, ()) if item.partition("=")[0] not in given]
    if "search" not in given:
        extra += FEWER.get(given.get("sweep"), ())
    if {"seconds", "tokens"} & given.keys():
        extra = [item for item in extra if not item.startswith("bars=")]
    arguments = [
        f"{key}={LESS[key]}" if key in LESS and value else f"checkpoint={Path('real.ckpt')}" if value == "..." else item
        for item, (key, _, value) in ((item, item.partition("=")) for item in arguments)
    ]
    return [name, *arguments, *extra]


def run(cwd: Path, line: str) -> Outcome:
    """One line of the README, run in this process in `cwd`."""
    name, *arguments = shortened(line)
    out, err, code, before, argv = io.StringIO(), io.StringIO(), 0, Path.cwd(), sys.argv
    GlobalHydra.instance().clear()
    os.chdir(cwd)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            if line.startswith("midifactory"):
                code = main([name, *arguments]) or 0
            else:
                sys.argv = [name, *arguments]
                runpy.run_path(str(ROOT / name), run_name="__main__")
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(bool(error.code))
    finally:
        os.chdir(before)
        sys.argv = argv
        GlobalHydra.instance().clear()
    return Outcome(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with all the files that the README speaks of."""
    folder = tmp_path_factory.mktemp("desk")
    write_folder(folder / "my_midis")
    write_midi(folder / "Für Elise (1).mid", 50, bars=8)
    assert run(folder, "python train.py my_midis").code == 0
    done = run(folder, "python generate.py bars=2")
    assert done.code == 0, done
    (checkpoint,) = folder.glob("outputs/train/*/checkpoints/best.ckpt")
    shutil.copytree(checkpoint, folder / "real.ckpt")
    (piece,) = folder.glob("outputs/generate/*/piece_01.json")
    shutil.copy(piece, folder / "piece.json")
    for number, name in enumerate(("piece", "song", "a", "b")):
        write_midi(folder / f"{name}.mid", 55 + number, bars=2)
    write_choir(folder / "chorale.mid", bars=4)
    write_choir(folder / "melody.mid", bars=2, voices=VOICES[:1])
    for number, name in enumerate(("small", "large")):
        write_record(folder / "outputs" / "evaluate" / name, record(piece_rows(20, shift=[number / 10] * 20)))
    return folder


def test_commands_are_found():
    text = (
        "```bash\npython train.py a=1  # first\nmake demo\n  midifactory all \\\n  x=2\n```\n```\npython no.py\n```\n"
    )
    assert commands(text) == ["python train.py a=1  # first", "midifactory all    x=2"]
    assert shortened("python generate.py checkpoint=... bars=9 key='D minor' # nine")[:4] == [
        *("generate.py", "checkpoint=real.ckpt", "bars=2", "key=D minor"),
    ]
    programs = {tuple(shlex.split(line)[:2]) for line in COMMANDS}
    assert {("python", "train.py"), ("python", "generate.py")} <= programs


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_readme_runs(desk, line, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")  # also where a key is set
    wanted = re.search(r"accelerator=(mps|gpu|cuda)", line)
    missing = wanted and not (torch.backends.mps.is_available() if wanted[1] == "mps" else torch.cuda.is_available())
    before = set(desk.rglob("*"))
    done = run(desk, line)
    if missing:
        assert done.code == 2, done
        assert done.message.count("\n") == 0
        assert f"accelerator={wanted[1]}" in done.message
        return
    assert done.code == 0, done
    assert "Traceback" not in done.out + done.err
    if not re.search(r" (--help|doctor|download|runs|serve|styles|originality|reproduce|sweep outputs)\b", line):
        new = {path.suffix for path in set(desk.rglob("*")) - before}  # a checkpoint is a folder
        kind = next(word for word in (*KINDS, ".py") if word in line)
        made = KINDS.get(kind, ".json")
        assert made in new or "resume" in line
