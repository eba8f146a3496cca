"""Exit codes and messages, seen from outside: a small program with a small config, run as a user runs it."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from midifactory.cli import hydra_app
from midifactory.errors import Diverged, UserError

PROGRAM = """
import errno, os, sys, time
from pathlib import Path
import hydra.utils
from midifactory.cli import hydra_app
from midifactory.errors import UserError

hydra_app.conf_dir = lambda: Path(__file__).parent / "conf"

class Built:
    def __init__(self):
        raise UserError("bars=0 is less than 1; set bars=1")

def task(config):
    if config.act == "user":
        raise UserError("window=0 is less than 1; set window=8")
    if config.act == "instantiate":
        hydra.utils.instantiate({"_target_": "__main__.Built"})
    if config.act == "disk":
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "/big/file")
        except OSError as error:
            raise RuntimeError("could not save") from error
    if config.act == "bug":
        raise ZeroDivisionError("our own")
    if config.act == "missing":
        return config.needed
    if config.act == "wait":
        print("waiting", flush=True)
        time.sleep(10)
    print("done", config.act, config.prompt, hydra.core.hydra_config.HydraConfig.get().runtime.output_dir)

hydra_app.run("train", task, sys.argv[1:])
"""
CONFIG = """
hydra:
  run: {dir: "${run_dir:train}"}
  sweep: {dir: "${run_dir:train}", subdir: "${hydra.job.num}"}
act: fine
prompt: null
needed: ???
"""


@pytest.fixture
def program(tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "train.yaml").write_text(CONFIG)
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path / "program.py"


def _environment(**extra):
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    return environment | extra


def _run(program: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(program), *arguments],
        cwd=program.parent,
        env=_environment(**environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _run_all(program: Path, *argument_lists: tuple[str, ...]) -> list[subprocess.CompletedProcess[str]]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda arguments: _run(program, *arguments), argument_lists))


def test_single_runs_that_fail(program):
    cases = {
        "act=user": (2, "midifactory: window=0 is less than 1; set window=8\n"),
        "act=instantiate": (2, "midifactory: bars=0 is less than 1; set bars=1\n"),
        "act=disk": (74, "midifactory: disk full: /big/file could not be written; free space and run again\n"),
        "nonsense": (2, "midifactory: cannot make sense of 'nonsense'; train understands"),
        "unknown=3": (2, "midifactory: Could not override 'unknown'"),
        "act=missing": (2, "midifactory: Missing mandatory value: needed"),
        "a=[1": (2, "midifactory: "),
        "--resolve": (2, "midifactory: The --resolve flag can only be used"),
    }
    for done, (code, message) in zip(_run_all(program, *((name,) for name in cases)), cases.values(), strict=True):
        assert done.returncode == code, done
        assert done.stderr.startswith(message)
        assert "Traceback" not in done.stderr
        assert "HYDRA_FULL_ERROR" not in done.stderr


def test_a_bug_has_its_traceback_and_so_has_everything_on_request(program):
    bug = _run(program, "act=bug")
    assert bug.returncode == 1
    assert "Traceback" in bug.stderr
    assert "ZeroDivisionError: our own" in bug.stderr
    assert "midifactory: " not in bug.stderr
    asked = _run(program, "act=user", HYDRA_FULL_ERROR="1")
    assert asked.returncode == 2
    assert "Traceback" in asked.stderr
    assert asked.stderr.endswith("midifactory: window=0 is less than 1; set window=8\n")


def test_a_good_run_writes_into_its_own_folder(program):
    done = _run_all(program, ("prompt=it's, ${x}.mid",), ("--cfg", "job", "act=x"))
    assert [run.returncode for run in done] == [0, 0], done
    assert "\ndone fine it's, ${x}.mid /" in done[0].stdout
    assert done[1].stdout.startswith("act: x")
    (folder,) = (program.parent / "outputs" / "train").iterdir()
    assert done[0].stdout.split()[-1] == str(folder)
    (log,) = folder.glob("*.log")
    assert f"configs from {program.parent / 'conf'}" in log.read_text()


def test_a_sweep_goes_on_after_a_failing_job(program):
    done = _run(program, "-m", "act=user,fine,bug,late", "prompt=a, b's")
    assert "done fine a, b's" in done.stdout
    assert "done late a, b's" in done.stdout
    assert "job 0 failed: window=0 is less than 1" in done.stdout + done.stderr
    assert "job 2 failed: ZeroDivisionError" in done.stdout + done.stderr
    assert done.returncode == 2
    assert done.stderr.endswith("midifactory: window=0 is less than 1; set window=8\n")
    (folder,) = (program.parent / "outputs" / "train").iterdir()  # one for all jobs
    assert {"0", "1", "2", "3"} <= {path.name for path in folder.iterdir()}


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_interrupt(program):
    import signal

    with subprocess.Popen(
        [sys.executable, str(program), "act=wait"],
        cwd=program.parent,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "configs from" in process.stdout.readline()
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.startswith("midifactory: interrupted; ")
    assert "Traceback" not in errors


def test_run_folders_are_never_shared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(hydra_app.new_run_dir, ["train"] * 20))
    assert len(set(folders)) == 20
    assert all(Path(folder).is_dir() and "=" not in folder for folder in folders)


def test_run_leaves_the_process_as_it_was(tmp_path, monkeypatch, capsys):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "train.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hydra_app, "conf_dir", lambda: tmp_path / "conf")
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    before = list(sys.argv)

    def task(config):
        raise UserError("no")

    with pytest.raises(SystemExit) as caught:
        hydra_app.run("train", task, ["act=user"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == "midifactory: no\n"
    assert sys.argv == before
    assert "HYDRA_FULL_ERROR" not in os.environ


def test_a_divergence_has_a_code_of_its_own():
    assert hydra_app.explain(Diverged("step 3: the loss is nan")) == ("step 3: the loss is nan", 3)
