"""The command `midifactory` and its doctor."""

import subprocess
import sys
import types
from importlib import metadata

import pytest

from cli.conftest import MODULES
from midifactory.cli import doctor
from midifactory.cli import main as main_module
from midifactory.cli.main import COMMANDS, main


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"], ["help"]])
def test_help_has_one_line_for_each_command(argv, capsys):
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    for command in COMMANDS:
        assert sum(line.startswith(f"  {command} ") for line in lines) == 1


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"midifactory {metadata.version('midifactory')}\n"


def test_help_loads_nothing_heavy():
    program = (
        "import sys; from midifactory.cli.main import main; main(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'hydra', 'omegaconf', 'numpy', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0


def test_unknown_command_offers_the_nearest(capsys):
    assert main(["generat"]) == 2
    assert capsys.readouterr().err == "midifactory: unknown command 'generat'; did you mean 'generate'?\n"
    assert main(["xyzzy"]) == 2
    assert "commands are train, generate" in capsys.readouterr().err


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "doctor"])
def test_dispatch(command, monkeypatch):
    seen = []
    module = types.SimpleNamespace(main=seen.append)
    monkeypatch.setattr(main_module.importlib, "import_module", lambda name: seen.append(name) or module)
    assert main([command, "a=1"]) is None
    assert seen == [f"midifactory.cli.{MODULES.get(command, command)}", ["a=1"]]


def test_doctor_names_every_requirement(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for name in ("Python", "torch", "hydra-core", "symusic", "cpu", "cuda", "FluidSynth", "SoundFont", "disk"):
        assert sum(line[9:].startswith(f"{name} ") for line in out.splitlines()) == 1, name
    assert out.endswith("\nready\n")
    assert list(tmp_path.iterdir()) == []


def test_doctor_fails_on_what_is_missing_or_out_of_bounds(capsys, monkeypatch):
    wanted = ["numpy<2", "no-such-package>=1", "torch>=2.6", 'pytest<1; extra == "dev"']
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: wanted)
    monkeypatch.setattr(doctor, "_devices", lambda: iter(()))
    assert doctor.main([]) == 1
    out = capsys.readouterr().out
    assert 'pip install "no-such-package>=1"' in out
    assert "outside <2" in out
    assert "not ready: numpy, no-such-package" in out
    assert "pytest" not in out


def test_doctor_takes_no_arguments(capsys):
    assert doctor.main(["x"]) == 2
    assert "usage" in capsys.readouterr().err
